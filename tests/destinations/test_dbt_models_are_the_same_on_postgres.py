"""The dbt models on PostgreSQL hold what they hold on DuckDB, after a first build and after an increment."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import duckdb
import psycopg2
import pytest
from sqlalchemy.engine import make_url

from mindo_emulator import Emulator
from tests.dbt.building import LAYERS, dbt
from tests.dbt.conftest import ZONES
from tests.dbt.test_increments_equal_a_full_refresh import change_everything
from tests.destinations.conftest import PlaceLaboratory
from tests.destinations.places import Postgres
from tests.support import Laboratory, small_world

ELSEWHERE = {
    "_version",
    "_dlt_load_id",
    "run_id",
    "age_hours",
    "started_at",
    "finished_at",
    "oldest_read_at",
    "newest_read_at",
}
"""Differ from database to database, or from run to run."""


def test_models_are_the_same_on_postgres(postgres: Postgres, isolated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in postgres.configuration().items():
        monkeypatch.setenv(name, value)
    with Emulator(small_world(300)) as emulator:
        here, there = Laboratory(emulator), PlaceLaboratory(emulator, postgres)
        profile = profile_of(postgres, there.dataset)
        for laboratory in (here, there):
            laboratory.given["companies"] = ZONES
            laboratory.complete_run()
        dbt(here.database, "run")
        dbt(here.database, "run", profile=profile)
        assert_same(here, there, postgres)
        change_everything(here)
        there.now = here.now
        for laboratory in (here, there):
            laboratory.complete_run(lookback_days=5)
        dbt(here.database, "run")
        # with the unit tests, which other tests leave out
        assert dbt(here.database, "build", profile=profile).failures == {}
        assert_same(here, there, postgres)


def profile_of(place: Postgres, dataset: str) -> dict[str, Any]:
    url = make_url(place.url)
    return {
        "type": "postgres",
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "dbname": url.database,
        "schema": dataset,
        "threads": 2,
    }


def assert_same(here: Laboratory, there: PlaceLaboratory, place: Postgres) -> None:
    """Compares all rows of all models; text as PostgreSQL can hold it, and floats as two machines may round them."""
    with (
        duckdb.connect(str(here.database), read_only=True) as duck,
        psycopg2.connect(place.url) as connection,
        connection.cursor() as elephant,
    ):
        duck.execute("SET TimeZone = 'UTC'")
        elephant.execute("SET TimeZone = 'UTC'")
        columns = duck.execute(
            "SELECT table_schema, table_name, list(column_name ORDER BY ordinal_position) FROM information_schema.columns"
            " WHERE table_schema IN (?, ?) GROUP BY ALL",
            LAYERS,
        ).fetchall()
        assert len(columns) > 20
        for schema, table, names in columns:
            named = ", ".join(name for name in names if name not in ELSEWHERE)
            duck.execute(f"SELECT {named} FROM {schema}.{table}")
            elephant.execute(f"SELECT {named} FROM {schema.replace('mindo', there.dataset, 1)}.{table}")
            found = sorted(map(repr, map(comparable, elephant.fetchall())))
            assert found == sorted(map(repr, map(comparable, duck.fetchall()))), table


def comparable(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(map(_comparable, row))


def _comparable(value: Any) -> Any:
    match value:
        case datetime() if value.tzinfo:
            return value.astimezone(UTC)
        case Decimal():
            return round(float(value), 5)
        case float():
            return round(value, 5) + 0.0
        case str():
            return value.replace("\0", "\ufffd")
        case _:
            return value
