"""The proof of pages: what a retry cures is cured, and of a window that can't be proven nothing is loaded."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import dlt
import pytest

from mindo import WindowsIncomplete, mindo_source, resolve_options
from mindo_emulator import GLOBAL_DEMO_KEY, World
from tests.mindo.conftest import MakeLaboratory
from tests.scripted_api import Asked, PlainApi, Reply, ScriptedApi, a_message, laboratory_at, ndjson, sentinel
from tests.support import DAY, NOW, START, Laboratory, assert_tables_hold, query, read_tables, snapshot

SECRET = "secreto"
FIRST = START + DAY
Api = Callable[[Asked], Reply | bytes]


def a_full_week() -> World:
    """One company with twelve messages in every two hours of each day, so three pages of five a day."""
    world = World(companies=[42])
    for hour in range(0, 9 * 24, 2):
        calls = [{"name": "t", "arguments": {"of": SECRET}}] if hour % 3 else []
        world.add_message(42, START + hour * timedelta(hours=1), f"{SECRET} {hour}", tool_calls=calls)
    return world


@pytest.fixture
def paged(open_laboratory: MakeLaboratory) -> Laboratory:
    laboratory = open_laboratory(a_full_week())
    laboratory.given |= {"company_ids": [42], "limit": 5, "confirm_windows": True}
    return laboratory


CURED: list[tuple[str, dict[str, Any]]] = [
    ("clean_end_early", {"at": 0.5}),
    ("clean_end_early", {"at": 0.0}),
    ("lost_sentinel", {}),
    ("server_error", {"status": 500}),
    ("server_error", {"status": 502}),
    ("server_error", {"status": 503, "retry_after": 0}),
    ("rate_limited", {"retry_after": 0}),
    ("rate_limited", {"retry_after": -5, "as_date": True}),
    ("rate_limited", {"retry_after": None}),
    ("rate_limited", {"retry_after": "mañana".encode().decode("latin-1")}),
    ("status", {"status": 408}),
    ("status", {"status": 425}),
    ("status", {"status": 599}),
    ("cut_chunked", {"at": 0.4}),
    ("cut_chunked", {"at": 0.0}),
    ("cut_length", {"at": 0.4}),
    ("cut_length", {"at": 0.99}),
    ("close_before", {}),
    ("close_delimited", {}),
    ("close_early", {"at": 0.5}),
    ("reset_before", {}),
    ("reset_in_body", {"at": 0.5}),
    ("half_line", {}),
    ("half_line", {"framing": "length"}),
    ("error_line", {"where": "start"}),
    ("error_line", {"where": "middle"}),
    ("error_line", {"where": "end"}),
    ("bad_json_line", {}),
    ("bad_utf8_line", {}),
    ("joined_lines", {}),
    ("foreign_line", {"line": "[1, 2]"}),
    ("foreign_line", {"line": "5"}),
    ("foreign_line", {"line": "null"}),
    ("foreign_line", {"line": "{}"}),
    ("foreign_line", {"line": '{"detail": "x"}'}),
    ("html_page", {}),
    ("sentinel_without_cursor", {}),
    ("misplaced_sentinel", {}),
    ("outside_window", {"seconds": 0.000001}),
    ("outside_window", {"seconds": -0.000001}),
    ("other_company", {}),
    ("expired_cursor", {"status": 410}),
    ("expired_cursor", {"status": 400}),
    ("repeated_cursor", {}),
    ("empty_page", {}),
    ("rows_repeated", {}),
    ("doubled_rows", {}),
    ("out_of_order", {}),
    ("crlf", {}),
    ("blank_lines", {}),
    ("no_trailing_newline", {}),
]


def test_what_passes_is_cured_wherever_it_strikes(paged: Laboratory) -> None:
    for number, (kind, options) in enumerate(CURED):
        day = START + (number % 9) * DAY
        # page 2 has rows, a sentinel and a cursor: every kind has something to spoil
        paged.emulator.faults.add(kind, covering=day, page=2, **options)
    outcome = paged.complete_run(max_attempts=12)
    assert [fault for fault in paged.emulator.faults.all() if fault.hits != 1] == []
    paged.mirrors(42)
    assert sum(load.read.retries for load in outcome.complete) >= 30
    ledger = query(paged.database, "SELECT sum(retries), sum(requests), sum(pages) FROM export_windows")
    assert ledger[0][0] == sum(load.read.retries for load in outcome.complete)
    assert ledger[0][1] == len(paged.emulator.requests)


def test_what_is_only_slow_or_large_is_read_at_once(paged: Laboratory) -> None:
    harmless: list[tuple[str, dict[str, Any]]] = [
        ("slow_start", {"seconds": 0.2}),
        ("slow_drip", {"pieces": 5, "pause": 0.05}),
        ("huge_line", {"size": 10_000_000}),
    ]
    for number, (kind, options) in enumerate(harmless):
        paged.emulator.faults.add(kind, covering=START + number * DAY, page=2, **options)
    outcome = paged.complete_run()
    assert [fault for fault in paged.emulator.faults.all() if fault.hits != 1] == []
    assert sum(load.read.retries for load in outcome.complete) == 0
    paged.mirrors(42)


NEVER_CURED = [
    [
        ("server_error", {"status": 503}),
        ("cut_chunked", {"at": 0.5}),
        ("cut_length", {"at": 0.5}),
        ("close_early", {"at": 0.5}),
        ("half_line", {}),
        ("error_line", {"where": "end", "message": SECRET}),
        ("bad_json_line", {}),
        ("html_page", {}),
    ],
    [
        ("repeated_cursor", {}),
        ("expired_cursor", {}),
        ("outside_window", {"seconds": -0.000001}),
        ("outside_window", {"seconds": 0.000001}),
        ("other_company", {"company_id": 57}),
        ("company_lost", {}),
        ("sentinel_without_cursor", {}),
        ("lost_sentinel", {}),
    ],
    [
        ("misplaced_sentinel", {}),
        ("clean_end_early", {"at": 0.5}),
        ("clean_end_early", {"at": 0.0}),
        ("bad_utf8_line", {}),
        ("hang", {}),
        ("hang", {"at": 0.5}),
        ("slow_drip", {"pieces": 60, "pause": 0.1}),
        ("key_revoked", {}),
    ],
]


@pytest.mark.parametrize("kinds", NEVER_CURED, ids=["in the bytes", "in the rows", "in the end"])
def test_of_a_window_that_stays_broken_nothing_is_loaded_and_all_others_are(
    paged: Laboratory, kinds: list[tuple[str, dict[str, Any]]]
) -> None:
    paged.given |= {"max_attempts": 2, "read_timeout_seconds": 0.5, "page_timeout_seconds": 1.5}
    for number, (kind, options) in enumerate(kinds):
        paged.emulator.faults.add(kind, covering=FIRST + number * DAY, page=2, times=None, **options)
    broken = [(FIRST + number * DAY, FIRST + (number + 1) * DAY) for number in range(len(kinds))]
    outcome = paged.run()
    assert [(read.window.start, read.window.end) for read in outcome.incomplete] == broken
    for read in outcome.incomplete:
        assert read.error is not None
        assert SECRET not in str(read.error)
        assert GLOBAL_DEMO_KEY not in str(read.error)
        assert "\n" not in str(read.error)
    # a row that belongs elsewhere came with a broken window and must not have slipped in
    assert_tables_hold(
        read_tables(paged.database),
        [m for m in paged.world.truth(42, include=["classifications", "extractions", "tool_calls", "trace_id"])
         if m["occurred_at"] < "2026-04-21" or m["occurred_at"] >= "2026-04-29"],
        [42, 57, 999],
        datetime.fromisoformat("1970-01-01T00:00:00Z"),
        datetime.fromisoformat("2100-01-01T00:00:00Z"),
        stamped=True,
    )  # fmt: skip
    assert paged.watermark(42) == FIRST
    paged.emulator.faults.clear()
    paged.complete_run()
    paged.mirrors(42)


def test_a_source_of_its_own_loads_everything_or_nothing(paged: Laboratory) -> None:
    destination = dlt.destinations.duckdb("warehouse.duckdb")
    pipeline = dlt.pipeline("mindo", destination=destination, dataset_name="mindo")
    pipeline.run(mindo_source(options=paged.options()))
    paged.mirrors(42)
    before = snapshot(paged.database)
    state = pipeline.state["sources"]
    paged.world.add_message(42, START + 8 * DAY, SECRET)
    paged.emulator.faults.add("bad_json_line", covering=START + 8 * DAY, page=2, times=None)
    with pytest.raises(Exception, match="could not be read completely") as caught:
        pipeline.run(mindo_source(options=paged.options(max_attempts=2)))
    chain = "".join(traceback.format_exception(caught.value, chain=True))
    assert WindowsIncomplete.__name__ in chain
    assert SECRET not in str(caught.value)
    assert GLOBAL_DEMO_KEY not in chain
    assert snapshot(paged.database) == before
    assert pipeline.state["sources"] == state
    assert not pipeline.has_pending_data
    paged.emulator.faults.clear()
    pipeline.run(mindo_source(options=paged.options()))
    paged.mirrors(42)


def test_a_key_that_is_revoked_on_the_way_leaves_what_is_whole(paged: Laboratory) -> None:
    paged.emulator.faults.add("key_revoked", covering=START + 5 * DAY, page=3, times=None)
    outcome = paged.run(workers=1)
    assert [read.window.start for read in outcome.incomplete] == [START + 5 * DAY]
    paged.mirrors(42, end=START + 5 * DAY)
    paged.mirrors(42, start=START + 6 * DAY)


def answers(*bodies: bytes | Reply) -> Api:
    """Gives the bodies one after the other, the last one for ever."""
    return lambda asked: bodies[min(asked.number, len(bodies) - 1)]


ROW = a_message(1)
LINE = json.dumps(ROW).encode()
BROKEN: dict[str, bytes | Reply] = {
    "cut within the last line": LINE + b"\n" + LINE[:-20] + b"\n",
    "an error line": ndjson(ROW, {"_error": {"code": "X", "message": SECRET}}),
    "an error line with an id": ndjson({**ROW, "_error": {"code": "X", "message": SECRET}}),
    "an error instead of rows": ndjson({"_error": {"code": "X", "message": SECRET}}),
    "JSON but not NDJSON": json.dumps([ROW]).encode(),
    "pretty JSON": json.dumps(ROW, indent=1).encode() + b"\n",
    "a JSON error with status 200": b'{"detail": "secreto"}\n',
    "HTML": b"<!DOCTYPE html><p>secreto</p>",
    "NaN": LINE[:-1] + b', "x": NaN}\n',
    "Infinity in an argument": LINE[:-1] + b', "x": {"y": -Infinity}}\n',
    "a comma too many": LINE[:-1] + b",}\n",
    "no id": ndjson({**ROW, "message_id": None}),
    "an empty id": ndjson({**ROW, "message_id": ""}),
    "no time": ndjson({**ROW, "occurred_at": None}),
    "no date": ndjson({**ROW, "occurred_at": "ayer"}),
    "for ever": ndjson({**ROW, "occurred_at": "infinity"}),
    "the dawn of time": ndjson({**ROW, "occurred_at": "epoch"}),
    "a number as time": ndjson({**ROW, "occurred_at": 1777118445}),
    "the day after": ndjson({**ROW, "occurred_at": "2026-04-30T03:00:00"}),
    "the hour 24": ndjson({**ROW, "occurred_at": "2026-04-30T24:00:00"}),
    "another zone, out of the window": ndjson({**ROW, "occurred_at": "2026-04-30T02:59:59-03:00"}),
    "another company": ndjson({**ROW, "metadata": {"company_id": 57}}),
    "another company as text": ndjson({**ROW, "metadata": {"company_id": "57"}}),
    "a sentinel without a cursor": ndjson(ROW, {"_truncated": True}),
    "a cursor that is no text": ndjson(ROW, sentinel(7)),
    "an empty cursor": ndjson(ROW, sentinel("")),
    "a sentinel in the middle": ndjson(sentinel("a"), ROW),
    "the same cursor for ever": ndjson(ROW, sentinel("a")),
    "neither length nor chunks": Reply(ndjson(ROW), framing="close"),
    "cut chunks": Reply(ndjson(ROW), sent=200),
    "a cut length": Reply(ndjson(ROW), framing="length", sent=200),
    "an unknown encoding": Reply(ndjson(ROW), headers={"Content-Encoding": "br"}),
    "no gzip": Reply(ndjson(ROW), headers={"Content-Encoding": "gzip"}),
    "nested beyond reason, with a name given twice": LINE[:-1]
    + b', "message_id": "x", "deep": '
    + b"[" * 100_000
    + b"]" * 100_000
    + b"}\n",
    "no content": Reply(b"", status=204),
    "a redirect": Reply(b"", status=302, headers={"Location": "http://127.0.0.1:9/"}),
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_answer_that_proves_nothing_makes_the_window_incomplete(what: str) -> None:
    with laboratory_at(ScriptedApi(answers(BROKEN[what])), max_attempts=2) as laboratory:
        outcome = read_only(laboratory)
        assert [read.window.end for read in outcome] == [NOW]
        assert outcome[0].error is not None, f"{what} was taken for a page"
        assert outcome[0].pages == []
        assert SECRET not in str(outcome[0].error)


def read_only(laboratory: Laboratory) -> list[Any]:
    """Reads the plan without loading it."""
    from mindo import Coverage, WindowReader, plan_run, resolve_companies
    from mindo.client import MindoClient

    options = laboratory.options()
    plan = plan_run(options, resolve_companies(options, MindoClient(options)), Coverage({}))
    with WindowReader(options, plan) as reader:
        return list(reader)


def test_a_last_line_without_an_end_is_asked_for_again() -> None:
    whole, cut = ndjson(ROW, a_message(2)), LINE
    with laboratory_at(ScriptedApi(answers(cut, whole))) as laboratory:
        laboratory.complete_run()
        # the cut one, the whole one, and the question whether there is more
        assert len(laboratory.server.requests) == 3
        assert_tables_hold(read_tables(laboratory.database), [ROW, a_message(2)], [42], START, NOW)
    with laboratory_at(ScriptedApi(answers(whole[:-1], cut)), max_attempts=1) as laboratory:
        assert read_only(laboratory)[0].error is not None


def test_a_shifted_page_edge_repeats_rows_and_the_later_line_wins() -> None:
    old, new = a_message(2), a_message(2, content={"type": "text", "text": "nuevo"}, channel="MESSENGER")
    odd = a_message(3, extra=[10**25, "\ud83d", {"a": 1.5}])

    def answer(asked: Asked) -> bytes:
        if "cursor" not in asked.params:
            return ndjson(a_message(1), old, odd, sentinel("next"))
        return ndjson(new, a_message(4), a_message(1))

    with laboratory_at(ScriptedApi(answer)) as laboratory:
        laboratory.complete_run()
        messages = [a_message(1), new, a_message(3, extra=[10**25, "\ufffd", {"a": 1.5}]), a_message(4)]
        assert_tables_hold(read_tables(laboratory.database), messages, [42], START, NOW)
        assert query(laboratory.database, "SELECT messages, pages FROM export_windows") == [(4, 2)]


def test_rows_that_repeat_may_hold_what_other_parsers_refuse() -> None:
    def repeated(line: bytes) -> Api:
        first, again = ndjson(line, a_message(2), sentinel("n")), ndjson(line)
        return lambda asked: again if "cursor" in asked.params else first

    beyond = LINE[:-1] + b', "x": {"n": 1e400}}'
    with laboratory_at(ScriptedApi(repeated(beyond))) as laboratory:
        assert [(read.error, read.rows) for read in read_only(laboratory)] == [(None, 2)]
    deep = LINE[:-1] + b', "x": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    with laboratory_at(ScriptedApi(repeated(deep)), max_attempts=2) as laboratory:
        # it may be refused, but it must not end the run
        assert len(read_only(laboratory)) == 1


def test_a_message_that_moves_between_two_windows_while_they_are_read() -> None:
    first, second = a_message(1, "2026-04-25T12:00:00"), a_message(1, "2026-04-26T12:00:00")
    calls = [{"name": "n", "arguments": 1}]
    state = {"asked": 0}

    def answer(asked: Asked) -> bytes:
        # the message moves once the first window was read
        state["asked"] += 1
        if asked.params["from"] <= first["occurred_at"] < asked.params["to"]:
            return ndjson({**first, "tool_calls": calls * 2}) if asked.number < 20 else b""
        if asked.params["from"] <= second["occurred_at"] < asked.params["to"]:
            return ndjson({**second, "tool_calls": calls})
        return b""

    with laboratory_at(ScriptedApi(answer), window_hours=24, workers=1) as laboratory:
        laboratory.complete_run()
        assert query(laboratory.database, "SELECT count(*), count(DISTINCT message_id) FROM messages") == [(1, 1)]
        laboratory.complete_run(lookback_days=30)
        moment = query(laboratory.database, "SELECT epoch_us(occurred_at) FROM messages")
        assert moment == [(1_777_204_800_000_000,)]


def test_a_cursor_is_followed_whatever_characters_it_has() -> None:
    rows = [a_message(number) for number in range(9)]
    api = PlainApi(rows, name_cursor=lambda place: f"{place}&limit=1#?%20+/=é\"'<>\\ \t{{}}")
    with laboratory_at(api, limit=2) as laboratory:
        laboratory.complete_run()
        assert_tables_hold(read_tables(laboratory.database), rows, [42], START, NOW)


def test_a_probe_that_drips_is_broken_off() -> None:
    import socket

    from mindo.client import MindoClient
    from mindo.exceptions import ApiError
    from mindo.windows import Window

    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        while True:
            connection, _ = listener.accept()
            connection.recv(65_536)
            with contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while True:
                    connection.sendall(b" ")
                    time.sleep(0.05)

    threading.Thread(target=drip, daemon=True).start()
    options = resolve_options(
        {
            "base_url": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "api_key": GLOBAL_DEMO_KEY,
            "company_ids": [42],
            "page_timeout_seconds": 0.3,
            "max_attempts": 2,
        }
    )
    with pytest.raises(ApiError, match="longer than page_timeout_seconds"):
        MindoClient(options).probe(Window(START, NOW, 42), {})


BAD_LINES = {
    "no JSON": b'{"message_id": "secreto", oops}',
    "no UTF-8": LINE[:-1] + b', "x": "secreto \xff"}',
    "NaN": LINE[:-1] + b', "x": NaN}',
    "a comma too many": LINE[:-1] + b",}",
    "cut": LINE[:-30],
    "an error": b'{"_error": {"code": "X", "message": "secreto"}}',
    "no object": b'"secreto"',
    "null": b"null",
    "no id": json.dumps({**ROW, "message_id": None}).encode(),
    "no time": json.dumps({**ROW, "occurred_at": "secreto"}).encode(),
    "elsewhere": json.dumps({**ROW, "occurred_at": "2020-01-01T00:00:00"}).encode(),
    "another company": json.dumps({**ROW, "metadata": {"company_id": 57}}).encode(),
    "a sentinel": json.dumps(sentinel("secreto")).encode(),
}


@pytest.mark.parametrize("what", BAD_LINES)
def test_a_bad_line_is_named_by_its_number_and_its_byte_and_never_quoted(what: str) -> None:
    before = [a_message(2), a_message(3)]
    body = ndjson(*before, BAD_LINES[what], a_message(4))
    where = f"(line 3, byte {len(ndjson(*before))})"
    with laboratory_at(ScriptedApi(answers(body)), max_attempts=1) as laboratory:
        error = str(read_only(laboratory)[0].error)
        assert where in error
        assert SECRET not in error


def test_a_connection_that_is_refused_names_every_window() -> None:
    with ScriptedApi(answers(b"")) as api:
        url = api.base_url
    laboratory = laboratory_of_nobody(url)
    for read in read_only(laboratory):
        assert f"{url} can't be reached" in str(read.error)


def laboratory_of_nobody(url: str) -> Laboratory:
    """A laboratory whose server has gone."""
    from types import SimpleNamespace

    laboratory = Laboratory(SimpleNamespace(base_url=url))
    laboratory.given |= {"company_ids": [42], "max_attempts": 2}
    return laboratory


RETRY_AFTER: dict[str, tuple[str | None, bool]] = {
    "seconds": ("0", True),
    "a date": ("Wed, 21 Oct 2015 07:28:00 GMT", True),
    "absent": (None, True),
    "empty": ("", True),
    "negative": ("-5", True),
    "words": ("soon", True),
    "ten days": ("864000", False),
    "beyond counting": ("9" * 400, False),
    "a date in a thousand years": ("Sun, 01 Jan 3026 00:00:00 GMT", False),
}


@pytest.mark.parametrize("what", RETRY_AFTER)
def test_retry_after_is_honoured_in_every_form_and_never_beyond_the_cap(what: str) -> None:
    header, is_cured = RETRY_AFTER[what]
    refusal = Reply(b"", 429, {} if header is None else {"Retry-After": header})
    with laboratory_at(ScriptedApi(answers(refusal, ndjson(ROW))), max_wait_seconds=2) as laboratory:
        read = read_only(laboratory)[0]
        assert (read.error is None) is is_cured
        if not is_cured:
            assert "max_wait_seconds (2)" in str(read.error)
            assert len(laboratory.server.requests) == 1
