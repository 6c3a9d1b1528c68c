"""`mindo run`: what it loads it reports, as JSON and for people, and what it can't read it names."""

from __future__ import annotations

import io
import re
from datetime import datetime, timedelta

import pytest
from rich.console import Console

from mindo import Window
from mindo.pages import Page
from mindo_emulator import Company, Emulator, World, demo_key
from mindo_pipeline.progress import BarProgress, LineProgress
from tests.mindo_pipeline.harness import COMPANIES, DAY, TABLES, count, make_world, midnight, mindo, settings

ENDED = {"command", "status", "exit_code", "message", "started_at", "finished_at", "duration_seconds"}
TOLD = {"run_id", "location", "dataset", "companies", "windows", "rows", "schema_changes", "watermarks"}
OF_A_WINDOW = {
    "company_id", "start", "end", "status", "counts", "pages", "requests", "retries", "bytes", "error",
}  # fmt: skip


def test_json_names_every_window_and_row(api: Emulator[World]) -> None:
    result = mindo("run", "--json")
    document = result.document
    assert result.code == 0
    assert set(document) == ENDED | TOLD | {"messages_written"}
    assert (document["command"], document["status"], document["exit_code"]) == ("run", "complete", 0)
    assert document["rows"] == {table: count(table) for table in TABLES}
    assert document["rows"]["messages"] == document["messages_written"] == api.world.count()
    for window in document["windows"]:
        assert set(window) == OF_A_WINDOW
        assert (window["status"], window["error"]) == ("complete", None)
        assert set(window["counts"]) == set(TABLES)
        assert window["counts"]["messages"] == api.world.count(window["company_id"], window["start"], window["end"])
        assert window["requests"] >= window["pages"] >= 1
    assert {window["company_id"] for window in document["windows"]} == set(COMPANIES)
    assert set(document["watermarks"]) == {str(company) for company in COMPANIES}
    assert len({*document["watermarks"].values()}) == 1
    assert {"table": "messages", "column": "agent__id", "data_type": "bigint", "is_variant": False} in document[
        "schema_changes"
    ]
    started, finished = (datetime.fromisoformat(document[f"{name}_at"]) for name in ("started", "finished"))
    assert document["duration_seconds"] == pytest.approx((finished - started).total_seconds(), abs=0.01)


def test_the_summary_names_companies_rows_and_new_columns(api: Emulator[World]) -> None:
    result = mindo("run")
    assert result.code == 0
    for company in COMPANIES:
        assert re.search(
            rf"^{company} .* {api.world.count(company):,} +\d{{4}}-\d\d-\d\d \d\d:\d\d *$", result.out, re.MULTILINE
        )
    for table in TABLES:
        assert re.search(rf"^{table} +{count(table):,}$", result.out, re.MULTILINE)
    assert "new columns:\n  messages: agent__id (bigint)" in result.out
    assert result.out.splitlines()[-1].startswith("loaded: 240 messages read, 240 of them new or changed, 15 windows")


def test_a_second_run_says_that_nothing_is_new(loaded: Emulator[World]) -> None:
    again = mindo("run", "--json")
    assert again.code == 0
    assert again.document["message"].startswith("nothing new: ")
    assert again.document["messages_written"] == 0
    assert again.document["schema_changes"] == []
    assert again.document["rows"]["messages"] > 0


def test_a_changed_message_is_the_only_one_written(loaded: Emulator[World]) -> None:
    changed = loaded.world.truth(42, midnight() - DAY)[0]["message_id"]
    loaded.world.edit_text(changed, "otro texto")
    again = mindo("run", "--json").document
    assert again["messages_written"] == 1
    assert "1 of them new or changed" in again["message"]


def test_new_members_of_the_api_are_named(loaded: Emulator[World]) -> None:
    first = loaded.world.truth(42, midnight() - DAY)[0]["message_id"]
    loaded.world.set_member(first, "content.language", "es")
    loaded.world.set_member(first, "context.thread_position", "first")
    changes = mindo("run").out
    assert "new columns:\n  messages: content__language (text)" in changes
    assert (
        "values of another type, kept in columns of their own:\n  messages: context__thread_position__v_text" in changes
    )


def test_what_cannot_be_read_is_named_and_the_rest_is_loaded(api: Emulator[World]) -> None:
    broken = midnight() - 2 * DAY
    api.faults.add("server_error", company=57, covering=broken, times=None)
    result = mindo("run", "--json")
    document = result.document
    assert (result.code, document["status"]) == (3, "incomplete")
    incomplete = [window for window in document["windows"] if window["status"] == "incomplete"]
    assert [(w["company_id"], w["start"]) for w in incomplete] == [(57, broken.isoformat().replace("+00:00", "Z"))]
    assert "HTTP 503" in incomplete[0]["error"]
    assert incomplete[0]["counts"] == {}
    assert incomplete[0]["requests"] == 2
    lost = api.world.count(57, broken, broken + DAY)
    assert count() == document["rows"]["messages"] == api.world.count() - lost
    assert datetime.fromisoformat(document["watermarks"]["57"]) == broken
    assert "incomplete: company 57 [" in result.err
    assert "1 of 15 windows could not be read whole; the rest is loaded" in result.err
    api.faults.clear()
    assert mindo("run").code == 0
    assert count() == api.world.count()


def test_a_summary_of_an_incomplete_run_is_still_printed(api: Emulator[World]) -> None:
    api.faults.add("server_error", company=57, times=None, after=1)
    result = mindo("run")
    assert result.code == 3
    assert re.search(r"^57 .* 0 of 5 ", result.out, re.MULTILINE)
    incomplete = [line for line in result.err.splitlines() if line.startswith("incomplete: company")]
    assert len(incomplete) == 1
    assert "(5 windows)" in incomplete[0]


def test_a_key_that_is_lost_in_the_middle_ends_with_3(api: Emulator[World]) -> None:
    api.faults.add("company_lost", company=63, times=None, after=1)
    result = mindo("run")
    assert result.code == 3
    assert "mindo check" in result.err
    assert count(where="company_id = 63") == 0
    assert count(where="company_id = 42") == api.world.count(42)


def test_an_explicit_range_moves_no_watermark(api: Emulator[World]) -> None:
    start = (midnight() - DAY).isoformat()
    document = mindo("run", "--companies", "42", "--from", start, "--json").document
    assert document["watermarks"] == {"42": None}
    assert count() == api.world.count(42, start)


def test_filters_and_includes_reach_the_api(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__CONFIRM_WINDOWS", "false")
    arguments = "--companies 42 --channel whatsapp --direction outgoing --agents 421,422 --include tool_calls --limit 7"
    result = mindo("run", "--json", *arguments.split())
    assert result.code == 0
    assert list(result.document["rows"]) == ["messages", "messages__tool_calls"]
    asked = api.requests.all()[-1].params
    assert asked["company_id"] == "42"
    assert asked["channel"] == "whatsapp"
    assert asked["direction"] == "outgoing"
    assert asked["agent_id"] == "421,422"
    assert asked["include"] == "tool_calls"
    assert asked["limit"] == "7"


def test_include_none_reads_bare_messages(api: Emulator[World]) -> None:
    document = mindo("run", "--json", "--include", "none").document
    assert list(document["rows"]) == ["messages"]
    assert api.requests.all()[-1].params["include"] == ""


def test_loads_are_bounded(api: Emulator[World]) -> None:
    document = mindo("run", "--json", "--load-messages", "60", "--workers", "1", "--window-hours", "24").document
    assert document["rows"]["messages"] == api.world.count()
    assert 3 <= count("_dlt_loads") <= 5


def test_quiet_prints_failures_only(api: Emulator[World]) -> None:
    result = mindo("run", "--quiet", "--companies", "42")
    assert (result.code, result.out, result.err) == (0, "", "")
    api.faults.add("server_error", company=57, times=None, after=1)
    assert "could not be read whole" in mindo("run", "-q", "--companies", "57").err


def test_another_dataset_and_file_are_used(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "other.duckdb")
    document = mindo("run", "--json", "--dataset", "chats", "--companies", "42").document
    assert document["dataset"] == "chats"
    assert document["location"].endswith("other.duckdb")


def test_little_left_is_nothing_new(loaded: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__LOOKBACK_DAYS", "0")
    document = mindo("run", "--json").document
    assert document["status"] == "complete"
    assert document["message"].startswith("nothing new: ")


def test_progress_off_a_terminal_is_plain_lines_on_standard_error(api: Emulator[World]) -> None:
    result = mindo("run", "--json")
    assert "\x1b" not in result.err
    last = result.err.splitlines()[0]
    assert re.fullmatch(r"15 of 15 windows of 3 companies read, 240 messages, [\d,]+ messages/s", last)


def _page(window: Window, rows: int, last: bool = True) -> Page:
    return Page(None, [None] * rows, [], 0, None if last else "more", 0, False)  # type: ignore[arg-type]


WINDOWS = [Window(midnight() + n * DAY, midnight() + (n + 1) * DAY, 42) for n in range(4)]


def test_lines_come_now_and_then_and_once_at_the_end() -> None:
    lines: list[str] = []
    with LineProgress(lines.append, every=3600) as rare:
        rare.planned(WINDOWS)
        for window in WINDOWS:
            rare.page_read(window, _page(window, 10))
    assert len(lines) == 1
    assert lines[0].startswith("4 of 4 windows of 1 company read, 40 messages, ")
    with LineProgress(lines.append, every=0) as often:
        often.planned(WINDOWS)
        often.page_read(WINDOWS[0], _page(WINDOWS[0], 10, last=False))
        often.page_read(WINDOWS[0], _page(WINDOWS[0], 5))
    assert lines[1].startswith("0 of 4 windows of 1 company read, 0 messages")
    assert lines[3].startswith("1 of 4 windows of 1 company read, 15 messages")
    assert "left" in lines[3]


def test_the_time_left_follows_the_windows() -> None:
    with LineProgress(lambda _: None) as progress:
        progress.planned(WINDOWS)
        assert progress.time_left is None
        progress.page_read(WINDOWS[0], _page(WINDOWS[0], 10))
        progress.page_read(WINDOWS[1], _page(WINDOWS[1], 10))
        assert progress.time_left is not None
        assert progress.time_left < timedelta(seconds=10)
        progress.windows_ended([], [])
        assert (progress.done, progress.messages) == (2, 20)


@pytest.mark.parametrize("no_color", [True, False])
def test_a_terminal_gets_a_bar_within_its_width(no_color: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, no_color=no_color, color_system="standard")
    with BarProgress(console) as bar:
        bar.planned(WINDOWS)
        bar.page_read(WINDOWS[0], _page(WINDOWS[0], 1_234_567))
        bar._bar.refresh()
    shown = stream.getvalue()
    assert "1/4" in shown
    assert "1 company · 1,234,567 messages · " in shown
    assert ("\x1b[32m" in shown) is not no_color
    assert "\x1b[1A\x1b[2K\x1b[1A" not in shown, "the bar takes more than one line"


def test_names_from_the_api_cannot_steer_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "\x1b]0;owned\x07[red]Óptica[/red] \u202egnp\u2066\u2028\x9b31m :smile:"
    world = make_world(40, companies=[Company(42, name, "America/Lima")])
    with Emulator(world) as emulator:
        for key, value in settings(emulator, SOURCES__MINDO__API_KEY=demo_key(42)).items():
            monkeypatch.setenv(key, value)
        monkeypatch.delenv("SOURCES__MINDO__COMPANY_IDS")
        for command in ("check", "run", "status", "plan"):
            result = mindo(command)
            assert result.code == 0
            assert not set(result.out + result.err) & set("\x1b\x07\u202e\u2066\u2028\x9b")
        told = mindo("status").out.replace("\n", "")
    assert "[red]Óptica[/red]" in told
    assert ":smile:" in told
    assert "\\x1b]0;owned" in told


def test_standard_output_stays_a_single_object_when_a_library_prints(
    api: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    def chatty(*_: object) -> None:
        print("a library prints")

    monkeypatch.setattr("mindo_pipeline.loading.check_access", chatty)
    result = mindo("run", "--json")
    assert result.document["status"] == "complete"
    assert "a library prints" in result.err


def test_a_window_that_would_lose_much_is_refused_with_its_numbers(
    api: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mindo("run", "--companies", "42").code == 0
    day = midnight() - 2 * DAY
    messages = list(api.world.truth(42, day, day + DAY))
    for message in messages:
        api.world.delete(message["message_id"])
    monkeypatch.setenv("SOURCES__MINDO__SHRINK_GUARD_MESSAGES", "5")
    refused = mindo("run", "--companies", "42", "--json")
    assert refused.code == 4
    assert refused.document["status"] == "refused"
    window = next(w for w in refused.document["windows"] if w["status"] == "refused")
    assert datetime.fromisoformat(window["start"]) == day
    numbers = f"it would lose {len(messages)} of the {len(messages)} messages that the warehouse holds of it (100 %)"
    assert window["error"] == f"{numbers}; the guard allows 20 %"
    assert f"refused: company 42 [{window['start']}, {window['end']}) (1 window): {numbers}" in refused.err
    assert "run again with --accept-deletions" in refused.err.splitlines()[-1]
    assert count() == api.world.count(42) + len(messages)
    accepted = mindo("run", "--companies", "42", "--accept-deletions")
    assert accepted.code == 0
    assert count() == api.world.count(42)


def test_a_refused_window_weighs_more_than_one_that_could_not_be_read(
    api: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mindo("run", "--companies", "42").code == 0
    day = midnight() - 2 * DAY
    for message in list(api.world.truth(42, day, day + DAY)):
        api.world.delete(message["message_id"])
    api.faults.add("server_error", company=42, covering=day + DAY, times=None)
    monkeypatch.setenv("SOURCES__MINDO__SHRINK_GUARD_MESSAGES", "5")
    result = mindo("run", "--companies", "42")
    assert result.code == 4
    assert "1 more could not be read whole; run again later" in result.err.splitlines()[-1]
