"""`mindo dbt` on a PostgreSQL server, with whatever a connection string says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from mindo_emulator import Emulator
from mindo_pipeline.transforming.commands import _ended_early
from mindo_pipeline.transforming.process import Invocation
from mindo_pipeline.transforming.profile import make_profile
from mindo_pipeline.warehouse import Warehouse
from tests.destinations.places import Postgres
from tests.mindo_pipeline.harness import make_world, mindo, settings

DATASET = "models"
ON_IT = ("--destination", "postgres", "--dataset", DATASET)


@pytest.fixture
def server(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator[Any]]:
    """An emulator, and a database that is reached through its socket, with a password from the environment."""
    url = urlsplit(postgres.url)
    with _cursor(postgres.url) as cursor:
        for schema in (DATASET, f"{DATASET}_marts", f"{DATASET}_intermediate"):
            cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        cursor.execute("SHOW unix_socket_directories")
        folder = (cursor.fetchone() or ("",))[0]
    monkeypatch.setenv(
        "DESTINATION__POSTGRES__CREDENTIALS",
        f"postgresql://{url.username}@{url.path}?host={folder}&port={url.port}&sslmode=prefer"
        "&options=-cstatement_timeout%3D60000&application_name=nightly",
    )
    monkeypatch.setenv("PGPASSWORD", str(url.password))
    with Emulator(make_world(120, 2)) as emulator:
        for name, value in settings(emulator).items():
            monkeypatch.setenv(name, value)
        yield emulator


@contextmanager
def _cursor(url: str) -> Iterator[Any]:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def test_models_follow_loads_erasures_and_dropped_tables(server: Emulator[Any], postgres: Postgres) -> None:
    built = mindo("run", "--dbt", *ON_IT, "--json")
    document = built.document
    assert (built.code, document["dbt"]["failures"]) == (0, []), built.err
    rows = {model["name"]: model["rows"] for model in document["dbt"]["models"]}
    assert rows["int_mindo__messages"] == document["rows"]["messages"] > 0
    assert rows["stg_mindo__messages"] is None

    with _cursor(postgres.url) as cursor:
        cursor.execute(f"SELECT contact_id, conversation_id FROM {DATASET}_marts.mindo__conversations LIMIT 1")
        contact, conversation = cursor.fetchone() or ("", "")
        forgotten = mindo("forget", "--contact", contact, "--yes", *ON_IT, "--json")
        assert forgotten.code == 0
        assert forgotten.document["models"][f"{DATASET}_marts.mindo__conversations"] >= 1
        for table in forgotten.document["models"]:
            cursor.execute(f"SELECT count(*) FROM {table} WHERE conversation_id = %s", (conversation,))
            assert cursor.fetchone() == (0,)

        # as for another day's demo: the views on the tables go with them, the models' tables stay
        warehouse = Warehouse("postgres", DATASET)
        with warehouse.writing():
            warehouse.clear()
        empty = mindo("dbt", "build", *ON_IT)
        assert (empty.code, "nothing was ever loaded" in empty.err) == (2, True)
        assert mindo("run", *ON_IT, "--quiet").code == 0
        again = mindo("dbt", "build", *ON_IT, "--quiet", "--exclude", "test_type:data")
        assert (again.code, again.err) == (0, "")
        cursor.execute(
            f"SELECT (SELECT count(*) FROM {DATASET}.messages), (SELECT count(*) FROM {DATASET}_intermediate.int_mindo__messages)"
        )
        loaded, modelled = cursor.fetchone() or (0, -1)
    assert loaded == modelled


@pytest.mark.parametrize("other", ["modelling", "writing"])
def test_builds_and_loads_wait_for_a_build(server: Emulator[Any], other: str) -> None:
    first, second = Warehouse("postgres", DATASET), Warehouse("postgres", DATASET)
    waits, holds = threading.Event(), threading.Event()
    second.on_wait = waits.set

    def hold() -> None:
        with second.modelling() if other == "modelling" else second.writing(beside_others=True):
            holds.set()

    with first.modelling():
        waiting = threading.Thread(target=hold)
        waiting.start()
        assert waits.wait(30)
        assert not holds.is_set()
    waiting.join(30)
    assert holds.is_set()


def test_no_secret_is_in_the_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    password = 'hush: {{ "x" }}'
    monkeypatch.setenv(
        "DESTINATION__POSTGRES__CREDENTIALS",
        "postgresql://loader:hush%3A%20%7B%7B%20%22x%22%20%7D%7D@db.example:6432/ware-house?sslmode=verify-full"
        "&sslrootcert=ca.pem&options=-csearch_path%3Dother",
    )
    profile = make_profile(Warehouse("postgres", DATASET), 3)
    profile.write(tmp_path)
    assert "hush" not in (tmp_path / "profiles.yml").read_text()
    output = json.loads((tmp_path / "profiles.yml").read_text())["mindo"]["outputs"]["postgres"]
    assert (output["port"], output["threads"]) == (6432, 3)
    told = {name: profile.environment[str(text)[12:-5]] for name, text in output.items() if str(text).startswith("{{")}
    assert told == {
        "host": "db.example",
        "user": "loader",
        "password": password,
        "dbname": "ware-house",
        "schema": DATASET,
    }
    assert [name for name, value in profile.environment.items() if value == password] == [
        "DBT_ENV_SECRET_MINDO_PASSWORD"
    ]
    assert profile.environment["PGSSLMODE"] == "verify-full"
    assert profile.environment["PGSSLROOTCERT"] == str(Path("ca.pem").absolute())
    assert profile.environment["PGOPTIONS"] == "-csearch_path=other -c TimeZone=UTC"


def test_a_missing_right_to_create_schemas_is_named(server: Emulator[Any], tmp_path: Path) -> None:
    text = "Database Error\n  permission denied for database warehouse"
    events = [{"info": {"name": "MainEncounteredError"}, "data": {"exc": text}}]
    error = _ended_early(Warehouse("postgres", DATASET), Invocation(2, tmp_path, events))
    assert (
        f"the schemas {DATASET}_intermediate and {DATASET}_marts; GRANT CREATE ON DATABASE warehouse TO mindo."
        in str(error)
    )
