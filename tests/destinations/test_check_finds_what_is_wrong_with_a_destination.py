"""Any destination from nothing but its connection string; what is wrong with it is one line, before anything is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import fsspec
import psycopg2
import pytest
import sqlalchemy as sa

from mindo_emulator import Emulator, World
from mindo_pipeline.errors import destination_line
from tests.destinations.places import Place
from tests.mindo_pipeline.harness import (
    DAY,
    finish,
    left_behind,
    make_world,
    midnight,
    mindo,
    settings,
    spawn,
    wait_until,
)

PASSWORD = "hunter2-is-no-secret"
POSTGRES, SQLALCHEMY, FILESYSTEM = (
    "DESTINATION__POSTGRES__CREDENTIALS",
    "DESTINATION__SQLALCHEMY__CREDENTIALS",
    "DESTINATION__FILESYSTEM__BUCKET_URL",
)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator[World]]:
    with Emulator(make_world(messages=60, days=2)) as started:
        yield started


@pytest.fixture(autouse=True)
def configured(
    emulator: Emulator[World], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The command reads one company of an emulator, and nobody's own configuration."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    start = (midnight() - 2 * DAY).date().isoformat()
    told = settings(emulator, SOURCES__MINDO__START_DATE=start, SOURCES__MINDO__COMPANY_IDS="57")
    for name, value in told.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def dataset() -> str:
    return f"mindo_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def admin(postgres: Place) -> Iterator[Any]:
    """A session of the server's owner, in which every statement is a transaction."""
    connection = psycopg2.connect(url_of(postgres))
    connection.autocommit = True
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


@pytest.fixture
def stranger(postgres: Place, admin: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A user of the database without any right, as whom the command connects."""
    name = f"stranger_{uuid.uuid4().hex[:8]}"
    admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    monkeypatch.setenv(POSTGRES, changed(url_of(postgres), username=name, password=PASSWORD))
    yield name
    admin.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def url_of(postgres: Place) -> str:
    return postgres.configuration()[POSTGRES]


def changed(url: str, **parts: Any) -> str:
    return sa.make_url(url).set(**parts).render_as_string(hide_password=False)


def schemas(admin: Any, dataset: str) -> list[str]:
    admin.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE %s ORDER BY 1", (f"{dataset}%",))
    return [name for (name,) in admin.fetchall()]


def check(*arguments: str) -> dict[str, Any]:
    """What `mindo check` says of the destination, which has to agree with its exit code."""
    result = mindo("check", "--json", *arguments)
    assert PASSWORD not in result.out + result.err
    found: dict[str, Any] = {entry["name"]: entry for entry in result.document["checks"]}["destination"]
    assert result.code == found["code"]
    return found


def fails(expected: str, code: int, *arguments: str, run: bool = True) -> None:
    """Both `check` and `run` end in one line with that in it, and `check` without a trace."""
    before = left_behind()
    told = check(*arguments)
    assert told["code"] == code, told
    assert expected in told["line"]
    assert left_behind() == before
    if run:
        ended = mindo("run", "--quiet", *arguments)
        assert ended.code == code
        assert expected in ended.error
        assert PASSWORD not in ended.error


# --- nothing but a connection string ------------------------------------------------------------------------------


def test_every_command_works_from_nothing_but_a_connection_string(
    postgres: Place, admin: Any, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = ("--destination", "postgres", "--dataset", dataset)
    Path(".dlt").mkdir()
    secrets = Path(".dlt/secrets.toml")
    secrets.write_text(f'[destination.postgres]\ncredentials = "{url_of(postgres)}"\n')
    # dlt reads it once in a process
    assert "can be written (not there yet)" in finish(spawn("check", *here)).out
    secrets.unlink()
    monkeypatch.setenv(POSTGRES, url_of(postgres))
    assert schemas(admin, dataset) == []
    for command in (("plan",), ("run",), ("status",), ("verify",), ("state", "show")):
        result = mindo(*command, *here)
        assert result.code == 0, (command, result.err)
        assert not [line for line in result.err.splitlines() if " windows of " not in line], result.err
    before = schemas(admin, dataset), counted(admin, dataset)
    assert check(*here)["line"].endswith("can be written")
    assert (schemas(admin, dataset), counted(admin, dataset)) == before
    admin.execute(f"SELECT conversation_id, count(*) FROM {dataset}.messages GROUP BY 1 LIMIT 1")
    conversation, messages = admin.fetchone()
    assert mindo("forget", "--conversation", conversation, "--yes", *here).code == 0
    assert counted(admin, dataset)["messages"] == before[1]["messages"] - messages
    assert schemas(admin, dataset) == [dataset]


def counted(admin: Any, dataset: str) -> dict[str, int]:
    """Rows of every table of a dataset."""
    admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", (dataset,))
    rows = {}
    for (table,) in admin.fetchall():
        admin.execute(f'SELECT count(*) FROM "{dataset}"."{table}"')
        rows[table] = admin.fetchone()[0]
    return rows


@pytest.mark.parametrize("place", ["mariadb", "sqlite", "parquet in a folder", "parquet on S3"], indirect=True)
def test_check_leaves_nothing_behind(place: Place, dataset: str, request: pytest.FixtureRequest) -> None:
    def everything() -> list[str]:
        if "S3" in request.node.name:
            credentials = request.getfixturevalue("s3_credentials")
            told = {"key": credentials["aws_access_key_id"], "secret": credentials["aws_secret_access_key"]}
            system = fsspec.filesystem("s3", endpoint_url=credentials["endpoint_url"], use_listings_cache=False, **told)
            return list(system.find("warehouse"))
        if "mariadb" in request.node.name:
            return sorted(sa.inspect(sa.create_engine(place.configuration()[SQLALCHEMY])).get_schema_names())
        return left_behind()

    before = everything()
    assert "can be written (not there yet)" in check("--destination", place.destination, "--dataset", dataset)["line"]
    assert everything() == before


@pytest.mark.parametrize("way", ["?host=", "encoded"])
def test_postgres_may_do_without_password_and_host(
    postgres: Place, admin: Any, way: str, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sa.make_url(url_of(postgres))
    admin.execute("SHOW unix_socket_directories")
    folder = quote(admin.fetchone()[0], safe="")
    rest = f"@/warehouse?host={folder}&port={url.port}" if way == "?host=" else f"@{folder}:{url.port}/warehouse"
    monkeypatch.setenv(POSTGRES, f"postgresql://mindo{rest}")
    # as a server that trusts its own machine would not even need
    monkeypatch.setenv("PGPASSWORD", str(url.password))
    here = ("--destination", "postgres", "--dataset", dataset)
    assert "can be written" in check(*here)["line"]
    if way == "?host=":
        assert mindo("run", "--quiet", *here).code == 0
        assert counted(admin, dataset)["messages"] > 0


# --- wrong connections --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"password": PASSWORD}, "user or password is wrong"),
        ({"username": "nobody_known"}, "user or password is wrong"),
        ({"password": None}, "the server asks for a password"),
        ({"host": "db.invalid"}, "the host is unknown"),
        ({"port": 1}, "the server can't be reached"),
        ({"database": "nowhere"}, "there is no such database"),
        ({"drivername": "mysql"}, "its form is postgresql://user:password@host:5432/database"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_postgres_that_cannot_be_reached_is_one_line(
    postgres: Place, monkeypatch: pytest.MonkeyPatch, parts: dict[str, Any], expected: str
) -> None:
    url = sa.make_url(url_of(postgres)).set(**parts)
    if "password" in parts and parts["password"] is None:
        url = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database)
    monkeypatch.setenv(POSTGRES, url.render_as_string(hide_password=False))
    fails(expected, 5, "--destination", "postgres", run="port" in parts)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"host": "db.invalid"}, "the host is unknown"),
        ({"port": 1}, "the server can't be reached"),
        ({"database": "nowhere"}, "there is no such database"),
        ({"drivername": "nonsense"}, "a kind of database that SQLAlchemy doesn't know"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_mariadb_that_cannot_be_reached_is_one_line(
    mariadb: Place, monkeypatch: pytest.MonkeyPatch, parts: dict[str, Any], expected: str
) -> None:
    monkeypatch.setenv(SQLALCHEMY, changed(mariadb.configuration()[SQLALCHEMY], password=PASSWORD, **parts))
    fails(expected, 5, "--destination", "sqlalchemy", run="database" in parts)


@pytest.mark.parametrize(
    ("destination", "variable", "value", "expected"),
    [
        ("postgres", "", "", "or write [destination.postgres.credentials] to .dlt/secrets.toml"),
        (
            "postgres",
            POSTGRES,
            "localhost",
            f"set {POSTGRES} to a connection string such as postgresql://user:password@",
        ),
        ("sqlalchemy", "", "", "such as mysql+pymysql://user:password@host:3306/database"),
        ("filesystem", "", "", f"set {FILESYSTEM}, or write them to .dlt/secrets.toml"),
        ("filesystem", FILESYSTEM, "s3://warehouse", "CREDENTIALS__AWS_ACCESS_KEY_ID and"),
        ("snowflake", "", "", "DESTINATION__SNOWFLAKE__CREDENTIALS__DATABASE and"),
        ("postgresql", "", "", "is not a destination that dlt knows"),
    ],
)
def test_missing_settings_are_named(
    monkeypatch: pytest.MonkeyPatch, destination: str, variable: str, value: str, expected: str
) -> None:
    if variable:
        monkeypatch.setenv(variable, value)
    fails(expected, 2, "--destination", destination)


def test_a_folder_that_cannot_be_written_is_one_line(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (isolated / "file").write_text("")
    monkeypatch.setenv(FILESYSTEM, f"file://{isolated}/file/lake")
    fails("can't be", 5, "--destination", "filesystem", run=False)
    monkeypatch.setenv(SQLALCHEMY, f"sqlite:///{isolated}/missing/warehouse.sqlite")
    fails("is missing or can't be written", 5, "--destination", "sqlalchemy", run=False)


def test_a_bucket_that_is_missing_is_one_line(s3_credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILESYSTEM, "s3://nowhere/lake")
    for name, value in s3_credentials.items():
        monkeypatch.setenv(f"DESTINATION__FILESYSTEM__CREDENTIALS__{name.upper()}", value)
    fails("there is no such bucket", 5, "--destination", "filesystem")
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("DESTINATION__FILESYSTEM__CREDENTIALS__ENDPOINT_URL", "http://127.0.0.1:1")
    fails("the endpoint can't be reached", 5, "--destination", "filesystem", run=False)


# --- missing rights -----------------------------------------------------------------------------------------------


def test_the_right_that_is_missing_is_named_until_none_is(stranger: str, admin: Any, dataset: str) -> None:
    here = ("--destination", "postgres", "--dataset", dataset)
    with dropped_at_the_end(admin, f"DROP SCHEMA IF EXISTS {dataset} CASCADE"):
        assert f"GRANT CREATE ON DATABASE warehouse TO {stranger}" in check(*here)["line"]
        refused = mindo("run", "--quiet", *here)
        assert (refused.code, "`mindo check` tells which" in refused.error) == (5, True)
        admin.execute(f"GRANT CREATE ON DATABASE warehouse TO {stranger}; CREATE SCHEMA {dataset}")
        assert f"GRANT USAGE, CREATE ON SCHEMA {dataset} TO {stranger}" in check(*here)["line"]
        admin.execute(f"GRANT USAGE, CREATE ON SCHEMA {dataset} TO {stranger}")
        assert check(*here)["line"].endswith("can be written")
        assert counted(admin, dataset) == {}
        assert schemas(admin, dataset) == [dataset]


def test_tables_of_somebody_else_are_found(stranger: str, admin: Any, dataset: str) -> None:
    admin.execute(f"GRANT CREATE ON DATABASE warehouse TO {stranger}; CREATE SCHEMA {dataset}")
    with dropped_at_the_end(admin, f"DROP SCHEMA {dataset} CASCADE"):
        admin.execute(f"GRANT USAGE, CREATE ON SCHEMA {dataset} TO {stranger}; CREATE TABLE {dataset}.messages (a int)")
        told = check("--destination", "postgres", "--dataset", dataset)
        assert told["code"] == 5
        assert f"such as messages, belong to mindo; GRANT mindo TO {stranger}" in told["line"]


@contextmanager
def dropped_at_the_end(admin: Any, statement: str) -> Iterator[None]:
    """Runs a statement at the end, whatever happens."""
    with ExitStack() as stack:
        stack.callback(admin.execute, statement)
        yield


# --- missing packages ---------------------------------------------------------------------------------------------

CALLS = """
import json, os, sys
from mindo_pipeline.cli import call
for command, environment in json.loads(sys.argv[1]):
    os.environ.update(environment)
    print(int(call(command)), file=sys.stderr)
"""


def test_missing_packages_are_named_with_the_extra_that_has_them(isolated: Path) -> None:
    modules = isolated / "modules"
    modules.mkdir()
    for module in ("psycopg2", "sqlalchemy", "alembic", "deltalake", "pyiceberg", "s3fs", "adlfs"):
        # as if it were not installed
        (modules / f"{module}.py").write_text(f"raise ModuleNotFoundError('No module named {module}', name='{module}')")
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    azure = {"AZURE_STORAGE_ACCOUNT_NAME": "name", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5"}
    credentials = {f"DESTINATION__FILESYSTEM__CREDENTIALS__{name}": value for name, value in (keys | azure).items()}
    lake = {FILESYSTEM: f"file://{isolated}/lake"}
    cases: Sequence[tuple[str, str, dict[str, str]]] = (
        ("mindo-connector[postgres]", "postgres", {POSTGRES: f"postgresql://a:{PASSWORD}@b/c"}),
        ("mindo-connector[sqlalchemy]", "sqlalchemy", {SQLALCHEMY: f"mysql+pymysql://a:{PASSWORD}@b/c"}),
        ("mindo-connector[delta]", "filesystem", lake | {"DESTINATION__FILESYSTEM__TABLE_FORMAT": "delta"}),
        ("mindo-connector[iceberg]", "filesystem", lake | {"DESTINATION__FILESYSTEM__TABLE_FORMAT": "iceberg"}),
        ("mindo-connector[s3]", "filesystem", credentials | {FILESYSTEM: "s3://warehouse"}),
        ("dlt[az]", "filesystem", {FILESYSTEM: "az://warehouse"}),
        ("dlt[lancedb]", "lancedb", {}),
    )
    calls = [(["run", "--destination", name], environment) for _, name, environment in cases]
    done = subprocess.run(
        [sys.executable, "-c", CALLS, json.dumps(calls)],
        env=os.environ | {"PYTHONPATH": str(modules)},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = [
        line
        for extra, name, _ in cases
        for line in (
            f"error: destination: {name} needs packages that are not installed; pip install '{extra}'.",
            "2",
        )
    ]
    assert done.stderr.splitlines() == expected
    assert PASSWORD not in done.stdout


def test_an_extension_that_duckdb_cannot_download_is_named(isolated: Path) -> None:
    with duckdb.connect(config={"extension_directory": str(isolated / "extensions")}) as connection:
        connection.execute("SET custom_extension_repository = 'http://127.0.0.1:1'")
        with pytest.raises(duckdb.Error) as raised:
            connection.execute("INSTALL ducklake")
    assert "DuckDB needs its extension ducklake and can't download it" in destination_line(raised.value)


# --- connections that break ---------------------------------------------------------------------------------------


def test_a_connection_that_breaks_in_a_load_is_repaired_by_the_next_run(
    postgres: Place, admin: Any, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POSTGRES, url_of(postgres))
    here = ("--destination", "postgres", "--dataset", dataset)
    first_day = ("--from", (midnight() - 2 * DAY).isoformat(), "--to", (midnight() - DAY).isoformat())
    assert mindo("run", "--quiet", *first_day, *here).code == 0
    with ExitStack() as stack:
        reader = psycopg2.connect(url_of(postgres))
        stack.callback(reader.close)
        with reader.cursor() as cursor:
            # reading goes on, and writing waits
            cursor.execute(f"LOCK TABLE {dataset}.messages IN SHARE MODE")
        run = spawn("run", *here)
        others = f"datname = current_database() AND pid NOT IN (pg_backend_pid(), {reader.info.backend_pid})"

        def waits() -> bool:
            admin.execute(f"SELECT 1 FROM pg_stat_activity WHERE {others} AND wait_event_type = 'Lock'")
            return bool(admin.fetchall())

        wait_until(waits)
        admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
    broken = finish(run)
    assert broken.code == 5, broken.err
    assert broken.err.splitlines()[-1].startswith("error: ")
    assert "the same command reads the rest" in broken.err.splitlines()[-1]
    assert str(sa.make_url(url_of(postgres)).password) not in broken.err
    noted = [json.loads(note.read_text()) for note in Path(".dlt").rglob("unfinished.json")]
    assert [set(ranges) for note in noted for ranges in note.values()] == [{"57"}]
    assert mindo("run", "--quiet", *here).code == 0
    assert mindo("verify", "--quiet", *here).code == 0
    assert schemas(admin, dataset) == [dataset]


def test_what_a_row_says_is_never_taken_for_a_fault(admin: Any, isolated: Path) -> None:
    text = "no space left, read-only, permission denied, password authentication failed"
    with pytest.raises(psycopg2.DataError) as of_postgres:
        admin.execute("SELECT CAST(%s AS int)", (text,))
    engine = sa.create_engine(f"sqlite:///{isolated}/rows.sqlite")
    with pytest.raises(sa.exc.OperationalError) as of_sqlalchemy, engine.connect() as connection:
        connection.execute(sa.text("SELECT :text FROM nowhere"), {"text": text})
    with pytest.raises(duckdb.ConversionException) as of_duckdb:
        duckdb.execute("SELECT CAST(? AS int)", [text])
    for raised in (of_postgres, of_sqlalchemy, of_duckdb):
        assert text in str(raised.value)
        assert destination_line(raised.value, "unknown").startswith("unknown (")
