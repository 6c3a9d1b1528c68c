"""Every part of the command on destinations other than DuckDB, as somebody calls it; and files, to which loads are only appended."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dlt
import duckdb
import psycopg2
import pytest

from mindo import mindo_source
from mindo.columns import CHILD_TABLES, MESSAGES
from mindo.queries import open_queries
from mindo.strategies import latest_sql
from mindo_emulator import Emulator, World
from mindo_pipeline.cli import call
from tests.crashing import KillPoint, run_and_kill
from tests.destinations.conftest import PlaceLaboratory
from tests.destinations.places import Place, Postgres
from tests.mindo_pipeline.harness import DAY, TABLES, make_world, midnight, mindo, settings

COMPANIES = (42, 57)
START, END = midnight() - 4 * DAY, midnight()
ANA, ALONE, CANARY = "ctc_" + "a1a" * 8, "conv_" + "a10e" * 6, "canaryTr9Yk"
AWKWARD = [
    "nul \0 nul",
    '{"a": "\\u0000"}',
    "NULL",
    "",
    " \\N\t%s {table} 'x' \"y\" ",
    "👩🏽‍💻 ñandú \u2028\ufeff",
    CANARY,
]
DOCUMENT = Path(__file__).parents[2] / "docs" / "destinations.md"
_FILES = "dlt.destinations.impl.filesystem.filesystem"
KILLS = [
    ("parquet in a folder", KillPoint("the state is there", f"{_FILES}:FilesystemClient._store_load", "before")),
    ("delta in a folder", KillPoint("a table is committed", f"{_FILES}:DeltaLoadFilesystemJob.run", table=MESSAGES)),
]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator[World]]:
    """A small world; and a machine whose clock is not UTC, which times without a zone must not be taken for."""
    monkeypatch.setenv("TZ", "America/Argentina/Buenos_Aires")
    time.tzset()
    with Emulator(make_world(40, awkward=0.3, companies=COMPANIES)) as emulator:
        others = {"COMPANY_IDS": "42,57", "CONFIRM_WINDOWS": "false", "WINDOW_HOURS": "744"}
        for name, value in settings(emulator, **{f"SOURCES__MINDO__{name}": v for name, v in others.items()}).items():
            monkeypatch.setenv(name, value)
        yield emulator
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def laboratory(place: Place, api: Emulator[World]) -> PlaceLaboratory:
    return PlaceLaboratory(api, place)


def answer(laboratory: PlaceLaboratory, *command: str, code: int = 0) -> dict[str, Any]:
    result = mindo(*command, "--json", *where(laboratory))
    assert result.code == code, result.err
    return result.document


def where(laboratory: PlaceLaboratory) -> list[str]:
    return ["--destination", laboratory.place.destination, "--dataset", laboratory.dataset]


def mirrors(laboratory: PlaceLaboratory, **others: Any) -> None:
    laboratory.mirrors(*COMPANIES, start=START, end=END, **others)


def truth(world: World, *companies: int) -> int:
    return sum(len(world.truth(company, START, END)) for company in companies or COMPANIES)


def plant(world: World) -> tuple[str, str]:
    """What Ana said to nobody, and a message that will be edited, and one that will be deleted."""
    for number, text in enumerate(AWKWARD):
        world.add_message(
            42,
            START + timedelta(hours=number),
            text,
            conversation_id=ALONE,
            direction="inbound",
            author={"type": "contact", "id": ANA, "display_name": "Ana"},
            classifications=[{"label": text, "value": text}],
            tool_calls=[{"name": text, "arguments": {"t": text}}],
        )
    world.add_message(42, END - DAY, "its id has a nul as well", message_id="msg_nul \0")
    return world.add_message(42, END - DAY / 2, "before"), world.add_message(57, END - DAY / 2, "gone soon")


@pytest.mark.parametrize("place", ["postgres", "mariadb", "sqlite", "parquet in a folder"], indirect=True)
def test_every_command_says_and_does_what_it_does_on_duckdb(laboratory: PlaceLaboratory) -> None:
    world = laboratory.world
    edited, deleted = plant(world)
    assert answer(laboratory, "check")["checks"][-1]["status"] == "ok"
    assert answer(laboratory, "run")["messages_written"] == truth(world)

    world.edit_text(edited, "after")
    world.delete(deleted)
    world.add_message(57, END - DAY, "late")
    found = answer(laboratory, "verify", code=6)["totals"]
    assert found == {"in_api": truth(world), "in_warehouse": truth(world), "missing": 1, "extra": 1, "changed": 1}
    assert answer(laboratory, "verify", "--repair")["repair"]["messages_written"] == 2
    mirrors(laboratory)
    _status_is_right(laboratory, runs=2)

    held = laboratory.snapshot()[MESSAGES]
    if laboratory.place.appends:
        refused = answer(laboratory, "forget", "--contact", ANA, "--yes", code=2)
        assert "only appended" in refused["message"]
    else:
        _forgets_ana(laboratory)
        held = {key: row for key, row in held.items() if row["conversation_id"] != ALONE}

    back = (END - DAY).date().isoformat()
    rewound = answer(laboratory, "state", "rewind", "--companies", "42", "--to", back, "--yes")
    assert [company["company_id"] for company in rewound["companies"]] == [42]
    answer(laboratory, "state", "forget", "--companies", "57", "--yes")
    (shown,) = answer(laboratory, "state", "show")["companies"]
    assert shown["selections"][0]["watermark"] == f"{back}T00:00:00Z"
    kinds = {company["company_id"]: company["kind"] for company in answer(laboratory, "plan")["companies"]}
    assert kinds == {42: "increment + lookback", 57: "first run"}
    assert answer(laboratory, "run")["messages_written"] == 0
    assert laboratory.snapshot()[MESSAGES] == held


def _status_is_right(laboratory: PlaceLaboratory, runs: int) -> None:
    status = answer(laboratory, "status")
    assert {c["company_id"]: c["messages"] for c in status["companies"]} == {
        company: truth(laboratory.world, company) for company in COMPANIES
    }
    assert len(status["runs"]) == runs
    for run in status["runs"]:
        assert abs(datetime.now(UTC) - datetime.fromisoformat(run["started_at"])) < timedelta(minutes=30)


def _forgets_ana(laboratory: PlaceLaboratory) -> None:
    assert _bytes_of_ana(laboratory) is not False, "the test would not see her"
    done = answer(laboratory, "forget", "--contact", ANA, "--yes")
    assert "the tables were written anew" in done["message"]
    erased = done["rows"]
    assert erased == {
        MESSAGES: len(AWKWARD),
        **dict(zip(CHILD_TABLES.values(), (len(AWKWARD), 0, len(AWKWARD)), strict=True)),
    }
    for rows in laboratory.snapshot().values():
        assert ALONE not in {row["conversation_id"] for row in rows.values()}
    assert not _bytes_of_ana(laboratory), "her words are still in the files"
    (entry,) = laboratory.warehouse().query("SELECT subject, messages, finished_at FROM {audit_log}")
    assert (entry["subject"], entry["messages"]) == (ANA, len(AWKWARD))
    assert entry["finished_at"]


def _bytes_of_ana(laboratory: PlaceLaboratory) -> bool | None:
    """Whether a file of the database holds what she wrote, in whatever dataset; `None` where files can't be looked at."""
    if laboratory.place.destination == "sqlalchemy" and "sqlite" in laboratory.place.configuration().popitem()[1]:
        return any(CANARY.encode() in file.read_bytes() for file in Path().glob("*.sqlite*"))
    if not isinstance(laboratory.place, Postgres):
        return None
    with psycopg2.connect(laboratory.place.url) as connection, connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
        cursor.execute(
            "SELECT bool_or(position(%s::bytea IN pg_read_binary_file(pg_relation_filepath(c.oid))) > 0)"
            " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname LIKE %s AND pg_relation_filepath(c.oid) IS NOT NULL",
            (CANARY.encode(), f"{laboratory.dataset}%"),
        )
        (is_there,) = cursor.fetchone() or (False,)
        return bool(is_there)


@pytest.mark.parametrize("place", ["parquet in a folder"], indirect=True)
def test_the_documented_query_gives_what_holds_also_if_a_file_is_there_twice(
    laboratory: PlaceLaboratory, isolated: Path
) -> None:
    world = laboratory.world
    edited, deleted = plant(world)
    answer(laboratory, "run")
    world.edit_text(edited, "after")
    world.delete(deleted)
    answer(laboratory, "run")
    folder = isolated / "lake" / laboratory.dataset
    for file in sorted(folder.glob("messages*/*.parquet")):
        shutil.copy(file, file.with_name(f"again.{file.name}"))
    mirrors(laboratory)

    section = DOCUMENT.read_text(encoding="utf-8").split("## Files, Delta and Iceberg")[1].split("\n## ")[0]
    (documented,) = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    query = documented.split("CREATE VIEW latest AS")[1]
    for table in TABLES:
        written = latest_sql(table, table, "loads", ["* EXCLUDE (version)"])
        assert _without_spaces(query.replace(MESSAGES, table)) == _without_spaces(f"{written};")
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(documented.replace("lake/mindo", str(folder)).replace(MESSAGES, table))
            found = connection.execute("SELECT _dlt_id, _row_hash, _dlt_load_id FROM latest").fetchall()
        held = [
            tuple(row[name] for name in ("_dlt_id", "_row_hash", "_dlt_load_id"))
            for row in laboratory.tables()[table].rows
        ]
        assert sorted(found) == sorted(held)


def _without_spaces(sql: str) -> str:
    return re.sub(r"\s+", "", sql)


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_a_database_that_can_only_be_appended_to_is_asked_for_what_holds(laboratory: PlaceLaboratory) -> None:
    world = laboratory.world
    edited, deleted = plant(world)
    destination = dlt.destinations.duckdb("appended.duckdb", supported_merge_strategies=[])
    pipeline = dlt.pipeline("appending", destination=destination, dataset_name="mindo")
    written = []
    for _ in range(3):
        pipeline.run(mindo_source())
        with open_queries(pipeline, pipeline.default_schema) as queries:
            (row,) = queries.rows("SELECT count(*) AS n, max(_dlt_load_id) AS load FROM {messages}")
            assert row["n"] == truth(world)
            written.append(row["load"])
            if len(written) == 1:
                world.edit_text(edited, "after")
                world.delete(deleted)
    assert written[0] < written[1] == written[2], "a run that found nothing new wrote a row"


@pytest.mark.parametrize(("place", "point"), KILLS, indirect=["place"], ids=[f"{p}: {k.name}" for p, k in KILLS])
def test_a_load_to_files_that_was_killed_leaves_nothing_that_counts_and_no_gap(
    laboratory: PlaceLaboratory, point: KillPoint, isolated: Path
) -> None:
    world = laboratory.world
    edited, deleted = plant(world)
    ended = run_and_kill(call, ["run", "--quiet", *where(laboratory)], at=point)
    assert ended.killed, ended.err
    warehouse = laboratory.warehouse()
    warehouse.reading()
    assert not any(warehouse.count_rows(TABLES).values())
    assert any(isolated.glob(f"lake/*/{MESSAGES}/**/*.parquet")), "nothing is there that could count"

    world.edit_text(edited, "after")
    world.delete(deleted)
    answer(laboratory, "run", "--window-hours", "24", "--lookback-days", "1", "--load-messages", "20")
    assert len({row["_dlt_load_id"] for row in laboratory.snapshot()[MESSAGES].values()}) > 1, "it is one load only"
    mirrors(laboratory)
    _status_is_right(laboratory, runs=1)
