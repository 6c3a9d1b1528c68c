"""Alerts, metrics, events and spans: what became of a run reaches whoever watches, and never a text or a key."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.parser import text_string_to_metric_families

from mindo import ApiError
from mindo_emulator import GLOBAL_DEMO_KEY, Emulator, World
from mindo_pipeline import loading
from mindo_pipeline.cli import call
from mindo_pipeline.console import json_time
from mindo_pipeline.observing import notifying
from mindo_pipeline.observing import spans as spans_module
from mindo_pipeline.observing.notifying import message
from tests.mindo_pipeline.harness import (
    COMPANIES,
    DAY,
    Result,
    finish,
    left_behind,
    make_world,
    midnight,
    mindo,
    settings,
    spawn,
    wait_until,
)
from tests.mindo_pipeline.listening import SECRET, Listener, listening

BROKEN = midnight() - 2 * DAY
ONE_WINDOW = ("--companies", "42", "--from", (midnight() - DAY).isoformat(), "--to", midnight().isoformat())
OTEL = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def no_other_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OTEL_", "NOTIFY__")):
            monkeypatch.delenv(name)


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    with listening() as listener:
        monkeypatch.setenv("NOTIFY__WEBHOOK_URL", listener.webhook)
        yield listener


def events_of(result: Result) -> list[dict[str, Any]]:
    """Standard error, of which each line has to be an event."""
    events = [json.loads(line) for line in result.err.splitlines()]
    for event in events:
        assert datetime.fromisoformat(event["timestamp"]).utcoffset() == 0 * DAY
        assert event["level"] in ("info", "warning", "error")
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", event["event"])
    return events


def metrics_of(path: str) -> dict[tuple[str, ...], float]:
    """Samples of a file by metric and the values of its own labels, all of which have to be gauges of this file."""
    found = {}
    for family in text_string_to_metric_families(Path(path).read_text()):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            own = {name: value for name, value in sample.labels.items() if name not in ("command", "file")}
            assert sample.labels["file"] == Path(path).name
            found[sample.name, *own.values()] = sample.value
    return found


# --- a run of which one window fails --------------------------------------------------------------------------------


@dataclass
class Watched:
    """A run and all that was told of it."""

    result: Result
    world: World
    webhook: Listener
    collector: Listener
    metrics: str
    ledger: list[tuple[Any, ...]]

    @property
    def window(self) -> dict[str, Any]:
        """The one that failed."""
        (window,) = [w for w in self.result.document["windows"] if w["status"] != "complete"]
        return window


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    with (
        Emulator(make_world()) as emulator,
        listening() as webhook,
        listening() as collector,
        pytest.MonkeyPatch.context() as patch,
    ):
        environment = {
            **settings(emulator),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "NOTIFY__WEBHOOK_URL": webhook.webhook,
            OTEL: collector.url,
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        emulator.faults.add("server_error", company=57, covering=BROKEN, times=None)
        umask = os.umask(0o077)
        result = mindo("run", "--json", "--notify", "--log-format", "json", "--metrics-file", "mindo.prom")
        os.umask(umask)
        with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
            ledger = connection.execute(
                "SELECT company_id, epoch_us(window_start), epoch_us(started_at), epoch_us(finished_at) FROM mindo.export_windows"
            ).fetchall()
        yield Watched(result, emulator.world, webhook, collector, str(folder / "mindo.prom"), ledger)


def test_a_webhook_is_told_numbers_and_windows(watched: Watched) -> None:
    document = watched.result.document
    assert (watched.result.code, document["notified"]) == (3, True)
    (text,) = watched.webhook.texts
    read, written = document["rows"]["messages"], document["messages_written"]
    start, end = watched.window["start"], watched.window["end"]
    assert text.splitlines() == [
        f"*mindo run: incomplete* (exit code 3) on {socket.gethostname()}",
        document["message"],
        f"3 companies, 14 of 15 windows loaded, {read} messages read, {written} of them new or changed",
        f"• incomplete: company 57 [{start}, {end}) (1 window): {watched.window['error']}",
        text.splitlines()[4],
        f"run {document['run_id']}",
    ]
    assert f"furthest behind: company 57, complete up to {BROKEN:%Y-%m-%d %H:%M} UTC (2 d" in text
    (post,) = watched.webhook.posts
    assert post.headers["Content-Type"] == "application/json"
    assert "Authorization" not in post.headers


def test_what_is_told_holds_no_text_and_no_key(watched: Watched) -> None:
    told = [
        watched.result.err,
        Path(watched.metrics).read_text(),
        *watched.webhook.texts,
        *(post.body.decode("utf-8", "replace") for post in watched.collector.posts),
        *(str(post.headers) for post in (*watched.webhook.posts, *watched.collector.posts)),
    ]
    messages = [message for company in COMPANIES for message in watched.world.truth(company)]
    secrets = {GLOBAL_DEMO_KEY, SECRET}
    secrets |= {message["content"]["text"] for message in messages} | {m["message_id"] for m in messages}
    secrets |= {message["author"].get("display_name") for message in messages}
    secrets |= {company.name for company in watched.world.companies.values()}
    looked_for = {secret for secret in secrets if secret and len(secret) > 3}
    assert len(looked_for) > 200
    for secret in looked_for:
        assert not any(secret in text or json.dumps(secret)[1:-1] in text for text in told), secret


def test_every_line_on_standard_error_is_an_event(watched: Watched) -> None:
    document = watched.result.document
    events = events_of(watched.result)
    names = [event["event"] for event in events if event["event"] != "progress"]
    changes = len(document["schema_changes"])
    assert changes
    assert names == [
        *("run_started", "windows_planned", "load_committed"),
        *["schema_changed"] * changes,
        *("window_incomplete", "run_ended"),
    ]
    assert {event["run_id"] for event in events} == {document["run_id"]}
    assert {event["command"] for event in events} == {"run"}
    by_name = {event["event"]: event for event in events}
    assert (by_name["windows_planned"]["windows"], by_name["windows_planned"]["companies"]) == (15, 3)
    assert by_name["load_committed"]["rows"] == document["rows"]
    assert (by_name["load_committed"]["windows"], by_name["load_committed"]["windows_incomplete"]) == (14, 1)
    assert by_name["progress"]["windows_done"] == 15
    missing = by_name["window_incomplete"]
    assert missing["level"] == "warning"
    assert {name: missing[name] for name in ("company_id", "start", "end", "error")} == {
        name: watched.window[name] for name in ("company_id", "start", "end", "error")
    }
    ended = by_name["run_ended"]
    assert (ended["level"], ended["windows"]) == ("error", {"complete": 14, "incomplete": 1})
    for name in ("status", "exit_code", "message", "duration_seconds", "rows", "messages_written", "watermarks"):
        assert ended[name] == document[name]
    assert ended["notified"] is True


def test_metrics_are_the_numbers_of_the_run(watched: Watched) -> None:
    document = watched.result.document
    metrics = metrics_of(watched.metrics)
    assert all(re.fullmatch(r"mindo_[a-z_]+[a-z]", name) for name, *_ in metrics)
    assert metrics["mindo_last_run_exit_code",] == 3
    for name in ("started", "finished"):
        moment = datetime.fromisoformat(document[f"{name}_at"]).timestamp()
        assert metrics[f"mindo_last_run_{name}_timestamp_seconds",] == pytest.approx(moment)
    assert metrics["mindo_last_run_duration_seconds",] == document["duration_seconds"]
    statuses = ("complete", "incomplete", "refused", "not_reached")
    assert [metrics["mindo_last_run_windows", status] for status in statuses] == [14, 1, 0, 0]
    assert metrics["mindo_last_run_messages_read",] == document["rows"]["messages"] > 0
    assert metrics["mindo_last_run_messages_written",] == document["messages_written"]
    assert {key[1]: value for key, value in metrics.items() if key[0] == "mindo_last_run_rows"} == document["rows"]
    for metric, member in {"requests": "requests", "retries": "retries", "received_bytes": "bytes"}.items():
        assert metrics[f"mindo_last_run_{metric}",] == sum(window[member] for window in document["windows"]) > 0
    for company, mark in document["watermarks"].items():
        assert metrics["mindo_watermark_timestamp_seconds", company] == datetime.fromisoformat(mark).timestamp()
    assert not any(name == "mindo_last_success_timestamp_seconds" for name, *_ in metrics)


def test_whoever_scrapes_may_read_the_file_and_nothing_is_left_beside_it(watched: Watched) -> None:
    path = Path(watched.metrics)
    assert path.stat().st_mode & 0o777 == 0o644
    assert [other.name for other in path.parent.iterdir() if "prom" in other.name] == ["mindo.prom"]


def attributes(span: Span) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


def test_each_window_is_a_span_of_the_run_with_its_own_times(watched: Watched) -> None:
    document = watched.result.document
    (run,) = [span for span in watched.collector.spans if span.name == "mindo run"]
    windows = [span for span in watched.collector.spans if span.name == "mindo window"]
    assert run.status.code == Status.STATUS_CODE_ERROR
    assert attributes(run)["mindo.run_id"] == document["run_id"]
    assert attributes(run)["mindo.windows.incomplete"] == 1
    assert {(span.trace_id, span.parent_span_id) for span in windows} == {(run.trace_id, run.span_id)}
    told = {(a["mindo.company_id"], a["mindo.window.start"]): span for span in windows if (a := attributes(span))}
    assert len(told) == len(windows) == len(document["windows"])
    for window in document["windows"]:
        span = told[window["company_id"], window["start"]]
        known = attributes(span)
        assert known["mindo.window.end"] == window["end"]
        assert known["mindo.window.status"] == window["status"]
        assert known["mindo.messages"] == window["counts"].get("messages", 0)
        for name in ("pages", "requests", "retries", "bytes"):
            assert known[f"mindo.{name}"] == window[name]
        assert (span.status.message or None) == window["error"]
    for company, start, began, ended in watched.ledger:
        window_start = json_time(datetime.fromtimestamp(start / 1e6, BROKEN.tzinfo))
        span = told[company, str(window_start)]
        assert (span.start_time_unix_nano // 1000, span.end_time_unix_nano // 1000) == (began, ended)


# --- every end is told ----------------------------------------------------------------------------------------------


def test_a_key_that_is_refused_is_told(
    api: Emulator[World], webhook: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__MINDO__API_KEY", "mindo_global_verysecret")
    assert mindo("run", "--notify").code == 2
    (text,) = webhook.texts
    assert "*mindo run: failed* (exit code 2)" in text
    assert "api_key: the API refused the key" in text
    assert "verysecret" not in text


@pytest.mark.parametrize("command", ["run", "backfill", "batch"])
def test_a_mistyped_option_is_told(webhook: Listener, command: str) -> None:
    result = mindo(command, "--notify", "--log-format=json", "--metrics-file", "mindo.prom", "--nosuch")
    assert result.code == 2
    assert webhook.texts[0].splitlines()[1] == f"No such option: --nosuch; see `mindo {command} --help`."
    (ended,) = events_of(result)
    assert (ended["event"], ended["level"], ended["exit_code"], ended["command"]) == ("run_ended", "error", 2, command)
    assert metrics_of("mindo.prom")["mindo_last_run_exit_code",] == 2


def test_a_secret_in_the_wrong_place_stays_here(webhook: Listener) -> None:
    url = "https://hooks.example.com/services/zzz999"
    for arguments in (["--companies", "mindo_global_abc"], ["--from", "p4ssw0rd"], ["mindo_a1b2c3"], [url]):
        result = mindo("run", "--notify", "--log-format", "json", *arguments)
        assert result.code == 2
        assert not re.search("abc|a1b2c3", result.err)
    assert len(webhook.texts) == 4
    assert not any(re.search("abc|p4ssw0rd|a1b2c3|zzz999", text) for text in webhook.texts)
    assert "from: '…' is not a date" in webhook.texts[1]


def test_a_destination_that_fails_is_told(api: Emulator[World], webhook: Listener) -> None:
    Path("warehouse.duckdb").write_text("this is no database")
    assert mindo("run", "--notify", "--quiet").code == 5
    assert "*mindo run: failed* (exit code 5)" in webhook.texts[0]


def test_a_run_that_is_stopped_is_told(api: Emulator[World], webhook: Listener) -> None:
    hang = api.faults.add("hang", company=57, times=None, after=1)
    process = spawn("run", "--notify", "--log-format", "json", "--metrics-file", "mindo.prom")
    wait_until(lambda: hang.hits > 0)
    process.terminate()
    result = finish(process)
    assert result.code == 130
    assert "*mindo run: interrupted* (exit code 130)" in webhook.texts[0]
    assert events_of(result)[-1]["status"] == "interrupted"
    assert metrics_of("mindo.prom")["mindo_last_run_exit_code",] == 130


def test_a_good_night_is_told_only_if_it_is_asked_for(
    loaded: Emulator[World], webhook: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = mindo("run", "--json", "--notify", *ONE_WINDOW)
    assert (silent.code, silent.document["notified"], webhook.posts) == (0, None, [])
    monkeypatch.setenv("NOTIFY__EXIT_CODES", "[0, 3]")
    assert mindo("run", "--json", "--notify", "--from", "yesterday").document["notified"] is None
    loud = mindo("run", "--notify", "--log-format", "json", *ONE_WINDOW)
    assert "*mindo run: complete* (exit code 0)" in webhook.texts[0]
    # results stay as they are beside events
    assert "complete up to (UTC)" in loud.out
    assert loud.out.splitlines()[-1].startswith("nothing new: ")
    ended = events_of(loud)[-1]
    assert (ended["event"], ended["level"], ended["notified"]) == ("run_ended", "info", True)
    assert ended["message"] == loud.out.splitlines()[-1]


def test_the_webhook_of_dlt_is_taken_if_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as listener:
        monkeypatch.setenv("RUNTIME__SLACK_INCOMING_HOOK", listener.webhook)
        mindo("run", "--notify", "--from", "yesterday")
        assert len(listener.posts) == 1


def test_many_windows_are_told_in_few_lines_and_markup_is_none() -> None:
    reasons = ["<!channel> & more"] * 13
    windows = [
        {
            **{"company_id": 42 + number, "start": "2026-04-01T00:00:00Z", "end": "2026-04-02T00:00:00Z"},
            **{"status": "incomplete", "requests": 1, "retries": 0, "bytes": 0, "error": reason},
        }
        for number, reason in enumerate(reasons)
    ]
    document = {
        **{"command": "run", "status": "incomplete", "exit_code": 3, "message": "13 of 13", "windows": windows},
        **{"finished_at": "2026-04-03T00:00:00Z", "watermarks": {str(number): None for number in range(12)}},
    }
    assert "watermark" not in message(document, "a-host")
    document["watermarks"] |= {
        **{"12": "2026-04-02T00:00:00Z", "13": "2026-04-01T12:00:00Z"},
    }
    lines = message(document, "a-host").splitlines()
    assert sum(line.startswith("• incomplete: company") for line in lines) == 10
    assert "• … and 3 more" in lines
    assert "furthest behind: company 13, complete up to 2026-04-01 12:00 UTC (1 d 12 h ago)" in lines
    assert "without a watermark: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more" in lines
    assert "&lt;!channel&gt; &amp; more" in lines[3]
    assert "<" not in "".join(lines)


# --- a webhook that does not work -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("", "notify: there is no webhook to tell; set webhook_url in [notify]"),
        ("hooks.slack.com/services/verysecretpart", "webhook_url: it is not a URL"),
        ("https://hooks.slack.com:port/verysecretpart", "webhook_url: it is not a URL"),
        ("http://chat.example.com/verysecretpart", "webhook_url: plain http would send the URL"),
    ],
)
def test_without_a_usable_webhook_nothing_is_loaded(
    api: Emulator[World], monkeypatch: pytest.MonkeyPatch, url: str, line: str
) -> None:
    monkeypatch.setenv("NOTIFY__WEBHOOK_URL", url)
    result = mindo("run", "--notify")
    assert result.code == 2
    assert line in result.error
    assert "verysecret" not in result.error
    assert left_behind() == []
    assert api.requests.all() == []


@pytest.mark.parametrize("codes", ["many", "[1]", "3;5"])
def test_exit_codes_that_there_are_not_are_refused(
    webhook: Listener, monkeypatch: pytest.MonkeyPatch, codes: str
) -> None:
    monkeypatch.setenv("NOTIFY__EXIT_CODES", codes)
    result = mindo("run", "--notify")
    assert result.code == 2
    assert "exit_codes: " in result.error
    assert "they are 0, 2, 3, 4, 5, 6, 7, 130" in result.error


@pytest.mark.parametrize(
    ("statuses", "posts", "reason"),
    [([404], 1, "HTTP 404"), ([302], 1, "HTTP 302"), ([500, 502, 429], 3, "HTTP 429")],
)
def test_a_webhook_that_refuses_costs_a_warning_and_not_the_exit_code(
    webhook: Listener, statuses: list[int], posts: int, reason: str
) -> None:
    webhook.statuses = statuses
    result = mindo("run", "--json", "--notify", "--from", "yesterday")
    assert (result.code, result.document["notified"]) == (2, False)
    assert result.err.splitlines()[1] == (
        f"notify: the webhook could not be told ({reason}); the exit code stays as it is."
    )
    assert len(webhook.posts) == posts
    assert SECRET not in result.out + result.err


def test_a_webhook_that_is_down_costs_a_warning_and_not_the_exit_code(
    loaded: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("NOTIFY__WEBHOOK_URL", f"http://127.0.0.1:{unused.getsockname()[1]}/{SECRET}")
        monkeypatch.setenv("NOTIFY__EXIT_CODES", "0")
        result = mindo("run", "--notify", "--quiet", "--log-format", "json", *ONE_WINDOW)
    assert (result.code, result.out) == (0, "")
    (warning,) = events_of(result)
    assert (warning["event"], warning["level"]) == ("warning", "warning")
    assert "could not be told (it can't be reached)" in warning["message"]
    assert SECRET not in result.err


def test_a_webhook_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "_TIMEOUTS", (1.0, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("NOTIFY__WEBHOOK_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/{SECRET}")
        result = mindo("run", "--json", "--notify", "--from", "yesterday")
    assert (result.code, result.document["notified"]) == (2, False)
    assert "could not be told (no answer in time)" in result.err


def test_a_second_ctrl_c_ends_the_wait_for_a_webhook(webhook: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(notifying.requests, "post", interrupt)
    result = mindo("run", "--json", "--notify", "--from", "yesterday")
    assert (result.code, result.document["notified"]) == (2, False)
    assert "the end could not be told (KeyboardInterrupt)" in result.err


def test_a_webhook_that_fails_for_a_moment_is_told_in_the_end(webhook: Listener) -> None:
    webhook.statuses = [503]
    result = mindo("run", "--json", "--notify", "--from", "yesterday")
    assert result.document["notified"] is True
    assert len(result.err.splitlines()) == 1
    assert len(webhook.posts) == 2


# --- metrics --------------------------------------------------------------------------------------------------------


def test_a_failure_keeps_the_last_success_and_the_watermarks(
    loaded: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("run", "--quiet", "--companies", "42,57", "--metrics-file", "mindo.prom")
    assert mindo(*arguments).code == 0
    before = metrics_of("mindo.prom")
    kept = ("mindo_last_success_timestamp_seconds", "mindo_watermark_timestamp_seconds")
    assert before["mindo_last_success_timestamp_seconds",] == before["mindo_last_run_finished_timestamp_seconds",]
    monkeypatch.setenv("SOURCES__MINDO__API_KEY", "mindo_global_expired")
    assert mindo(*arguments).code == 2
    after = metrics_of("mindo.prom")
    assert {key: value for key, value in after.items() if key[0] in kept} == {
        key: value for key, value in before.items() if key[0] in kept
    }
    assert {key[1:] for key in after if key[0] == kept[1]} == {("42",), ("57",)}
    assert after["mindo_last_run_exit_code",] == 2
    finished = "mindo_last_run_finished_timestamp_seconds"
    assert after[finished,] > before[finished,]
    # no company is known
    assert mindo(*arguments, "--from", "yesterday").code == 2
    assert {key: value for key, value in metrics_of("mindo.prom").items() if key[0] in kept} == {
        key: value for key, value in before.items() if key[0] in kept
    }
    # one is no longer read
    assert mindo(*arguments, "--companies", "42").code == 2
    assert {key[1:] for key in metrics_of("mindo.prom") if key[0] == kept[1]} == {("42",)}


def test_a_file_that_is_none_of_ours_is_replaced() -> None:
    Path("mindo.prom").write_text("\x00 not { metrics")
    assert mindo("run", "--from", "yesterday", "--metrics-file", "mindo.prom").code == 2
    assert metrics_of("mindo.prom")["mindo_last_run_exit_code",] == 2


def test_metrics_that_can_not_be_written_end_the_run_before_it_begins(api: Emulator[World]) -> None:
    Path("folder").mkdir()
    for path, line in {
        "missing/mindo.prom": "metrics_file: can't write to",
        "folder": "metrics_file: folder is a folder; name a file in it, like folder/mindo.prom.",
        "/dev/null/mindo.prom": "(Not a directory)",
    }.items():
        result = mindo("run", "--metrics-file", path)
        assert result.code == 2
        assert line in result.error
    assert left_behind() == ["folder"]
    assert api.requests.all() == []


def test_metrics_that_can_not_be_written_in_the_end_cost_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def remove_folder(_: object) -> None:
        Path("metrics").rmdir()
        raise ApiError("gone")

    Path("metrics").mkdir()
    monkeypatch.setattr(loading, "resolve_options", remove_folder)
    result = mindo("run", "--quiet", "--metrics-file", "metrics/mindo.prom")
    assert result.code == 3
    assert result.err.splitlines() == [
        "error: gone",
        "MetricsFile: the end could not be told (No such file or directory); the exit code stays as it is.",
    ]


# --- events ---------------------------------------------------------------------------------------------------------


def test_quiet_events_are_warnings_and_errors(api: Emulator[World]) -> None:
    api.faults.add("server_error", company=57, times=None, after=1)
    result = mindo("run", "--quiet", "--log-format", "json", "--companies", "57")
    assert [event["event"] for event in events_of(result)] == ["window_incomplete", "run_ended"]


def test_another_format_is_refused(api: Emulator[World]) -> None:
    result = mindo("run", "--log-format", "xml")
    assert (result.code, result.error) == (2, "error: log_format: 'xml' is not one of text, json.")
    assert api.requests.all() == []


@pytest.mark.parametrize("options", [(), ("--log-format", "json")])
def test_a_reader_of_standard_error_that_leaves_does_not_end_the_run(
    loaded: Emulator[World], options: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    out, code = io.StringIO(), None
    with (
        suppress(BrokenPipeError),
        os.fdopen(writing, "w", buffering=1) as nobody,
        redirect_stderr(nobody),
        redirect_stdout(out),
    ):
        code = call(["run", *ONE_WINDOW, *options])
    assert code == 0
    assert "nothing new" in out.getvalue()


# --- spans ----------------------------------------------------------------------------------------------------------


def test_a_dead_collector_is_no_concern_of_the_run(loaded: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans_module, "_FLUSH_SECONDS", 0.2)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv(OTEL, f"http://127.0.0.1:{unused.getsockname()[1]}")
        result = mindo("run", "--quiet", *ONE_WINDOW)
    assert (result.code, result.out, result.err) == (0, "", "")


def test_wrong_variables_of_opentelemetry_cost_a_warning(
    loaded: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OTEL, "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    result = mindo("run", "--quiet", *ONE_WINDOW)
    assert result.code == 0
    assert result.error.startswith("spans: none are sent, because OpenTelemetry can't be set up")


def test_without_the_packages_there_are_no_spans(loaded: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    for name in [name for name in sys.modules if name.startswith("opentelemetry.")]:
        monkeypatch.delitem(sys.modules, name)
    with listening() as collector:
        monkeypatch.setenv(OTEL, collector.url)
        result = mindo("run", "--quiet", *ONE_WINDOW)
        assert (result.code, result.err, collector.posts) == (0, "", [])


def test_the_sdk_s_own_variables_hold(loaded: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as collector:
        monkeypatch.setenv(OTEL, collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "nightly")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=abc")
        assert mindo("run", "--quiet", *ONE_WINDOW).code == 0
        assert {post.path for post in collector.posts} == {"/v1/traces"}
        assert {post.headers["x-token"] for post in collector.posts} == {"abc"}
        assert all(b"nightly" in post.body for post in collector.posts)
        assert [span.name for span in collector.spans] == ["mindo window", "mindo run"]


def test_who_asks_for_nothing_imports_nothing() -> None:
    heavy = "{'structlog', 'prometheus_client', 'opentelemetry'}"
    code = f"""
import sys
from mindo_pipeline.cli import call
assert not {{'dlt', 'requests', *{heavy}}} & set(sys.modules), 'help'
assert call(["run", "--from", "yesterday"]) == 2
assert not {heavy} & set(sys.modules), 'run'
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1), done.stderr
