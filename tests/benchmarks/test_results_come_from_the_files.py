"""RESULTS.md and the chart are made of the measured files, and of nothing else."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import benchmarks.__main__ as bench
from benchmarks.contenders import AIRBYTE, DLT_PLAIN, DLT_TUNED, FLOOR, OURS, SINGER
from benchmarks.destinations import FIRST, POSTGRES
from benchmarks.figures import Runs, rate, ratio
from benchmarks.growth import LOOKBACK, NIGHT, PREPARE, STRICT, plan_history
from benchmarks.measuring import FINISHED, MEMORY_LIMIT
from benchmarks.places import RESULTS, ROOT
from benchmarks.records import RecordFile, read
from benchmarks.report import CHART_FILE, make_chart, make_report
from benchmarks.startup import HELP
from benchmarks.targets import Measured, judge
from mindo_emulator import BulkWorld


def run(seconds: float, peak: float = 300.0, number: int = 1, **members: Any) -> dict[str, Any]:
    figures = {"outcome": FINISHED, "reason": None, "seconds": seconds, "cpu_seconds": seconds, "peak_megabytes": peak}
    return {**members, "round": number, **figures}


def write(folder: Path) -> Measured:
    """Measured files with round numbers; plain dlt only got as far as 100,000 messages."""
    throughput = RecordFile(folder, "throughput")
    for number, seconds in enumerate((10.0, 11.0, 9.0), 1):
        throughput.add(run(seconds, 400, number, contender=OURS.name, messages=500_000))
        throughput.add(run(100.0, 900, number, contender=DLT_PLAIN.name, messages=100_000))
        throughput.add(run(80.0, 800, number, contender=DLT_TUNED.name, messages=500_000))
        throughput.add(run(60.0, 350, number, contender=SINGER.name, messages=500_000))
        throughput.add(run(20.0, 550, number, contender=OURS.name, messages=1_000_000))
        throughput.add(run(10.0, 700, number, contender=FLOOR.name, messages=1_000_000))
    refused = {"contender": DLT_PLAIN.name, "messages": 500_000, "round": 1, "peak_megabytes": 14_000.0}
    throughput.add({**refused, "outcome": MEMORY_LIMIT, "reason": "ended beyond 14,000 MB of memory"})
    growth = RecordFile(folder, "growth")
    growth.add(run(600, 590, kind=PREPARE, history=10_000_000, read=10_000_000))
    for history, seconds, peak in ((100_000, 4.0, 300), (10_000_000, 5.0, 480)):
        growth.add(run(seconds, peak, kind=STRICT, history=history, read=NIGHT))
    latency = RecordFile(folder, "latency")
    for workers, seconds in ((1, 100.0), (16, 12.5)):
        told = {
            "messages": 1_000,
            "companies": 12,
            "latency_seconds": 0.2,
            "page_cap": 1_000,
            "rate_limit_per_second": 100,
        }
        latency.add(run(seconds, workers=workers, requests=500, retries=0, **told))
    startup = RecordFile(folder, "startup")
    for number, seconds in enumerate((0.2, 0.6, 0.3), 1):
        startup.add(run(seconds, number=number, kind=HELP))
    destinations = RecordFile(folder, "destinations")
    for number, seconds in enumerate((40.0, 20.0, 30.0), 1):
        destinations.add(run(seconds, number=number, destination=POSTGRES, kind=FIRST, messages=500_000))
    return Measured.of(folder)


def test_postgres_is_judged_by_its_median(tmp_path: Path) -> None:
    targets = {target.promise: (target.measured, target.held) for target in judge(write(tmp_path))}
    assert targets["into PostgreSQL at least 15,000 messages/s"] == ("16,667 messages/s", True)


def test_ratios_are_those_of_medians(tmp_path: Path) -> None:
    targets = {target.promise: (target.measured, target.held) for target in judge(write(tmp_path))}
    # 500,000 in 10 s against 100,000 in 100 s; the rounds on their own: 10, 11 and 9 s
    assert targets["500,000 messages: at least 25x the messages/s of dlt, plain"] == (
        "50.0x (45.5 to 55.6), its rate at 100,000, the most it loaded right",
        True,
    )
    assert targets["500,000 messages: at least 7x the messages/s of dlt, tuned"] == ("8.0x (7.3 to 8.9)", True)
    assert targets[f"500,000 messages: at least 7x the messages/s of {SINGER.title}"] == ("6.0x (5.5 to 6.7)", False)
    assert targets[f"500,000 messages: at least 6x the messages/s of {AIRBYTE.title}"] == ("not measured", None)
    assert targets["500,000 messages: less memory than any of them"] == (
        f"400 MB; the least of theirs 350 MB ({SINGER.title})",
        False,
    )
    assert targets["1,000,000 messages: at most 2.5x the time of the floor"] == ("2.0x (2.0 to 2.0)", True)
    assert targets["peak memory under 600 MB at any size, 4 workers"][1] is True
    assert targets["10,000,000 messages run through"] == ("10,000,000 messages in 600 s", True)
    over = "the night only, over 10,000,000: at most 1.5x the"
    assert targets[f"{over} CPU time of over 100,000"] == ("1.2x (1.2 to 1.2)", True)
    assert targets[f"{over} memory of over 100,000"] == ("1.6x (1.6 to 1.6)", False)
    assert targets[f"{LOOKBACK}, over 10,000,000: at most 1.5x the memory of over 100,000"] == ("not measured", None)
    assert targets["200 ms per request: 16 workers at least 8x one worker"] == ("8.0x (8.0 to 8.0)", True)
    kept = ("2,400 requests a minute of 6,000; 0 had to be repeated", True)
    assert targets["16 workers keep within the API's rate limit"] == kept
    assert targets["`mindo --help` under 0.4 s"] == ("0.30 s", True)


def test_a_ratio_lies_between_those_of_its_rounds() -> None:
    ours = [run(seconds, number=number, messages=1_000) for number, seconds in enumerate((10.0, 30.0, 40.0, 15.0), 1)]
    theirs = [run(100.0, number=1, messages=1_000), run(90.0, number=4, messages=1_000)]
    found = ratio(Runs(tuple(ours)), Runs(tuple(theirs)), rate)
    assert (found.least, found.greatest) == pytest.approx((6.0, 10.0))
    assert found.least <= found.value <= found.greatest
    # no round in common
    found = ratio(Runs(tuple(ours[:1])), Runs(tuple(theirs[1:])), rate)
    assert found.least == found.value == found.greatest == pytest.approx(9.0)


def test_every_committed_ratio_lies_between_those_of_its_rounds() -> None:
    report = (RESULTS.parent / "RESULTS.md").read_text(encoding="utf-8")
    ratios = [tuple(map(float, found)) for found in re.findall(r"([\d.]+)x \(([\d.]+) to ([\d.]+)\)", report)]
    assert len(ratios) > 10
    assert all(least <= value <= greatest for value, least, greatest in ratios)


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results that stands for the committed one, and a measurement that takes no time."""

    def measure(file: RecordFile, *_: Any) -> None:
        file.add(run(1.0, contender=OURS.name, messages=10))

    folder = tmp_path / "committed"
    RecordFile(folder, "throughput").add(run(9.0, contender=OURS.name, messages=10))
    monkeypatch.setattr(bench, "RESULTS", folder)
    monkeypatch.setattr(bench, "measure_throughput", measure)
    monkeypatch.setattr(bench, "write_report", lambda *_: None)
    monkeypatch.setenv("BENCH_KEY", "mindo_private")
    return folder


ELSEWHERE = ["--url", "https://private.example", "--companies=4711", "--from", "2026-04-01", "--to", "2026-04-02"]


@pytest.mark.parametrize("arguments", [ELSEWHERE, ["throughput", "--only", "ours"]])
def test_what_is_no_whole_measurement_leaves_the_committed_results_alone(
    committed: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    bench.main()
    assert [record["seconds"] for record in read(committed, "throughput")] == [9.0]


def test_another_apis_address_and_companies_are_in_no_record(
    committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *ELSEWHERE, "--results", str(tmp_path / "own")])
    bench.main()
    assert [record["seconds"] for record in read(committed, "throughput")] == [9.0]
    (record,) = read(tmp_path / "own", "throughput")
    command = "python -m benchmarks --url ... --companies=... --from 2026-04-01 --to 2026-04-02 --results "
    assert record["command"].startswith(command)
    assert not any(private in json.dumps(record) for private in ("private", "4711"))


def test_another_api_is_not_resumed(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *ELSEWHERE, "--resume"])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("leave --resume out")
    assert [record["seconds"] for record in read(committed, "throughput")] == [9.0]


def test_what_did_not_finish_is_in_the_report_with_its_reason(tmp_path: Path) -> None:
    report = make_report(write(tmp_path), "results/chart.svg")
    assert f"| {DLT_PLAIN.title} |  |  |  |  |  | memory limit: ended beyond 14,000 MB of memory |" in report
    assert f"| {OURS.title} | 50,000 | 45,455 to 55,556 | 10.0 | 10.0 | 400 |  |" in report


def test_a_bar_of_a_smaller_size_is_marked(tmp_path: Path) -> None:
    chart = make_chart(write(tmp_path).throughput)
    assert chart is not None
    rates = {bar["contender"]: bar for bar in chart["panels"][0]["bars"]}
    assert (rates["dlt_plain"]["label"], rates["dlt_plain"]["smaller"]) == ("1,000 (at 100,000)", True)
    assert (rates["ours"]["label"], rates["ours"]["smaller"]) == ("50,000", False)
    assert rates["airbyte"]["label"] == "none finished"


def test_a_run_that_was_broken_off_goes_on(tmp_path: Path) -> None:
    RecordFile(tmp_path, "startup").add(run(0.3, kind=HELP))
    resumed = RecordFile(tmp_path, "startup", resume=True)
    assert resumed.has(kind=HELP, round=1)
    resumed.add(run(0.3, number=2, kind=HELP))
    assert [record["round"] for record in read(tmp_path, "startup")] == [1, 2]
    RecordFile(tmp_path, "startup")
    assert read(tmp_path, "startup") == []


def test_no_commit_is_named_for_code_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mindo").mkdir()
    (tmp_path / "mindo" / "__init__.py").touch()
    program = "from benchmarks.records import circumstances; print(circumstances()['commit'])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "not of this checkout\n"


def test_the_committed_results_are_those_of_the_committed_files() -> None:
    measured = Measured.of(RESULTS)
    report = (RESULTS.parent / "RESULTS.md").read_text(encoding="utf-8")
    assert report == make_report(measured, f"{RESULTS.name}/{CHART_FILE}")
    chart = make_chart(measured.throughput)
    assert chart is not None
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", (RESULTS / CHART_FILE).read_text(encoding="utf-8"))
    shown = {html.unescape(text) for text in drawn}
    expected = [chart["title"], *(panel["title"] for panel in chart["panels"])]
    expected += [bar["label"] for panel in chart["panels"] for bar in panel["bars"]]
    assert [text for text in expected if text not in shown] == []
    for path in RESULTS.glob("*.jsonl"):
        assert all(json.loads(line)["date"] for line in path.read_text(encoding="utf-8").splitlines())


def test_a_night_has_the_messages_it_should_have_whatever_the_history() -> None:
    for size in (100_000, 1_000_000):
        history = plan_history(size, date(2026, 11, 22))
        world = BulkWorld.generate(
            companies=[42, 57, 63],
            start=history.first_day.isoformat(),
            end=history.end.isoformat(),
            messages=history.messages,
        )
        night = world.count(start=history.night.isoformat(), end=history.end.isoformat())
        assert abs(night - NIGHT) < 10
        assert abs(history.messages - night - size) < 2 * NIGHT
