"""Queries of a destination: the same SQL wherever the tables are, and of a table the rows that hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import dlt
import pyarrow as pa
from dlt.destinations.sql_client import WithSqlClient

from .columns import DECLARED
from .strategies import latest_sql, only_appends

ROWS_AT_ONCE: Final = 50_000


class Queries:
    """Runs queries in which `{table}` stands for a table.

    Args:
        client: One of dlt's SQL clients, or a `Lake`.
        name_of: Gives what stands for a table.
    """

    def __init__(self, client: Any, name_of: Callable[[str], str]) -> None:
        self._client = client
        self._names = _Names(name_of)

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Runs a query with `%s` for values, and gives its rows by the names of their columns."""
        with self._execute(sql, values) as cursor:
            names = list(cursor.columns_schema)
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def tables(self, sql: str, *values: Any, schema: pa.Schema) -> Iterator[pa.Table]:
        """The same in parts, with names and types of our own: a database without zones stores times as UTC, some as text."""
        with self._execute(sql, values) as cursor:
            for rows in cursor.iter_arrow(ROWS_AT_ONCE):
                yield _as_columns(rows, schema)

    def _execute(self, sql: str, values: tuple[Any, ...]) -> Any:
        held = [self._held(value) for value in values]
        return self._client.execute_query(sql.format_map(self._names), *held)

    def _held(self, value: Any) -> Any:
        if isinstance(value, datetime) and not self._client.capabilities.supports_tz_aware_datetime:
            return value.astimezone(UTC).replace(tzinfo=None)
        return value


@contextmanager
def open_queries(pipeline: dlt.Pipeline, schema: dlt.Schema) -> Iterator[Queries]:
    """Connects to the destination of a pipeline.

    Where loads are only appended, a declared table stands for the rows of it that hold.

    Args:
        pipeline: The pipeline.
        schema: The schema of the tables.

    Raises:
        SqlClientNotAvailable: If there is nothing to ask with.
        DestinationUndefinedEntity: From every query, if a table is not there.
    """
    # before the first load dlt knows no schema of that name
    name: Any = schema.name if schema.name in pipeline.schemas else None
    client: Any = pipeline.destination_client(name)
    if isinstance(pipeline.destination, dlt.destinations.filesystem):
        # takes a while to import, and most destinations do without
        from .lake import Lake

        with Lake(client) as lake:
            yield Queries(lake, lake.make_qualified_table_name)
        return
    appends = only_appends(client.capabilities)
    # the pipeline's is of another client, which would have to be configured as well
    with client.sql_client if isinstance(client, WithSqlClient) else pipeline.sql_client(name) as sql_client:
        qualified = sql_client.make_qualified_table_name

        def name_of(table: str) -> str:
            if not appends or table not in DECLARED or table not in schema.tables:
                return str(qualified(table))
            columns = schema.tables[table]["columns"]
            return f"({latest_sql(table, qualified(table), qualified(schema.loads_table_name), columns)})"

        yield Queries(sql_client, name_of)


class _Names(dict[str, str]):
    def __init__(self, name_of: Callable[[str], str]) -> None:
        super().__init__()
        self._name_of = name_of

    def __missing__(self, table: str) -> str:
        return self._name_of(table)


def _as_columns(rows: pa.Table, columns: pa.Schema) -> pa.Table:
    cells = []
    for cell, field in zip(rows.columns, columns, strict=True):
        if pa.types.is_timestamp(field.type) and pa.types.is_string(cell.type):
            cell = cell.cast(pa.timestamp(field.type.unit))
        cells.append(cell.cast(field.type))
    return pa.table(cells, columns)
