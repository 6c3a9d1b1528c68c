"""The page on alerts: its metrics, events, attributes, rules and settings are those that there are."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from mindo_emulator import Emulator, World
from mindo_pipeline.observing.notifying import message
from tests.docs.page import ROOT, codes, table
from tests.mindo_pipeline.harness import DAY, Result, midnight, mindo
from tests.mindo_pipeline.listening import Listener, listening

PATH = ROOT / "docs/alerts.md"
PAGE = PATH.read_text()
STATUSES = {"complete", "incomplete", "refused", "not_reached"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(*arguments: str) -> Result:
    return mindo("run", "--log-format", "json", "--metrics-file", "mindo.prom", *arguments)


def metrics() -> dict[str, set[str]]:
    """The metrics of the file, each with its own labels."""
    families = text_string_to_metric_families(Path("mindo.prom").read_text())
    return {family.name: {*family.samples[0].labels} - {"command", "file"} for family in families}


def test_every_metric_event_and_attribute_is_listed(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__WINDOW_HOURS", "24")
    recent = ("--start-date", (midnight() - 3 * DAY).date().isoformat())
    with listening() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        whole = run("--quiet", *recent)
        assert (whole.code, whole.err) == (0, "")
        spans = spans_of(collector)
    assert {codes(name)[0]: set(codes(labels)) for name, labels, _ in table("Metrics", path=PATH)} == metrics()
    listed = {codes(span)[0]: set(codes(names)) for span, names in table("Spans", path=PATH)}
    assert {span.name: {item.key for item in span.attributes} for span in spans} == listed

    api.faults.add("server_error", company=57, covering=midnight() - DAY, times=None)
    result = run(*recent)
    assert result.code == 3
    rows = {codes(name)[0]: (level, text) for name, level, text in table("Events", path=PATH)}
    for line in result.err.splitlines():
        event = json.loads(line)
        level, text = rows[event["event"]]
        assert event["level"] in level
        common = {"timestamp", "level", "event", "command", "run_id", "notified"}
        assert {*event} - common <= set(codes(text)) | {"start", "end", "company_id", "windows", "error"}
    (example,) = blocks("json")
    told = next(
        event for line in result.err.splitlines() if (event := json.loads(line))["event"] == "window_incomplete"
    )
    assert list(json.loads(example)) == list(told)


def spans_of(collector: Listener) -> list[Span]:
    """One of each name."""
    return list({span.name: span for span in collector.spans}.values())


def test_every_rule_asks_for_metrics_that_there_are() -> None:
    (text,) = blocks("yaml")
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    listed = {codes(name)[0]: set(codes(labels)) for name, labels, _ in table("Metrics", path=PATH)}
    for rule in rules:
        assert set(rule) == {"alert", "expr", "annotations"}
        names = re.findall(r"mindo_\w+", rule["expr"])
        assert names
        assert set(names) <= set(listed)
        labels = {*re.findall(r"(\w+)=", rule["expr"]), *re.findall(r"by \((\w+)\)", rule["expr"])}
        assert labels <= {"command"}.union(*(listed[name] for name in names))
        assert set(re.findall(r'status="(\w+)"', rule["expr"])) <= STATUSES
    assert {status for row in table("Metrics", path=PATH) for status in codes(row[2])} == STATUSES


def test_every_setting_is_accepted(reload_configuration: None) -> None:
    secrets, configuration = blocks("toml")
    assert "webhook_url" in tomllib.loads(secrets)["notify"]
    Path(".dlt").mkdir()
    Path(".dlt/config.toml").write_text(configuration)
    with listening() as listener:
        Path(".dlt/secrets.toml").write_text(
            secrets.replace(tomllib.loads(secrets)["notify"]["webhook_url"], listener.webhook)
        )
        Container()[PluggableRunContext].reload()
        assert mindo("run", "--notify", "--from", "yesterday").code == 2
        assert "(exit code 2)" in listener.texts[0]


def test_the_message_is_the_one_shown() -> None:
    (shown,) = blocks("text")
    window = {
        **{"company_id": 57, "start": "2026-11-21T00:00:00Z", "end": "2026-11-22T00:00:00Z", "status": "incomplete"},
        **{"requests": 2, "retries": 1, "bytes": 0, "error": "the API fails (HTTP 503) (after 2 attempts)"},
    }
    document = {
        **{"command": "run", "status": "incomplete", "exit_code": 3, "run_id": "decb694037d14cbfaa0ba42fb9636103"},
        "message": "1 of 15 windows could not be read whole; the rest is loaded. To read them: run again later.",
        "windows": [window, *[{**window, "status": "complete", "error": None}] * 14],
        **{"companies": [{}] * 3, "rows": {"messages": 226}, "messages_written": 226},
        **{"watermarks": {"57": window["start"], "42": window["end"]}, "finished_at": "2026-11-23T08:11:22Z"},
    }
    assert message(document, "etl-1") == shown.strip()
