"""What a folder or bucket of files holds, read without an extension of DuckDB, whatever its protocol or table format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.impl.duckdb.sql_client import DuckDBDBApiCursorImpl
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

from .columns import DECLARED
from .strategies import latest_sql

_LOADS_OF: Final = pa.schema([("load_id", pa.string()), ("status", pa.int64())])


class Lake:
    """Tables of dlt's filesystem destination, for queries in DuckDB's SQL; does for one of dlt's SQL clients.

    Of its own tables only `_dlt_loads` is there, with the columns `load_id` and `status`.

    Args:
        client: dlt's client of the destination.
    """

    def __init__(self, client: FilesystemClient) -> None:
        self._client = client
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        self._columns: dict[str, list[str]] = {}
        self.capabilities = client.capabilities

    def make_qualified_table_name(self, table: str) -> str:
        """What stands for the rows of a table that hold, after FROM.

        Raises:
            DestinationUndefinedEntity: If the table has no files.
        """
        loads = self._client.schema.loads_table_name
        for name in (loads, table):
            if name not in self._columns:
                contents = _finished_loads(self._client) if name == loads else _contents(self._client, name)
                self._connection.register(name, contents)
                self._columns[name] = contents.schema.names
        return f"({latest_sql(table, table, loads, self._columns[table])})" if table in DECLARED else table

    @contextmanager
    def execute_query(self, sql: str, *values: Any) -> Iterator[DuckDBDBApiCursorImpl]:
        """Runs a query with `%s` for values."""
        parameters = sql.replace("%s", "?") if values else sql
        yield DuckDBDBApiCursorImpl(self._connection.execute(parameters, list(values)))  # type: ignore[arg-type]

    def __enter__(self) -> Lake:
        """Gives itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forgets what was read."""
        self._connection.close()


def drop_state_of_unfinished_loads(client: FilesystemClient, pipeline_name: str) -> None:
    """Removes the state of loads that were killed before they were noted as finished: it speaks of rows that do not count.

    Args:
        client: dlt's client of the destination.
        pipeline_name: Whose state; nothing must be loading for it at the same time.
    """
    try:
        finished = {_load_id(file) for file in client.list_table_files(client.schema.loads_table_name)}
        states = client.list_table_files(client.schema.state_table_name)
    except DestinationUndefinedEntity:
        return
    for file in states:
        name, load_id, _ = PurePosixPath(file).stem.rsplit("__", 2)
        if name == pipeline_name and load_id not in finished:
            client.fs_client.rm_file(file)


def _contents(client: FilesystemClient, table: str) -> Any:
    if table not in client.schema.tables:
        raise DestinationUndefinedEntity(table)
    table_format = client.prepare_load_table(table).get("table_format")
    if table_format == "delta":
        return client.load_open_table("delta", table).to_pyarrow_dataset()
    if table_format == "iceberg":
        return client.load_open_table("iceberg", table).scan().to_arrow()
    files = client.list_table_files(table)
    if not files:
        raise DestinationUndefinedEntity(table)
    # files of other loads may have more columns
    parts = [ds.dataset(file, filesystem=client.fs_client, format="parquet") for file in files]
    return ds.dataset(parts, schema=pa.unify_schemas([part.schema for part in parts], promote_options="permissive"))


def _finished_loads(client: FilesystemClient) -> pa.Table:
    files = client.list_table_files(client.schema.loads_table_name)
    return pa.Table.from_pylist([{"load_id": _load_id(file), "status": 0} for file in files], _LOADS_OF)


def _load_id(file: str) -> str:
    # a file for each load, named after its schema and its id
    return PurePosixPath(file).stem.rsplit("__", 1)[-1]
