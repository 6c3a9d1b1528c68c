"""The demo world is the same for the same seed, and holds what breaks loaders and what analysts look for."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from mindo_emulator import World
from mindo_emulator.corpus import AWKWARD_TEXTS

END = "2026-05-01T00:00:00Z"


@pytest.fixture(scope="module")
def world() -> World:
    return World.generate(end=END)


@pytest.fixture(scope="module")
def messages(world):
    return world.messages()


def test_same_seed_same_world(new_world):
    assert new_world(200).messages() == new_world(200).messages()
    assert new_world(200).messages() != new_world(200, seed=4).messages()


def test_the_default_has_8000_messages_of_three_companies_in_60_days(world, messages):
    assert len(messages) == 8_000
    assert list(world.companies) == [42, 57, 63]
    first, last = world.span
    assert datetime.fromisoformat("2026-03-02T00:00:00Z") <= first < last < datetime.fromisoformat(END)


@pytest.mark.parametrize("count", [0, 1, 2, 97])
def test_any_number_of_messages_is_exact(new_world, count):
    assert new_world(count).count() == count


def test_short_ranges_hold_their_messages(new_world):
    world = new_world(50, start="2026-04-03T02:00:00Z", end="2026-04-03T02:30:00Z")
    assert world.count(None, "2026-04-03T02:00:00Z", "2026-04-03T02:30:00Z") == 50


def test_ids_have_the_shapes_of_the_contract(messages):
    text = json.dumps(messages)
    for prefix in ("msg", "conv", "ctc", "agt", "op", "cmp"):
        assert re.search(rf'"{prefix}_[0-9a-f]{{24}}"', text), prefix
    assert len({message["message_id"] for message in messages}) == len(messages)


def test_times_print_as_isoformat_does(messages):
    pattern = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?")
    assert all(pattern.fullmatch(message["occurred_at"]) for message in messages)
    assert {len(message["occurred_at"]) for message in messages} == {19, 26}
    assert not any(message["occurred_at"].endswith(".000000") for message in messages)


def test_there_are_ties_and_messages_on_midnight(messages):
    times = Counter((m["metadata"]["company_id"], m["occurred_at"]) for m in messages)
    assert max(times.values()) >= 3
    assert sum(m["occurred_at"].endswith("T00:00:00") for m in messages) >= 10


def test_every_enumeration_is_used(messages):
    assert len({m["channel"] for m in messages}) == 6
    assert {m["author"]["type"] for m in messages} == {"contact", "agent", "operator", "system"}
    assert {m["content"]["type"] for m in messages} == {
        "text", "image", "audio", "video", "document", "location", "sticker", "template",
    }  # fmt: skip


def test_media_and_context_are_filled_sometimes(messages):
    assert all(bool(m["content"]["media_url"]) == bool(m["content"]["media_mime"]) for m in messages)
    assert any(m["content"]["media_url"] for m in messages)
    ids = {m["message_id"] for m in messages}
    replies = [m["context"]["reply_to_message_id"] for m in messages if m["context"]["reply_to_message_id"]]
    assert replies
    assert len(set(replies) & ids) > 0.9 * len(set(replies))
    assert {type(m["context"]["thread_position"]) for m in messages} == {int, type(None)}


def test_agent_and_trace_belong_to_messages_of_agents_only(messages):
    for message in messages:
        made_by_agent = message["author"]["type"] == "agent"
        assert bool(message["agent"]) == bool(message["trace_id"]) == made_by_agent
        assert (message["direction"] == "inbound") == (message["author"]["type"] == "contact")
        assert made_by_agent or not message["tool_calls"]


def test_lists_hold_values_of_every_json_type(messages):
    labels = {type(item["value"]) for m in messages for item in m["classifications"]}
    assert labels == {str, int, float, bool, type(None)}
    values = {type(item["value"]) for m in messages for item in m["extractions"]}
    assert values == {str, int, float, bool, type(None), list, dict}
    results = {type(item["result"]) for m in messages for item in m["tool_calls"]}
    assert results >= {str, list, dict, type(None)}
    assert len({name for m in messages for item in m["tool_calls"] for name in item["arguments"]}) > 30


def test_every_awkward_text_occurs(messages):
    assert set(AWKWARD_TEXTS) <= {message["content"]["text"] for message in messages}
    assert None in {message["content"]["text"] for message in messages}


def test_people_write_by_day(messages):
    hours = Counter(
        datetime.fromisoformat(m["occurred_at"] + "Z").astimezone(ZoneInfo("America/Argentina/Buenos_Aires")).hour
        for m in messages
        if m["metadata"]["company_id"] == 42
    )
    assert sum(hours[h] for h in range(9, 21)) > 5 * sum(hours[h] for h in range(0, 7))


def test_most_conversations_are_contained_and_some_are_handed_off(messages):
    authors = defaultdict(set)
    for message in messages:
        authors[message["conversation_id"]].add(message["author"]["type"])
    handed = sum("operator" in kinds for kinds in authors.values())
    assert 0.1 < handed / len(authors) < 0.4


def test_tools_fail_sometimes(messages):
    calls = [item for m in messages for item in m["tool_calls"]]
    failed = [item for item in calls if item["status"] == "error"]
    assert 0.02 < len(failed) / len(calls) < 0.12
    assert all(item["error"] and item["result"] is None for item in failed)


def test_one_tool_of_each_company_has_a_bad_week(world):
    for company in world.companies.values():
        failures = defaultdict(list)
        for message in world.messages(company.id):
            week = datetime.fromisoformat(message["occurred_at"]).isocalendar().week
            for item in message["tool_calls"]:
                failures[(item["name"], week)].append(item["status"] == "error")
        rates = [sum(failed) / len(failed) for failed in failures.values() if len(failed) > 8]
        assert max(rates) > 0.2


def test_a_conversation_runs_forward(messages):
    last: dict[str, str] = {}
    steps = 0
    for message in sorted(messages, key=lambda m: m["context"]["thread_position"] or 0):
        if message["context"]["thread_position"]:
            name = message["conversation_id"]
            assert last.get(name, "") <= message["occurred_at"][:19]
            last[name] = message["occurred_at"][:19]
            steps += 1
    assert steps > 1_000


def test_many_companies_can_be_asked_for(new_world):
    world = new_world(100, companies=20)
    assert len(world.companies) == 20
    assert len({company.name for company in world.companies.values()}) == 20
