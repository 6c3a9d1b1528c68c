"""The promise: after any sequence of runs the tables hold what the API returns, and unchanged rows are left alone."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mindo_emulator import EmulatorSettings, World
from tests.mindo.conftest import MakeLaboratory
from tests.support import (
    COMPANIES,
    DAY,
    LISTS,
    NOW,
    START,
    TABLES,
    Laboratory,
    changed_keys,
    query,
    small_world,
    snapshot,
)

LATE = NOW - 2 * DAY
YESTERDAY = NOW - 1 * DAY


def ids(world: World, company: int, start: datetime, end: datetime) -> list[str]:
    return [message["message_id"] for message in world.truth(company, start, end)]


def test_first_run_holds_everything_and_a_second_one_writes_no_message_row(laboratory: Laboratory) -> None:
    laboratory.complete_run()
    laboratory.mirrors()
    before = snapshot(laboratory.database)
    assert all(before[table] for table in TABLES), "the world is too small to prove anything"
    laboratory.now += timedelta(minutes=1)
    laboratory.complete_run()
    assert snapshot(laboratory.database) == before


def test_export_time_alone_changes_nothing_and_is_right_where_a_row_was_written(
    open_laboratory: MakeLaboratory,
) -> None:
    settings = EmulatorSettings(clock=lambda: datetime(2026, 5, 1, 1, 2, 3, 456_789, tzinfo=UTC))
    laboratory = open_laboratory(small_world(60), settings)
    laboratory.complete_run()
    first = {(1_777_597_323_456_789,)}
    exported = "SELECT DISTINCT epoch_us(metadata__exported_at) FROM messages"
    assert set(query(laboratory.database, exported)) == first
    before = snapshot(laboratory.database)
    settings.clock = lambda: datetime(2026, 5, 2, 1, 2, 3, tzinfo=UTC)
    laboratory.complete_run()
    assert snapshot(laboratory.database) == before
    late = laboratory.world.add_message(42, LATE)
    laboratory.complete_run()
    assert query(laboratory.database, f"{exported} WHERE message_id = ?", late) == [(1_777_683_723_000_000,)]


def test_every_kind_of_change_in_one_night(laboratory: Laboratory) -> None:
    world = laboratory.world
    shared = ids(world, 42, NOW - 3 * DAY, NOW)
    edited, reclassified, grown, shrunk, emptied, deleted, moved, retraced, renamed = shared[:9]
    for message_id in (grown, shrunk, emptied):
        world.set_member(message_id, "tool_calls", [{"name": "a", "arguments": {}}, {"name": "b", "arguments": None}])
        world.set_member(message_id, "extractions", [{"field": "x", "value": 1}, {"field": "y", "value": "2"}])
    world.reclassify(reclassified, [{"label": "Intent", "value": "before"}, {"label": "Mood", "value": "calm"}])
    laboratory.complete_run()
    laboratory.mirrors()
    before = snapshot(laboratory.database)

    late = world.add_message(42, LATE, "tarde", classifications=[{"label": "Intent", "value": "late"}])
    world.edit_text(edited, "otro texto 🙂\n\t ")
    world.reclassify(reclassified, [{"label": "Mood", "value": "calm"}, {"label": "Intent", "value": "after"}])
    world.update(grown, lambda m: m["tool_calls"].append({"name": "c", "status": "ok", "arguments": {"z": [1, "1"]}}))
    world.update(shrunk, lambda m: (m["tool_calls"].pop(0), m["extractions"].pop()))
    world.update(emptied, lambda m: m.update(tool_calls=[], extractions=[], classifications=[]))
    world.delete(deleted)
    world.move(moved, LATE + timedelta(microseconds=1))
    world.set_member(retraced, "trace_id", "trace-1")
    world.set_member(renamed, "author.display_name", 'Ñandú \\ "O\'Brien"')
    laboratory.now += timedelta(hours=1)
    laboratory.complete_run()
    laboratory.mirrors()

    after = snapshot(laboratory.database)
    touched = {late, edited, reclassified, grown, shrunk, emptied, moved, retraced, renamed}
    assert changed_keys(before["messages"], after["messages"]) == {(42, message_id) for message_id in touched}
    for table in TABLES:
        assert {key[1] for key in changed_keys(before[table], after[table])} <= touched
        for key in before[table].keys() & after[table].keys():
            assert before[table][key]["_dlt_id"] == after[table][key]["_dlt_id"]
    changed_calls = changed_keys(before["messages__tool_calls"], after["messages__tool_calls"])
    assert (42, grown, 2) in changed_calls
    assert (42, grown, 0) not in changed_calls, "an unchanged item was written again"


def test_a_change_of_nothing_but_a_list_moves_the_load_id_of_its_message(loaded: Laboratory) -> None:
    world = loaded.world
    changed = dict(zip(LISTS, ids(world, 42, NOW - 3 * DAY, NOW), strict=False))
    before = snapshot(loaded.database)
    for name, message_id in changed.items():
        world.set_member(message_id, name, [{"label": "L", "name": "n", "field": "f", "value": "v"}])
    loaded.complete_run()
    loaded.mirrors()
    after = snapshot(loaded.database)
    assert changed_keys(before["messages"], after["messages"]) == {(42, message_id) for message_id in changed.values()}


def test_a_deleted_window_goes_and_every_other_window_and_company_stays(loaded: Laboratory) -> None:
    before = snapshot(loaded.database)
    world, day = loaded.world, datetime(2026, 4, 28, tzinfo=UTC)
    gone = ids(world, 42, day, day + DAY)
    assert gone, "there is nothing to delete"
    for message_id in gone:
        world.delete(message_id)
    loaded.complete_run()
    loaded.mirrors()
    after = snapshot(loaded.database)
    assert before["messages"].keys() - after["messages"].keys() == {(42, message_id) for message_id in gone}
    for table in TABLES:
        assert changed_keys(before[table], after[table]) == set()


def test_a_company_that_loses_all_its_messages_is_emptied(open_laboratory: MakeLaboratory) -> None:
    laboratory = open_laboratory(small_world(60, companies=[42, 57]))
    laboratory.given["company_ids"] = [42, 57]
    laboratory.complete_run()
    for message_id in ids(laboratory.world, 57, START, NOW):
        laboratory.world.delete(message_id)
    laboratory.complete_run(lookback_days=30)
    laboratory.mirrors(42, 57)
    assert query(laboratory.database, "SELECT DISTINCT company_id FROM messages") == [(42,)]


def test_empty_companies_and_empty_worlds_are_complete_too(open_laboratory: MakeLaboratory) -> None:
    laboratory = open_laboratory(World(companies=[42, 57]))
    laboratory.given["company_ids"] = [42, 57]
    assert len(laboratory.complete_run().complete) == 22
    laboratory.mirrors(42, 57)
    laboratory.world.add_message(57, LATE, tool_calls=[{"name": "n", "arguments": [1]}])
    laboratory.complete_run()
    laboratory.mirrors(42, 57)


def test_a_message_that_moves_out_of_reach_and_back_is_there_once(laboratory: Laboratory) -> None:
    world = laboratory.world
    moved = world.add_message(
        42, START + DAY / 2, tool_calls=[{"name": "a", "arguments": 1}, {"name": "b", "arguments": 2}]
    )
    laboratory.complete_run()
    world.move(moved, YESTERDAY)
    laboratory.complete_run()
    laboratory.mirrors(start=NOW - 3 * DAY)
    assert query(laboratory.database, "SELECT count(*) FROM messages WHERE message_id = ?", moved) == [(1,)]
    world.move(moved, START + DAY / 2)
    laboratory.complete_run()
    laboratory.mirrors(start=NOW - 3 * DAY)
    laboratory.complete_run(lookback_days=30)
    laboratory.mirrors()


def test_items_that_a_moved_message_left_behind_go_when_their_old_window_is_read(laboratory: Laboratory) -> None:
    world = laboratory.world
    calls = [{"name": "a", "arguments": 1}, {"name": "b", "arguments": 2}]
    moved = world.add_message(42, START + DAY / 2, tool_calls=calls)
    laboratory.complete_run()
    world.move(moved, YESTERDAY)
    world.set_member(moved, "tool_calls", calls[:1])
    laboratory.complete_run()
    # the window that the message left was not read again, and still holds the item that is gone
    laboratory.complete_run(from_date=START, to_date=START + DAY)
    laboratory.mirrors()


def test_the_same_id_in_two_companies_is_two_messages(open_laboratory: MakeLaboratory) -> None:
    laboratory = open_laboratory(World(companies=[42, 57]))
    laboratory.given["company_ids"] = [42, 57]
    for company in (42, 57):
        laboratory.world.add_message(
            company, LATE, f"de {company}", message_id="msg_same", classifications=[{"label": "a", "value": company}]
        )
    laboratory.complete_run()
    laboratory.mirrors(42, 57)
    laboratory.world.delete("msg_same", 42)
    laboratory.complete_run()
    laboratory.mirrors(42, 57)


def test_ids_of_rows_do_not_depend_on_the_warehouse(laboratory: Laboratory, first_load: Path) -> None:
    laboratory.complete_run(limit=50)
    first, second = snapshot(first_load), snapshot(laboratory.database)
    for table in TABLES:
        assert {key: (row["_dlt_id"], row["_row_hash"]) for key, row in first[table].items()} == {
            key: (row["_dlt_id"], row["_row_hash"]) for key, row in second[table].items()
        }


def test_any_sequence_of_changes_and_runs(loaded: Laboratory) -> None:
    rng = random.Random(1)
    world = loaded.world
    for night in range(3):
        before = snapshot(loaded.database)
        touched = {_change_something(world, rng, loaded.now - 3 * DAY, loaded.now, night) for _ in range(25)}
        loaded.now += timedelta(hours=rng.choice([1, 7, 20]))
        loaded.complete_run(lookback_days=4)
        # what is older than the lookback was not changed, so the tables have to be right as a whole
        loaded.mirrors()
        written = changed_keys(before["messages"], snapshot(loaded.database)["messages"])
        assert {message_id for _, message_id in written} <= touched
    assert query(loaded.database, "SELECT count(*) FROM _dlt_version") == [(1,)]


def _change_something(world: World, rng: random.Random, start: datetime, end: datetime, night: int) -> str:
    company = rng.choice(COMPANIES)
    moment = start + (end - start) * rng.random()
    found = ids(world, company, start, end)
    items = [{"label": f"L{n}", "value": rng.choice(["a", "12", "ñ", ""])} for n in range(rng.randrange(4))]
    match rng.randrange(7) if found else 0:
        case 0:
            return world.add_message(company, moment, f"nuevo {night}", classifications=items)
        case 1:
            world.edit_text(changed := rng.choice(found), rng.choice(["x", "", "\u0000", "12", None]))
        case 2:
            world.reclassify(changed := rng.choice(found), items)
        case 3:
            calls = [{"name": "n", "arguments": {"i": n}, "result": items} for n in range(rng.randrange(3))]
            world.set_member(changed := rng.choice(found), "tool_calls", calls)
        case 4:
            world.delete(changed := rng.choice(found))
        case 5:
            world.move(changed := rng.choice(found), moment)
        case _:
            values = [{"field": "f", "value": n} for n in rng.sample([1, "1", None, [1], {"a": 1.5}, True], 3)]
            world.set_member(changed := rng.choice(found), "extractions", values)
    return changed
