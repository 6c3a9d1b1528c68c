"""Ten million messages start at once, count exactly, and page like any others."""

from __future__ import annotations

import time
from datetime import datetime
from itertools import pairwise

import pytest

from mindo_emulator import BulkWorld
from mindo_emulator.calendar import Calendar

START, END = "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z"
ALL = "classifications,extractions,tool_calls,trace_id"


@pytest.fixture(scope="module")
def bulk():
    return BulkWorld.generate(start=START, end=END, messages=9_001, seed=5)


@pytest.fixture
def bulk_client(start_emulator, bulk):
    return start_emulator(bulk)[1]


def test_ten_million_messages_start_at_once():
    started = time.monotonic()
    world = BulkWorld.generate(end=END, messages=10_000_000)
    assert time.monotonic() - started < 5
    assert world.count() == 10_000_000


def test_pages_hold_each_row_once(bulk_client, bulk, compare):
    rows = bulk_client.rows(company_id="42,57,63", limit=2_000, include=ALL)
    assert len(rows) == bulk.count() == 9_001
    compare(rows, rows)


def test_page_sizes_do_not_matter(bulk_client, compare):
    window = {"start": "2026-04-10T00:00:00Z", "end": "2026-04-10T16:00:00Z", "company_id": "57,63"}
    whole = bulk_client.rows(limit=10_000, **window)
    assert whole
    compare(bulk_client.rows(limit=1, **window), whole)
    compare(bulk_client.rows(limit=7, **window), whole)


def test_windows_add_up(bulk_client, bulk):
    edges = ["2026-04-01", "2026-04-07T13:00:00.000001", "2026-04-07T13:00:00.000002", "2026-04-20", "2026-05-01"]
    counts = [bulk.count(42, *pair) for pair in pairwise(edges)]
    assert sum(counts) == bulk.count(42)
    assert counts == [len(bulk_client.rows(start=a, end=b)) for a, b in pairwise(edges)]


@pytest.mark.parametrize("filters", [{"channel": "instagram"}, {"direction": "outgoing"}, {"agent_id": "421"}])
def test_filters_count_as_they_serve(bulk_client, bulk, filters):
    rows = bulk_client.rows(**filters)
    named = {"agent_ids" if name == "agent_id" else name: value for name, value in filters.items()}
    if "agent_ids" in named:
        named["agent_ids"] = [421]
    assert len(rows) == bulk.count(42, START, END, **named)
    assert 0 < len(rows) < bulk.count(42)


def test_conversations_belong_together(bulk_client):
    rows = bulk_client.rows()
    contacts: dict[str, set[str]] = {}
    for row in rows:
        if row["author"]["type"] == "contact":
            contacts.setdefault(row["conversation_id"], set()).add(row["author"]["id"])
    assert {len(found) for found in contacts.values()} == {1}
    ids = {row["message_id"] for row in rows}
    replies = [r["context"]["reply_to_message_id"] for r in rows if r["context"]["reply_to_message_id"]]
    assert sum(reply in ids for reply in replies) > 0.9 * len(replies)


def test_lines_look_like_those_of_a_world(bulk_client, client):
    small = client.rows(include=ALL)[0]
    large = bulk_client.rows(include=ALL)[0]
    assert list(small) == list(large)
    assert len(large["message_id"]) == 28
    assert large["occurred_at"] == "2026-04-01T00:00:00"


def test_it_is_served_by_time_only(bulk):
    from mindo_emulator.parameters import parse_query

    query = parse_query({"company_id": "42", "from": START, "to": END})
    with pytest.raises(ValueError, match="time only"):
        bulk.page(query, None, 10, "shuffled")


@pytest.mark.parametrize("rows", [1, 5, 1_000, 100_003])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (START, END),
        ("2026-04-01T13:27:01.5Z", "2026-04-03T01:00:00Z"),
        ("2026-04-01T10:00:00Z", "2026-04-01T10:05:00Z"),
    ],
)
def test_times_stay_within_bounds_and_never_fall(rows, start, end):
    first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    calendar = Calendar(first, last, rows, "America/Argentina/Buenos_Aires")
    times = [segment.midnight + moment for _, moment, segment in calendar.walk(0, rows)]
    assert len(times) == rows
    assert times == sorted(times)
    assert first.timestamp() * 1e6 <= times[0]
    assert times[-1] < last.timestamp() * 1e6
    for number in {0, rows // 3, rows - 1}:
        assert calendar.at(number) == times[number]
        assert times[calendar.find(times[number])] == times[number]
