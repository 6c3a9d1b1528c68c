"""Column rules: what is dropped, emptied or hashed never reaches the warehouse, and everything else stays as it was."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest

from mindo import ConfigurationError, resolve_options
from mindo_emulator import World
from tests.mindo.conftest import MakeLaboratory
from tests.scripted_api import PlainApi, a_message, laboratory_at
from tests.support import DAY, NOW, START, Laboratory, changed_keys, query, read_tables, snapshot

KEY = "a key of the tests' own"
SECRET = "secreto"


def digest(text: str) -> str:
    return hmac.new(KEY.encode(), text.encode(), "sha256").hexdigest()


def personal(number: int, **members: Any) -> dict[str, Any]:
    """A message with personal data in every corner."""
    return a_message(
        number,
        content={"type": "text", "text": f"{SECRET} ñandú 🦤 {number}", "media_url": None, "media_mime": None},
        context={"reply_to_message_id": None, "thread_position": 5},
        agent={"name": SECRET, "id": 7},
        classifications=[{"label": "Intent", "value": SECRET}],
        extractions=[{"field": "name", "value": {"first": SECRET}}, {"field": "age", "value": 5}],
        tool_calls=[{"name": "t", "arguments": {"of": SECRET}, "result": SECRET}],
        trace_id=SECRET,
        **members,
    )


RULES = {
    "messages": {
        "content__text": "hmac",
        "context__thread_position": "hmac",
        "agent__name": "drop",
        "agent__id": "hmac",
        "trace_id": "hmac",
        "author__display_name": "drop",
        "metadata__client_id": "null",
    },
    "messages__classifications": {"value": "null"},
    "messages__extractions": {"value": "hmac"},
    "messages__tool_calls": {"arguments": "drop", "result": "null"},
}
GIVEN = {"column_rules": RULES, "hmac_key": KEY}


def test_each_rule_does_what_it_says_and_nothing_else_changes() -> None:
    with laboratory_at(PlainApi([personal(1)])) as plain:
        plain.complete_run()
        before = read_tables(plain.database)
        plain.database.unlink()
    with laboratory_at(PlainApi([personal(1)]), **GIVEN) as laboratory:
        laboratory.complete_run()
        tables = read_tables(laboratory.database)
    message = tables["messages"].rows[0]
    assert message["content__text"] == digest(f"{SECRET} ñandú 🦤 1")
    assert message["context__thread_position"] == digest("5")
    assert message["agent__id"] == digest("7")
    assert message["trace_id"] == digest(SECRET)
    assert message["metadata__client_id"] is None
    assert {"agent__name", "author__display_name"}.isdisjoint(tables["messages"].types)
    assert [row["value"] for row in tables["messages__classifications"].rows] == [None]
    values = [row["value"] for row in tables["messages__extractions"].rows]
    assert sorted(values) == sorted([digest('{"first":"secreto"}'), digest("5")])
    call = tables["messages__tool_calls"].rows[0]
    assert call["result"] is None
    assert "arguments" not in tables["messages__tool_calls"].types
    for table, content in tables.items():
        for row, old in zip(content.rows, before[table].rows, strict=True):
            ruled = RULES[table].keys() | {"_row_hash", "_dlt_load_id"}
            assert {k: v for k, v in row.items() if k not in ruled} == {k: v for k, v in old.items() if k not in ruled}
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in Path().rglob("*") if path.is_file())


def test_a_change_of_what_is_hashed_is_seen_and_nothing_else_is_rewritten(open_laboratory: MakeLaboratory) -> None:
    world = World(companies=[42])
    first = world.add_message(42, START + DAY, "one", extractions=[{"field": "f", "value": "v"}])
    world.add_message(42, START + DAY, "two", extractions=[{"field": "f", "value": "v"}])
    laboratory = open_laboratory(world)
    laboratory.given |= {"company_ids": [42], "lookback_days": 30, **GIVEN}
    laboratory.complete_run()
    before = snapshot(laboratory.database)
    laboratory.complete_run()
    assert snapshot(laboratory.database) == before
    world.edit_text(first, "another")
    world.set_member(first, "extractions", [{"field": "f", "value": "w"}])
    laboratory.complete_run()
    after = snapshot(laboratory.database)
    assert changed_keys(before["messages"], after["messages"]) == {(42, first)}
    assert changed_keys(before["messages__extractions"], after["messages__extractions"]) == {(42, first, 0)}
    assert after["messages"][(42, first)]["content__text"] == digest("another")
    assert after["messages__extractions"][(42, first, 0)]["value"] == digest("w")


def test_rules_given_later_reach_old_rows_when_they_are_read_again() -> None:
    api = PlainApi([personal(1), personal(2, occurred_at="2026-04-29T12:00:00")])
    with laboratory_at(api, window_hours=24) as laboratory:
        laboratory.complete_run()
        laboratory.complete_run(**GIVEN, from_date=START, to_date=NOW)
        rows = query(
            laboratory.database, "SELECT content__text, agent__name, agent__id, agent__id__v_text FROM messages"
        )
        assert sorted(rows) == sorted((digest(f"{SECRET} ñandú 🦤 {n}"), None, None, digest("7")) for n in (1, 2))
        calls = query(laboratory.database, "SELECT arguments, result FROM messages__tool_calls")
        assert calls == [(None, None)] * 2
        # and without the rules everything comes back
        laboratory.complete_run(from_date=START, to_date=NOW)
        rows = query(laboratory.database, "SELECT content__text, agent__name, agent__id FROM messages")
        assert sorted(rows) == sorted((f"{SECRET} ñandú 🦤 {n}", SECRET, 7) for n in (1, 2))


def in_warehouse_or_beside_it(text: str) -> bool:
    return any(text.encode() in path.read_bytes() for path in Path().rglob("*") if path.is_file())


OTHER_SHAPES: list[dict[str, Any]] = [
    {"content": SECRET},
    {"content": [{"text": SECRET}]},
    {"content": {"Text": SECRET}},
    {"content": {"teXt": SECRET, "text": "x", "TEXT": SECRET}},
    {"Content": {"text": SECRET}},
    {"content__text": SECRET},
    {"author": f"Juan {SECRET}"},
    {"author": {"type": "contact", "id": "ctc_1", "displayName": SECRET}},
    {"agent": SECRET},
    {"agent": {"address": {"street": SECRET}}},
    {"agent": {"Address": {"Street": SECRET}}},
    {"tool_calls": [SECRET, [SECRET], {"Arguments": SECRET}, {"ARGUMENTS": SECRET, "arguments": 1}]},
    {"tool_calls": {"arguments": SECRET}},
    {"tool_calls": SECRET},
    {"toolCalls": [{"arguments": SECRET}]},
    {"classifications": [SECRET, {"Value": SECRET}, {"value": {"of": SECRET}}]},
    {"extractions": [SECRET, {"value": {"first": SECRET}}]},
]
PARTS = {
    "messages": {"content__text": "drop", "author__display_name": "hmac", "agent__address__street": "null"},
    "messages__classifications": {"value": "hmac"},
    "messages__extractions": {"value__first": "hmac"},
    "messages__tool_calls": {"arguments": "drop"},
}


@pytest.mark.parametrize("apart", [True, False], ids=["a message a page", "all in one page"])
def test_a_rule_holds_when_the_api_changes_the_shape_around_it(apart: bool) -> None:
    rows = [a_message(number, **members) for number, members in enumerate(OTHER_SHAPES)]
    page = {"limit": 1} if apart else {}
    with laboratory_at(PlainApi(rows), column_rules=PARTS, hmac_key=KEY, **page) as laboratory:
        laboratory.complete_run()
        tables = read_tables(laboratory.database)
        assert len(tables["messages"].rows) == len(rows)
        assert not in_warehouse_or_beside_it(SECRET)
        assert not any(SECRET in repr(row) for content in tables.values() for row in content.rows)
        # displayName, hashed as display_name is
        assert digest(SECRET) in [value for row in tables["messages"].rows for value in row.values()]
        values = {(row["value"], row["api__value"]) for row in tables["messages__classifications"].rows}
        assert values == {(digest(SECRET), None), (None, digest(SECRET)), (digest(f'{{"of":"{SECRET}"}}'), None)}
        assert len(tables["messages__tool_calls"].rows) == 6
        before = snapshot(laboratory.database)
        laboratory.complete_run()
        assert snapshot(laboratory.database) == before


def test_other_shapes_are_kept_where_no_rule_speaks_of_them() -> None:
    rows = [
        a_message(1, agent="a text", author={"nick": "n"}),
        a_message(2, author="another", tool_calls=["a call"], extractions=["one"]),
    ]
    rules = {"messages": {"content__text": "drop"}, "messages__extractions": {"value": "hmac"}}
    with laboratory_at(PlainApi(rows), column_rules=rules, hmac_key=KEY) as laboratory:
        laboratory.complete_run()
        assert query(laboratory.database, "SELECT agent, author FROM messages ORDER BY message_id") == [
            ('"a text"', None),
            (None, '"another"'),
        ]
        assert query(laboratory.database, "SELECT value FROM messages__tool_calls") == [('"a call"',)]
        assert query(laboratory.database, "SELECT value FROM messages__extractions") == [(digest("one"),)]


def test_a_column_of_its_own_name_keeps_its_own_rule_beside_one_spelt_like_it() -> None:
    rules = {"messages": {"content__text": "drop", "api__content__text": "hmac", "content": "hmac"}}
    rows = [a_message(1, content={"text": "a", "Text": "b"}), a_message(2, content="c")]
    with laboratory_at(PlainApi(rows), column_rules=rules, hmac_key=KEY) as laboratory:
        laboratory.complete_run()
        found = query(laboratory.database, "SELECT api__content__text, content FROM messages ORDER BY message_id")
        assert found == [(digest("b"), None), (None, digest("c"))]
        assert "content__text" not in read_tables(laboratory.database)["messages"].types


ALL_BUT_TRACE = "classifications,extractions,tool_calls"


def test_stored_hashes_of_traces_stay_when_traces_are_left_out() -> None:
    rows = [a_message(1, trace_id="a"), a_message(2), a_message(3, trace_id="c")]
    rules = {"messages": {"trace_id": "hmac", "content__text": "null"}}
    with laboratory_at(PlainApi(rows), column_rules=rules, hmac_key=KEY, lookback_days=30) as laboratory:
        laboratory.complete_run()
        before = snapshot(laboratory.database)
        assert [row["trace_id"] for row in before["messages"].values()] == [digest("a"), None, digest("c")]
        for include in (ALL_BUT_TRACE, "none", ALL_BUT_TRACE, None):
            laboratory.complete_run(**({"include": include} if include else {}))
            assert snapshot(laboratory.database) == before


def test_stored_traces_are_hashed_once_when_traces_are_left_out() -> None:
    given = {"include": ALL_BUT_TRACE, "column_rules": {"messages": {"trace_id": "hmac"}}, "hmac_key": KEY}
    with laboratory_at(PlainApi([a_message(1, trace_id=SECRET), a_message(2)]), lookback_days=30) as laboratory:
        laboratory.complete_run()
        laboratory.complete_run(**given)
        after = snapshot(laboratory.database)
        assert [row["trace_id"] for row in after["messages"].values()] == [digest(SECRET), None]
        laboratory.complete_run(**given)
        assert snapshot(laboratory.database) == after


@pytest.mark.parametrize("rule", ["hmac", "null", "drop"])
def test_the_time_of_the_export_rewrites_nothing_whatever_its_rule(rule: str) -> None:
    api = PlainApi([a_message(1), a_message(2)])
    with laboratory_at(api, lookback_days=30) as laboratory:
        laboratory.complete_run()
        laboratory.given |= {"column_rules": {"messages": {"metadata__exported_at": rule}}, "hmac_key": KEY}
        laboratory.complete_run()
        before = snapshot(laboratory.database)
        for row in api.rows:
            row["metadata"] = {**row["metadata"], "exported_at": "2026-04-30T01:02:03.000004"}
        laboratory.complete_run()
        assert snapshot(laboratory.database) == before


def test_a_rule_holds_for_values_of_every_type_and_for_what_is_left_out(laboratory: Laboratory) -> None:
    odd = [SECRET, 5, 1.5, True, [SECRET], {"a": SECRET}, None, ""]
    rows = [personal(number, extra=value) for number, value in enumerate(odd)]
    rules = {"messages": {"extra": "hmac", "trace_id": "drop"}}
    with laboratory_at(PlainApi(rows), column_rules=rules, hmac_key=KEY) as other:
        other.database = Path("other.duckdb").absolute()
        other.complete_run()
        other.complete_run(include="none", from_date=START, to_date=NOW)
        texts = [SECRET, "5", "1.5", "true", f'["{SECRET}"]', f'{{"a":"{SECRET}"}}', None, ""]
        assert [row["extra"] for row in sorted(read_tables(other.database)["messages"].rows, key=_number)] == [
            None if text is None else digest(text) for text in texts
        ]
        assert "trace_id" not in read_tables(other.database)["messages"].types


def _number(row: dict[str, Any]) -> str:
    return str(row["message_id"])


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"column_rules": {"message": {}}}, "column_rules: 'message' is not one of messages,"),
        ({"column_rules": {"messages": "drop"}}, "column_rules.messages: write a table of columns"),
        ({"column_rules": ["messages"]}, "column_rules: write a table of columns for each table"),
        ({"column_rules": "drop"}, "column_rules: write a table of columns for each table"),
        ({"column_rules": {"messages": {1: "drop"}}}, "column_rules.messages: 1 can't be the name of a column"),
        ({"column_rules": {"messages": {"Content__Text": "drop"}}}, "'Content__Text' can't be the name of a column"),
        ({"column_rules": {"messages": {"content.text": "drop"}}}, "'content.text' can't be the name of a column"),
        ({"column_rules": {"messages": {"a\nb": "drop"}}}, "in lower-case letters, digits and underscores"),
        ({"column_rules": {"messages": {"": "drop"}}}, "'' can't be the name of a column"),
        (
            {"column_rules": {"messages": {"context__thread_position__v_text": "drop"}}},
            "give the rule to context__thread_position; it holds for values of every type",
        ),
        ({"column_rules": {"messages": {"content__text": ["drop"]}}}, "['drop'] is not one of drop, null, hmac"),
        ({"column_rules": {"messages": {"content__text": "hash"}}}, "'hash' is not one of drop, null, hmac"),
        ({"column_rules": {"messages": {"message_id": "drop"}}}, "has to stay as it is"),
        ({"column_rules": {"messages": {"author__id": "hmac"}}}, "has to stay as it is"),
        ({"column_rules": {"messages__tool_calls": {"_dlt_list_idx": "null"}}}, "has to stay as it is"),
        ({"column_rules": {"messages": {"_row_hash": "null"}}}, "has to stay as it is"),
        ({"column_rules": {"messages": {"content__text": "hmac"}}}, "hmac_key: the rule hmac needs a secret key"),
        ({"column_rules": {"messages": {"content__text": "hmac"}}, "hmac_key": "short"}, "at least 16 characters"),
    ],
)
def test_a_rule_that_can_not_hold_is_refused_in_one_line(given: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve_options({"company_ids": [42], **given})
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["k" * 16, "k" * 64, "k" * 65, "clave ñ" * 40])
def test_the_hash_is_the_standard_one_for_keys_of_every_length(key: str) -> None:
    rules = {"messages": {"content__text": "hmac"}}
    with laboratory_at(PlainApi([a_message(1)]), column_rules=rules, hmac_key=key) as laboratory:
        laboratory.complete_run()
        expected = hmac.new(key.encode(), b"hola 1", hashlib.sha256).hexdigest()
        assert query(laboratory.database, "SELECT content__text FROM messages") == [(expected,)]
        assert key not in repr(laboratory.options())
