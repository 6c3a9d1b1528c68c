"""Warehouses that can't be had here: dbt takes them for real ones, and DuckDB runs a translation of what it is given."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, ClassVar
from unittest.mock import patch

import duckdb
import sqlglot
from dbt.adapters.base import AdapterPlugin, available
from dbt.adapters.base.column import Column
from dbt.adapters.contracts.relation import Policy
from dbt.adapters.duckdb import __version__ as duckdb_version
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.impl import DuckDBAdapter
from dbt.adapters.duckdb.relation import DuckDBRelation
from dbt.adapters.factory import FACTORY
from packaging.version import Version
from sqlglot import exp


@dataclass(frozen=True)
class Warehouse:
    """What dbt's adapter of a warehouse does differently from others, as far as models notice.

    Attributes:
        strategies: Incremental strategies that its adapter allows.
        text: What its adapter makes of the type `string` in contracts.
        quote: What it quotes names with.
        quoted: Whether its adapter quotes names of tables.
        parents: Adapters whose macros are taken where it has none of its own.
        stand_ins: What DuckDB runs for functions that sqlglot leaves as they are, as bodies of macros.
    """

    strategies: frozenset[str]
    text: str = "TEXT"
    quote: str = '"'
    quoted: bool = True
    parents: tuple[str, ...] = ()
    stand_ins: Mapping[str, str] = field(default_factory=dict)


WAREHOUSES = {
    "bigquery": Warehouse(
        frozenset({"merge", "insert_overwrite", "microbatch"}),
        text="STRING",
        quote="`",
        stand_ins={"farm_fingerprint(value)": "hash(value)"},
    ),
    "snowflake": Warehouse(
        frozenset({"append", "merge", "delete+insert", "microbatch", "insert_overwrite"}),
        quoted=False,
    ),
    "databricks": Warehouse(
        frozenset({"append", "merge", "insert_overwrite", "replace_where", "delete+insert", "microbatch"}),
        text="STRING",
        quote="`",
        stand_ins={
            "xxhash64(one, two := 0, three := 0, four := 0, five := 0)": "hash(one, two, three, four, five)",
            "current_timezone()": "'UTC'",
        },
    ),
    "redshift": Warehouse(
        frozenset({"append", "delete+insert", "merge", "microbatch"}),
        parents=("postgres",),
        stand_ins={"farm_fingerprint(value)": "hash(value)"},
    ),
}


@dataclass(frozen=True)
class Statement:
    """A statement in the warehouse's dialect, as dbt sent it and as sqlglot understood it."""

    sql: str
    parsed: exp.Expression


@contextmanager
def pretended(name: str) -> Iterator[list[Statement]]:
    """Lets dbt have an adapter of that name, over a DuckDB file; gives the statements that dbt sends to it.

    What the adapter itself asks a warehouse, such as for a table's columns, is asked of DuckDB directly.
    """
    statements: list[Statement] = []
    adapter = _adapter(name, WAREHOUSES[name], statements)
    with TemporaryDirectory() as macros, patch.dict(FACTORY.plugins), patch.dict(FACTORY.packages):
        Path(macros, "dbt_project.yml").write_text(f"{{name: dbt_{name}, version: 1.0.0, config-version: 2}}")
        Path(macros, "macros").mkdir()
        Path(macros, "macros", "relations.sql").write_text(_TEMPORARY.replace("adapter__", f"{name}__"))
        plugin = ModuleType(f"dbt.adapters.{name}")
        plugin.Plugin = AdapterPlugin(  # type: ignore[attr-defined]
            adapter, _credentials(name), macros, list(WAREHOUSES[name].parents), f"dbt_{name}"
        )
        modules = {plugin.__name__: plugin, f"{plugin.__name__}.__version__": duckdb_version}
        sys.modules.update(modules)
        try:
            yield statements
        finally:
            adapter.ConnectionManager.close_all_connections()
            for module in modules:
                del sys.modules[module]


def translated(sql: str, dialect: str) -> tuple[list[exp.Expression], str]:
    """Statements of a dialect, parsed and in that of DuckDB."""
    parsed = [one for one in sqlglot.parse(sql, dialect=dialect, error_level=sqlglot.ErrorLevel.RAISE) if one]
    return parsed, "; ".join(
        _for_duckdb(one.copy()).sql("duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE) for one in parsed
    )


_CORRECTIONS: dict[type[exp.Expression], Callable[[Any], exp.Expression]] = {
    # DATETIME(moment, zone) and TIMESTAMP(clock, zone): sqlglot takes the first for a date and a time, and leaves the second
    exp.Datetime: lambda call: exp.func("timezone", call.expression, call.this),
    exp.Timestamp: lambda call: exp.func("timezone", call.args["zone"], call.this),
    # days added to a date are a date, but a date and an interval are a timestamp in DuckDB; a sum without parentheses
    exp.DateAdd: lambda call: exp.cast(call.copy(), "date") if call.unit.name == "DAY" else exp.paren(call.copy()),
    exp.TsOrDsAdd: lambda call: exp.cast(call.copy(), "date"),
    # PERCENTILE interpolates, QUANTILE doesn't
    exp.Quantile: lambda call: exp.func("quantile_cont", call.this, call.args["quantile"]),
}
"""What sqlglot would translate into something else."""


def _for_duckdb(statement: exp.Expression) -> exp.Expression:
    # from the inside outwards
    for call in reversed(list(statement.find_all(*_CORRECTIONS))):
        call.replace(_CORRECTIONS[type(call)](call))
    # a table of a query and of types
    if isinstance(statement, exp.Create) and isinstance(statement.this, exp.Schema) and statement.expression:
        columns = [
            exp.cast(exp.column(column.this), column.args["kind"]).as_(column.this)
            for column in statement.this.find_all(exp.ColumnDef)
        ]
        query = exp.select(*columns).from_(
            exp.Subquery(this=statement.expression.unnest(), alias=exp.to_identifier("typed"))
        )
        statement.set("expression", query)
        statement.set("this", statement.this.this)
    return statement


_TEMPORARY = """
{% macro adapter__make_temp_relation(base_relation, suffix) %}
  {{ return(base_relation.incorporate(path={
    'database': none, 'schema': none, 'identifier': base_relation.identifier ~ '__temporary'
  })) }}
{% endmacro %}
"""
"""Temporary tables of DuckDB are in no schema."""


def _credentials(name: str) -> type[DuckDBCredentials]:
    class Credentials(DuckDBCredentials):
        @property
        def type(self) -> str:
            return name

    return Credentials


def _adapter(name: str, warehouse: Warehouse, statements: list[Statement]) -> type[DuckDBAdapter]:
    class ConnectionManager(DuckDBConnectionManager):
        TYPE = name

        def add_query(self, sql: str, *arguments: Any, **others: Any) -> Any:
            if sql not in ("BEGIN", "COMMIT"):
                parsed, sql_of_duckdb = translated(sql, name)
                statements.extend(Statement(sql, one) for one in parsed)
                sql = sql_of_duckdb
            return super().add_query(sql, *arguments, **others)

        @classmethod
        def open(cls, connection: Any) -> Any:
            opened = super().open(connection)
            for function, body in warehouse.stand_ins.items():
                opened.handle.cursor().execute(f"CREATE OR REPLACE TEMP MACRO {function} AS {body}")
            return opened

    class QuotedColumn(DuckDBAdapter.Column):  # type: ignore[misc]
        TYPE_LABELS: ClassVar[dict[str, str]] = {"STRING": warehouse.text}

        @property
        def quoted(self) -> str:
            return f"{warehouse.quote}{self.column}{warehouse.quote}"

    @dataclass(frozen=True, eq=False, repr=False)
    class Relation(DuckDBRelation):
        quote_character: str = warehouse.quote
        quote_policy: Policy = field(default_factory=lambda: Policy(*[warehouse.quoted] * 3))

        def relation_max_name_length(self) -> int:
            return 127

    class Adapter(DuckDBAdapter):
        # known, so that nobody asks for it in SQL
        duckdb_version = Version(duckdb.__version__)

        def _rows(self, sql: str, *values: Any) -> list[Any]:
            cursor = self.connections.get_thread_connection().handle.cursor()
            cursor.execute(sql, list(values))
            return cursor.fetchall()

        def _run(self, sql: str) -> None:
            self.connections.get_thread_connection().handle.cursor().execute(sql)

        def quote(self, identifier: str) -> str:
            return f"{warehouse.quote}{identifier}{warehouse.quote}"

        @available
        def valid_incremental_strategies(self) -> list[str]:
            return sorted(warehouse.strategies)

        def pre_model_hook(self, config: Any) -> None:
            """Nothing: that of DuckDB looks for its constraints."""

        def post_model_hook(self, config: Any, context: Any) -> None:
            """Nothing."""

        def list_schemas(self, database: str) -> list[str]:
            return [row[0] for row in self._rows("SELECT DISTINCT schema_name FROM information_schema.schemata")]

        @available.parse(lambda *_, **__: False)
        def check_schema_exists(self, database: str, schema: str) -> bool:
            return schema in self.list_schemas(database)

        def create_schema(self, relation: Any) -> None:
            self._run(f'CREATE SCHEMA IF NOT EXISTS "{relation.schema}"')

        def list_relations_without_caching(self, schema_relation: Any) -> list[Any]:
            found = self._rows(
                "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = ?",
                schema_relation.schema,
            )
            return [
                self.Relation.create(
                    schema_relation.database,
                    schema_relation.schema,
                    table,
                    type="view" if kind == "VIEW" else "table",
                    quote_policy=self.Relation.get_default_quote_policy(),
                )
                for table, kind in found
            ]

        def get_columns_in_relation(self, relation: Any) -> list[Column]:
            found = self._rows(
                "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND schema_name = coalesce(?, 'main')",
                relation.identifier,
                relation.schema,
            )
            return [self.Column(column, kind) for column, kind in found]

        def drop_relation(self, relation: Any) -> None:
            self.cache_dropped(relation)
            self._run(f'DROP {relation.type} IF EXISTS "{relation.schema}"."{relation.identifier}" CASCADE')

        def rename_relation(self, from_relation: Any, to_relation: Any) -> None:
            self.cache_renamed(from_relation, to_relation)
            self._run(
                f'ALTER {from_relation.type} "{from_relation.schema}"."{from_relation.identifier}"'
                f' RENAME TO "{to_relation.identifier}"'
            )

    Adapter.__name__ = f"{name}Adapter"  # dbt looks for the adapter's version by it
    Adapter.ConnectionManager = ConnectionManager
    Adapter.Column = QuotedColumn
    Adapter.Relation = Relation
    return Adapter
