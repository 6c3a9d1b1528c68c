"""What the guide says of a fleet is counted as the reader counts, and comes from the measured files."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from benchmarks.fleet.arithmetic import Costs, Workload, forecast
from benchmarks.fleet.report import GUIDE, PAGE, PROOF, TIMES, fill_in, make_page, sizes_table, write_pages
from benchmarks.fleet.times import RUN, WHOLE, variants
from benchmarks.places import RESULTS, ROOT
from benchmarks.records import RecordFile, read
from mindo import resolve_options
from mindo.reader import WindowReader
from mindo.windows import plan_windows
from mindo_emulator import GLOBAL_DEMO_KEY, BulkWorld, Emulator
from tests.docs.page import links

START = datetime(2026, 1, 1, tzinfo=UTC)
COSTS = Costs(
    start_seconds=2.0,
    batch_seconds=3.0,
    batch_seconds_side_by_side=1.0,
    message_seconds=0.0001,
    message_bytes=800.0,
    message_rows=3.0,
)


def count_requests(work: Workload) -> int:
    """Reads a workload from an emulator and counts what it was asked."""
    end = START + timedelta(days=work.days)
    companies = range(101, 101 + work.companies)
    step = timedelta(days=work.window_days)
    windows = [window for company in companies for window in plan_windows(company, [(START, end)], step)]
    world = BulkWorld.generate(companies=list(companies), start=START, end=end, messages=work.messages)
    with Emulator(world) as emulator:
        given = {"base_url": emulator.base_url, "api_key": GLOBAL_DEMO_KEY, "company_ids": list(companies)}
        options = resolve_options({**given, "workers": work.workers, "limit": work.page_size})
        with WindowReader(options, windows) as reader:
            assert sum(window.rows for window in reader) == work.messages
        return len(emulator.requests)


@pytest.mark.parametrize(
    "work",
    [
        Workload(companies=2, days=20, daily_messages=30, workers=1),
        Workload(companies=2, days=10, daily_messages=400, workers=1),
        Workload(companies=1, days=6, daily_messages=2_500, page_size=1_000, workers=1),
        Workload(companies=2, days=50, daily_messages=30, window_days=20, workers=1),
        Workload(companies=1, days=10, daily_messages=0, workers=1),
    ],
    ids=lambda work: f"{work.companies} x {work.days} x {work.daily_messages}",
)
def test_requests_are_foretold_as_the_reader_sends_them(work: Workload) -> None:
    # keys are tried by the command, not by the reader; weekdays differ, so a page can be on either side of its limit
    assert count_requests(work) == pytest.approx(work.requests - work.companies, abs=3)


def test_what_bounds_a_workload_is_what_takes_longest() -> None:
    work = Workload(companies=100, days=730, daily_messages=100, latency_seconds=0.2)
    assert forecast(work, COSTS).bound == "latency"
    assert forecast(replace(work, workers=64, rate_limit=5.0), COSTS).bound == "rate limit"
    assert forecast(replace(work, processes=64), COSTS).bound == "loads"
    assert forecast(replace(work, workers=8), COSTS).seconds < forecast(work, COSTS).seconds
    one, four = (forecast(replace(work, processes=count), COSTS).waiting_seconds for count in (2, 8))
    assert one == pytest.approx(4 * four)


def test_what_is_measured_is_a_hundredth_of_what_is_foretold() -> None:
    for work in variants(WHOLE.days):
        assert work.companies * 100 == WHOLE.companies == 500
        assert work.months == WHOLE.months == 24
        assert work.latency_seconds > 0


def test_the_committed_page_and_guide_are_those_of_the_committed_files() -> None:
    proofs, times = read(RESULTS, PROOF), read(RESULTS, TIMES)
    assert (RESULTS / PAGE).read_text(encoding="utf-8") == make_page(proofs, times)
    guide = GUIDE.read_text(encoding="utf-8")
    assert guide == fill_in(guide, times)


def test_tables_of_the_guide_are_put_where_they_belong(tmp_path: Path) -> None:
    file = RecordFile(tmp_path, TIMES)
    file.add({"kind": "costs", **vars(COSTS)})
    (work,) = variants(730)[:1]
    file.add({"kind": RUN, **vars(work), "requests": 7_305, "seconds": 741.0})
    guide = tmp_path / "guide.md"
    guide.write_text(GUIDE.read_text(encoding="utf-8"), encoding="utf-8")
    write_pages(tmp_path, guide)
    filled = guide.read_text(encoding="utf-8")
    assert sizes_table(COSTS) in filled
    assert "| 7,305 |" in filled
    assert "7,305" in (tmp_path / PAGE).read_text(encoding="utf-8")
    assert fill_in(filled, read(tmp_path, TIMES)) == filled


def test_the_proof_that_is_shown_was_a_whole_one() -> None:
    for record in read(RESULTS, PROOF):
        assert (record["companies"], record["months"]) >= (6, 12)
        assert record["partitions"] == record["companies"] * record["months"]
        assert record["runs_retried"] >= record["runs_dead"] >= 1
        assert record["killed_after"] < record["partitions"]
        assert min(record["begun_at_once_overlap_seconds"], record["again_at_once_overlap_seconds"]) > 0


def test_the_guide_explains_settings_and_files_that_exist() -> None:
    deployment = ROOT / "pipelines" / "schedules" / "dagster-celery"
    files = "".join(path.read_text() for path in deployment.glob("*.yaml"))
    section = GUIDE.read_text(encoding="utf-8").split("### Dagster with Celery and Redis")[1]
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)[`:]", section)) - {"acks_late"}
    assert len(named) > 6
    assert sorted(name for name in named if name not in files) == []
    for link in links(GUIDE):
        assert (GUIDE.parent / link).exists(), link


def test_the_documented_settings_take_a_dead_worker_for_dead() -> None:
    instance = yaml.safe_load((ROOT / "pipelines/schedules/dagster-celery/dagster.yaml").read_text())
    monitoring, retries = instance["run_monitoring"], instance["run_retries"]
    # Celery's state in Redis stays "started" when a worker is killed: only this ends such a run
    assert monitoring["enabled"]
    assert monitoring["max_runtime_seconds"] > 0
    assert retries["enabled"]
    assert retries["max_retries"] > 0
    # a run that is waited for is not to be taken for one that did not start
    assert instance["run_launcher"]["config"]["backend"] == instance["run_launcher"]["config"]["broker"]
