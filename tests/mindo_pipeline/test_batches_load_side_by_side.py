"""Batches of a company and a month can be loaded in any number of processes: the tables and the state are as of one run."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindo import AccessError, Company, Selection, resolve_options
from mindo.windows import merge_ranges
from mindo_emulator import Emulator, World
from mindo_pipeline.batches import Batch, load_batch, split_by_month
from mindo_pipeline.errors import DestinationError
from mindo_pipeline.exit_codes import ExitCode
from mindo_pipeline.running import DEMO_RUN_PREFIX, Outcome
from mindo_pipeline.warehouse import Warehouse
from tests.mindo_pipeline.harness import COMPANIES, DAY, count, finish, mindo, settings, spawn, wait_until
from tests.support import assert_mirrors, snapshot

START = datetime(2026, 3, 27, tzinfo=UTC)
END = datetime(2026, 4, 4, tzinfo=UTC)
RANGE = ("--from", START.date().isoformat(), "--to", END.date().isoformat())
BATCHES = 2 * len(COMPANIES)


@pytest.fixture
def emulator(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator[World]]:
    with Emulator(
        World.generate(seed=11, companies=COMPANIES, start=START, end=END, messages=400, awkward=0.1)
    ) as server:
        for name, value in settings(server, SOURCES__MINDO__START_DATE=START.date().isoformat()).items():
            monkeypatch.setenv(name, value)
        yield server


def assert_truth(emulator: Emulator[World]) -> None:
    assert_mirrors("warehouse.duckdb", emulator.world, COMPANIES, start=START, end=END)


def covered() -> dict[int, list[tuple[datetime, datetime]]]:
    warehouse = Warehouse()
    warehouse.reading()
    return {company: warehouse.coverage.covered(company, Selection()) for company in COMPANIES}


def wait_until_loading(emulator: Emulator[World]) -> None:
    """Until at least one batch must have been loaded; a look into the file would keep the processes from writing it."""
    wait_until(lambda: len(emulator.requests) > 40, timeout=120)


def workers_of(process: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(process).children() if "spawn_main" in " ".join(child.cmdline())]


def test_a_backfill_in_processes_ends_as_one_in_a_single_process(emulator: Emulator[World]) -> None:
    result = mindo("backfill", *RANGE, "--processes", "2", "--json")
    assert result.code == 0, result.err
    document = result.document
    assert_truth(emulator)
    assert covered() == {company: [(START, END)] for company in COMPANIES}
    windows = len(COMPANIES) * (END - START).days
    assert [window["status"] for window in document["windows"]] == ["complete"] * windows
    assert document["rows"]["messages"] == document["messages_written"] == count()
    assert count("export_windows") == windows
    assert count("_dlt_loads") == BATCHES
    before = snapshot("warehouse.duckdb")
    again = mindo("backfill", *RANGE, "--json").document
    assert again["resumed_windows"] == 0, "a finished backfill reads its range again"
    assert (again["messages_written"], snapshot("warehouse.duckdb")) == (0, before)


def test_windows_over_the_end_of_a_month_are_told_as_they_were_read(emulator: Emulator[World]) -> None:
    week = ("--window-hours", "168", "--companies", "42")
    planned = mindo("plan", "--batches", "--json", *RANGE, *week).document["batches"]
    document = mindo("backfill", *RANGE, *week, "--processes", "2", "--json").document
    assert [window["status"] for window in document["windows"]] == ["complete"] * 3
    assert [batch["windows"] for batch in planned] == [1, 2], "cut at the month, and at the week"


def test_a_process_that_is_killed_costs_nothing(emulator: Emulator[World]) -> None:
    emulator.settings.latency = 0.2
    process = spawn("backfill", *RANGE, "--processes", "2", "--workers", "1", "--json")
    wait_until_loading(emulator)
    os.kill(workers_of(process.pid)[0].pid, signal.SIGKILL)
    emulator.settings.latency = 0.0
    result = finish(process, timeout=180)
    assert result.code == 0, result.err
    assert "its batch is loaded again" in result.err
    assert_truth(emulator)


def test_a_stopped_backfill_ends_its_processes_and_is_resumed(emulator: Emulator[World]) -> None:
    emulator.settings.latency = 0.2
    process = spawn("backfill", *RANGE, "--processes", "2", "--workers", "1", "--json")
    wait_until_loading(emulator)
    workers = workers_of(process.pid)
    process.terminate()
    result = finish(process, timeout=180)
    assert result.code == ExitCode.INTERRUPTED
    assert workers
    assert not any(worker.is_running() for worker in workers)
    loaded = sum(window["status"] == "complete" for window in result.document["windows"])
    assert loaded == count("export_windows"), "it tells what is loaded"
    emulator.settings.latency = 0.0
    rest = mindo("backfill", *RANGE, "--processes", "2", "--json")
    assert (rest.code, rest.document["resumed_windows"]) == (0, loaded)
    assert_truth(emulator)


def test_what_ends_one_process_ends_the_backfill_and_is_told(emulator: Emulator[World]) -> None:
    emulator.settings.latency = 0.2
    process = spawn("backfill", *RANGE, "--processes", "2", "--workers", "1", "--json")
    wait_until_loading(emulator)
    warehouse = Path("warehouse.duckdb")
    warehouse.chmod(0o400)
    result = finish(process, timeout=180)
    assert result.code == ExitCode.DESTINATION
    last = result.err.splitlines()[-1]
    assert "the database is read-only" in last
    warehouse.chmod(0o600)
    statuses = [window["status"] for window in result.document["windows"]]
    assert f"{statuses.count('complete')} of {len(statuses)} windows are loaded and stay" in last
    assert statuses.count("complete") == count("export_windows") < len(statuses)


def test_processes_end_with_a_parent_that_is_killed(emulator: Emulator[World]) -> None:
    emulator.settings.latency = 0.2
    process = spawn("backfill", *RANGE, "--processes", "2", "--workers", "1", "--json")
    wait_until_loading(emulator)
    workers = workers_of(process.pid)
    process.kill()
    process.communicate()
    assert workers
    wait_until(lambda: not any(worker.is_running() for worker in workers))
    emulator.settings.latency = 0.0
    assert mindo("backfill", *RANGE, "--processes", "2", "--quiet").code == 0
    assert_truth(emulator)


def test_planned_batches_loaded_in_any_order_are_an_increment(emulator: Emulator[World]) -> None:
    planned = mindo("plan", "--batches", "--json", *RANGE).document["batches"]
    assert sum(batch["windows"] for batch in planned) == len(COMPANIES) * (END - START).days
    assert len(planned) == BATCHES
    for batch in reversed(planned):
        loaded = mindo(
            "batch", "--companies", str(batch["company_id"]), "--from", batch["start"], "--to", batch["end"], "--json"
        )
        assert loaded.code == 0, loaded.err
        assert len(loaded.document["windows"]) == batch["windows"]
    assert_truth(emulator)
    assert set(loaded.document["watermarks"].values()) == {END.isoformat().replace("+00:00", "Z")}
    assert not list(Path(".dlt").rglob("state.json")), "a batch keeps nothing in the common folder"


def test_a_batch_of_what_is_new_reads_the_rest_and_the_lookback(emulator: Emulator[World]) -> None:
    assert mindo("batch", "--companies", "42", "--from", "2026-03-27", "--to", "2026-03-30", "--quiet").code == 0
    options = resolve_options({"company_ids": [42], "lookback_days": 1}, now=END)
    load = load_batch(Batch(Company(42), START, END, only_new=True), options)
    # the watermark's day before, and all that follows
    assert [window.start for window in load.outcome.planned] == [START + n * DAY for n in range(2, 8)]
    assert (load.code, load.watermark) == (ExitCode.COMPLETE, END)
    assert load.written == load.outcome.rows["messages"] - emulator_rows(emulator, START + 2 * DAY, START + 3 * DAY)
    assert load_batch(Batch(Company(42), START, END, only_new=True), options).written == 0


def emulator_rows(emulator: Emulator[World], start: datetime, end: datetime) -> int:
    return len(list(emulator.world.truth(42, start, end)))


def test_the_same_batch_twice_at_the_same_moment_changes_nothing(emulator: Emulator[World]) -> None:
    batch = ("batch", "--companies", "42", *RANGE, "--json")
    first, twin = (finish(process) for process in [spawn(*batch), spawn(*batch)])
    assert (first.code, twin.code) == (0, 0), first.err + twin.err
    written = {first.document["messages_written"], twin.document["messages_written"]}
    assert written == {0, len(list(emulator.world.truth(42, START, END)))}
    assert_mirrors("warehouse.duckdb", emulator.world, (42,), start=START, end=END)


def test_a_batch_waits_for_a_run_and_a_run_for_a_batch(emulator: Emulator[World]) -> None:
    emulator.settings.latency = 0.3
    run = spawn("run", "--companies", "57", *RANGE, "--json", "--workers", "1")
    wait_until(lambda: Path("warehouse.duckdb.lock").exists())
    batch = spawn("batch", "--companies", "42", *RANGE, "--json", "--workers", "8")
    ended = [finish(process) for process in (run, batch)]
    assert [result.code for result in ended] == [0, 0], "".join(result.err for result in ended)
    assert_mirrors("warehouse.duckdb", emulator.world, (42, 57), start=START, end=END)


def test_what_could_not_be_read_is_told_with_its_exit_code(emulator: Emulator[World]) -> None:
    options = resolve_options({"company_ids": [42], "max_attempts": 1}, now=END)
    batch = Batch(Company(42), START, END)
    emulator.faults.add("server_error", company=42, times=2, after=1)
    load = load_batch(batch, options)
    assert load.code is ExitCode.API
    assert load.reasons
    outcome = Outcome()
    wrong = resolve_options({"company_ids": [42], "api_key": "mindo_global_wrong"}, now=END)
    with pytest.raises(AccessError):
        load_batch(batch, wrong, outcome=outcome)
    assert not outcome.planned


def test_a_batch_takes_the_place_of_the_demo(emulator: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    demo = Outcome(f"{DEMO_RUN_PREFIX}1")
    options = resolve_options({"company_ids": [57]}, now=END)
    load_batch(Batch(Company(57), START, END), options, outcome=demo)
    load_batch(Batch(Company(42), START, END), resolve_options({"company_ids": [42]}, now=END))
    assert_mirrors("warehouse.duckdb", emulator.world, (42,), start=START, end=END)
    assert count("export_windows", f"run_id = '{demo.run_id}'") == 0


@pytest.mark.parametrize("seconds", [3, 3_600])
def test_a_clock_that_is_behind_hides_no_state(emulator: Emulator[World], seconds: int) -> None:
    options = resolve_options({"company_ids": [42]}, now=END)
    load_batch(Batch(Company(42), START, END), options)
    with duckdb.connect("warehouse.duckdb") as connection:
        # as if this machine's clock had been ahead when it loaded
        for table, column in (("_dlt_loads", "load_id"), ("_dlt_pipeline_state", "_dlt_load_id")):
            connection.execute(
                f"UPDATE mindo.{table} SET {column} = (CAST({column} AS DOUBLE) + {seconds})::VARCHAR WHERE {column} ="
                f" (SELECT max({column}) FROM mindo.{table})"
            )
        connection.execute("UPDATE mindo.export_windows SET _dlt_load_id = (SELECT max(load_id) FROM mindo._dlt_loads)")
    result = mindo("batch", "--companies", "57", *RANGE)
    if seconds > 10:
        assert result.code == ExitCode.DESTINATION
        assert "in the future: the clock of this machine" in result.error
    else:
        assert result.code == 0
        assert {company for company, ranges in covered().items() if ranges} == {42, 57}


def test_loads_of_one_folder_at_the_same_time_are_refused(emulator: Emulator[World]) -> None:
    with (
        Warehouse().writing(),
        pytest.raises(DestinationError, match="another mindo run is writing"),
        Warehouse().writing(),
    ):
        pass


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("backfill", *RANGE, "--processes", "0"), "processes: '0' is not a whole number above 0."),
        (("backfill", *RANGE, "--processes", "33"), "processes: at most 32 can load side by side."),
        (("batch", "--companies", "42"), "from: missing; a batch needs --from (and --to, by default now)."),
        (("batch", *RANGE), "companies: a batch is of one company; name it: --companies 42."),
    ],
)
def test_bad_input_is_one_line(emulator: Emulator[World], arguments: tuple[str, ...], line: str) -> None:
    result = mindo(*arguments)
    assert (result.code, result.error) == (2, f"error: {line}")
    assert not Path("warehouse.duckdb").exists()


MOMENTS = st.datetimes(min_value=datetime(2023, 11, 1), max_value=datetime(2026, 3, 31)).map(
    lambda m: m.replace(tzinfo=UTC)
)
RANGES = st.lists(
    st.tuples(MOMENTS, st.timedeltas(timedelta(0), timedelta(days=100))).map(lambda r: (r[0], r[0] + r[1]))
)


@given(RANGES)
def test_batches_are_the_ranges_cut_at_months(ranges: list[tuple[datetime, datetime]]) -> None:
    batches = split_by_month(Company(42), ranges)
    assert merge_ranges((batch.start, batch.end) for batch in batches) == merge_ranges(ranges)
    assert batches == sorted(batches, key=lambda batch: batch.start)
    for batch, following in itertools.pairwise(batches):
        assert batch.end <= following.start
    for batch in batches:
        last = batch.end - timedelta(microseconds=1)
        assert (batch.start.year, batch.start.month) == (last.year, last.month)
