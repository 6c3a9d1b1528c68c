"""What dlt would run in a destination for this source's hints, made without a server and without the driver that talks to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.storages.load_package import ParsedLoadJobFileName

from mindo.columns import CHILD_TABLES, DECLARED, MESSAGES, Column
from mindo.replacing import arrow_schema, make_table_hints

TOOL_CALLS = CHILD_TABLES["tool_calls"]
DISCOVERED = {
    MESSAGES: (
        Column("agent__name", "text", "Discovered.", member="agent/name"),
        Column("agent__tools", "json", "Discovered.", member="agent/tools"),
        Column("is_final", "bool", "Discovered.", member="/isFinal"),
        Column("context__thread_position__v_text", "text", "A variant."),
    ),
    TOOL_CALLS: (Column("duration_ms", "double", "Discovered.", member="/duration_ms"),),
}
COLUMNS = {table: (*declared, *DISCOVERED.get(table, ())) for table, declared in DECLARED.items()}


@dataclass(frozen=True)
class Destination:
    """A destination that nothing is sent to.

    Attributes:
        dialect: sqlglot's name of its SQL.
        strategy: How windows are replaced there.
        upper_case: Whether names are folded to upper case.
        types: Its types of the columns, by dlt's.
        settings: What dlt has to know of it.
        bucket: Whether it loads from a bucket only.
    """

    dialect: str
    strategy: str
    types: Mapping[str, str]
    settings: Mapping[str, Any]
    upper_case: bool = False
    bucket: bool = False


def _odbc(name: str) -> dict[str, str]:
    return {"credentials": f"{name}://user:word@localhost:1433/db?driver=ODBC+Driver+18+for+SQL+Server"}


DESTINATIONS = {
    "athena": Destination(
        "athena",
        "cdc",
        {
            "text": "VARCHAR",
            "bigint": "BIGINT",
            "double": "DOUBLE",
            "bool": "BOOLEAN",
            "timestamp": "TIMESTAMP",
            "json": "VARCHAR",
        },
        {
            "query_result_bucket": "s3://results",
            "credentials": {"aws_access_key_id": "id", "aws_secret_access_key": "key", "region_name": "eu-west-1"},
        },
        bucket=True,
    ),
    "bigquery": Destination(
        "bigquery",
        "cdc",
        # a JSON column can't be loaded from parquet
        {
            "text": "STRING",
            "bigint": "INT64",
            "double": "FLOAT64",
            "bool": "BOOL",
            "timestamp": "TIMESTAMP",
            "json": "STRING",
        },
        {"credentials": {"project_id": "project-1", "private_key": "key", "client_email": "mindo@project-1.test"}},
    ),
    "clickhouse": Destination(
        "clickhouse",
        "delete-insert",
        {
            "text": "String",
            "bigint": "Int64",
            "double": "Float64",
            "bool": "Bool",
            "timestamp": "DateTime64(6, 'UTC')",
            "json": "String",
        },
        {"credentials": "clickhouse://user:word@localhost:9000/db"},
    ),
    "databricks": Destination(
        "databricks",
        "cdc",
        {
            "text": "STRING",
            "bigint": "BIGINT",
            "double": "DOUBLE",
            "bool": "BOOLEAN",
            "timestamp": "TIMESTAMP",
            "json": "STRING",
        },
        {
            "credentials": {
                "server_hostname": "localhost",
                "http_path": "/sql",
                "catalog": "catalog",
                "access_token": "token",
            }
        },
    ),
    "fabric": Destination(
        "fabric",
        "cdc",
        {
            "text": "VARCHAR(MAX)",
            "bigint": "BIGINT",
            "double": "FLOAT",
            "bool": "BIT",
            "timestamp": "DATETIME2(6)",
            "json": "VARCHAR(MAX)",
        },
        {
            "credentials": {
                "host": "localhost",
                "database": "db",
                "azure_tenant_id": "tenant",
                "azure_client_id": "client",
                "azure_client_secret": "word",
            }
        },
    ),
    "mssql": Destination(
        "tsql",
        "cdc",
        {
            "text": "NVARCHAR(MAX)",
            "bigint": "BIGINT",
            "double": "FLOAT",
            "bool": "BIT",
            "timestamp": "DATETIMEOFFSET",
            "json": "JSON",
        },
        _odbc("mssql"),
    ),
    "redshift": Destination(
        "redshift",
        "delete-insert",
        {
            "text": "VARCHAR(MAX)",
            "bigint": "BIGINT",
            "double": "DOUBLE PRECISION",
            "bool": "BOOLEAN",
            "timestamp": "TIMESTAMP WITH TIME ZONE",
            "json": "SUPER",
        },
        {"credentials": "redshift://user:word@localhost:5439/db"},
    ),
    "snowflake": Destination(
        "snowflake",
        "cdc",
        {
            "text": "VARCHAR",
            "bigint": "DECIMAL(19, 0)",
            "double": "DOUBLE",
            "bool": "BOOLEAN",
            "timestamp": "TIMESTAMPLTZ",
            "json": "VARIANT",
        },
        {"credentials": "snowflake://user:word@account/DB?warehouse=WH"},
        upper_case=True,
    ),
    "synapse": Destination(
        "tsql",
        "delete-insert",
        {
            "text": "NVARCHAR(MAX)",
            "bigint": "BIGINT",
            "double": "FLOAT",
            "bool": "BIT",
            "timestamp": "DATETIMEOFFSET",
            "json": "NVARCHAR(MAX)",
        },
        _odbc("synapse"),
    ),
}


@dataclass(frozen=True)
class GeneratedTable:
    """What dlt would do with a table.

    Attributes:
        hints: The table as the destination sees it, with all its hints.
        create: Statements that make the table.
        create_staging: Statements that make its table in the staging dataset.
        merge: Statements that merge the staged rows into it.
        file_format: What its rows are loaded from.
    """

    hints: Mapping[str, Any]
    create: Sequence[str]
    create_staging: Sequence[str]
    merge: Sequence[str]
    file_format: str


@dataclass(frozen=True)
class Generated:
    """Everything that dlt would run, by table, and what it says of the files before it loads them."""

    tables: Mapping[str, GeneratedTable]
    objection: Exception | None


@cache
def generated(name: str) -> Generated:
    """What dlt would run in a destination for all tables of this source."""
    destination = DESTINATIONS[name]
    with TemporaryDirectory() as folder, without_drivers():
        pipeline = dlt.pipeline(
            f"to_{name}",
            destination=getattr(dlt.destinations, name)(**destination.settings),
            staging=dlt.destinations.filesystem("memory://bucket") if destination.bucket else None,
            dataset_name="mindo",
            pipelines_dir=folder,
        )
        try:
            pipeline.extract(_nothing(), schema=dlt.Schema("mindo"))
            pipeline.normalize()
            return _generate(pipeline)
        finally:
            pipeline.deactivate()


@dlt.resource(name="nothing")
def _nothing() -> Iterator[Any]:
    capabilities = Container().get(DestinationCapabilitiesContext)
    for table, columns in COLUMNS.items():
        empty = pa.Table.from_pylist([], arrow_schema(columns))
        yield dlt.mark.with_hints(empty, make_table_hints(table, columns, capabilities), create_table_variant=True)


def _generate(pipeline: dlt.Pipeline) -> Generated:
    (package,) = pipeline.list_normalized_load_packages()
    jobs = [
        ParsedLoadJobFileName.parse(job.file_path) for job in pipeline.get_load_package_info(package).jobs["new_jobs"]
    ]
    formats = {job.table_name: job.file_format for job in jobs}
    tables = {}
    client = pipeline.destination_client()
    for table in COLUMNS:
        hints = client.prepare_load_table(table)
        columns = list(client.schema.get_table_columns(table).values())
        create = client._get_table_update_sql(table, columns, False)
        with client.with_staging_dataset():
            create_staging = client._get_table_update_sql(table, columns, False)
        jobs_after = client.create_table_chain_completed_followup_jobs([hints], [])
        merge = [
            statement.strip()
            for job in jobs_after
            for statement in Path(job.new_file_path()).read_text(encoding="utf-8").split("\n")
            if statement.strip()
        ]
        tables[table] = GeneratedTable(hints, create, create_staging, merge, formats[table])
    objection = None
    try:
        client.verify_schema(COLUMNS, jobs)
    except Exception as error:  # whatever dlt says
        objection = error
    return Generated(tables, objection)


# --- without drivers -----------------------------------------------------------------------------------------------


DRIVERS = frozenset(
    {
        "botocore",
        "clickhouse_connect",
        "clickhouse_driver",
        "databricks",
        "google",
        "psycopg2",
        "pyathena",
        "pyodbc",
        "snowflake",
    }
)


class _Anything(type):
    """Of classes that have every attribute: another such class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = _anything(name)
        setattr(cls, name, value)
        return value


def _anything(name: str) -> _Anything:
    # an exception, because dlt catches those of drivers; and it derives other classes from some
    return _Anything(name, (Exception,), {"__init__": lambda self, *_, **__: None})


class _Driver(ModuleType):
    __path__: Sequence[str] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = _anything(name)
        setattr(self, name, value)
        return value


class _DriverFinder(MetaPathFinder, Loader):
    """Stands in for drivers that are not installed: dlt imports them where it writes SQL, but asks them nothing there."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] in DRIVERS:
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Driver(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to do."""


@contextmanager
def without_drivers() -> Iterator[None]:
    """Lets dlt's destinations be imported without their drivers; afterwards nobody finds what was imported so."""
    finder, before = _DriverFinder(), set(sys.modules)
    # the last, so that drivers that are installed are found
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if name.startswith("dlt.destinations.impl.") or isinstance(sys.modules[name], _Driver):
                del sys.modules[name]
