"""What a folder or bucket of files holds, read without an extension of DuckDB, whatever its protocol or table format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

LOADS = "finished_loads"


class Lake:
    """Tables of dlt's filesystem destination, for queries in DuckDB's SQL.

    Args:
        client: dlt's client of the destination.
        tables: Names of the tables that are asked for; `LOADS` is there as well, with `load_id` of every finished load.

    Raises:
        DestinationUndefinedEntity: If a table has no files.
    """

    def __init__(self, client: Any, *tables: str) -> None:
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        try:
            for table in tables:
                self._connection.register(table, _contents(client, table))
            self._connection.register(LOADS, _finished_loads(client))
        except BaseException:
            self._connection.close()
            raise

    def select(self, sql: str, *values: Any, rows_at_once: int) -> Iterator[pa.Table]:
        """Runs a query with `?` for values, and gives its rows in parts."""
        for batch in self._connection.execute(sql, list(values)).to_arrow_reader(rows_at_once):
            yield pa.Table.from_batches([batch])

    def close(self) -> None:
        """Forgets what was read."""
        self._connection.close()


def _contents(client: FilesystemClient, table: str) -> Any:
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
    # a file for each, named after its schema and its id
    files = client.list_table_files(client.schema.loads_table_name)
    return pa.table({"load_id": pa.array([PurePosixPath(file).stem.rsplit("__")[-1] for file in files], pa.string())})
