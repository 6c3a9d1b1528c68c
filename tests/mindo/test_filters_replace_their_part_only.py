"""Filters and includes: a run replaces what it asked for, and leaves everything else as it is."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from mindo_emulator import World
from tests.mindo.conftest import MakeLaboratory
from tests.support import (
    COMPANIES,
    DAY,
    EVERYTHING,
    LISTS,
    NOW,
    START,
    Laboratory,
    Message,
    assert_tables_hold,
    changed_keys,
    query,
    read_tables,
    small_world,
    snapshot,
)

PLATFORMS = {
    "whatsapp": {"META_WHATSAPP", "WHATSAPP_EVOLUTION", "MANYCHAT_WHATSAPP"},
    "instagram": {"INSTAGRAM", "MANYCHAT_INSTAGRAM"},
    "messenger": {"MESSENGER"},
}
DIRECTIONS = {"incoming": "inbound", "outgoing": "outbound"}
Key = tuple[int, str]


class Model:
    """What a warehouse has to hold after runs with filters, in plain words."""

    def __init__(self) -> None:
        self.messages: dict[Key, Message] = {}

    def run(
        self,
        world: World,
        channel: str = "all",
        direction: str = "all",
        agent_ids: tuple[int, ...] = (),
        include: tuple[str, ...] = EVERYTHING,
    ) -> set[Key]:
        """Does what a run of all history does; returns the keys of messages that are written."""

        def asked_for(message: Message) -> bool:
            return (
                (channel == "all" or message["channel"] in PLATFORMS[channel])
                and (direction == "all" or message["direction"] == DIRECTIONS[direction])
                and (not agent_ids or (message["agent"] or {}).get("id") in agent_ids)
            )

        answer = {}
        for company in COMPANIES:
            for message in world.truth(
                company, START, NOW, channel=channel, direction=direction, agent_ids=agent_ids or None, include=include
            ):
                key = (company, message["message_id"])
                kept = self.messages.get(key, {})
                left_out = {name: kept.get(name) for name in EVERYTHING if name not in include}
                answer[key] = message | left_out
        written = {key for key, message in answer.items() if self.messages.get(key) != message}
        stay = {key: message for key, message in self.messages.items() if not asked_for(message)}
        self.messages = stay | answer
        return written


def disturb(world: World, rng: random.Random) -> None:
    """Late, edited, reclassified, traced and deleted messages of every company, channel and direction."""
    for company in COMPANIES:
        for message in rng.sample(world.truth(company, START, NOW, include=EVERYTHING), 30):
            message_id = message["message_id"]
            match rng.randrange(7):
                case 0:
                    world.delete(message_id)
                case 1:
                    world.edit_text(message_id, f"editado {rng.random()}")
                case 2:
                    world.reclassify(message_id, [{"label": "x", "value": str(rng.random())}] * rng.randrange(3))
                case 3:
                    calls = [{"name": "n", "arguments": rng.random()}] * rng.randrange(3)
                    world.set_member(message_id, "tool_calls", calls)
                case 4:
                    world.set_member(message_id, "extractions", [{"field": "f", "value": rng.random()}])
                case 5:
                    world.set_member(message_id, "trace_id", f"trace-{rng.random()}")
                case _:
                    world.add_message(
                        company,
                        START + (NOW - START) * rng.random(),
                        channel=message["channel"],
                        direction=message["direction"],
                        author=message["author"],
                        agent=message["agent"],
                        classifications=[{"label": "a", "value": "b"}],
                        trace_id="late-trace",
                    )


STEPS: list[dict[str, Any]] = [
    {},
    {"channel": "whatsapp"},
    {"direction": "outgoing", "include": ("classifications", "extractions", "tool_calls")},
    {"agent_ids": (421,)},
    {"channel": "instagram", "direction": "incoming", "include": ("classifications", "extractions")},
    {"channel": "whatsapp", "agent_ids": (421, 571), "include": ("tool_calls",)},
    {"include": ("tool_calls", "trace_id")},
    {"include": ()},
    {},
]


@pytest.mark.parametrize(("first", "last"), [(0, 9), (6, 8)], ids=["everything first", "a part first"])
def test_any_sequence_of_filters_over_a_changing_world(laboratory: Laboratory, first: int, last: int) -> None:
    rng = random.Random(first)
    model = Model()
    agents = {message["agent"]["id"] for message in laboratory.world.messages() if message["agent"]}
    assert {421, 571} <= agents
    steps = STEPS[first:last]
    for step in steps:
        before = snapshot(laboratory.database) if laboratory.database.exists() else None
        written = model.run(laboratory.world, **step)
        include = step.get("include", EVERYTHING)
        given = {**step, "agent_ids": list(step.get("agent_ids", ())), "include": ",".join(include) or "none"}
        laboratory.complete_run(from_date=START, to_date=NOW, window_hours=744, **given)
        assert_tables_hold(
            read_tables(laboratory.database), model.messages.values(), COMPANIES, START, NOW, stamped=True
        )
        if before:
            after = snapshot(laboratory.database)
            assert changed_keys(before["messages"], after["messages"]) == written, f"after {step}"
        if step:
            disturb(laboratory.world, rng)
    if steps[-1] == {}:
        laboratory.mirrors()
    if first == 0:
        assert query(laboratory.database, "SELECT count(*) FROM _dlt_version") == [(1,)]


def test_each_selection_has_its_own_watermark(open_laboratory: MakeLaboratory) -> None:
    laboratory = open_laboratory(small_world(60, companies=[42]))
    laboratory.given["company_ids"] = [42]
    laboratory.complete_run(channel="whatsapp")
    assert laboratory.watermark(42) is None
    assert laboratory.watermark(42, channel="whatsapp") == NOW
    assert laboratory.watermark(42, channel="instagram") is None
    laboratory.complete_run()
    laboratory.mirrors(42)
    # what everything covers, each part of it covers
    assert laboratory.watermark(42, channel="instagram") == NOW
    laboratory.emulator.requests.clear()
    laboratory.now += timedelta(hours=1)
    laboratory.complete_run(channel="instagram")
    assert min(laboratory.asked())[0] == datetime.fromisoformat("2026-04-27T00:00:00Z")
    assert laboratory.watermark(42) == NOW


def test_an_agent_that_nobody_knows_removes_nothing(open_laboratory: MakeLaboratory) -> None:
    laboratory = open_laboratory(small_world(60, companies=[42]))
    laboratory.given["company_ids"] = [42]
    laboratory.complete_run()
    before = snapshot(laboratory.database)
    laboratory.complete_run(agent_ids=[999], from_date=START, to_date=NOW)
    assert snapshot(laboratory.database) == before


def test_an_agent_whose_messages_are_all_deleted_is_emptied(open_laboratory: MakeLaboratory) -> None:
    laboratory = open_laboratory(small_world(120, companies=[42]))
    laboratory.given["company_ids"] = [42]
    laboratory.complete_run()
    gone = laboratory.world.truth(42, agent_ids=[421])
    for message in gone:
        laboratory.world.delete(message["message_id"])
    laboratory.complete_run(agent_ids=[421], from_date=START, to_date=NOW)
    assert gone
    laboratory.mirrors(42)


def test_a_message_that_moved_while_its_trace_was_not_asked_for_has_it_again_after_a_full_run(
    open_laboratory: MakeLaboratory,
) -> None:
    laboratory = open_laboratory(small_world(60, companies=[42]))
    laboratory.given["company_ids"] = [42]
    moved = laboratory.world.add_message(42, START + DAY, trace_id="trace-1", tool_calls=[{"name": "n"}])
    laboratory.complete_run()
    laboratory.world.move(moved, NOW - DAY)
    laboratory.complete_run(include="classifications")
    kept = "SELECT m.message_id, count(t.name) FROM messages m LEFT JOIN messages__tool_calls t USING (message_id)"
    assert query(laboratory.database, f"{kept} WHERE m.message_id = ? GROUP BY 1", moved) == [(moved, 1)]
    laboratory.complete_run()
    laboratory.mirrors(42)


def test_lists_left_out_from_the_start_are_empty_tables_until_they_are_asked_for(
    open_laboratory: MakeLaboratory,
) -> None:
    laboratory = open_laboratory(small_world(60, companies=[42]))
    laboratory.given["company_ids"] = [42]
    laboratory.complete_run(include="none")
    tables = read_tables(laboratory.database)
    assert [len(tables[f"messages__{name}"].rows) for name in LISTS] == [0, 0, 0]
    laboratory.mirrors(42, include=())
    assert query(laboratory.database, "SELECT DISTINCT tool_calls FROM export_windows") == [(None,)]
    laboratory.complete_run()
    laboratory.mirrors(42)


@pytest.mark.parametrize("include", ["tool_calls", "tool_calls,trace_id", "extractions", "none"])
def test_what_was_never_asked_for_does_not_make_messages_look_changed(laboratory: Laboratory, include: str) -> None:
    laboratory.complete_run(include=include)
    before = snapshot(laboratory.database)
    laboratory.complete_run(include=include, from_date=START, to_date=NOW)
    assert snapshot(laboratory.database) == before
    laboratory.complete_run(from_date=START, to_date=NOW)
    laboratory.mirrors()
