"""Injection: whatever a text, an id, a name or an enum value tries, it is stored as it is and nothing obeys it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mindo_pipeline.harness import Result, left_behind, midnight, mindo
from tests.scripted_api import PlainApi, a_message
from tests.support import DAY, assert_tables_hold, query, read_tables

HOSTILE = [
    "'; DROP TABLE mindo.messages; --",
    '"; DROP SCHEMA mindo CASCADE; --',
    "$$; COPY mindo.messages TO '/tmp/stolen'; --",
    "{table} {staging_table} %s ? $1 :name",
    "' OR 1=1 --",
    "../../../../etc/passwd",
    "..\\..\\windows\\system32",
    "/dev/null",
    "file:///etc/passwd",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@SUM(A1)",
    "-2+3",
    "\x1b]0;owned\x07\x1b[31mred\x1b[2J",
    "\x9b31m\u202egnitset\u202c\u2028",
    "[bold red]markup[/bold red] :smile:",
    "<script>alert(1)</script>",
    "${jndi:ldap://127.0.0.1/a}",
    "{{ 7*7 }} {% raw %}",
    "\\x41\\u0041\\n",
    '{"_truncated": true, "next_cursor": "stolen"}',
    '{"_error": {"code": "X"}}',
    "NaN",
    "null",
]
"""Texts that try SQL, paths, formulas, terminal escapes, markup, templates and the API's own control lines."""


def a_hostile_message(number: int, text: str) -> dict[str, Any]:
    at = (midnight() - DAY).replace(tzinfo=None).isoformat()
    return a_message(
        number,
        at,
        message_id=f"msg_{number} {text}",
        conversation_id=text,
        channel=text,
        direction=text,
        author={"type": text, "id": text, "display_name": text},
        agent={"name": text, f"x {text}": text},
        content={"type": text, "text": text, "media_url": text, "media_mime": text},
        context={"reply_to_message_id": text, "thread_position": text},
        classifications=[{"label": text, "value": text}],
        extractions=[{"field": text, "value": text, f"y {text}": {text: text}}],
        tool_calls=[{"name": text, "status": text, "arguments": {text: text}, "result": text}],
        trace_id=text,
        **{f"z {text}": [text]},
    )


MESSAGES = [a_hostile_message(number, text) for number, text in enumerate(HOSTILE)]


@pytest.fixture
def hostile_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlainApi]:
    """An API whose company is called by a terminal escape."""
    info = {"id": 42, "name": HOSTILE[13], "timezone": HOSTILE[0]}
    with PlainApi(
        MESSAGES, name_cursor=lambda place: f"{place}{HOSTILE[0]}", business=lambda _: json.dumps(info).encode()
    ) as api:
        monkeypatch.setenv("SOURCES__MINDO__BASE_URL", api.base_url)
        monkeypatch.setenv("SOURCES__MINDO__API_KEY", "mindo_" + "k" * 24)
        monkeypatch.setenv("SOURCES__MINDO__START_DATE", (midnight() - 3 * DAY).isoformat())
        monkeypatch.setenv("SOURCES__MINDO__LIMIT", "7")
        yield api


def column_names() -> dict[str, str]:
    """The column that the connector gave to each member with a hostile name, as its own notes in dlt's schema say."""
    (packed,) = query("warehouse.duckdb", "SELECT schema FROM _dlt_version ORDER BY version DESC LIMIT 1")[0]
    names = {}
    for table, content in json.loads(packed)["tables"].items():
        for column in content["columns"].values():
            site, _, member = column.get("x-mindo-member", "").partition("/")
            if member:
                list_name = table.removeprefix("messages").removeprefix("__")
                names[f"{site or list_name}.{member}" if site or list_name else member] = column["name"]
    return names


def assert_harmless(*results: Result) -> None:
    for result in results:
        assert result.code == 0, result.err
        for sign in ("\x1b", "\x9b", "\x07", "\u202e", "\u2028"):
            assert sign not in result.out + result.err


def test_it_is_stored_byte_for_byte_and_printed_harmlessly(hostile_api: PlainApi) -> None:
    before = set(Path("/tmp").glob("stolen*"))
    results = [mindo("check"), mindo("run"), mindo("status"), mindo("run", "--json"), mindo("plan")]
    assert_harmless(*results)
    start, end = midnight() - 3 * DAY, midnight()
    assert_tables_hold(read_tables("warehouse.duckdb"), MESSAGES, [42], start, end, names=column_names())
    assert query("warehouse.duckdb", "SELECT name, timezone FROM companies") == [(HOSTILE[13], HOSTILE[0])]
    assert set(Path("/tmp").glob("stolen*")) == before
    assert {path.split("/")[0] for path in left_behind()} == {".dlt", "warehouse.duckdb", "warehouse.duckdb.lock"}
    assert results[3].document["messages_written"] == 0


@pytest.mark.parametrize("option", ["--companies", "--from", "--channel", "--agents", "--include"])
def test_an_option_that_tries_it_is_refused_in_one_harmless_line(hostile_api: PlainApi, option: str) -> None:
    for text in (HOSTILE[0], HOSTILE[5], HOSTILE[13]):
        result = mindo("run", option, text)
        assert result.code == 2
        assert "\x1b" not in result.error
        assert left_behind() == []


def test_a_dataset_is_a_name_whatever_it_holds(hostile_api: PlainApi) -> None:
    assert mindo("run").code == 0
    assert_harmless(mindo("run", "--dataset", HOSTILE[0]), mindo("status", "--dataset", HOSTILE[0]))
    assert query("warehouse.duckdb", "SELECT count(*) FROM messages") == [(len(HOSTILE),)]
