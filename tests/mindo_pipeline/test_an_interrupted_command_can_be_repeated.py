"""Ctrl-C and SIGTERM: what was loaded stays, nothing half is there, and the same command goes on."""

from __future__ import annotations

import signal
import time
from datetime import datetime
from pathlib import Path

import pytest

from mindo_emulator import Emulator, World
from tests.mindo_pipeline.harness import DAY, count, finish, midnight, mindo, spawn, wait_until

FROM = (midnight() - 4 * DAY).date().isoformat()
BRIEFLY = ("--companies", "42", "--window-hours", "12", "--json")
SLOWLY = (*BRIEFLY, "--load-messages", "1")


def loads() -> int:
    """Loads that are finished, as dlt's own folders tell: the database can't be asked while it is written."""
    return len(list(Path(".dlt/.var/pipelines").glob("*/mindo/load/loaded/*")))


@pytest.mark.parametrize(
    ("command", "sent"),
    [(["run"], signal.SIGTERM), (["backfill", "--from", FROM], signal.SIGINT)],
    ids=["run", "backfill"],
)
def test_what_was_loaded_stays_and_the_rest_follows(
    api: Emulator[World], command: list[str], sent: signal.Signals
) -> None:
    process = spawn(*command, *SLOWLY)
    wait_until(lambda: loads() >= 2)
    process.send_signal(sent)
    result = finish(process, timeout=30)
    document = result.document
    assert result.code == 130
    assert (document["status"], document["exit_code"]) == ("interrupted", 130)
    assert {window["status"] for window in document["windows"]} == {"complete", "not_reached"}
    done = [window for window in document["windows"] if window["status"] == "complete"]
    assert count() >= sum(window["counts"]["messages"] for window in done) > 0
    assert f"interrupted: stopped; {len(done)} of {len(document['windows'])} windows are loaded and stay" in result.err

    again = mindo(*command, *BRIEFLY)
    assert again.code == 0
    if command[0] == "backfill":
        resumed = again.document["resumed_windows"]
        assert resumed >= len(done)
        assert f"resuming: {resumed} of " in again.err
        assert len(again.document["windows"]) == len(document["windows"]) - resumed
    assert count() == api.world.count(42)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_request_that_hangs_does_not_hold_up_the_end(api: Emulator[World], sent: signal.Signals) -> None:
    api.faults.add("hang", company=42, times=None, after=1)
    process = spawn("run", "--companies", "42")
    wait_until(lambda: any(fault.hits for fault in api.faults.all()))
    time.sleep(0.3)
    process.send_signal(sent)
    started = time.monotonic()
    result = finish(process, timeout=20)
    assert result.code == 130
    assert time.monotonic() - started < 6
    assert result.err.splitlines()[-1].startswith("interrupted: stopped; 0 of 5 windows are loaded")
    assert count() == 0


def test_ctrl_c_before_anything_was_planned(api: Emulator[World]) -> None:
    api.faults.add("hang", company=42, times=None)
    process = spawn("run", "--companies", "42", "--json")
    wait_until(lambda: any(fault.hits for fault in api.faults.all()))
    process.send_signal(signal.SIGINT)
    result = finish(process, timeout=20)
    assert result.code == 130
    assert result.document["status"] == "interrupted"
    assert result.document["windows"] == []
    assert not Path("warehouse.duckdb").exists()


def test_a_killed_run_is_finished_by_the_next(api: Emulator[World]) -> None:
    process = spawn("run", *SLOWLY)
    wait_until(lambda: loads() >= 1)
    process.kill()
    process.communicate(timeout=10)
    assert mindo("run", "--companies", "42").code == 0
    assert count() == api.world.count(42)


def test_a_backfill_reads_its_range_in_batches(api: Emulator[World]) -> None:
    result = mindo("backfill", "--from", FROM, "--load-messages", "60", "--json")
    assert result.code == 0
    assert count() == api.world.count()
    assert count("_dlt_loads") >= 3
    assert result.document["resumed_windows"] == 0
    assert "resuming" not in result.err
    assert set(result.document["watermarks"].values()) == {None}


def test_a_backfill_can_begin_with_the_newest(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__CONFIRM_WINDOWS", "false")
    mindo("backfill", "--from", FROM, "--companies", "42", "--workers", "1", "--newest-first")
    asked = [r.params["from"] for r in api.requests if r.params["limit"] != "1"]
    assert asked == sorted(asked, reverse=True)
    assert len(asked) == 5


def test_a_backfill_goes_on_behind_windows_that_failed(api: Emulator[World]) -> None:
    api.faults.add("server_error", company=42, covering=midnight() - 2 * DAY, times=None)
    first = mindo("backfill", "--from", FROM, "--companies", "42", "--json")
    assert first.code == 3
    api.faults.clear()
    second = mindo("backfill", "--from", FROM, "--companies", "42", "--json")
    assert second.code == 0
    assert "resuming: " in second.err
    # besides the failed window, the minutes since the first call are read
    assert midnight() - 2 * DAY in [_start(window) for window in second.document["windows"]]
    assert len(second.document["windows"]) <= 2
    assert count() == api.world.count(42)


def _start(window: dict[str, str]) -> datetime:
    return datetime.fromisoformat(window["start"])


def test_sigterm_ends_the_emulator_cleanly() -> None:
    process = spawn("emulator", "--port", "0", "--messages", "20")
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "A made-up Mindo with 20 messages on http://127.0.0.1:" in first
    process.send_signal(signal.SIGTERM)
    result = finish(process, timeout=15)
    assert result.code == 0
    assert result.out.splitlines()[-1] == "emulator stopped."
    assert result.err == ""
