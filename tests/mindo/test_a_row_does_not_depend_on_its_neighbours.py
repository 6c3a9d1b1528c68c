"""How a page is read depends on everything in it; what becomes of a message depends on the message alone."""

from __future__ import annotations

import json
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindo import Selection, SpoolError, Window
from mindo.column_rules import ColumnRules
from mindo.columns import LISTS, MESSAGE, OBJECTS
from mindo.coverage import Forgotten
from mindo.engine import open_engine
from mindo.exceptions import PageBroken
from mindo.members import KnownMembers, UsualPage, look_for_members
from mindo.pages import prove_page
from mindo.reader import WindowRead
from mindo.shaping import Group, Shaper
from tests.scripted_api import PlainApi, a_message, laboratory_at
from tests.support import DAY, NOW, changed_keys, snapshot

START = NOW - 6 * DAY

VALUES = [
    1e22,
    1.10,
    -0.0,
    10**30,
    2**64,
    True,
    None,
    "",
    "null",
    " 1",
    "1e22",
    "a\nb",
    "\u0000",
    {"a": 1.0},
    [None, "x"],
]

NEIGHBOURS: dict[str, Any] = {
    "a list that is one item": {"classifications": {"label": "Intent", "value": 1e22}},
    "items that are no objects": {name: ["bare", 7, None, ["x"]] for name in LISTS},
    "objects that are no objects": dict.fromkeys(OBJECTS.keys() - {"metadata"}, "bare"),
    "names that differ in letter case": {"classifications": [{"label": 1, "Label": 2}]},
    "new members everywhere": {"new": 1, **{name: [{"new": 2}] for name in LISTS}, "author": {"new": 3}},
    "no lists": dict.fromkeys(LISTS),
}


def awkward_messages() -> list[dict[str, Any]]:
    messages = []
    for number, value in enumerate(VALUES):
        message = a_message(number)
        message["author"] = {**message["author"], "display_name": value}
        message["agent"] = {"id": 5, "name": value}
        message["classifications"] = [{"label": value, "value": value}, {"label": "x"}, {}]
        message["extractions"] = [{"field": value, "value": value, "more": {"deep": value}}]
        message["tool_calls"] = [{"name": value, "status": value, "arguments": value, "result": value, "cost": value}]
        messages.append(message)
    return messages


def test_no_neighbour_changes_a_row() -> None:
    messages = awkward_messages()
    with laboratory_at(PlainApi(messages)) as laboratory:
        laboratory.complete_run()
        before = snapshot(laboratory.database)
        for number, (title, members) in enumerate(NEIGHBOURS.items(), start=100):
            neighbour = a_message(number)
            author = members.get("author")
            if isinstance(author, dict):
                members = members | {"author": {**neighbour["author"], **author}}
            laboratory.server.rows = [*messages, neighbour | members]
            laboratory.complete_run()
            after = snapshot(laboratory.database)
            for table, rows in before.items():
                kept = {key: after[table][key] for key in rows}
                assert changed_keys(rows, kept) == set(), f"{title}: {table}"
                assert {key: row["_dlt_load_id"] for key, row in rows.items()} == {
                    key: row["_dlt_load_id"] for key, row in kept.items()
                }, f"{title}: {table}"


names = st.sampled_from(["label", "value", "id", "new", "Label", "", "a b", 'q"uote', "ñ", "x" * 70])
values = st.sampled_from([None, 1, "text", {"a": 1}, [1], []])
objects = st.dictionaries(names, values, max_size=4)
places = {name: st.one_of(objects, values) for name in OBJECTS}
places |= {name: st.one_of(st.lists(st.one_of(objects, values), max_size=3), values) for name in LISTS}
pages = st.lists(
    st.fixed_dictionaries({}, optional={**places, "trace_id": values, "new": values}), min_size=1, max_size=5
)


def names_in(messages: list[dict[str, Any]]) -> dict[str, set[str]]:
    found = {MESSAGE.name: {name for message in messages for name in message}}
    for name in (*OBJECTS, *LISTS):
        values = [message.get(name) for message in messages]
        items = [item for value in values if isinstance(value, list) for item in value] if name in LISTS else values
        found[name] = {member for item in items if isinstance(item, dict) for member in item}
    return found


def irregular_places(messages: list[dict[str, Any]]) -> set[str]:
    irregular = set()
    for name in (*OBJECTS, *LISTS):
        for value in (message.get(name) for message in messages):
            items = value if name in LISTS and isinstance(value, list) else [value] if name in OBJECTS else []
            if name in LISTS and not isinstance(value, list | None):
                irregular.add(name)
            if any(not isinstance(item, dict | None) for item in items):
                irregular.add(name)
    return irregular


@given(pages)
def test_the_quick_look_sees_what_the_thorough_one_sees(parts: list[dict[str, Any]]) -> None:
    messages = [{"message_id": "m", "occurred_at": "now", **part} for part in parts]
    with tempfile.TemporaryDirectory() as folder, open_engine(Path(folder)) as engine:
        page = Path(folder) / "page"
        page.write_text("".join(json.dumps(message) + "\n" for message in messages))
        thorough = look_for_members(page, 0, engine)
        assert {place: set(found) for place, found in thorough.names.items()} == names_in(messages)
        assert thorough.irregular == irregular_places(messages)

        known = KnownMembers()
        at_first = known.read(page)
        known.learn(thorough)
        later = known.read(page)
        can_be_told = all('"' not in name for found in thorough.names.values() for name in found)
        has_metadata = all(isinstance(message.get("metadata"), dict) for message in messages)
        assert (later is not None) == (can_be_told and has_metadata and not thorough.irregular)
        for quick in filter(None, (at_first, later)):
            assert not quick.members.irregular
            assert all(found - places.keys() <= quick.members.names[place] for place, found in thorough.names.items())


class NothingKnown(KnownMembers):
    """Never reads a page, so that every page gets the thorough proof."""

    def read(self, path: Path) -> UsualPage | None:
        return None


def proof(lines: bytes, known: KnownMembers, engine: duckdb.DuckDBPyConnection) -> tuple[Any, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page"
        path.write_bytes(lines)
        try:
            page = prove_page(path, Window(START, NOW, 42), engine, known)
        except PageBroken as error:
            return ("broken", str(error))
        return page.ids.to_pylist(), page.times.to_pylist(), page.bytes, page.next_cursor, page.newline_missing


SPLICES = [
    *(
        b"",
        b"\n",
        b"\r",
        b"}\n{",
        b"}{",
        b"},",
        b"{}",
        b'"',
        b"\\",
        b"\xff",
        b"\x00",
        b"0",
        b" ",
        b"T",
        b"Z",
        b"7",
        b"[",
        b"]",
    ),
    *(b'"message_id":"again",', b'"occurred_at":"2026-03-09T12:00",', b'"_error":1,', b"\\ud800", b"NaN"),
]
edits = st.lists(st.tuples(st.one_of(st.just(1), st.integers(0, 2_000)), st.integers(0, 3), st.sampled_from(SPLICES)))


@given(edits)
def test_the_quick_proof_takes_nothing_that_the_thorough_one_refuses(changes: list[tuple[int, int, bytes]]) -> None:
    messages = [a_message(number) | {"metadata": {"company_id": 42}, "trace_id": "é🙂"} for number in range(3)]
    body = "".join(json.dumps(message, ensure_ascii=False) + "\n" for message in messages).encode()
    known, nothing_known = KnownMembers(), NothingKnown()
    with tempfile.TemporaryDirectory() as folder, open_engine(Path(folder)) as engine:
        usual = proof(body, known, engine)
        assert usual == proof(body, nothing_known, engine)
        assert usual[0] == [message["message_id"] for message in messages]
        for place, removed, inserted in changes:
            place %= len(body)
            body = body[:place] + inserted + body[place + removed :]
        assert proof(body, known, engine) == proof(body, nothing_known, engine)


def test_of_a_name_given_twice_the_later_value_stays() -> None:
    twice = [
        ('"message_id":', '"message_id": "earlier", "message_id":'),
        ('"author": {', '"author": {"type": "earlier", '),
        ('"conversation_id":', '"conversation_id": "earlier", "conversation_id":'),
    ]
    text = json.dumps(a_message(1))
    assert all(usual in text for usual, _ in twice)
    for usual, given_twice in twice:
        rows = []
        for line in (text, text.replace(usual, given_twice, 1)):
            with tempfile.TemporaryDirectory() as folder, open_engine(Path(folder)) as engine:
                path, window, known = Path(folder) / "page", Window(START, NOW, 42), KnownMembers()
                path.write_text(text + "\n")
                prove_page(path, window, engine, known)
                path.write_text(line + "\n")
                read = WindowRead(window)
                read.complete([prove_page(path, window, engine, known)])
                shaper = Shaper(engine, Selection(), {}, str, "load", ColumnRules(), Forgotten())
                rows += [batch.tables["messages"].to_pylist() for _, batch in shaper.shape([Group([read])])]
                shaper.close()
        assert rows[0] == rows[1]


def test_the_first_values_give_a_column_its_type_however_long_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mindo.shaping.BATCH_ROWS", 1)
    window = Window(START, NOW, 42)
    slow = [a_message(number, new=number) for number in range(3_000)]
    quick = [a_message(number, new="text") for number in range(3_000, 3_001)]
    with tempfile.TemporaryDirectory() as folder, open_engine(Path(folder)) as engine:
        pages = []
        for number, messages in enumerate((slow, quick)):
            path = Path(folder) / f"page {number}"
            path.write_text("".join(json.dumps(message) + "\n" for message in messages))
            pages.append(prove_page(path, window, engine, KnownMembers()))
        read = WindowRead(window)
        read.complete(pages)
        shaper = Shaper(engine, Selection(), {}, str, "load", ColumnRules(), Forgotten())
        list(shaper.shape([Group([read])]))
        found = {(change.column, change.data_type) for change in shaper.changes}
        shaper.close()
    assert found == {("new", "bigint"), ("new__v_text", "text")}


def test_only_what_was_proven_is_shaped() -> None:
    window = Window(START, NOW, 42)
    lines = [json.dumps(a_message(number)).encode() + b"\n" for number in range(3)]
    with tempfile.TemporaryDirectory() as folder, open_engine(Path(folder)) as engine:
        path = Path(folder) / "page"
        path.write_bytes(b"".join(lines))
        read = WindowRead(window)
        read.complete([prove_page(path, window, engine, KnownMembers())])
        for content, is_proven in ((lines, True), (lines[:2], False), ([*lines, lines[0]], False)):
            path.write_bytes(b"".join(content))
            shaper = Shaper(engine, Selection(), {}, str, "load", ColumnRules(), Forgotten())
            with pytest.raises(SpoolError) if not is_proven else nullcontext():
                assert [batch.tables["messages"].num_rows for _, batch in shaper.shape([Group([read])])] == [3]
            shaper.close()


def test_only_what_was_proven_is_shaped_even_if_it_is_as_much() -> None:
    window = Window(START, NOW, 42)
    with tempfile.TemporaryDirectory() as folder, open_engine(Path(folder)) as engine:
        path = Path(folder) / "page"
        path.write_text(json.dumps(a_message(1)) + "\n")
        read = WindowRead(window)
        read.complete([prove_page(path, window, engine, KnownMembers())])
        path.write_text(json.dumps(a_message(2)) + "\n")
        shaper = Shaper(engine, Selection(), {}, str, "load", ColumnRules(), Forgotten())
        with pytest.raises(SpoolError):
            list(shaper.shape([Group([read])]))
        shaper.close()


def test_the_quick_look_takes_strict_json_only() -> None:
    known = KnownMembers()
    message = '{"message_id": "1", "occurred_at": "now", "metadata": {}, "trace_id": %s}'
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page"
        for text, is_strict in {
            message % 1 + "\n" + message % '"x"' + "\r\n": True,
            message % "NaN": False,
            message % "[1,]": False,
            message % "-Infinity": False,
            message % "01": False,
            message % '"\\ud800"': False,
            message % ("[" * 5_000 + "]" * 5_000): False,
        }.items():
            page.write_text(text)
            assert (known.read(page) is not None) == is_strict, text[:90]
