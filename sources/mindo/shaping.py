"""From proven pages to Arrow tables: groups of windows are cut into batches, and some batches are shaped at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from queue import SimpleQueue
from threading import Condition
from typing import TypeVar

import duckdb
import pyarrow as pa
from dlt.common.schema.typing import TColumnSchema

from .batch_reading import BatchPage
from .batch_shaping import BatchShaper, ShapedBatch
from .column_rules import ColumnRules
from .columns import CHILD_TABLES, MESSAGES
from .coverage import Forgotten
from .discovery import SchemaChange, TableColumns
from .reader import WindowRead, message_ids
from .selection import Selection

BATCH_ROWS = 15_000
_BATCH_BYTES = 32 * 1024 * 1024
_AT_ONCE = 2
"""Batches that are shaped at the same time, while the one before them is written. More take memory and gain nothing."""


@dataclass
class Group:
    """Complete windows that are shaped together; small ones are shaped faster that way.

    Attributes:
        reads: The windows.
        stored_rows: For a run that leaves an include out: `company_id`, `message_id`, `trace_id` and `_row_hash` as the
            destination has them, so that what was not asked for stays as it is.
    """

    reads: Sequence[WindowRead]
    stored_rows: pa.Table | None = None


AnyGroup = TypeVar("AnyGroup", bound=Group)


class Shaper:
    """Shapes the windows of one load. The columns of a table only ever grow while it lives.

    Args:
        engine: The DuckDB of the reader.
        selection: What was asked for.
        stored: dlt's column schemas of earlier loads, by table.
        normalize: dlt's naming convention for one identifier.
        load_id: dlt's id of the load.
        rules: What is kept of which columns.
        forgotten: Whose messages are left out.

    Attributes:
        columns: What is known of each table's columns.
    """

    def __init__(
        self,
        engine: duckdb.DuckDBPyConnection,
        selection: Selection,
        stored: Mapping[str, Mapping[str, TColumnSchema]],
        normalize: Callable[[str], str],
        load_id: str,
        rules: ColumnRules,
        forgotten: Forgotten,
    ) -> None:
        self._connection = engine.cursor()
        self._connection.execute("CREATE TEMP TABLE claimed (company_id BIGINT, message_id VARCHAR)")
        self.columns = {
            table: TableColumns(table, stored.get(table, {}), normalize, rules)
            for table in (MESSAGES, *CHILD_TABLES.values())
        }
        # who else was seen in a conversation is learned batch by batch, so then there is one after the other
        at_once = 1 if forgotten != Forgotten() else _AT_ONCE
        self._turns = _Turns()
        self._numbers = count()
        self._shapers = [
            BatchShaper(engine.cursor(), self.columns, selection, load_id, rules, forgotten) for _ in range(at_once)
        ]
        self._free: SimpleQueue[BatchShaper] = SimpleQueue()
        for shaper in self._shapers:
            self._free.put(shaper)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="mindo-shaper")

    @property
    def changes(self) -> list[SchemaChange]:
        """Columns that this load adds."""
        return [change for columns in self.columns.values() for change in columns.changes]

    @property
    def forgotten(self) -> Forgotten:
        """Who is forgotten, with the conversations that turned out to be theirs or shared."""
        return self._shapers[0].suppression.forgotten()

    def close(self) -> None:
        """Ends all shaping and gives the connections back."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for shaper in self._shapers:
            shaper.close()
        self._connection.close()

    def claim(self, reads: Sequence[WindowRead]) -> set[int]:
        """Notes the ids of windows as part of the load.

        Returns:
            Positions of windows that hold an id which an earlier window of the load has as well: its message moved from
            one window to the other between two requests. dlt's merge does not deduplicate what it loads at once, so such
            a window has to wait for the next load. Its ids are not noted.
        """
        self._connection.register("claims", message_ids(reads))
        late = self._connection.execute(
            "SELECT DISTINCT window_no FROM claims SEMI JOIN claimed USING (company_id, message_id) UNION"
            " SELECT DISTINCT c.window_no FROM claims c JOIN (SELECT company_id, message_id, min(window_no) AS first"
            " FROM claims GROUP BY ALL HAVING count(*) > 1) USING (company_id, message_id) WHERE c.window_no > first"
        ).fetchall()
        postponed = {number for (number,) in late}
        self._connection.execute(
            "INSERT INTO claimed SELECT company_id, message_id FROM claims WHERE NOT list_contains($late, window_no)",
            {"late": sorted(postponed)},
        )
        self._connection.unregister("claims")
        return postponed

    def shape(self, groups: Iterable[AnyGroup]) -> Iterator[tuple[AnyGroup, ShapedBatch]]:
        """Shapes groups of complete windows, some ten thousand rows at a time.

        Args:
            groups: Taken one after the other, a little ahead of what is given out.

        Yields:
            Batches in the order of their windows, each with its group.
        """
        ahead: deque[tuple[AnyGroup, Future[ShapedBatch]]] = deque()
        for group in groups:
            for pages in _batches(group.reads):
                ahead.append((group, self._threads.submit(self._shape, next(self._numbers), pages, group.stored_rows)))
                if len(ahead) > len(self._shapers):
                    first, batch = ahead.popleft()
                    yield first, batch.result()
        for group, batch in ahead:
            yield group, batch.result()

    def _shape(self, number: int, pages: Sequence[BatchPage], stored_rows: pa.Table | None) -> ShapedBatch:
        shaper = self._free.get()
        try:
            return shaper.shape(pages, stored_rows, self._turns.of(number))
        finally:
            self._turns.end(number)
            self._free.put(shaper)


class _Turns:
    """Lets threads do a part of their work one after the other, in the order of their numbers, which count from 0."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._next = 0
        self._ended: set[int] = set()

    @contextmanager
    def of(self, number: int) -> Iterator[None]:
        """The turn of a number: begins when all before it have ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._next == number)
        try:
            yield
        finally:
            self.end(number)

    def end(self, number: int) -> None:
        """Ends the turn of a number, even if it was never taken."""
        with self._changed:
            if number >= self._next:
                self._ended.add(number)
            while self._next in self._ended:
                self._ended.remove(self._next)
                self._next += 1
            self._changed.notify_all()


def _batches(reads: Sequence[WindowRead]) -> Iterator[list[BatchPage]]:
    batch: list[BatchPage] = []
    rows = size = 0
    for number, read in enumerate(reads):
        for page in read.pages:
            if batch and (rows >= BATCH_ROWS or size + page.bytes > _BATCH_BYTES):
                yield batch
                batch, rows, size = [], 0, 0
            if page.rows:
                batch.append(BatchPage(number, read.window.company_id, page))
                rows, size = rows + page.rows, size + page.bytes
    if batch:
        yield batch
