"""From anything that a step raises to a failure of Dagster with our one line, and whether trying again can help.

Dagster keeps the text of exceptions and of those that led to them, where everybody can read it who sees the runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import dagster as dg
from dagster import DagsterExecutionInterruptedError

from ..console import clean
from ..exit_codes import ExitCode
from ..session import explain_failure, libraries_kept_quiet
from .settings import Settings

_WORTH_A_RETRY: Final = frozenset({ExitCode.API, ExitCode.DESTINATION})


def retry_policy(settings: Settings) -> dg.RetryPolicy:
    """How a step is tried again; those that can't help are left out by `failure`."""
    return dg.RetryPolicy(
        max_retries=settings.retries,
        delay=settings.retry_seconds,
        backoff=dg.Backoff.EXPONENTIAL,
        jitter=dg.Jitter.PLUS_MINUS,
    )


def failure(code: ExitCode, line: str, metadata: Mapping[str, Any] | None = None) -> dg.Failure:
    """A failure with the exit code that the command would have."""
    return dg.Failure(
        description=clean(line),
        metadata={"exit_code": int(code), **(metadata or {})},
        allow_retries=code in _WORTH_A_RETRY,
    )


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Keeps what libraries print and raise out of Dagster's log.

    Raises:
        dagster.Failure: In place of any error.
        DagsterExecutionInterruptedError: If the run is stopped.
    """
    try:
        with libraries_kept_quiet():
            yield
        return
    except (dg.Failure, DagsterExecutionInterruptedError, GeneratorExit):
        raise
    except BaseException as error:
        verdict = explain_failure(error)
    if verdict.code is ExitCode.INTERRUPTED:
        raise DagsterExecutionInterruptedError from None
    raise failure(verdict.code, verdict.message) from None
