"""What counts as a measured run: the right rows, within the limits, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from benchmarks.contenders import CONTENDERS_IN_ORDER, FLOOR, Contender
from benchmarks.emulator import KEY, World, serve
from benchmarks.figures import finished
from benchmarks.measuring import FAILED, FINISHED, MEMORY_LIMIT, TIME_LIMIT, Limits, measure
from benchmarks.places import CHART, CONTENDERS, work_folder
from benchmarks.records import RecordFile
from benchmarks.report import make_report
from benchmarks.targets import Measured
from benchmarks.throughput import NOT_TRIED, WRONG_ROWS, load, measure_throughput
from benchmarks.truth import TABLES, Api, count_rows

WORLD = World(60, "2026-04-01", "2026-04-03")

LOADS_TOO_LITTLE = f"""
import os, duckdb
with duckdb.connect(os.environ["BENCH_DATABASE"]) as connection:
    connection.execute("CREATE SCHEMA mindo")
    for table in {TABLES!r}:
        connection.execute(f"CREATE TABLE mindo.{{table}} AS SELECT 1 AS id")
"""


@dataclass(frozen=True)
class TriedOut(Contender):
    """A contender whose program is in any folder, and runs in the environment of the tests."""

    place: Path = Path()

    @property
    def folder(self) -> Path:
        return self.place

    def python(self) -> Path:
        return Path(sys.executable)

    def versions(self) -> dict[str, str]:
        return {}


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with serve(WORLD) as url:
        yield Api(url, KEY, WORLD.companies, WORLD.start, WORLD.end)


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The few kilobytes of these runs may lie in memory, where the tests keep theirs."""
    monkeypatch.setattr("benchmarks.places.work_folder", lambda: tmp_path)


def contender(folder: Path, program: str) -> TriedOut:
    (folder / "load.py").write_text(program, encoding="utf-8")
    return TriedOut("dlt_plain", "somebody", "load.py", (), place=folder)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the floor is made of curl")
def test_right_rows_count(api: Api) -> None:
    file = RecordFile(None, "throughput")
    measure_throughput(file, [TriedOut("floor", FLOOR.title, FLOOR.program, (), place=FLOOR.folder)], rounds=1, api=api)
    (record,) = file.records
    assert record["outcome"] == FINISHED, record["reason"]
    assert record["rows"] == count_rows(api)
    assert record["rows"]["messages"] == record["messages"] == WORLD.messages
    assert min(record["rows"].values()) > 0
    assert record["seconds"] > 0
    assert record["cpu_seconds"] > 0
    assert record["peak_megabytes"] > 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="the floor is made of curl")
def test_the_floor_shows_its_key_to_nobody(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # notes what everyone on the machine could see of the real one
    seen, curl = tmp_path / "seen", tmp_path / "bin" / "curl"
    curl.parent.mkdir()
    curl.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{seen}\nexec {shutil.which("curl")} "$@"\n')
    curl.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(curl.parent), os.environ["PATH"]]))
    loaded = load(TriedOut("floor", FLOOR.title, FLOOR.program, (), place=FLOOR.folder), api, count_rows(api))
    assert loaded["outcome"] == FINISHED, loaded["reason"]
    assert "company_id=42" in seen.read_text().splitlines()
    assert KEY not in seen.read_text()


def test_wrong_rows_do_not(api: Api, tmp_path: Path) -> None:
    file = RecordFile(None, "throughput")
    measure_throughput(file, [contender(tmp_path, LOADS_TOO_LITTLE)], rounds=1, api=api)
    (record,) = file.records
    assert record["outcome"] == WRONG_ROWS
    assert "messages: 1 of 60" in record["reason"]
    assert finished(file.records) is None
    assert "wrong rows: messages: 1 of 60" in make_report(Measured(file.records), "chart.svg")


def test_one_that_fails_is_shown_with_its_reason(api: Api, tmp_path: Path) -> None:
    file = RecordFile(None, "throughput")
    measure_throughput(file, [contender(tmp_path, "raise SystemExit('no such thing')")], rounds=1, api=api)
    (record,) = file.records
    assert (record["outcome"], record["reason"]) == (FAILED, "exit code 1: no such thing")


def test_what_a_contender_printed_is_not_kept_where_messages_are_real(api: Api, tmp_path: Path) -> None:
    file = RecordFile(None, "throughput")
    real = replace(api, is_made_up=False)
    measure_throughput(file, [contender(tmp_path, "raise SystemExit('somebody wrote this')")], rounds=1, api=real)
    (record,) = file.records
    assert record["reason"] == "exit code 1"
    assert "somebody" not in str(record)


def test_one_over_its_time_is_ended_with_its_children_shown_and_not_tried_again(api: Api, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = f"""
import subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
Path({str(pids)!r}).write_text(f"{{child.pid}} {{__import__('os').getpid()}}")
time.sleep(300)
"""
    file = RecordFile(None, "throughput")
    somebody = contender(tmp_path, program)
    measure_throughput(file, [somebody], rounds=2, api=api, limits=Limits(seconds=2))
    first, second = file.records
    assert (first["outcome"], first["reason"], first["cpu_seconds"]) == (TIME_LIMIT, "ended after 2 s", None)
    assert second["outcome"] == NOT_TRIED
    assert not any(psutil.pid_exists(int(pid)) for pid in pids.read_text().split())
    assert "time limit: ended after 2 s" in make_report(Measured(file.records), "chart.svg")


def test_memory_is_that_of_all_processes_together_and_has_a_limit(tmp_path: Path) -> None:
    hungry = "import time; held = bytes(b'x') * 80_000_000; time.sleep({seconds})"
    pair = f"""
import subprocess, sys
children = [subprocess.Popen([sys.executable, "-c", {hungry.format(seconds=1.5)!r}]) for _ in range(2)]
sys.exit(sum(child.wait() for child in children))
"""
    both = measure([sys.executable, "-c", pair], tmp_path, os.environ)
    assert (both.outcome, both.reason) == (FINISHED, None)
    assert both.peak_megabytes > 150
    lone = measure([sys.executable, "-c", hungry.format(seconds=300)], tmp_path, os.environ, Limits(megabytes=60))
    assert (lone.outcome, lone.cpu_seconds) == (MEMORY_LIMIT, None)


def test_an_emulator_that_can_not_start_says_why() -> None:
    with (
        pytest.raises(SystemExit, match=r"the emulator did not start: (?s:.)*no-such-option"),
        serve(WORLD, "--no-such-option"),
    ):
        pass


def test_a_disk_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/dev/shm/somewhere")
    with pytest.raises(SystemExit, match="set TMPDIR"):
        work_folder()


def test_every_package_is_pinned_with_hashes_and_no_index_is_named() -> None:
    folders = [contender.folder for contender in CONTENDERS_IN_ORDER if (contender.folder / "requirements.in").exists()]
    assert len(folders) == len(CONTENDERS_IN_ORDER) - 1  # ours has the project's own environment
    assert {path.parent for path in CONTENDERS.glob("*/load.*")} == {c.folder for c in CONTENDERS_IN_ORDER}
    for folder in [*folders, CHART]:
        for name in ("requirements.in", "requirements.txt"):
            text = (folder / name).read_text(encoding="utf-8")
            assert not any(word in text for word in ("://", "--index", "--extra-index", "--find-links"))
        pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert pins
        assert all("==" in pin and pin.endswith("\\") for pin in pins)
