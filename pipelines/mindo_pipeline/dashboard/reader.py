"""Questions to a warehouse beside the loads: each opens it read-only, and is asked once more if it meets a load."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any, Final, TypeVar

from mindo import ConfigurationError, Coverage, Selection
from mindo.windows import Range

from ..errors import DestinationError, known_line
from ..locks import file_lock
from ..warehouse import Warehouse

PATIENCE_SECONDS: Final = 6.0
"""How long a question waits for a load."""

_PAUSE_SECONDS: Final = 0.25
_STATE_LASTS_SECONDS: Final = 20.0
_LONGEST_BUSY_SECONDS = 10.0
_GAP_SECONDS: Final = 0.6
"""Longer than the pauses in which a run that waits looks whether the lock is free."""

_DESKS: Final = 4
_DIALECTS: Final = frozenset({"duckdb", "postgres"})
_IS_OPEN_ELSEWHERE: Final = known_line("could not set lock") or ""

Answer = TypeVar("Answer")


class WarehouseBusy(DestinationError):
    """A load takes longer than a question waits."""


class _LoadUnderWay(Exception):
    """A run holds the lock of the database, or gets its turn."""


@dataclass
class _Desk:
    """A warehouse that one question at a time is asked of.

    Attributes:
        warehouse: The warehouse.
        state_read_at: When its state and schema were read last; `None` if never.
    """

    warehouse: Warehouse
    state_read_at: float | None = None


class Reader:
    """Asks a warehouse, from any thread; so many questions at once as there are desks.

    A DuckDB file is open only as long as a question lasts, and its lock is held meanwhile: a run that begins just then waits for the
    answer. A question waits for a run, but not for long. So neither makes the other fail.

    Args:
        open_warehouse: Opens the warehouse once more.
        patience: Seconds to wait for a load.

    Raises:
        ConfigurationError: If the destination's SQL is none that the questions are written in.
    """

    def __init__(self, open_warehouse: Callable[[], Warehouse], patience: float = PATIENCE_SECONDS) -> None:
        warehouse = open_warehouse()
        dialect = warehouse.pipeline.destination_client().capabilities.sqlglot_dialect
        if dialect not in _DIALECTS:
            raise ConfigurationError(
                f"destination {warehouse.destination}: this runs on DuckDB files and PostgreSQL; `mindo copy` brings the"
                " tables to one of them."
            )
        self._open = open_warehouse
        self._first = warehouse
        self._patience = patience
        self._idle = [_Desk(warehouse)]
        self._free = BoundedSemaphore(_DESKS)
        self._lock = _SharedLock(warehouse.file)

    @property
    def place(self) -> str:
        """Where the warehouse is, without credentials, for people."""
        return f"{self._first.location}, dataset {self._first.dataset}"

    @property
    def is_missing(self) -> bool:
        """Whether there is no database yet: a DuckDB file that nothing was loaded into."""
        return self._first.file is not None and not self._first.file.exists()

    @property
    def coverage(self) -> Coverage:
        """What was read completely."""
        with self._desk() as desk:
            return desk.warehouse.coverage

    @property
    def holds_part_of_copy(self) -> bool:
        """Whether a copy into the warehouse broke off."""
        with self._desk() as desk:
            return desk.warehouse.holds_unfinished_copy

    @property
    def unfinished(self) -> list[tuple[int, Selection, Range]]:
        """Windows whose load failed: company, filters, range. Known on the machine that loads only."""
        return list(self._first.unfinished.all())

    def columns(self, table: str) -> Collection[str]:
        """The columns that a table has; none if it is not there."""
        with self._desk() as desk:
            schema = desk.warehouse.schema
            return list(schema.get_table_columns(table)) if table in schema.tables else []

    def rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """Asks a question; see `Warehouse.query`.

        Raises:
            WarehouseBusy: If a load has the database for too long.
            DestinationError: If it can't be read.
        """
        with self._desk() as desk:
            return self._asked(lambda: desk.warehouse.query(sql, *parameters))

    @contextmanager
    def _desk(self) -> Iterator[_Desk]:
        """A desk of one's own, with state and schema as they were a moment ago: loads change both."""
        with self._free:
            desk = self._idle.pop() if self._idle else _Desk(self._open())
            try:
                # dlt keeps the pipeline in use per thread, and each visitor has one
                desk.warehouse.pipeline.activate()
                now = time.monotonic()
                if desk.state_read_at is None or now - desk.state_read_at > _STATE_LASTS_SECONDS:
                    self._asked(desk.warehouse.reading)
                    desk.state_read_at = None if self.is_missing else now
                yield desk
            finally:
                self._idle.append(desk)

    def _asked(self, question: Callable[[], Answer]) -> Answer:
        end = time.monotonic() + self._patience
        while True:
            try:
                with self._lock.held():
                    return question()
            except _LoadUnderWay:
                pass
            except DestinationError as error:
                if self._first.file is None or _IS_OPEN_ELSEWHERE not in str(error):
                    raise
            if time.monotonic() > end:
                raise WarehouseBusy(
                    f"{self._first.location}: a load has the database, and nobody may keep it waiting; try again once it has"
                    " ended."
                )
            time.sleep(_PAUSE_SECONDS)


class _SharedLock:
    """The lock of a DuckDB file, held as long as any question is being asked, and left free now and then for a run to take it."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._mutex = Lock()
        self._questions = 0
        self._busy_since = self._released_at = -_GAP_SECONDS
        self._taken = ExitStack()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds it for a question.

        Raises:
            _LoadUnderWay: If a run has it, or it has to be left free before anything else is asked.
        """
        if self._file is None:
            yield
            return
        with self._mutex:
            now = time.monotonic()
            if self._questions == 0 and now - self._released_at > _GAP_SECONDS:
                self._busy_since = now
            if now - self._busy_since > _LONGEST_BUSY_SECONDS:
                raise _LoadUnderWay
            if self._questions == 0:
                self._take(self._file)
            self._questions += 1
        try:
            yield
        finally:
            with self._mutex:
                self._questions -= 1
                if self._questions == 0:
                    self._taken.close()
                    self._released_at = time.monotonic()

    def _take(self, file: Path) -> None:
        # made by a reader of another user, the lock would keep the loads out
        if Path(f"{file}.lock").exists():
            # one of another user can't be taken, nor does it have to be
            with suppress(DestinationError):
                self._taken.enter_context(file_lock(file, _give_up))


def _give_up() -> None:
    raise _LoadUnderWay
