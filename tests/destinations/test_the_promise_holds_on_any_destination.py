"""The promise, on each destination: after any sequence of runs the tables hold what the API returns."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from mindo_emulator import World
from tests.destinations.conftest import BUCKETS, DATABASES, PLACES, MakeLaboratory, PlaceLaboratory
from tests.support import DAY, NOW, START, TABLES, changed_keys, small_world

LATE = NOW - 2 * DAY
CALLS = [{"name": "a", "arguments": {"n": 1.0}}, {"name": "b", "arguments": None, "result": "texto"}]
TEXTS = [
    "",
    "NULL",
    "null",
    "12",
    '{"a": [1, "\\u0000"]}',
    "nul \0 nul",
    "'; DROP TABLE messages; --",
    "\\N\t\\\\ \"x\" 'y' `z` %s {table} :name $1 ?",
    "👩🏽‍💻 ñandú \u2028 \u202e \ufeff",
    "line\r\nline\rline\n",
    " blank at both ends ",
    "2026-01-01T00:00:00Z",
    "é" * 100_000,
]


def ids(world: World, company: int, start: Any = NOW - 3 * DAY, end: Any = NOW) -> list[str]:
    return [message["message_id"] for message in world.truth(company, start, end)]


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_every_kind_of_change_and_of_text_comes_out_right_and_nothing_else_is_written(
    open_laboratory: MakeLaboratory,
) -> None:
    laboratory = open_laboratory(small_world(100))
    laboratory.given["window_hours"] = 48
    world = laboratory.world
    edited, reclassified, grown, emptied, deleted, moved, retyped = ids(world, 42)[:7]
    for message_id in (grown, emptied, moved):
        world.set_member(message_id, "tool_calls", CALLS)
    for number, text in enumerate(TEXTS):
        _add_text(world, LATE + timedelta(seconds=number), text)
    distant = world.add_message(42, START + DAY / 2, tool_calls=CALLS, message_id="msg_distant")
    laboratory.complete_run()
    laboratory.mirrors()
    before = laboratory.snapshot()
    assert all(before[table] for table in TABLES), "the world is too small to prove anything"

    laboratory.now += timedelta(minutes=1)
    laboratory.complete_run()
    assert laboratory.snapshot() == before, "a run that found nothing new wrote something"

    late = world.add_message(42, LATE, "tarde", classifications=[{"label": "Intent", "value": "late"}])
    world.edit_text(edited, "otro texto 🙂\n\t ")
    world.reclassify(reclassified, [{"label": "Mood", "value": "calm"}, {"label": "Intent", "value": "after"}])
    world.update(grown, lambda m: m["tool_calls"].append({"name": "c", "status": "ok", "arguments": {"z": [1, "1"]}}))
    world.update(emptied, lambda m: m.update(tool_calls=[], extractions=[], classifications=[]))
    world.delete(deleted)
    world.move(moved, LATE + timedelta(microseconds=1))
    world.move(distant, LATE + timedelta(microseconds=2))
    # a position is a whole number until it is text, and then has a variant column
    world.set_member(retyped, "context.thread_position", "third")
    for message_id in (gone := ids(world, 57, NOW - 2 * DAY, NOW - DAY)):
        world.delete(message_id)
    assert gone, "there is no window to be emptied"
    laboratory.complete_run()
    laboratory.mirrors(start=NOW - 3 * DAY)
    touched = {late, edited, reclassified, grown, emptied, moved, distant, retyped}
    _only_wrote(laboratory, before, touched)
    laboratory.complete_run(from_date=START, to_date=laboratory.now)
    laboratory.mirrors()
    _only_wrote(laboratory, before, touched)


def _add_text(world: World, moment: datetime, text: str) -> None:
    message_id = world.add_message(
        42,
        moment,
        text,
        classifications=[{"label": text, "value": text}],
        extractions=[{"field": "f", "value": text}, {"field": "f", "value": {"inner": [text, 1.0, 2**70, None]}}],
        tool_calls=[{"name": "n", "arguments": {text[:50]: text, "f": [1e300, -0.0, True]}, "result": text}],
    )
    world.set_member(message_id, "author.display_name", text)


def _only_wrote(laboratory: PlaceLaboratory, before: dict[str, Any], touched: set[str]) -> None:
    after = laboratory.snapshot()
    assert changed_keys(before["messages"], after["messages"]) == {(42, message_id) for message_id in touched}
    for table in TABLES:
        assert {key[1] for key in changed_keys(before[table], after[table])} <= touched
        for key in before[table].keys() & after[table].keys():
            assert before[table][key]["_dlt_id"] == after[table][key]["_dlt_id"]


@pytest.mark.parametrize("place", [*DATABASES, "parquet in a folder"], indirect=True)
def test_filters_and_left_out_lists_replace_their_part_only(open_laboratory: MakeLaboratory) -> None:
    laboratory = open_laboratory(World(companies=[42, 57]))
    laboratory.given["company_ids"] = [42, 57]
    world = laboratory.world
    # the same ids in both companies, and a channel and a direction of each
    for company in (42, 57):
        for number, (channel, direction) in enumerate(
            [("META_WHATSAPP", "inbound"), ("META_WHATSAPP", "outbound"), ("INSTAGRAM", "inbound")]
        ):
            for kind in ("stays", "goes"):
                world.add_message(company, LATE + number * DAY / 4, f"{kind} {company}", message_id=f"msg_{kind}_{number}",
                                  channel=channel, direction=direction, tool_calls=CALLS)  # fmt: skip
    laboratory.complete_run()
    laboratory.mirrors(42, 57)
    before = laboratory.snapshot()
    for number in range(3):
        world.delete(f"msg_goes_{number}", 42)
        world.set_member(f"msg_stays_{number}", "tool_calls", CALLS[:1], 42)

    laboratory.complete_run(channel="instagram", include="classifications")
    after = laboratory.snapshot()
    assert before["messages"].keys() - after["messages"].keys() == {(42, "msg_goes_2")}
    assert {key[:2] for key in before["messages__tool_calls"].keys() - after["messages__tool_calls"].keys()} == {
        (42, "msg_goes_2")
    }
    laboratory.complete_run(channel="whatsapp", direction="outgoing")
    after = laboratory.snapshot()
    assert before["messages"].keys() - after["messages"].keys() == {(42, "msg_goes_1"), (42, "msg_goes_2")}
    assert (42, "msg_stays_1", 1) not in after["messages__tool_calls"]
    assert (42, "msg_stays_2", 1) in after["messages__tool_calls"], "a list that was not asked for lost a row"
    laboratory.complete_run()
    laboratory.mirrors(42, 57)


@pytest.mark.parametrize("place", BUCKETS, indirect=True)
def test_a_bucket_is_as_good_as_a_folder(open_laboratory: MakeLaboratory) -> None:
    laboratory = open_laboratory(World(companies=[42]))
    laboratory.given |= {"company_ids": [42], "window_hours": 744}
    world = laboratory.world
    edited, deleted = (world.add_message(42, LATE, text, tool_calls=CALLS) for text in "ab")
    laboratory.complete_run()
    world.edit_text(edited, "otro texto")
    world.delete(deleted)
    world.add_message(42, LATE, "tarde")
    laboratory.complete_run()
    laboratory.mirrors(42)
