"""Warehouses that can't be had here: the models are built in their SQL, translated for DuckDB, and hold the same rows."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect

from tests.dbt.building import LAYERS, VERSIONED, dbt
from tests.dbt.warehouses import WAREHOUSES, Statement, pretended, translated
from tests.support import Laboratory

TYPES = {
    "bigquery": {"bigint", "bignumeric", "boolean", "date", "datetime", "float64", "integer", "string", "timestamp"},
    "databricks": {
        "bigint", "boolean", "date", "decimal(38, 0)", "double", "integer", "numeric(20, 6)", "string", "timestamp", "timestamp_ntz",
    },
    # `text` and `varchar` would be of 256 bytes
    "redshift": {
        "bigint", "boolean", "date", "decimal(38, 0)", "double precision", "integer", "numeric(20, 6)", "timestamp",
        "timestamp with time zone", "varchar(65535)",
    },
    # plain `timestamp` would be what the session makes of it
    "snowflake": {
        "bigint", "boolean", "date", "decimal(38, 0)", "double precision", "integer", "numeric(20, 6)", "text", "timestamp_ntz",
        "timestamp_tz",
    },
}  # fmt: skip
"""Names of types that a warehouse has, and that mean there what is meant."""

FUNCTIONS_UNKNOWN_TO_SQLGLOT = {"databricks": {"CURRENT_TIMEZONE", "XXHASH64"}, "snowflake": {"HASH"}}
"""Looked up in the manual of the warehouse; sqlglot knows all others, so they exist."""


@dataclass(frozen=True)
class Rebuilt:
    """A warehouse that was built in the SQL of another one, and that SQL."""

    dialect: str
    database: Path
    statements: list[Statement]


@pytest.fixture(scope="module", params=WAREHOUSES)
def rebuilt(request: pytest.FixtureRequest, built: Laboratory, tmp_path_factory: pytest.TempPathFactory) -> Rebuilt:
    """Every row that increments make was of another company before, so whatever is right now was made anew."""
    database = Path(shutil.copy(built.database, tmp_path_factory.mktemp(request.param)))
    with duckdb.connect(str(database)) as connection:
        for table in VERSIONED:
            (schema,) = {layer for layer, name in relations(connection) if name == table}
            connection.execute(f"UPDATE {schema}.{table} SET company_id = company_id + 1, _version = 'outdated'")
    profile = {"type": request.param, "path": "{{ env_var('MINDO_TEST_DATABASE') }}", "schema": "mindo", "settings": {"TimeZone": "UTC"}}  # fmt: skip
    with pretended(request.param) as statements:
        done = dbt(database, "build", "--exclude-resource-type", "unit_test", "--no-write-json", profile=profile)
    assert done.failures == {}
    return Rebuilt(request.param, database, statements)


def relations(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN (?, ?) ORDER BY ALL",
        LAYERS,
    ).fetchall()


def rows_of(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of all tables and views, without fingerprints, which are others in each database, and the moment of asking."""
    with duckdb.connect(str(database)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return {
            name: connection.execute(
                f"SELECT COLUMNS(c -> c NOT IN ('_version', 'age_hours')) FROM {schema}.{name} ORDER BY ALL"
            ).fetchall()
            for schema, name in relations(connection)
        }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)


def test_every_model_holds_the_same_rows(rebuilt: Rebuilt, built: Laboratory) -> None:
    expected, found = rows_of(built.database), rows_of(rebuilt.database)
    assert expected.keys() == found.keys()
    for model, rows in expected.items():
        assert len(found[model]) == len(rows), model
        for row, other in zip(rows, found[model], strict=True):
            assert all(map(same, row, other)), (model, row, other)


def test_exactly_the_outdated_rows_are_deleted(rebuilt: Rebuilt, tmp_path: Path) -> None:
    deletes = [one for one in rebuilt.statements if isinstance(one.parsed, exp.Delete)]
    assert len(deletes) == len(VERSIONED)
    with duckdb.connect(str(shutil.copy(rebuilt.database, tmp_path))) as connection:
        for delete in deletes:
            _, sql = translated(delete.sql, rebuilt.dialect)
            table = delete.parsed.this.sql("duckdb")
            assert connection.execute(sql).fetchone() == (0,), table
            connection.execute(
                f"UPDATE {table} SET _version = 'outdated' WHERE company_id = (SELECT min(company_id) FROM {table})"
            )
            outdated = connection.execute(f"SELECT count(*) FROM {table} WHERE _version = 'outdated'").fetchone()
            assert connection.execute(sql).fetchone() == outdated, table


def test_every_function_is_one_of_the_warehouse(rebuilt: Rebuilt) -> None:
    called = {call.name.upper() for one in rebuilt.statements for call in one.parsed.find_all(exp.Anonymous)}
    assert called <= FUNCTIONS_UNKNOWN_TO_SQLGLOT.get(rebuilt.dialect, set())


def test_every_type_is_one_of_the_warehouse(rebuilt: Rebuilt) -> None:
    # as written, because sqlglot takes the types of all dialects in each of them
    type_name = r"([a-z]\w*(?: [a-z]+)*(?:\([^()]*\))?)"
    cast = re.compile(rf"\bas {type_name}\)", re.IGNORECASE)
    of_contract = re.compile(rf"^ +\w+ {type_name}(?: not null)?,?$", re.IGNORECASE | re.MULTILINE)
    used = set()
    for one in rebuilt.statements:
        casts = {found.lower() for found in cast.findall(one.sql)}
        used |= casts
        if isinstance(one.parsed, exp.Create) and isinstance(one.parsed.this, exp.Schema):
            head = one.sql[: one.sql.index("_version" if "_version" in one.sql else "as (")]
            used |= {found.lower() for found in of_contract.findall(head)}
    assert used - TYPES[rebuilt.dialect] == set()


def test_no_name_is_reserved(rebuilt: Rebuilt) -> None:
    reserved = Dialect.get_or_raise(rebuilt.dialect).generator_class.RESERVED_KEYWORDS
    used = {
        name.this.lower()
        for one in rebuilt.statements
        for name in one.parsed.find_all(exp.Identifier)
        if not name.quoted
    }
    assert used & reserved == set()


def test_columns_are_called_by_the_name_of_their_table_only(rebuilt: Rebuilt) -> None:
    for one in rebuilt.statements:
        assert not [column.sql() for column in one.parsed.find_all(exp.Column) if column.args.get("db")]


def test_redshift_is_not_asked_for_what_it_refuses(rebuilt: Rebuilt) -> None:
    if rebuilt.dialect != "redshift":
        return
    for one in rebuilt.statements:
        truths = [cast.sql() for cast in one.parsed.find_all(exp.Cast) if isinstance(cast.this.unnest(), exp.Predicate)]
        assert truths == [], "a truth can't be cast to text"
        for query in one.parsed.find_all(exp.Select):
            orders = {
                group.expression.sql()
                for group in query.find_all(exp.WithinGroup)
                if group.find_ancestor(exp.Select) is query and not isinstance(group.parent, exp.Window)
            }
            assert len(orders) <= 1, "a query orders its aggregates by one value"
