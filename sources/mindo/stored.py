"""What the destination of the running pipeline already holds of the messages that are loaded again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Final

import dlt
import pyarrow as pa
from dlt.common.configuration.container import Container
from dlt.common.destination.exceptions import DestinationUndefinedEntity, SqlClientNotAvailable
from dlt.common.pipeline import PipelineContext

from .columns import MESSAGES
from .queries import Queries, open_queries
from .selection import Selection
from .settings import ALL, CHANNELS, DIRECTIONS
from .windows import Window, ranges_by_company

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
        self._queries: Queries | None = None

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
        queries = self._connected()
        condition, values = _passes(selection, authors)
        parts = [columns.empty_table()]
        if queries is not None:
            names = [name if name in self._columns else "NULL" for name in columns.names]
            query = (
                f"SELECT {', '.join(names)} FROM {{{MESSAGES}}}"
                f" WHERE company_id = %s AND occurred_at >= %s AND occurred_at < %s{condition}"
            )
            try:
                for company_id, ranges in ranges_by_company(windows).items():
                    for start, end in ranges:
                        parts += queries.tables(query, company_id, start, end, *values, schema=columns)
            except DestinationUndefinedEntity:
                return columns.empty_table()
        return pa.concat_tables(parts)

    def __enter__(self) -> StoredMessages:
        """Gives itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnects."""
        self._queries = None
        self._stack.close()

    def _connected(self) -> Queries | None:
        if self._queries is None and self._columns and Container()[PipelineContext].is_active():
            queries = open_queries(dlt.current.pipeline(), dlt.current.source_schema())
            with suppress(SqlClientNotAvailable):
                self._queries = self._stack.enter_context(queries)
        return self._queries


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
