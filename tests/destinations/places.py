"""Destinations as tests see them: how dlt is told of each, and how its tables are read back without dlt.

`tests.support` compares tables with a world, whatever they were read from, by the types that DuckDB has for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import duckdb
import fsspec
import psycopg2
import psycopg2.extras
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from deltalake import DeltaTable
from pyiceberg.table import StaticTable

from mindo.strategies import latest_sql
from tests.support import TABLES, Message, Row, Table, micros, read_tables

_TIME: Final = "TIMESTAMP WITH TIME ZONE"
_DUCKDB_TYPES: Final = {
    "character varying": "VARCHAR",
    "varchar": "VARCHAR",
    "text": "VARCHAR",
    "longtext": "VARCHAR",
    "bigint": "BIGINT",
    "double precision": "DOUBLE",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "tinyint": "BOOLEAN",
    "json": "JSON",
    "timestamp with time zone": _TIME,
    "datetime": _TIME,
    "string": "VARCHAR",
    "large_string": "VARCHAR",
    "int64": "BIGINT",
    "bool": "BOOLEAN",
    "timestamp[us, tz=UTC]": _TIME,
}
"""What DuckDB calls the types that databases and Arrow give to our columns; all without zones hold UTC."""

_JSON_COLUMNS: Final = {"messages__tool_calls": {"arguments", "result"}}
"""Columns of JSON that are text where a destination has no such type, or keeps no JSON as it was sent."""


class Place(Protocol):
    """A destination.

    Attributes:
        destination: Its name in dlt.
        appends: Whether loads are only appended.
        replacement: What stands for U+0000 where text can't hold it.
    """

    destination: str
    appends: bool
    replacement: str

    def configuration(self) -> Mapping[str, str]:
        """What dlt has to be told, as environment variables."""

    def read(self, dataset: str) -> dict[str, Table]:
        """The four tables."""


@dataclass
class DuckDb:
    """A DuckDB file in the folder of the test."""

    file: Path
    destination = "duckdb"
    appends = False
    replacement = "\0"

    def configuration(self) -> Mapping[str, str]:
        return {"DESTINATION__DUCKDB__CREDENTIALS": str(self.file)}

    def read(self, dataset: str) -> dict[str, Table]:
        return read_tables(self.file, dataset)


@dataclass
class Postgres:
    """A database of a PostgreSQL server, or the rows of it that meet a condition."""

    url: str
    condition: str = "true"
    destination = "postgres"
    appends = False
    replacement = "\ufffd"

    def configuration(self) -> Mapping[str, str]:
        return {"DESTINATION__POSTGRES__CREDENTIALS": self.url}

    def read(self, dataset: str) -> dict[str, Table]:
        # JSON is compared as it is written
        psycopg2.extras.register_default_json(globally=True, loads=str)
        with psycopg2.connect(self.url) as connection, connection.cursor() as cursor:
            return {table: self._table(cursor, dataset, table) for table in TABLES}

    def _table(self, cursor: Any, dataset: str, table: str) -> Table:
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
            (dataset, table),
        )
        kinds = dict(cursor.fetchall())
        names = list(kinds)
        cursor.execute(
            "SELECT " + ", ".join(f'"{name}"' for name in names) + f' FROM "{dataset}"."{table}" WHERE {self.condition}'
        )
        return _table(table, kinds, [dict(zip(names, row, strict=True)) for row in cursor.fetchall()])


@dataclass
class SqlAlchemy:
    """A database that dlt reaches through SQLAlchemy: a MariaDB, or a file of SQLite."""

    url: str
    destination = "sqlalchemy"
    appends = False
    replacement = "\0"

    def configuration(self) -> Mapping[str, str]:
        return {"DESTINATION__SQLALCHEMY__CREDENTIALS": self.url}

    def read(self, dataset: str) -> dict[str, Table]:
        engine = sa.create_engine(self.url)
        try:
            with engine.connect() as connection:
                if engine.dialect.name == "sqlite":
                    # dlt keeps a dataset in a file of its own, beside the database
                    stem = Path(str(engine.url.database))
                    file = stem.with_name(f"{stem.stem}__{dataset}{stem.suffix}")
                    connection.execute(sa.text(f"ATTACH '{file}' AS \"{dataset}\""))
                return {table: self._table(connection, dataset, table) for table in TABLES}
        finally:
            engine.dispose()

    def _table(self, connection: sa.Connection, dataset: str, table: str) -> Table:
        columns = sa.inspect(connection).get_columns(table, schema=dataset)
        kinds = {column["name"]: str(column["type"]).split("(")[0].split(" ")[0].lower() for column in columns}
        defined = sa.Table(table, sa.MetaData(), *(sa.Column(c["name"], c["type"]) for c in columns), schema=dataset)
        rows = connection.execute(sa.select(defined)).mappings()
        return _table(table, kinds, [dict(row) for row in rows])


@dataclass
class Lake:
    """Files in a folder or a bucket, as plain parquet, Delta or Iceberg; what holds is what the documented query says."""

    url: str
    table_format: Literal["parquet", "delta", "iceberg"] = "parquet"
    credentials: Mapping[str, str] = field(default_factory=dict)
    destination = "filesystem"
    appends = True
    replacement = "\0"

    def configuration(self) -> Mapping[str, str]:
        told = {"BUCKET_URL": self.url}
        told |= {f"CREDENTIALS__{name.upper()}": value for name, value in self.credentials.items()}
        if self.table_format != "parquet":
            told["TABLE_FORMAT"] = self.table_format
        return {f"DESTINATION__FILESYSTEM__{name}": value for name, value in told.items()}

    def read(self, dataset: str) -> dict[str, Table]:
        options = {}
        if self.credentials:
            options = {
                "key": self.credentials["aws_access_key_id"],
                "secret": self.credentials["aws_secret_access_key"],
                "endpoint_url": self.credentials["endpoint_url"],
            }
        system, path = fsspec.url_to_fs(f"{self.url}/{dataset}", **options)
        system.invalidate_cache()
        finished = [json.loads(system.cat_file(name)) for name in system.glob(f"{path}/_dlt_loads/*.jsonl")]
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("loads", pa.table({"load_id": [load["load_id"] for load in finished]}))
            tables = {}
            for table in TABLES:
                rows = self._rows(system, f"{path}/{table}", f"{self.url}/{dataset}/{table}")
                connection.register(table, rows)
                held = connection.execute(latest_sql(table, table, "loads", rows.column_names)).to_arrow_table()
                kinds = {column.name: str(column.type) for column in rows.schema}
                tables[table] = _table(table, kinds, held.to_pylist())
            return tables

    def _rows(self, system: fsspec.AbstractFileSystem, path: str, url: str) -> pa.Table:
        if self.table_format == "delta":
            options = {name.upper(): value for name, value in self.credentials.items()} | {"AWS_ALLOW_HTTP": "true"}
            return DeltaTable(url, storage_options=options).to_pyarrow_table()
        if self.table_format == "iceberg":
            newest = max(system.glob(f"{path}/metadata/*.metadata.json"))
            properties = {f"s3.{name.removeprefix('aws_').replace('_', '-').replace('endpoint-url', 'endpoint')}": value
                          for name, value in self.credentials.items()}  # fmt: skip
            return StaticTable.from_metadata(f"{url}/metadata/{newest.rsplit('/')[-1]}", properties).scan().to_arrow()
        files = [pq.read_table(system.open(name)) for name in system.glob(f"{path}/*.parquet")]
        return pa.concat_tables(files, promote_options="permissive")


def as_held(message: Message, replacement: str) -> Message:
    """A message whose text is as the place can hold it. Values further inside are JSON in the tables, which escapes U+0000."""

    def replaced(value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return value.replace("\0", replacement)
        if isinstance(value, list) and depth == 1:
            return [replaced(item, depth) for item in value]
        if isinstance(value, dict) and depth < 2:
            return {
                name: item if name in _JSON_COLUMNS["messages__tool_calls"] else replaced(item, depth + 1)
                for name, item in value.items()
            }
        return value

    return {name: replaced(value, 1) for name, value in message.items()}


def _table(table: str, kinds: Mapping[str, str], rows: list[Row]) -> Table:
    types = {name: _DUCKDB_TYPES[kind] for name, kind in kinds.items()}
    types |= dict.fromkeys(_JSON_COLUMNS.get(table, set()), "JSON")
    return Table(types, [{name: _cell(types[name], value) for name, value in row.items()} for row in rows])


def _cell(kind: str, value: Any) -> Any:
    if isinstance(value, datetime | date):
        return micros(value.astimezone(UTC) if value.tzinfo else value)
    if kind == "BOOLEAN" and value is not None:
        return bool(value)
    return value
