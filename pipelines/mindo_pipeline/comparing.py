"""Compares windows of the API with what the warehouse holds for them: ids and row hashes, row by row, in DuckDB.

Nothing of a message but its ids and hashes is kept, and of those only a group of windows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import duckdb
import pyarrow as pa

from mindo import MindoError, Options, Window, WindowReader
from mindo.columns import CHILD_TABLES, LISTS, MESSAGES
from mindo.pages import Page
from mindo.reader import WindowRead
from mindo.replacing import window_markers
from mindo.row_hashes import HASH_PART
from mindo.settings import INCLUDES
from mindo.shaping import BATCH_ROWS, Group, Shaper
from mindo.sightings import Sightings
from mindo.stored import LEFT_OUT
from mindo.strategies import storable
from mindo.windows import merge_ranges

from .warehouse import Warehouse

EXAMPLES: Final = 5
"""Ids given of each kind of difference, per window."""

_GROUP_WINDOWS: Final = 1_000
_UTC: Final = pa.timestamp("us", "UTC")
_TYPES: Final = {"company_id": pa.int64(), "occurred_at": _UTC, "_dlt_list_idx": pa.int64()}
_ROW: Final = ("company_id", "message_id", "occurred_at", "_row_hash")
_FILTERED: Final = ("channel", "direction", "author__id")

_COUNTS: Final = f"""
WITH cells AS (
    -- a row that both sides have cancels itself out; one that is there twice does not
    SELECT window_no, message_id, place, sum(side) AS surplus, bool_or(side > 0) AS in_api,
        bool_or(side < 0) AS in_warehouse
    FROM compared_rows GROUP BY window_no, message_id, place, list_idx, row_hash
), found AS (
    SELECT window_no, message_id, bool_or(place = 0 AND in_api) AS in_api,
        bool_or(place = 0 AND in_warehouse) AS in_warehouse, bool_or(surplus <> 0) AS differs
    FROM cells GROUP BY window_no, message_id
), kinds AS (
    -- rows of lists whose message neither side has are too many as well
    SELECT *, CASE WHEN in_api AND NOT in_warehouse THEN 'missing' WHEN NOT in_api THEN 'extra'
        WHEN differs THEN 'changed' END AS kind
    FROM found
)
SELECT window_no, count(*) FILTER (in_api) AS in_api, count(*) FILTER (in_warehouse) AS in_warehouse,
    {", ".join(f"count(*) FILTER (kind = '{kind}'), min(message_id, {EXAMPLES}) FILTER (kind = '{kind}')" for kind in ("missing", "extra", "changed"))}
FROM kinds GROUP BY window_no
"""


@dataclass
class Differences:
    """Messages of one kind of difference: how many there are, and a few of their ids."""

    count: int = 0
    ids: list[str] = field(default_factory=list)


@dataclass
class ComparedWindow:
    """A window of the API beside the same window of the warehouse.

    Attributes:
        window: What was compared.
        error: Why the window can't be compared; `None` if it was.
        in_api: Messages that the API returns for it.
        in_warehouse: Messages that the warehouse holds of it.
        missing: Messages that the warehouse lacks.
        extra: Messages that the API does not return.
        changed: Messages that both have, but not alike: the message or a row of its lists.
    """

    window: Window
    error: MindoError | None = None
    in_api: int = 0
    in_warehouse: int = 0
    missing: Differences = field(default_factory=Differences)
    extra: Differences = field(default_factory=Differences)
    changed: Differences = field(default_factory=Differences)

    @property
    def differences(self) -> int:
        """Messages that differ."""
        return self.missing.count + self.extra.count + self.changed.count

    @property
    def status(self) -> str:
        """`equal`, `different`, or `incomplete` if it can't be told."""
        if self.error is not None:
            return "incomplete"
        return "different" if self.differences else "equal"


def compare_windows(
    warehouse: Warehouse,
    options: Options,
    windows: Sequence[Window],
    on_page: Callable[[Window, Page], None] | None = None,
) -> Iterator[list[ComparedWindow]]:
    """Reads windows and compares them with the warehouse, some ten thousand messages at a time. Writes nothing.

    A message of the API counts as it would be loaded now, so what is left out of a run is not looked at. Each window stands
    for itself: a message that moved to another window is extra in the one and missing in the other.

    Args:
        warehouse: Its state and schema as of the last `reading` or `writing`.
        options: The API, and the selection to compare.
        windows: The plan.
        on_page: Called after each page, from a reader's thread.

    Yields:
        Groups of windows in the order of the plan; those that can't be read whole come with the group that they fell in.

    Raises:
        DestinationError: If the warehouse can't be read.
    """
    with WindowReader(options, windows, on_page) as reader, _open_comparer(warehouse, reader) as comparer:
        for group in _groups(reader):
            whole = [read for read in group if read.error is None]
            try:
                compared = comparer.compare(whole)
            finally:
                for read in whole:
                    read.release()
            yield compared + [ComparedWindow(read.window, read.error) for read in group if read.error is not None]


def _groups(reader: WindowReader) -> Iterator[list[WindowRead]]:
    group: list[WindowRead] = []
    rows = 0
    for read in reader:
        group.append(read)
        rows += read.rows
        if rows >= BATCH_ROWS or len(group) >= _GROUP_WINDOWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


@contextmanager
def _open_comparer(warehouse: Warehouse, reader: WindowReader) -> Iterator[_Comparer]:
    schema = warehouse.schema
    tables = (MESSAGES, *CHILD_TABLES.values())
    stored = {table: schema.tables[table]["columns"] for table in tables if table in schema.tables}
    shaper = Shaper(
        reader.engine,
        reader.selection,
        stored,
        schema.naming.normalize_identifier,
        load_id="",
        rules=reader.options.column_rules,
        forgotten=warehouse.coverage.forgotten(),
    )
    with reader.engine.cursor() as connection:
        try:
            yield _Comparer(warehouse, reader, shaper, connection)
        finally:
            shaper.close()


class _Comparer:
    """Compares group after group; what it learns of channels and agents decides what a filtered load may replace."""

    def __init__(
        self, warehouse: Warehouse, reader: WindowReader, shaper: Shaper, connection: duckdb.DuckDBPyConnection
    ) -> None:
        self._warehouse = warehouse
        self._capabilities = warehouse.pipeline.destination_client().capabilities
        self._selection = reader.selection
        self._shaper = shaper
        self._connection = connection
        self._tables = [MESSAGES, *(CHILD_TABLES[name] for name in LISTS if name in self._selection.include)]
        self._sightings = Sightings()

    def compare(self, reads: Sequence[WindowRead]) -> list[ComparedWindow]:
        """Compares complete windows."""
        windows = [read.window for read in reads]
        if not windows:
            return []
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE compared_rows (window_no BIGINT, message_id VARCHAR, place BIGINT,"
            " list_idx BIGINT, row_hash VARCHAR, side TINYINT)"
        )
        with self._registered("compared_windows", _window_table(windows)):
            self._take_api(reads)
            self._take_warehouse(windows)
        rows = self._connection.execute(_COUNTS).fetchall()
        self._connection.execute("DROP TABLE compared_rows")
        compared = [ComparedWindow(window) for window in windows]
        for number, in_api, in_warehouse, *kinds in rows:
            differences = [Differences(count, ids or []) for count, ids in zip(kinds[::2], kinds[1::2], strict=True)]
            compared[number] = ComparedWindow(windows[number], None, in_api, in_warehouse, *differences)
        return compared

    def _take_api(self, reads: Sequence[WindowRead]) -> None:
        for _, batch in self._shaper.shape([Group(reads, self._left_out([read.window for read in reads]))]):
            for place, table in enumerate(self._tables):
                rows = batch.tables[table].select(_columns(table))
                self._insert(place, storable(rows, self._capabilities), side=1)
            if self._selection.filtered:
                self._sightings.note(batch.tables[MESSAGES])

    def _left_out(self, windows: Sequence[Window]) -> pa.Table | None:
        """What the warehouse holds of parts that are not compared: a trace is part of the hash of a message."""
        if self._compares_everything:
            return None
        return pa.concat_tables([LEFT_OUT.empty_table(), *self._stored(MESSAGES, LEFT_OUT.names, windows)])

    @property
    def _compares_everything(self) -> bool:
        return set(self._selection.include) == set(INCLUDES)

    def _take_warehouse(self, windows: Sequence[Window]) -> None:
        condition = "true"
        if self._selection.filtered:
            authors = self._warehouse.coverage.authors_by_company(windows, self._selection)
            markers = window_markers(windows, self._selection, self._sightings.channels, authors)
            self._connection.register("scopes", _scope_table(markers))
            # a row that the API returns is replaced by it, whatever it was before
            condition = (
                "EXISTS (FROM scopes WHERE scopes.company_id = rows.company_id AND rows.occurred_at >= starts"
                " AND rows.occurred_at < ends AND (scopes.channel IS NULL OR scopes.channel = rows.channel)"
                " AND (scopes.direction IS NULL OR scopes.direction = rows.direction)"
                " AND (scopes.author__id IS NULL OR scopes.author__id = rows.author__id))"
                " OR (window_no, message_id) IN (SELECT (window_no, message_id) FROM compared_rows WHERE side > 0)"
            )
        for place, table in enumerate(self._tables):
            columns = _columns(table) + (list(_FILTERED) if self._selection.filtered else [])
            for rows in self._stored(table, columns, windows):
                self._insert(place, rows, side=-1, condition=condition)
        if self._selection.filtered:
            self._connection.unregister("scopes")

    def _stored(self, table: str, columns: Sequence[str], windows: Sequence[Window]) -> Iterator[pa.Table]:
        schema = pa.schema([(column, _TYPES.get(column, pa.string())) for column in columns])
        companies = sorted({window.company_id for window in windows})
        marks = ", ".join(["%s"] * len(companies))
        sql = (
            f"SELECT {', '.join(columns)} FROM {{{table}}}"
            f" WHERE company_id IN ({marks}) AND occurred_at >= %s AND occurred_at < %s"
        )
        for start, end in merge_ranges((window.start, window.end) for window in windows):
            yield from self._warehouse.query_arrow(sql, *companies, start, end, schema=schema)

    def _insert(self, place: int, rows: pa.Table, side: int, condition: str = "true") -> None:
        list_idx = "_dlt_list_idx" if place else "NULL"
        # the other parts of a message's hash speak of its lists, of which some are not compared and the rest row by row
        own_hash = f"substr(_row_hash, 1, {HASH_PART})"
        row_hash = "_row_hash" if place or self._compares_everything else own_hash
        with self._registered("rows", rows):
            self._connection.execute(
                "INSERT INTO compared_rows SELECT window_no, message_id, $place,"
                f" {list_idx}, {row_hash}, $side FROM rows ASOF JOIN compared_windows"
                " ON rows.company_id = compared_windows.company_id AND rows.occurred_at >= compared_windows.starts"
                f" WHERE rows.occurred_at < compared_windows.ends AND ({condition})",
                {"place": place, "side": side},
            )

    @contextmanager
    def _registered(self, name: str, table: pa.Table) -> Iterator[None]:
        self._connection.register(name, table)
        try:
            yield
        finally:
            self._connection.unregister(name)


def _columns(table: str) -> list[str]:
    return [*_ROW, *(["_dlt_list_idx"] if table != MESSAGES else [])]


def _window_table(windows: Sequence[Window]) -> pa.Table:
    return pa.table(
        {
            "window_no": pa.array(range(len(windows)), pa.int64()),
            "company_id": pa.array([window.company_id for window in windows], pa.int64()),
            "starts": pa.array([window.start for window in windows], _UTC),
            "ends": pa.array([window.end for window in windows], _UTC),
        }
    )


def _scope_table(markers: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.table(
        {
            "company_id": pa.array([marker["company_id"] for marker in markers], pa.int64()),
            "starts": pa.array([marker["occurred_at"] for marker in markers], _UTC),
            "ends": pa.array([marker["_window_end"] for marker in markers], _UTC),
            **{name: pa.array([marker[name] for marker in markers], pa.string()) for name in _FILTERED},
        }
    )
