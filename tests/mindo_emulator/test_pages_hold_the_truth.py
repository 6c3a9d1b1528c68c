"""Whatever the page size, order and writing of lines: all pages together are the truth, nothing twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

ALL = "classifications,extractions,tool_calls,trace_id"


@pytest.mark.parametrize("limit", [1, 7, 100, 10_000])
@pytest.mark.parametrize("companies", ["63", "42,57,63"])
def test_pages_of_any_size_add_up_to_the_truth(client, emulator, compare, limit, companies):
    window = {"start": "2026-04-08T00:00:00Z", "end": "2026-04-13T12:00:00Z"}
    rows = client.rows(company_id=companies, limit=limit, include=ALL, **window)
    ids = [int(part) for part in companies.split(",")]
    truth = emulator.world.truth(ids, *window.values(), include=ALL.split(","))
    assert truth
    compare(rows, truth)
    assert len(emulator.requests) == max(1, -(-len(truth) // limit))


def test_from_is_inclusive_and_to_is_exclusive(emulator, client):
    world = emulator.world
    edge = world.add_message(42, "2026-04-15T03:00:00", "borde")
    before = client.rows(end="2026-04-15T03:00:00Z")
    after = client.rows(start="2026-04-15T03:00:00Z")
    assert edge not in {row["message_id"] for row in before}
    assert edge in {row["message_id"] for row in after}
    assert len(before) + len(after) == len(world.truth(42))
    world.delete(edge)


def test_a_page_edge_may_cut_through_equal_times(emulator, client, compare):
    world = emulator.world
    added = [world.add_message(57, "2026-04-20T10:00:00.5", f"empate {n}") for n in range(9)]
    window = {"company_id": 57, "start": "2026-04-20T10:00:00.5Z", "end": "2026-04-20T10:00:00.500001Z"}
    rows = client.rows(limit=2, **window)
    assert sorted(row["message_id"] for row in rows) == sorted(added)
    for message_id in added:
        world.delete(message_id)


def test_rows_come_by_time_and_id(client):
    rows = client.rows(company_id="42,57,63", limit=50)
    keys = [(datetime.fromisoformat(row["occurred_at"]), row["message_id"]) for row in rows]
    assert keys == sorted(keys)


def test_a_shuffled_order_is_constant_and_complete(start_emulator, compare):
    emulator, client = start_emulator(order="shuffled")
    rows = client.rows(limit=37)
    compare(rows, emulator.world.truth(42))
    assert [row["message_id"] for row in rows] == [row["message_id"] for row in client.rows(limit=100)]
    assert [row["occurred_at"] for row in rows] != sorted(row["occurred_at"] for row in rows)


def test_changes_between_two_pages_neither_repeat_nor_hide_rows(client, emulator, new_world):
    world = emulator.world
    before = {row["message_id"] for row in world.truth(42)}
    pages = client.pages(limit=20)
    seen = [row["message_id"] for row in next(pages)]
    removed = world.delete(seen[3])
    late = world.add_message(42, "2026-04-01T00:00:00", "tarde")
    seen += [row["message_id"] for page in pages for row in page]
    assert len(seen) == len(set(seen))
    assert before <= set(seen)
    world.delete(late)
    world.add_message(42, removed["occurred_at"], members=removed, message_id=removed["message_id"])


def test_a_cursor_belongs_to_its_query(client):
    cursor = json.loads(client.get(limit=5).content.splitlines()[-1])["next_cursor"]
    assert client.get(limit=9, cursor=cursor).status_code == 200
    assert client.get(limit=5, cursor=cursor, channel="whatsapp").status_code == 400
    assert client.get(limit=5, cursor=cursor, company_id=57).status_code == 400
    assert client.get(limit=5, cursor=cursor[:-4] + "AAAA").status_code == 400


def test_a_cursor_may_expire(start_emulator):
    now = [datetime(2026, 5, 5, tzinfo=UTC)]
    _, client = start_emulator(cursor_ttl=60, expired_cursor_status=410, clock=lambda: now[0])
    cursor = json.loads(client.get(limit=5).content.splitlines()[-1])["next_cursor"]
    assert client.get(limit=5, cursor=cursor).status_code == 200
    now[0] += timedelta(seconds=61)
    assert client.get(limit=5, cursor=cursor).status_code == 410


def test_a_cursor_of_another_server_is_refused(client, start_emulator):
    cursor = json.loads(client.get(limit=5).content.splitlines()[-1])["next_cursor"]
    _, other = start_emulator()
    assert other.get(limit=5, cursor=cursor).status_code == 400


def test_lines_look_as_in_the_contract(client):
    answer = client.get(limit=3)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["transfer-encoding"] == "chunked"
    lines = answer.content.split(b"\n")
    assert lines.pop() == b""
    row = json.loads(lines[0])
    assert list(row) == [
        "message_id", "conversation_id", "occurred_at", "channel", "direction", "author", "agent", "content",
        "context", "metadata", "classifications",
    ]  # fmt: skip
    assert list(row["metadata"]) == ["client_id", "company_id", "exported_at", "schema_version"]
    assert row["metadata"]["exported_at"].endswith("Z")
    assert set(json.loads(lines[3])) == {"_truncated", "next_cursor"}


def test_exported_at_is_the_time_of_the_export(start_emulator):
    _, client = start_emulator(clock=lambda: datetime(2026, 5, 5, 18, 30, tzinfo=UTC))
    stamps = {row["metadata"]["exported_at"] for page in client.pages() for row in page}
    assert stamps == {"2026-05-05T18:30:00.000000Z"}


def test_lines_may_be_written_in_other_ways(start_emulator):
    emulator, client = start_emulator(trailing_newline=False, newline=b"\r\n", blank_lines_every=2)
    body = client.get(limit=5).content
    assert not body.endswith(b"\n")
    assert body.count(b"\r\n\r\n") == 2
    assert len(client.rows(limit=5)) == len(emulator.world.truth(42))


def test_gzip_is_for_clients_that_accept_it(start_emulator, compare):
    emulator, client = start_emulator(gzip=True)
    answer = client.get(company_id=63)
    assert answer.headers["content-encoding"] == "gzip"
    compare(client.rows(company_id=63), emulator.world.truth(63))
    raw, _ = client.raw(company_id=63)
    assert b"content-encoding" not in raw


def test_a_page_may_be_capped_below_the_limit(start_emulator):
    emulator, client = start_emulator(page_cap=10)
    assert {len(page) for page in client.pages(limit=5_000)} <= {10, len(emulator.world.truth(42)) % 10}
