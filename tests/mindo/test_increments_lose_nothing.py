"""Incremental state: what a night reads, how far a company's watermark moves, and what becomes of holes."""

from __future__ import annotations

import shutil
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dlt
import pytest

from mindo import mindo_source
from mindo_emulator import Emulator, World
from tests.mindo.conftest import MakeLaboratory
from tests.support import DAY, NOW, START, Laboratory, assert_mirrors, query, small_world, snapshot, union

HOUR = timedelta(hours=1)
LOOKBACK_START = datetime(2026, 4, 27, tzinfo=UTC)
"""Midnight of the third day before `NOW`."""


def longer_world() -> World:
    """Two companies, with history before `START`."""
    return small_world(150, start=START - 10 * DAY, companies=[42, 57])


@pytest.fixture
def small(open_laboratory: MakeLaboratory) -> Laboratory:
    """One company of the longer world, and an empty warehouse."""
    laboratory = open_laboratory(longer_world())
    laboratory.given["company_ids"] = [42]
    return laboratory


@pytest.fixture(scope="session")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse after the first night, made once: all state lives in the file."""
    with chdir(tmp_path_factory.mktemp("first_night")), Emulator(longer_world()) as emulator:
        laboratory = Laboratory(emulator)
        laboratory.given["company_ids"] = [42]
        laboratory.complete_run()
        return laboratory.database


@pytest.fixture
def second(small: Laboratory, first_night: Path) -> Laboratory:
    """`small` after its first night."""
    shutil.copy(first_night, small.database)
    return small


def pages_read(laboratory: Laboratory, company: int = 42) -> list[tuple[datetime, datetime]]:
    """What was asked for since the last call, joined."""
    found = union(laboratory.asked(company))
    laboratory.emulator.requests.clear()
    return found


def test_a_night_reads_what_is_new_and_the_lookback(small: Laboratory) -> None:
    small.complete_run()
    assert pages_read(small) == [(START, NOW)]
    assert small.watermark(42) == NOW
    old = small.world.add_message(42, START + HOUR, "demasiado tarde")
    small.world.add_message(42, LOOKBACK_START, "justo")
    small.world.add_message(42, NOW, "en el borde")
    small.now += 5 * HOUR
    small.complete_run()
    assert pages_read(small) == [(LOOKBACK_START, NOW + 5 * HOUR)]
    assert small.watermark(42) == NOW + 5 * HOUR
    small.mirrors(42, start=LOOKBACK_START)
    assert query(small.database, "SELECT count(*) FROM messages WHERE message_id = ?", old) == [(0,)]
    small.complete_run(lookback_days=30)
    small.mirrors(42)


def test_without_a_lookback_only_what_is_new_is_read(small: Laboratory) -> None:
    small.complete_run(lookback_days=0)
    pages_read(small)
    small.now = NOW + 30 * HOUR
    small.complete_run(lookback_days=0)
    midnight = NOW.replace(hour=0)
    assert pages_read(small) == [(midnight, NOW + 30 * HOUR)]
    small.mirrors(42)


def test_an_explicit_range_moves_nothing(small: Laboratory) -> None:
    early = (START - 6 * DAY, START - 3 * DAY)
    small.complete_run(from_date=early[0], to_date=early[1])
    assert pages_read(small) == [early]
    small.mirrors(42, start=early[0], end=early[1])
    assert small.watermark(42) is None
    small.complete_run()
    assert pages_read(small) == [(START, NOW)]
    small.now += DAY
    small.complete_run(from_date=NOW, to_date=NOW + DAY)
    assert small.watermark(42) == NOW
    small.mirrors(42)


def test_the_range_of_a_scheduler_is_read_and_moves_nothing(second: Laboratory, monkeypatch: Any) -> None:
    monkeypatch.setenv("DLT_INTERVAL_START", "2026-04-12T00:00:00Z")
    monkeypatch.setenv("DLT_INTERVAL_END", "2026-04-13T00:00:00Z")
    second.complete_run()
    interval = (datetime(2026, 4, 12, tzinfo=UTC), datetime(2026, 4, 13, tzinfo=UTC))
    assert pages_read(second) == [interval]
    second.mirrors(42, start=interval[0], end=interval[1])
    assert second.watermark(42) == NOW
    warehouse = second.warehouse()
    warehouse.reading()
    assert warehouse.coverage.covered(42, second.options().selection) == [(START, NOW)]


def test_the_source_itself_honours_a_scheduler(small: Laboratory, monkeypatch: Any) -> None:
    monkeypatch.setenv("DLT_INTERVAL_START", "2026-04-22T00:00:00Z")
    monkeypatch.setenv("DLT_INTERVAL_END", "2026-04-23T12:00:00Z")
    pipeline = dlt.pipeline("mindo", destination=dlt.destinations.duckdb("warehouse.duckdb"), dataset_name="mindo")
    pipeline.run(mindo_source(options=small.options()))
    interval = (datetime(2026, 4, 22, tzinfo=UTC), datetime(2026, 4, 23, 12, tzinfo=UTC))
    assert pages_read(small) == [interval]
    assert_mirrors("warehouse.duckdb", small.world, [42], *interval)
    assert "companies" not in pipeline.state["sources"].get("mindo", {}).get("resources", {}).get("messages", {})


def test_a_start_date_that_moves_back_fills_just_the_difference(second: Laboratory) -> None:
    second.given["start_date"] = START - 4 * DAY
    second.complete_run()
    assert pages_read(second) == [(START - 4 * DAY, START), (LOOKBACK_START, NOW)]
    second.mirrors(42, start=START - 4 * DAY)
    second.given["start_date"] = START + 2 * DAY
    second.complete_run()
    assert pages_read(second) == [(LOOKBACK_START, NOW)]
    second.mirrors(42, start=START - 4 * DAY)


def test_a_company_added_later_gets_its_own_history(second: Laboratory) -> None:
    second.now += HOUR
    second.given["company_ids"] = [42, 57]
    second.complete_run()
    assert union(second.asked(57)) == [(START, NOW + HOUR)]
    assert union(second.asked(42)) == [(LOOKBACK_START, NOW + HOUR)]
    second.mirrors(42, 57)
    assert second.watermark(57) == second.watermark(42) == NOW + HOUR


def test_a_company_that_fails_keeps_its_mark_and_holds_nobody_back(small: Laboratory) -> None:
    small.given |= {"company_ids": [42, 57], "max_attempts": 2}
    small.complete_run()
    fault = small.emulator.faults.add("server_error", company=57, times=None)
    small.now += 4 * DAY
    late = small.world.add_message(57, NOW + DAY, "llega tarde")
    small.world.add_message(42, NOW + DAY, "a tiempo")
    outcome = small.run()
    assert {read.window.company_id for read in outcome.incomplete} == {57}
    assert {load.read.window.company_id for load in outcome.complete} == {42}
    small.mirrors(42)
    assert (small.watermark(42), small.watermark(57)) == (NOW + 4 * DAY, NOW)
    assert fault.hits
    small.emulator.faults.clear()
    small.emulator.requests.clear()
    small.complete_run()
    assert union(small.asked(57)) == [(LOOKBACK_START, NOW + 4 * DAY)]
    small.mirrors(42, 57)
    assert query(small.database, "SELECT count(*) FROM messages WHERE message_id = ?", late) == [(1,)]


def test_an_incomplete_window_is_a_hole_that_the_next_run_fills(small: Laboratory) -> None:
    hole = datetime(2026, 4, 23, tzinfo=UTC)
    small.world.add_message(42, hole + HOUR)
    small.emulator.faults.add("html_page", covering=hole + HOUR, times=None)
    small.given["max_attempts"] = 1
    outcome = small.run()
    assert [(r.window.start, r.window.end) for r in outcome.incomplete] == [(hole, hole + DAY)]
    small.mirrors(42, end=hole)
    small.mirrors(42, start=hole + DAY)
    day = "occurred_at >= ? AND occurred_at < ?"
    assert query(small.database, f"SELECT count(*) FROM messages WHERE {day}", hole, hole + DAY) == [(0,)]
    ledger = f"SELECT count(*) FROM export_windows WHERE {day.replace('occurred_at', 'window_start')}"
    assert query(small.database, ledger, hole, hole + DAY) == [(0,)]
    assert small.watermark(42) == hole
    small.now += 2 * DAY
    small.run()
    assert small.watermark(42) == hole, "the watermark passed a hole"
    small.emulator.faults.clear()
    pages_read(small)
    small.complete_run()
    assert pages_read(small) == [(START, small.now)]
    assert small.watermark(42) == small.now
    small.mirrors(42)


def test_a_window_that_fails_when_it_is_read_again_is_read_in_the_next_night(second: Laboratory) -> None:
    before = snapshot(second.database)
    edge = LOOKBACK_START + HOUR
    late = second.world.add_message(42, edge)
    second.emulator.faults.add("html_page", covering=edge, times=None)
    second.given["max_attempts"] = 1
    second.now += DAY
    outcome = second.run()
    assert [read.window.start for read in outcome.incomplete] == [LOOKBACK_START]
    after = snapshot(second.database)
    kept = {key for key, row in before["messages"].items() if row["occurred_at"] < 1_777_334_400_000_000}
    assert kept <= after["messages"].keys(), "an incomplete window lost rows"
    second.emulator.faults.clear()
    second.now += 5 * DAY
    second.complete_run()
    assert query(second.database, "SELECT count(*) FROM messages WHERE message_id = ?", late) == [(1,)]
    second.mirrors(42)


def test_state_lives_in_the_destination(second: Laboratory, isolated: Path) -> None:
    second.complete_run()
    second.emulator.requests.clear()
    shutil.rmtree(isolated / ".dlt")
    second.now += HOUR
    second.complete_run()
    assert pages_read(second) == [(LOOKBACK_START, second.now)]
    second.database.unlink()
    second.complete_run()
    assert pages_read(second) == [(START, second.now)]
    second.mirrors(42)


class StopsAfter:
    """Ends a run like Ctrl-C does, behind a number of loads."""

    def __init__(self, loads: int) -> None:
        self.left = loads

    def planned(self, windows: Any) -> None: ...

    def page_read(self, window: Any, page: Any) -> None: ...

    def windows_ended(self, complete: Any, incomplete: Any) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_a_backfill_resumes_where_it_stopped_and_is_not_read_again(small: Laboratory) -> None:
    given: dict[str, Any] = {"from_date": START, "to_date": NOW, "workers": 1}
    with pytest.raises(KeyboardInterrupt):
        small.backfill(newest_first=True, load_messages=8, progress=StopsAfter(2), **given)
    loaded = query(small.database, "SELECT window_start FROM export_windows ORDER BY window_start")
    assert 0 < len(loaded) < 11
    assert loaded[0][0] > START, "newest first began with the oldest"
    small.mirrors(42, start=loaded[0][0])
    assert small.watermark(42) is None
    pages_read(small)

    plan, outcome = small.backfill(newest_first=True, load_messages=8, **given)
    assert pages_read(small) == [(START, loaded[0][0])]
    assert (plan.windows, len(outcome.complete)) == (11, 11 - len(loaded))
    read = [load.read.window.start for load in outcome.complete]
    assert read == sorted(read, reverse=True)
    small.mirrors(42)

    small.now += HOUR
    small.complete_run(lookback_days=0)
    assert pages_read(small) == [(NOW, small.now)]
    assert small.watermark(42) == small.now
    small.mirrors(42)
    # the same command once more is a new wish to read it all
    small.backfill(**given)
    assert pages_read(small) == [(START, NOW)]


def test_a_backfill_leaves_a_hole_for_the_same_command(small: Laboratory) -> None:
    hole = datetime(2026, 4, 23, tzinfo=UTC)
    small.emulator.faults.add("html_page", covering=hole, times=None)
    given: dict[str, Any] = {"from_date": START, "to_date": NOW, "max_attempts": 1}
    _, outcome = small.backfill(**given)
    assert [read.window.start for read in outcome.incomplete] == [hole]
    small.emulator.faults.clear()
    pages_read(small)
    small.backfill(**given)
    assert pages_read(small) == [(hole, hole + DAY)]
    small.mirrors(42)


def test_a_hole_of_a_filtered_run_is_read_again_though_a_wider_run_read_it_before(loaded: Laboratory) -> None:
    day = NOW.replace(hour=0) - DAY
    late = loaded.world.add_message(42, day + DAY / 2, "late", channel="META_WHATSAPP")
    loaded.emulator.faults.add("server_error", company=42, covering=day, times=None)
    assert len(loaded.run(channel="whatsapp", max_attempts=1).incomplete) == 1
    loaded.emulator.faults.clear()
    loaded.now += DAY
    assert day in [window.start for window in loaded.complete_run(channel="whatsapp", lookback_days=0).planned]
    assert query(loaded.database, "SELECT count(*) FROM messages WHERE message_id = ?", late) == [(1,)]
    loaded.now += DAY
    assert day not in [window.start for window in loaded.complete_run(channel="whatsapp", lookback_days=0).planned]
