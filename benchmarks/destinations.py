"""How fast the same backfill is into other destinations than DuckDB, with a server on the same machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import psycopg2

from tests.destinations.servers import postgres_server

from .checking import rows_in
from .emulator import KEY, World, serve
from .measuring import FINISHED
from .mindo import DATABASE, MindoFailed, mindo
from .places import run_folder
from .records import RecordFile
from .truth import TABLES, Api, count_rows

DUCKDB, POSTGRES = "duckdb", "postgres"
FIRST, AGAIN = "first load", "the same again, nothing new"
DESTINATIONS = (DUCKDB, POSTGRES)
MESSAGES = 500_000
_DATASET = "mindo"


def measure_destinations(file: RecordFile, rounds: int = 3, messages: int = MESSAGES) -> None:
    """Backfills each destination from nothing, and once more, by turns; the server writes to disk as one in production does."""
    world = World(messages)
    with ExitStack() as stack:
        url = stack.enter_context(serve(world))
        server = stack.enter_context(postgres_server("fsync=on", "synchronous_commit=on"))
        expected = count_rows(Api(url, KEY, world.companies, world.start, world.end))
        for number in range(1, rounds + 1):
            for destination in DESTINATIONS:
                if not file.has(destination=destination, kind=AGAIN, messages=messages, round=number):
                    with run_folder() as folder:
                        _load(file, folder, url, world, server, destination, number, expected)


def _load(
    file: RecordFile,
    folder: Path,
    url: str,
    world: World,
    server: str,
    destination: str,
    number: int,
    expected: Mapping[str, int],
) -> None:
    backfill = ("backfill", "--from", world.start, "--to", world.end, "--destination", destination, "--json")
    _drop(server)
    for kind in (FIRST, AGAIN):
        measured = mindo(
            folder, url, world.companies, *backfill, environment={"DESTINATION__POSTGRES__CREDENTIALS": server}
        )
        found = rows_in(folder / DATABASE) if destination == DUCKDB else _rows_in_postgres(server, TABLES)
        if found != expected:
            raise MindoFailed(f"{destination}, {kind}: the tables have {found} rows instead of {expected}")
        told = {"destination": destination, "kind": kind, "round": number, "messages": world.messages}
        file.add({**told, **measured.figures()})
        print(f"{destination}, {kind}: {FINISHED}, {measured.seconds:.1f} s", file=sys.stderr, flush=True)


def _drop(server: str) -> None:
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {_DATASET} CASCADE")


def _rows_in_postgres(server: str, tables: Sequence[str]) -> dict[str, int]:
    counts = {}
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f'SELECT count(*) FROM {_DATASET}."{table}"')
            counts[table] = int((cursor.fetchone() or (0,))[0])
    return counts
