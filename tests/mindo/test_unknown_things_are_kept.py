"""Members nobody declared, values of any type, names of any kind: everything lands in a column and nothing is lost."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta
from typing import Any

from tests.scripted_api import Asked, PlainApi, Reply, ScriptedApi, a_message, laboratory_at, ndjson
from tests.support import DAY, NOW, Laboratory, Message, assert_tables_hold, query, read_tables, same_json, snapshot

START = NOW - 6 * DAY


def holds(laboratory: Laboratory, messages: list[Message], **names: str) -> None:
    spelled = {name.replace("__", "."): column for name, column in names.items()}
    assert_tables_hold(read_tables(laboratory.database), messages, [42], START, NOW, names=spelled)


def with_members(message: Message, **members: Any) -> Message:
    """A copy in which objects are widened: `author={"x": 1}` adds to the author."""
    widened = {name: {**message[name], **more} if message.get(name) else more for name, more in members.items()}
    return {**message, **widened}


def test_new_members_become_columns_wherever_they_stand() -> None:
    new = {
        "whole": 7,
        "fraction": 0.25,
        "flag": False,
        "word": "2026-01-01",
        "nothing": None,
        "thing": {"a": {"b": [1, None]}},
        "things": [1, "1", {"x": None}],
    }
    empty = dict.fromkeys(new)
    full, bare, plain = a_message(1), a_message(2), a_message(3)
    for name in ("author", "agent", "content", "context", "metadata"):
        full = with_members(full, **{name: new})
        bare = with_members(bare, **{name: empty})
    full |= new | {name: [new, {}, new] for name in ("classifications", "extractions", "tool_calls")}
    bare |= empty | {name: [empty] for name in ("classifications", "extractions", "tool_calls")}
    messages = [full, bare, plain]
    with laboratory_at(PlainApi(messages)) as laboratory:
        outcome = laboratory.complete_run()
        holds(laboratory, messages)
        types = {table: content.types for table, content in read_tables(laboratory.database).items()}
        expected = {
            "whole": "BIGINT",
            "fraction": "DOUBLE",
            "flag": "BOOLEAN",
            "word": "VARCHAR",
            "thing": "JSON",
            "things": "JSON",
        }
        for prefix in ("", "author__", "agent__", "content__", "context__", "metadata__"):
            assert {name: types["messages"].get(prefix + name) for name in expected} == expected
            assert prefix + "nothing" not in types["messages"]
        assert {n: types["messages__tool_calls"][n] for n in expected} == expected
        assert {n: types["messages__classifications"][n] for n in expected} == expected
        assert {types["messages__extractions"][n] for n in expected} == {"VARCHAR"}
        assert ("messages", "author__flag", "bool", False) in [
            (c.table, c.column, c.data_type, c.is_variant) for c in outcome.changes
        ]
        assert laboratory.complete_run().changes == [], "a known column was reported again"


def test_values_that_change_their_type_from_night_to_night() -> None:
    nights: list[list[Any]] = [
        [1, 1.5, "text", True, {"a": 1}, [1], None],
        ["one", 2, 7, "true", "text", {"a": 1}, 5],
        [2.5, "x", {"b": None}, 0, 1, 1.5, 0.5],
        [2**63, 2**53 + 1, 12345678901234567890123, -1.0, -(2**64), "", 2**40],
        [None, None, None, None, None, None, None],
    ]
    messages = [a_message(number) for number in range(4)]
    for message in messages:
        message["tool_calls"] = [{"name": "n"}]
    api = PlainApi(messages)
    with laboratory_at(api) as laboratory:
        for night, values in enumerate(nights):
            api.rows = []
            for number, message in enumerate(messages):
                # a night's messages differ among themselves, too: some keep the value of the night before
                chosen = nights[max(0, night - number % 2)] if number < 3 else nights[0]
                odd = {f"m{place}": value for place, value in enumerate(chosen)}
                changed = with_members(message, author=odd, context={"thread_position": values[number]}) | odd
                changed["tool_calls"] = [{"name": values[number], **odd}, odd]
                changed["classifications"] = [{"label": values[2], "value": values[number]}]
                changed["extractions"] = [odd]
                changed["content"] = {"type": "text", "text": values[number], "media_url": values[3]}
                api.rows.append(changed)
            laboratory.complete_run()
            holds(laboratory, api.rows)


def test_numbers_keep_every_digit() -> None:
    numbers = [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64, -(2**63) - 1, 10**30, 0.1, -0.0, 1e-300, 1.5e300]
    messages = []
    for number, value in enumerate(numbers):
        message = with_members(a_message(number), author={"score": value}) | {"rank": value}
        message["tool_calls"] = [{"arguments": {"v": value}, "result": value, "cost": value}]
        message["extractions"] = [{"field": "f", "value": value}]
        message["classifications"] = [{"label": "f", "value": value}]
        messages.append(message)
    with laboratory_at(PlainApi(messages)) as laboratory:
        laboratory.complete_run()
        holds(laboratory, messages)


def test_names_that_collide_or_are_no_names() -> None:
    author = {"ID": 1, "displayName": "camel", "Display Name": "spaced", "_dlt_id": "own", "": "empty", "  ": "blank"}
    author |= {"q\"uote's": 1, "a.b/c~d": 2, "select": 3, "😀": 4, "ñ": 5, "x" * 200: 6, "$": 7, "\\": 8, "a\nb": 9}
    author |= {"a_b": 10, "aB": 11, "a-b": 12, "[0]": 13, "*": 14, "%s": 15, "{x}": 16, "null": 17, "1": 18, "_": 19}
    own = {"_dlt_id": "x", "_dlt_load_id": "y", "message_id": "z", "company_id": 9, "_row_hash": 1, "_window_end": 2}
    own |= {"_dlt_list_idx": 5, "_dlt_parent_id": "p", "Occurred_At": "never", "author__id": 1, "Name": "N", "item": 3}
    own |= {
        "": 1,
        "a.b": 2,
        "😀": 3,
        "select": 4,
        'x"y': 5,
        "x" * 200: 6,
        "window_no": 7,
        "list_idx": 8,
        "author_id": 9,
    }
    message = with_members(a_message(1), author=author, agent=own, metadata=own | {"company_id": 42})
    message |= {name: [own] for name in ("classifications", "extractions", "tool_calls")}
    top = {"_dlt_id": 1, "_row_hash": 2, "company_id": 3, "Message_Id": 4, "window_no": 5, "filename": 6, "path": 7}
    message |= top | {"": 8, "a.b": 9, "Channel": 10, "author__id": 11, "json": 12, "stored": 13, "load_id": 14}
    other = a_message(2)
    with laboratory_at(PlainApi([message, other])) as laboratory:
        laboratory.complete_run()
        tables = read_tables(laboratory.database)
        declared = {"message_id": message["message_id"], "company_id": 42}
        for name, extra in {"messages": [*author.values(), *own.values(), *own.values(), *top.values()]}.items():
            row = next(row for row in tables[name].rows if row["message_id"] == message["message_id"])
            assert {column: row[column] for column in declared} == declared
            assert row["channel"] == "META_WHATSAPP"
            assert row["author__id"] == message["author"]["id"]
            assert _missing(extra, row) == []
        for name in ("classifications", "extractions", "tool_calls"):
            (row,) = tables[f"messages__{name}"].rows
            assert {column: row[column] for column in declared} == declared
            assert (row["_dlt_list_idx"], row["_window_end"]) == (0, None)
            assert _missing(list(own.values()), row) == []
        plain = next(row for row in tables["messages"].rows if row["message_id"] == other["message_id"])
        assert plain["author__display_name"] is None
        before = snapshot(laboratory.database)
        laboratory.complete_run()
        assert snapshot(laboratory.database) == before


def _missing(values: list[Any], row: dict[str, Any]) -> list[Any]:
    """Values that no cell of a row holds, each cell counted once."""
    cells = [str(cell) for cell in row.values() if cell is not None]
    missing = []
    for value in values:
        if str(value) in cells:
            cells.remove(str(value))
        else:
            missing.append(value)
    return missing


def test_a_column_means_the_same_member_in_every_night() -> None:
    first = with_members(a_message(1), author={"nick": "lower"})
    api = PlainApi([first])
    with laboratory_at(api) as laboratory:
        laboratory.complete_run()
        api.rows = [first, with_members(a_message(2), author={"Nick": "upper"})]
        laboratory.complete_run()
        holders = "SELECT message_id FROM messages WHERE author__nick = ?"
        assert query(laboratory.database, holders, "lower") == [(first["message_id"],)]


def test_objects_and_lists_that_are_something_else() -> None:
    odd: list[Any] = ["text", 5, True, [1, {"a": None}], [], {}, None]
    messages = []
    for number, value in enumerate(odd):
        message = a_message(number)
        for name in ("author", "agent", "content", "context"):
            message[name] = value
        messages.append(message)
    lists: list[Any] = [{"label": "a", "value": "b"}, ["x", None, 3, {"label": "y"}], "text", 7, [None], [[]], [[1]]]
    for number, value in enumerate(lists, start=len(odd)):
        message = a_message(number)
        for name in ("classifications", "extractions", "tool_calls"):
            message[name] = value
        messages.append(message)
    with laboratory_at(PlainApi(messages)) as laboratory:
        laboratory.complete_run()
        holds(laboratory, messages)
        laboratory.complete_run()
        holds(laboratory, messages)


def test_missing_parts_are_empty() -> None:
    least = {"message_id": "m1", "occurred_at": "2026-04-25T12:00:00"}
    nulls = dict.fromkeys(a_message(), None) | {"message_id": "m2", "occurred_at": "2026-04-25T12:00:00"}
    rows = [(42, row["occurred_at"], json.dumps(row).encode()) for row in (least, nulls)]
    with laboratory_at(PlainApi(rows)) as laboratory:
        laboratory.complete_run()
        holds(laboratory, [{**row, "metadata": {"company_id": 42}} for row in (least, nulls)])


def test_values_that_no_list_of_values_names() -> None:
    messages = [
        a_message(1, channel="TELEGRAM", direction="sideways"),
        a_message(2, channel="", direction=""),
        a_message(3, channel=None, direction=None),
        a_message(4, author={"type": "robot", "id": "bot_1", "display_name": "R"}, trace_id="t"),
    ]
    with laboratory_at(PlainApi(messages)) as laboratory:
        laboratory.complete_run()
        holds(laboratory, messages)
        laboratory.server.rows = messages[3:]
        laboratory.complete_run()
        holds(laboratory, messages[3:])


TIMES = {
    "2026-04-25T12:30:45.123456": "2026-04-25T12:30:45.123456+00:00",
    "2026-04-25T12:30:45.123456Z": "2026-04-25T12:30:45.123456+00:00",
    "2026-04-25T12:30:45": "2026-04-25T12:30:45+00:00",
    "2026-04-25T12:30:45Z": "2026-04-25T12:30:45+00:00",
    "2026-04-25T12:30:45.1": "2026-04-25T12:30:45.100000+00:00",
    "2026-04-25T12:30:45.120Z": "2026-04-25T12:30:45.120000+00:00",
    "2026-04-25 12:30:45.000001": "2026-04-25T12:30:45.000001+00:00",
    "2026-04-25T12:30:45+00:00": "2026-04-25T12:30:45+00:00",
    "2026-04-25T12:30:45.123456-03:00": "2026-04-25T15:30:45.123456+00:00",
    "2026-04-25T12:30:45+05:30": "2026-04-25T07:00:45+00:00",
}


def test_times_are_utc_in_whatever_form_they_come() -> None:
    messages = [
        with_members(a_message(number, written), metadata={"exported_at": written})
        for number, written in enumerate(TIMES)
    ]
    with laboratory_at(PlainApi(messages)) as laboratory:
        laboratory.complete_run()
        holds(laboratory, messages)
        stored = query(
            laboratory.database, "SELECT message_id, epoch_us(occurred_at) FROM messages ORDER BY message_id"
        )
        epoch = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
        assert [moment for _, moment in stored] == [
            (datetime.fromisoformat(meant) - epoch) // timedelta(microseconds=1) for meant in TIMES.values()
        ]


ARGUMENTS = [
    '{"a": 1, "a": 2}',
    '{"n": -0.0, "e": 1E5, "big": 123456789012345678901234567890, "f": 0.1}',
    '{"": {"": ""}, "ключ": "\\u00e9\\u0000\\ud83d\\ude00", "q\\"": "\\\\\\/"}',
    "[" * 200 + "]" * 200,
    '{"_dlt_id": 1, "_dlt_parent_id": {"message_id": null}}',
    '"12"',
    '"{\\"a\\": 1}"',
    '""',
    "12",
    "true",
    "[]",
    "{}",
    '[null, [], {}, "", 0]',
]


def test_arguments_are_kept_as_json_whatever_they_are() -> None:
    rows = []
    for number, arguments in enumerate(ARGUMENTS):
        line = json.dumps(a_message(number, tool_calls=[{"name": "n", "arguments": "#", "result": "#", "note": "#"}]))
        line = line.replace('"#"', arguments)
        rows.append((42, "2026-04-25T12:00:00", line.encode()))
    with laboratory_at(PlainApi(rows)) as laboratory:
        laboratory.complete_run()
        found = query(laboratory.database, "SELECT arguments, result FROM messages__tool_calls ORDER BY message_id")
        for (stored, result), arguments in zip(found, ARGUMENTS, strict=True):
            assert same_json(json.loads(stored), json.loads(arguments)), arguments
            assert same_json(json.loads(result), json.loads(arguments)), arguments


def test_numbers_beyond_a_double_are_kept() -> None:
    line = json.dumps(a_message(1, tool_calls=[{"arguments": {"v": "#"}}], rank="#")).replace('"#"', "1e400")
    plain = json.dumps(a_message(2)).encode()
    with laboratory_at(PlainApi([(42, "2026-04-25T12:00:00", row) for row in (line.encode(), plain)])) as laboratory:
        laboratory.complete_run()
        ((stored,),) = query(laboratory.database, "SELECT arguments FROM messages__tool_calls")
        assert stored.replace(" ", "") == '{"v":1e400}'
        values = read_tables(laboratory.database)["messages"].rows
        assert [str(cell) for row in values for name, cell in row.items() if name.startswith("rank") and cell] == [
            "1e400"
        ]


def test_a_name_given_twice_keeps_one_of_its_values() -> None:
    row = json.dumps(a_message(1))
    doubled = {
        "top": row[:-1] + ', "channel": "MESSENGER"}',
        "item": row.replace('"tool_calls": []', '"tool_calls": [{"name": "a", "x": 1, "name": "b", "x": 2}]'),
        "object": row.replace('"author": {', '"author": {"nick": "first", "nick": "second", "type": "a", '),
    }
    rows = [
        (42, "2026-04-25T12:00:00", line.replace("0001", f"000{number}").encode())
        for number, line in enumerate(doubled.values(), start=1)
    ]
    with laboratory_at(PlainApi(rows)) as laboratory:
        laboratory.complete_run()
        messages = "SELECT channel, author__nick FROM messages ORDER BY message_id"
        (top, _), _, (_, nick) = query(laboratory.database, messages)
        (call,) = query(laboratory.database, "SELECT name, x FROM messages__tool_calls")
    assert top in ("META_WHATSAPP", "MESSENGER")
    assert nick in ("first", "second")
    assert call in (("a", 1), ("b", 2))


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    line = json.dumps(a_message(1, tool_calls=[{"arguments": {"t": "##"}}])).replace("hola 1", "x##y")
    with laboratory_at(PlainApi([(42, "2026-04-25T12:00:00", line.replace("##", "\\ud83d").encode())])) as laboratory:
        laboratory.complete_run()
        expected = json.loads(line.replace("##", "\ufffd"))
        holds(laboratory, [expected])


def test_texts_of_every_kind_byte_for_byte() -> None:
    texts = ["", " ", "\x00", "a\x00b", "\u2028\u2029\x85", "\ufeff", "\r\n\r", "\\u0041", "ñ" * 70_000, "null", "NaN"]
    texts += [
        '{"_error": {"code": "x"}}',
        '{"_truncated": true}',
        "2026-01-01",
        "1e5",
        "\x1f\x7f",
        "e\u0301",
        "\U0010ffff",
    ]
    messages = [
        with_members(
            a_message(number, classifications=[{"label": text, "value": text}], extractions=[{text[:50]: text}]),
            content={"text": text},
            author={"display_name": text},
        )
        | {"conversation_id": text[:100], "trace_id": text}
        for number, text in enumerate(texts)
    ]
    for message in messages:
        message["extractions"] = [{"field": message["content"]["text"], "value": message["content"]["text"]}]
        message["tool_calls"] = [{"name": message["content"]["text"], "arguments": {message["trace_id"]: 1}}]
    with laboratory_at(PlainApi(messages)) as laboratory:
        laboratory.complete_run()
        holds(laboratory, messages)


def test_a_text_of_ten_megabytes() -> None:
    messages = [a_message(1), with_members(a_message(2), content={"text": "añ\n" * 2_500_000}), a_message(3)]
    with laboratory_at(PlainApi(messages)) as laboratory:
        laboratory.complete_run()
        holds(laboratory, messages)


def _gzipped(_: Asked, reply: Reply) -> Reply:
    return Reply(gzip.compress(reply.body), headers={"Content-Encoding": "gzip"}, framing=reply.framing)


def _blank_lines(_: Asked, reply: Reply) -> Reply:
    return Reply(b"\n\n" + reply.body.replace(b"\n", b"\n \r\n\n") + b"\n\n", framing=reply.framing)


SPELLINGS: dict[str, dict[str, Any]] = {
    "content length": {"framing": "length"},
    "CRLF": {"end": b"\r\n"},
    "no last newline": {"trim": True},
    "no last newline, with length": {"trim": True, "framing": "length"},
    "blank lines": {"decorate": _blank_lines},
    "gzip": {"decorate": _gzipped},
    "gzip with length": {"decorate": _gzipped, "framing": "length"},
    "any order": {"order": lambda place: place * 7919 % 31},
    "strange cursors": {"name_cursor": lambda place: f"a b&c=d/+%ñ?#{place}😀"},
    "more in the sentinel": {"extra": {"total": 9, "message": "hay más", "_note": None}},
}


def test_servers_that_keep_the_contract_in_their_own_way() -> None:
    """Each company has a server of its own kind behind one address."""
    apis, messages = {}, []
    for company, given in enumerate(SPELLINGS.values(), start=42):
        rows = [a_message(number, f"2026-04-25T12:00:{number % 3:02}", company) for number in range(25)]
        apis[str(company)] = PlainApi(rows, **given)
        messages += rows
    with laboratory_at(ScriptedApi(lambda asked: apis[asked.params["company_id"]].answer(asked))) as laboratory:
        laboratory.given |= {"company_ids": sorted(map(int, apis)), "limit": 7}
        outcome = laboratory.complete_run()
        companies = {load.read.window.company_id for load in outcome.complete}
        assert_tables_hold(read_tables(laboratory.database), messages, companies, START, NOW)
        assert len(companies) == len(SPELLINGS)


def test_ndjson_helper_writes_what_it_says() -> None:
    assert ndjson({"a": 1}, b"x", end=b"\r\n") == b'{"a": 1}\r\nx\r\n'
