"""Locks at the destination: they keep runs apart that share neither a machine nor a folder."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dlt.common.runtime import signals
from dlt.destinations.job_client_impl import SqlJobClientBase
from filelock import FileLock, Timeout

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
    """Whether a server has locks that we know of, so that runs from any machine can load it side by side."""
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
        _wait_until(lambda: _answer(session, sql.take, name), on_wait)
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


@contextmanager
def file_lock(database: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Holds the file of a DuckDB warehouse for one load, by a lock file beside it.

    DuckDB's own lock refuses the second process instead of letting it wait, and is free between the steps of a load.

    Args:
        database: The file; it need not exist.
        on_wait: Called once, if another run holds it.

    Raises:
        DestinationError: If no lock file can be made there.
    """
    refused = DestinationError(f"{database}: the database file can't be opened; check its folder and its permissions.")
    if not database.parent.is_dir():
        # the lock would make it
        raise refused
    # whoever holds it for several threads may let go of it in another one
    lock = FileLock(f"{database}.lock", timeout=0, mode=0o600, thread_local=False)

    def take() -> bool:
        try:
            lock.acquire()
        except Timeout:
            return False
        return True

    try:
        _wait_until(take, on_wait)
    except OSError:
        raise refused from None
    try:
        yield
    finally:
        lock.release()


def _wait_until(take: Callable[[], bool], on_wait: Callable[[], None]) -> None:
    if take():
        return
    on_wait()
    while not take():
        signals.raise_if_signalled()
        time.sleep(_POLL_SECONDS)


def _answer(session: Any, sql: str, name: int) -> bool:
    rows = session.execute_sql(sql, name)
    return bool(rows and rows[0][0])
