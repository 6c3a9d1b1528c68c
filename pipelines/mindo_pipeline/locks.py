"""Locks at the destination: they keep runs apart that share neither a machine nor a folder."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from dlt.common.runtime import signals
from dlt.destinations.job_client_impl import SqlJobClientBase

from .errors import DestinationError

_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class _LockSql:
    """How a session takes a lock of its own, if it is free, and gives it back; both answer whether that worked."""

    take: str
    give_back: str


_LOCKS: Final = {"postgres": _LockSql("SELECT pg_try_advisory_lock(%s)", "SELECT pg_advisory_unlock(%s)")}
"""By SQL dialect."""


def has_lock(client: Any) -> bool:
    """Whether a destination has locks, so that several runs can load it at once."""
    return isinstance(client, SqlJobClientBase) and client.capabilities.sqlglot_dialect in _LOCKS


@contextmanager
def destination_lock(client: Any, dataset: str, on_wait: Callable[[], None]) -> Iterator[None]:
    """Holds a dataset for one load.

    Args:
        client: dlt's client of a destination for which `has_lock`. The lock has a session of its own, and ends with it.
        dataset: Name of the dataset.
        on_wait: Called once, if another run holds it.

    Raises:
        DestinationError: If the session ended before the lock was given back: then another run may have loaded at the same
            time.
    """
    sql = _LOCKS[client.capabilities.sqlglot_dialect]
    # a signed number of 64 bits, as the lock's name has to be
    name = int.from_bytes(hashlib.sha256(f"mindo {dataset}".encode()).digest()[:8], signed=True)
    with client.sql_client as session:
        is_first = True
        while not _answer(session, sql.take, name):
            if is_first:
                on_wait()
            is_first = False
            signals.raise_if_signalled()
            time.sleep(_POLL_SECONDS)
        yield
        try:
            is_held = _answer(session, sql.give_back, name)
        except Exception:
            is_held = False
        if not is_held:
            raise DestinationError(
                f"{client.config}: the session that kept other runs away has ended early; run again, and see that the server"
                " does not end sessions that are idle."
            )


def _answer(session: Any, sql: str, name: int) -> bool:
    rows = session.execute_sql(sql, name)
    return bool(rows and rows[0][0])
