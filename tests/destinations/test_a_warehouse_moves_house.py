"""`mindo copy`: tables and state arrive at another destination as they are, and the next night goes on there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import duckdb
import pytest

from mindo import Selection
from mindo_emulator import GLOBAL_DEMO_KEY
from mindo_pipeline import copying
from mindo_pipeline.cli import call
from mindo_pipeline.warehouse import Warehouse
from tests.crashing import KillPoint, run_and_kill
from tests.destinations.conftest import MakeLaboratory, PlaceLaboratory
from tests.mindo_pipeline.harness import Result, mindo
from tests.support import COMPANIES, DAY, EVERYTHING, NOW, START, TABLES, Laboratory, changed_keys, small_world

LATE = NOW - 2 * DAY
AWKWARD = "nul \0 nul, '; DROP TABLE messages; -- \\N\t%s {table} \u202e 👩🏽‍💻"
_COMPLETE = "dlt.destinations.job_client_impl:SqlJobClientBase.complete_load"


@pytest.fixture
def target(open_laboratory: MakeLaboratory, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlaceLaboratory]:
    """Where the warehouse moves to; its world is also that of the old one."""
    laboratory = open_laboratory(small_world(60))
    laboratory.given["window_hours"] = 240
    monkeypatch.setenv("SOURCES__MINDO__BASE_URL", laboratory.server.base_url)
    monkeypatch.setenv("SOURCES__MINDO__API_KEY", GLOBAL_DEMO_KEY)
    return laboratory


@pytest.fixture
def house(target: PlaceLaboratory) -> Laboratory:
    """The old warehouse, in DuckDB."""
    laboratory = Laboratory(target.server)
    laboratory.given = target.given
    return laboratory


def copy(target: PlaceLaboratory, *others: str) -> Result:
    return mindo(*arguments(target), *others)


def arguments(target: PlaceLaboratory) -> list[str]:
    return ["copy", "--to", target.place.destination, "--to-dataset", target.dataset]


def state(warehouse: Warehouse) -> dict[str, Any]:
    """All that later runs go by, as another process would see it."""
    warehouse.reading()
    found: dict[str, Any] = warehouse.pipeline.state["sources"]
    return found


def rows(warehouse: Warehouse, table: str) -> list[dict[str, Any]]:
    found = warehouse.query(f"SELECT * FROM {{{table}}}")
    # a database without zones holds UTC
    return sorted(({n: _naive(v) for n, v in row.items() if n != "_window_end"} for row in found), key=str)


def _naive(value: Any) -> Any:
    return value.astimezone(tz=None).replace(tzinfo=None) if isinstance(value, datetime) and value.tzinfo else value


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_the_next_night_goes_on_where_the_old_house_was_left(target: PlaceLaboratory, house: Laboratory) -> None:
    world = target.world
    calls = [{"name": "a", "arguments": {"n": 1.0, "z": "\0"}, "result": "texto"}]
    edited, deleted, moved = (world.add_message(42, LATE, AWKWARD, tool_calls=calls) for _ in range(3))
    world.set_member(edited, "context.thread_position", "third")
    world.set_member(moved, "agent.mood", {"calm": True})
    forgotten = world.messages(57)[0]["conversation_id"]
    house.complete_run()
    assert mindo("forget", "--conversation", forgotten, "--yes").code == 0
    old = house.warehouse()

    copied = copy(target, "--json")
    assert copied.code == 0, copied.err
    counts = {name: (found["rows"], found["copied"]) for name, found in copied.document["tables"].items()}
    assert all(there == arrived for there, arrived in counts.values())
    assert {*TABLES, "export_windows", "companies", "audit_log"} == counts.keys()
    assert counts["messages"][1] == len(target.tables()["messages"].rows)
    new = target.warehouse()
    assert state(new) == state(old)
    for table in ("export_windows", "companies", "audit_log"):
        assert len(rows(new, table)) == len(rows(old, table)) == counts[table][0]
    loads = {load["load_id"] for load in rows(old, "_dlt_loads")}
    assert loads < {load["load_id"] for load in rows(new, "_dlt_loads")}
    assert {row["_dlt_load_id"] for row in target.snapshot()["messages"].values()} <= loads
    held(target, forgotten)

    target.emulator.requests.clear()
    before = target.snapshot()
    target.now += timedelta(minutes=1)
    quiet = target.complete_run()
    assert target.snapshot() == before, "a night that found nothing new wrote something"
    assert quiet.changes == []
    assert min(start for start, _ in target.asked()) == NOW.replace(hour=0) - 3 * DAY, "it read history again"

    late = world.add_message(63, LATE, "tarde")
    world.edit_text(edited, "otro texto")
    world.delete(deleted)
    world.move(moved, LATE + timedelta(microseconds=1))
    world.set_member(late, "channel_note", 7)
    night = target.complete_run()
    held(target, forgotten)
    assert [change.column for change in night.changes] == ["channel_note"]
    changed = changed_keys(before["messages"], target.snapshot()["messages"])
    assert changed == {(42, edited), (42, moved), (63, late)}
    assert covered(target) == {company: [(START, target.now)] for company in COMPANIES}
    assert target.watermark(57) == target.now


def covered(target: PlaceLaboratory) -> dict[int, list[tuple[datetime, datetime]]]:
    warehouse = target.warehouse()
    warehouse.reading()
    return {company: warehouse.coverage.covered(company, Selection()) for company in COMPANIES}


def held(target: PlaceLaboratory, forgotten: str) -> None:
    """The tables mirror the world, but for the conversation that was forgotten."""
    truth = [m for company in COMPANIES for m in target.world.truth(company, START, target.now, include=EVERYTHING)]
    target.hold([m for m in truth if m["conversation_id"] != forgotten], start=START, end=target.now, stamped=True)


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_there_and_back_every_cell_is_as_it_was(
    target: PlaceLaboratory, house: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # several parts of a table, and several loads
    monkeypatch.setattr(copying, "_ROWS_AT_ONCE", 20)
    monkeypatch.setattr(copying, "_ROWS_OF_A_LOAD", 150)
    house.complete_run()
    old = house.warehouse()
    tables = {table: rows(old, table) for table in (*TABLES, "export_windows", "companies")}
    last = copy(target)
    assert last.code == 0, last.err
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "back.duckdb")
    back = mindo(
        "copy", "--destination", "postgres", "--dataset", target.dataset, "--to", "duckdb", "--to-dataset", "m"
    )
    assert back.code == 0, back.err
    new = Warehouse("duckdb", "m")
    assert {table: rows(new, table) for table in tables} == tables
    assert state(new) == state(old)
    with duckdb.connect("back.duckdb") as connection:
        described = {t: connection.execute(f"DESCRIBE m.{t}").fetchall() for t in TABLES}
    with duckdb.connect(str(house.database)) as connection:
        assert described == {t: connection.execute(f"DESCRIBE mindo.{t}").fetchall() for t in TABLES}


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_a_copy_that_was_killed_is_known_for_it_and_begins_anew(target: PlaceLaboratory, house: Laboratory) -> None:
    house.complete_run()
    run = ["run", "--companies", "42", "--destination", target.place.destination, "--dataset", target.dataset]
    for point in (
        KillPoint("rows are there", _COMPLETE, "before", hit=2),
        KillPoint("all but the state", _COMPLETE, "before", hit=3),
    ):
        ended = run_and_kill(call, arguments(target), at=point)
        assert ended.killed, ended.err
        refused = mindo(*run)
        assert refused.code == 5
        assert "holds part of a copy only" in refused.error
    last = copy(target)
    assert last.code == 0, last.err
    target.mirrors()
    old, new = house.warehouse(), target.warehouse()
    assert state(new) == state(old)
    assert len(rows(new, "export_windows")) == len(rows(old, "export_windows"))
    ids = [load["load_id"] for load in rows(new, "_dlt_loads")]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_rows_that_are_missing_are_told_and_the_copy_does_not_count(
    target: PlaceLaboratory, house: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.complete_run()
    copy_loads = copying._copy_loads

    def lose_a_row(source: Warehouse, to: Warehouse) -> None:
        copy_loads(source, to)
        to.change([("DELETE FROM {messages} WHERE message_id = (SELECT min(message_id) FROM {messages})", ())])

    with monkeypatch.context() as patch:
        patch.setattr(copying, "_copy_loads", lose_a_row)
        lost = copy(target, "--json")
    assert lost.code == 5
    total = lost.document["tables"]["messages"]["rows"]
    assert lost.document["tables"]["messages"]["copied"] == total - 1
    assert f"there are {total - 1} of {total} rows of messages" in lost.document["message"]
    assert covered(target) == {company: [] for company in COMPANIES}
    last = copy(target)
    assert last.code == 0, last.err
    target.mirrors()


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_what_can_not_be_copied_is_one_clear_line(
    target: PlaceLaboratory, house: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", "file://lake")
    nothing = copy(target)
    house.complete_run(company_ids=[42])
    target.complete_run(company_ids=[57])
    before = target.snapshot()
    failures = {
        "there is nothing to copy yet": nothing,
        "to: missing": mindo("copy"),
        "holds messages of Mindo already": copy(target),
        "is the warehouse itself": mindo("copy", "--to", "duckdb"),
        "loads are only appended": mindo("copy", "--to", "filesystem"),
        "is not a destination that dlt knows": mindo("copy", "--to", "nowhere"),
    }
    for line, failed in failures.items():
        assert failed.code == 2, failed.err
        assert line in failed.error
    assert target.snapshot() == before


def test_a_table_is_divided_without_a_gap_into_parts_that_fit() -> None:
    random = Random(3)
    for most in (1, 7, 100):
        burst = [START + timedelta(seconds=5)] * 20
        spread = [START + DAY * random.random() * 10 ** random.randint(-6, 3) for _ in range(200)]
        moments = sorted([START - 9_000 * DAY, *burst, *spread])
        end = moments[-1] + timedelta(microseconds=1)

        def count(start: datetime, end: datetime, moments: list[datetime] = moments) -> int:
            return sum(start <= moment < end for moment in moments)

        pieces = list(copying.divide(moments[0], end, len(moments), count, most))
        assert all(one[1] <= other[0] for one, other in pairwise(pieces))
        assert sum(rows for *_, rows in pieces) == len(moments)
        for start, until, rows in pieces:
            assert count(start, until) == rows > 0
            assert rows <= most or until - start == timedelta(microseconds=1)
