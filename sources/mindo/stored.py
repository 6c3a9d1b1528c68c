"""What the destination of the running pipeline already holds of the messages that are loaded again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

import dlt
import pyarrow as pa
from dlt.common.configuration.container import Container
from dlt.common.destination.exceptions import DestinationUndefinedEntity, SqlClientNotAvailable
from dlt.common.pipeline import PipelineContext
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from .columns import MESSAGES
from .selection import Selection
from .settings import ALL, CHANNELS, DIRECTIONS
from .strategies import latest_sql
from .windows import Window, ranges_by_company

_ROWS_AT_ONCE: Final = 50_000

HELD: Final = pa.schema(
    [("company_id", pa.int64()), ("message_id", pa.string()), ("occurred_at", pa.timestamp("us", "UTC"))]
)
"""Which messages there are."""

LEFT_OUT: Final = pa.schema(
    [("company_id", pa.int64()), *((name, pa.string()) for name in ("message_id", "trace_id", "_row_hash"))]
)
"""What a run that leaves an include out must not lose. dlt's merge writes every column of a changed row, so a column that
was not asked for has to be written as it was."""


class StoredMessages:
    """Reads the table `messages` of the destination. A context manager; connects when it is first asked.

    Everything is empty where there is no such table yet, no SQL to ask with, or no pipeline at all.

    Args:
        columns: The columns of the table, by dlt's schema; none if there is no table yet.
    """

    def __init__(self, columns: Collection[str]) -> None:
        self._columns = columns
        self._stack = ExitStack()
        self._reader: _SqlReader | _LakeReader | None = None

    def rows(
        self, windows: Iterable[Window], columns: pa.Schema, selection: Selection, authors: Sequence[str] = ()
    ) -> pa.Table:
        """The stored messages of some windows, as far as they pass the filters of a selection.

        Args:
            windows: Where they lie.
            columns: What is read of each: names and types.
            selection: Its filters.
            authors: The author ids that the agents of the selection are known by.
        """
        reader = self._connected()
        condition, values = _passes(selection, authors)
        parts = [columns.empty_table()]
        if reader is not None:
            names = [name if name in self._columns else "NULL" for name in columns.names]
            query = (
                f"SELECT {', '.join(names)} FROM {reader.messages}"
                f" WHERE company_id = %s AND occurred_at >= %s AND occurred_at < %s{condition}"
            )
            try:
                for company_id, ranges in ranges_by_company(windows).items():
                    for start, end in ranges:
                        parts += [
                            as_columns(rows, columns) for rows in reader.select(query, company_id, start, end, *values)
                        ]
            except DatabaseUndefinedRelation:
                return columns.empty_table()
        return pa.concat_tables(parts)

    def __enter__(self) -> StoredMessages:
        """Gives itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnects."""
        self._reader = None
        self._stack.close()

    def _connected(self) -> _SqlReader | _LakeReader | None:
        if self._reader is None and self._columns and Container()[PipelineContext].is_active():
            pipeline = dlt.current.pipeline()
            try:
                if isinstance(pipeline.destination, dlt.destinations.filesystem):
                    self._reader = self._stack.enter_context(_LakeReader(pipeline, self._columns))
                else:
                    client: Any = pipeline.sql_client()
                    self._reader = _SqlReader(self._stack.enter_context(client))
            except (SqlClientNotAvailable, DestinationUndefinedEntity):
                return None
        return self._reader


class _SqlReader:
    """Reads from a database."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.messages = str(client.make_qualified_table_name(MESSAGES))

    def select(self, query: str, *values: Any) -> Iterator[pa.Table]:
        values = tuple(self._held(value) for value in values)
        with self._client.execute_query(query, *values) as cursor:
            yield from cursor.iter_arrow(_ROWS_AT_ONCE)

    def _held(self, value: Any) -> Any:
        if isinstance(value, datetime) and not self._client.capabilities.supports_tz_aware_datetime:
            return value.astimezone(UTC).replace(tzinfo=None)
        return value


class _LakeReader:
    """Reads from files, to which loads are only appended."""

    def __init__(self, pipeline: dlt.Pipeline, columns: Iterable[str]) -> None:
        # takes a while to import, and most destinations do without
        from .lake import LOADS, Lake

        self._lake = Lake(pipeline.destination_client(), MESSAGES)
        self.messages = f"({latest_sql(MESSAGES, MESSAGES, LOADS, columns)}) AS latest"

    def select(self, query: str, *values: Any) -> Iterator[pa.Table]:
        yield from self._lake.select(query.replace("%s", "?"), *values, rows_at_once=_ROWS_AT_ONCE)

    def __enter__(self) -> _LakeReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._lake.close()


def as_columns(rows: pa.Table, columns: pa.Schema) -> pa.Table:
    """What a cursor gave, with names and types of our own: a database without zones stores times as UTC, some as text."""
    cells = []
    for cell, field in zip(rows.columns, columns, strict=True):
        if pa.types.is_timestamp(field.type) and pa.types.is_string(cell.type):
            cell = cell.cast(pa.timestamp(field.type.unit))
        cells.append(cell.cast(field.type))
    return pa.table(cells, columns)


def _passes(selection: Selection, authors: Sequence[str]) -> tuple[str, list[Any]]:
    wanted: dict[str, Sequence[str]] = {}
    if selection.channel != ALL:
        wanted["channel"] = CHANNELS[selection.channel]
    if selection.direction != ALL:
        wanted["direction"] = [DIRECTIONS[selection.direction]]
    if selection.agent_ids:
        # an empty IN () is no SQL
        wanted["author__id"] = authors or [""]
    condition = "".join(f" AND {column} IN ({', '.join(['%s'] * len(values))})" for column, values in wanted.items())
    return condition, [value for values in wanted.values() for value in values]
