"""A laboratory per test, over each of the destinations; servers are started once, by the first test that needs them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from mindo_emulator import Emulator, World
from mindo_pipeline.warehouse import Warehouse
from tests.destinations.places import DuckDb, Lake, Place, Postgres, SqlAlchemy, as_held
from tests.destinations.servers import ServerMissing, mariadb_server, postgres_server, s3_server
from tests.support import COMPANIES, EVERYTHING, NOW, START, Laboratory, Message, Row, Table, assert_tables_hold

DATABASES = ("duckdb", "postgres", "mariadb", "sqlite")
FORMATS = ("parquet", "delta", "iceberg")
FOLDERS = tuple(f"{table_format} in a folder" for table_format in FORMATS)
BUCKETS = tuple(f"{table_format} on S3" for table_format in FORMATS)
PLACES = (*DATABASES, *FOLDERS)


class PlaceLaboratory(Laboratory):
    """A laboratory with any destination for its warehouse, and a dataset of its own there."""

    def __init__(self, server: Any, place: Place) -> None:
        super().__init__(server)
        self.place = place
        self.dataset = f"mindo_{uuid.uuid4().hex[:12]}"

    def warehouse(self) -> Warehouse:
        """The warehouse, opened anew as by another process."""
        return Warehouse(self.place.destination, self.dataset)

    def tables(self) -> dict[str, Table]:
        """The tables as they are."""
        return self.place.read(self.dataset)

    def snapshot(self) -> dict[str, dict[tuple[Any, ...], Row]]:
        """As `tests.support.snapshot`."""
        keyed = {}
        for table, content in self.tables().items():
            key = ["company_id", "message_id", *(["_dlt_list_idx"] if table != "messages" else [])]
            keyed[table] = {tuple(row[name] for name in key): row for row in content.rows}
        return keyed

    def mirrors(self, *companies: int, start: Any = START, end: Any = None, **others: Any) -> None:
        """Compares the tables with the world, as far as its text can be held here."""
        found = companies or COMPANIES
        until = end or self.now
        messages = [
            message for company in found for message in self.world.truth(company, start, until, include=EVERYTHING)
        ]
        self.hold(messages, *found, start=start, end=until, stamped=True, **others)

    def hold(self, messages: list[Message], *companies: int, start: Any = START, end: Any = NOW, **others: Any) -> None:
        """Compares the tables with messages."""
        expected = [as_held(message, self.place.replacement) for message in messages]
        assert_tables_hold(self.tables(), expected, companies or COMPANIES, start, end, **others)


class MakeLaboratory(Protocol):
    """Opens an emulator over a world, and a dataset of the destination beside it."""

    def __call__(self, world: World) -> PlaceLaboratory: ...


@pytest.fixture
def place(request: pytest.FixtureRequest, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The destination of the test's parameter, known to dlt."""
    found: Place
    if request.param == "duckdb":
        found = DuckDb(isolated / "warehouse.duckdb")
    elif request.param == "sqlite":
        found = SqlAlchemy(f"sqlite:///{isolated}/warehouse.sqlite")
    elif request.param.endswith("in a folder"):
        found = Lake(f"file://{isolated}/lake", request.param.split(" ")[0])
    elif request.param.endswith("on S3"):
        found = Lake("s3://warehouse/lake", request.param.split(" ")[0], request.getfixturevalue("s3_credentials"))
    else:
        found = request.getfixturevalue(request.param)
    for name, value in found.configuration().items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def open_laboratory(place: Place) -> Iterator[MakeLaboratory]:
    with ExitStack() as stack:

        def make(world: World) -> PlaceLaboratory:
            return PlaceLaboratory(stack.enter_context(Emulator(world)), place)

        yield make


@pytest.fixture(scope="session")
def postgres() -> Iterator[Place]:
    with postgres_server() as url:
        yield Postgres(url)


@pytest.fixture(scope="session")
def mariadb(pytestconfig: pytest.Config) -> Iterator[Place]:
    assert pytestconfig.cache is not None
    try:
        with mariadb_server(pytestconfig.cache.mkdir("mariadb")) as url:
            yield SqlAlchemy(url)
    except ServerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def s3_credentials() -> Iterator[dict[str, str]]:
    with s3_server() as credentials:
        yield credentials
