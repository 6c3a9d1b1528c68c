"""The shrink guard: an answer that would take many messages away is refused, unless that is meant."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from shutil import copy

import dlt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindo import WindowShrunk, WindowsIncomplete, mindo_source
from mindo.shrink_guard import ShrinkGuard
from mindo_emulator import Emulator, World
from tests.mindo.conftest import MakeLaboratory
from tests.scripted_api import PlainApi, a_message, laboratory_at
from tests.support import DAY, NOW, START, Laboratory, query, snapshot

MINUTE = DAY / 1440
FULL = NOW.replace(hour=0) - DAY
"""A day of 100 messages within the lookback; the others have ten."""


def a_busy_day() -> World:
    world = World(companies=[42, 57])
    for company in (42, 57):
        for day in range(10):
            for number in range(10):
                world.add_message(company, START + day * DAY + number * MINUTE, f"{day} {number}")
    for number in range(10, 100):
        world.add_message(42, FULL + number * MINUTE, f"busy {number}", classifications=[{"label": "l", "value": "v"}])
    return world


@pytest.fixture(scope="module")
def busy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse after a run over that world; made once."""
    with chdir(tmp_path_factory.mktemp("busy")), Emulator(a_busy_day()) as emulator:
        laboratory = Laboratory(emulator)
        laboratory.complete_run(company_ids=[42, 57])
        return laboratory.database


@pytest.fixture
def busy(open_laboratory: MakeLaboratory, busy_file: Path) -> Laboratory:
    laboratory = open_laboratory(a_busy_day())
    laboratory.given["company_ids"] = [42, 57]
    copy(busy_file, laboratory.database)
    return laboratory


def delete(laboratory: Laboratory, count: int, company: int = 42) -> None:
    """Deletes messages of the busy day."""
    for message in list(laboratory.world.truth(company, FULL, FULL + DAY))[:count]:
        laboratory.world.delete(message["message_id"])


def test_a_window_that_comes_back_empty_stays_as_it_was_and_the_others_are_loaded(busy: Laboratory) -> None:
    before = snapshot(busy.database)
    delete(busy, 100)
    busy.world.add_message(57, FULL + 30 * MINUTE, "late")
    outcome = busy.run()
    assert [(read.window.company_id, read.window.start) for read in outcome.incomplete] == [(42, FULL)]
    error = outcome.incomplete[0].error
    assert isinstance(error, WindowShrunk)
    assert str(error) == (
        "it would lose 100 of the 100 messages that the warehouse holds of it (100 %); the guard allows 20 %"
    )
    assert snapshot(busy.database).keys() == before.keys()
    held = query(busy.database, "SELECT count(*) FROM messages WHERE company_id = 42 AND occurred_at >= ?", FULL)
    assert held == [(100,)]
    busy.mirrors(57)
    # it is asked for again by every run, until it is let through
    assert [read.window.start for read in busy.run().incomplete] == [FULL]
    busy.complete_run(accept_deletions=True)
    busy.mirrors(42, 57)
    busy.complete_run()


@pytest.mark.parametrize(
    ("lost", "changes", "is_refused"),
    [
        (49, {}, False),
        (50, {}, True),
        (49, {"shrink_guard_messages": 49}, True),
        (61, {"shrink_guard_percent": 60}, True),
        (100, {"shrink_guard_percent": 100}, False),
    ],
)
def test_the_thresholds_hold_to_the_message(
    busy: Laboratory, lost: int, changes: dict[str, object], is_refused: bool
) -> None:
    delete(busy, lost)
    outcome = busy.run(**changes)
    assert [read.window.start for read in outcome.incomplete] == ([FULL] if is_refused else [])
    if not is_refused:
        busy.mirrors(42, 57)


def test_new_ids_for_the_same_messages_are_a_loss_too(busy: Laboratory) -> None:
    delete(busy, 100)
    for number in range(100):
        busy.world.add_message(42, FULL + number * MINUTE, f"busy {number}")
    assert [read.window.start for read in busy.run().incomplete] == [FULL]


def test_messages_that_moved_into_another_window_of_the_run_are_not_lost(busy: Laboratory) -> None:
    for message in list(busy.world.truth(42, FULL, FULL + DAY))[:80]:
        busy.world.move(message["message_id"], FULL - DAY / 2)
    busy.complete_run()
    busy.mirrors(42, 57)


def test_only_what_a_filter_lets_through_is_counted(busy: Laboratory) -> None:
    directions = {m["direction"] for m in busy.world.truth(42, FULL, FULL + DAY)}
    assert directions == {"inbound"}
    delete(busy, 100)
    assert busy.run(direction="outgoing", from_date=FULL, to_date=FULL + DAY).incomplete == []
    assert len(busy.run(direction="incoming", from_date=FULL, to_date=FULL + DAY).incomplete) == 1
    assert len(busy.run(include="none", from_date=FULL, to_date=FULL + DAY).incomplete) == 1


@pytest.mark.parametrize("is_known", [True, False])
def test_of_an_agent_is_lost_only_what_is_known_to_be_its_own(is_known: bool) -> None:
    author = {"type": "agent", "id": "agt_" + "5" * 24, "display_name": None}
    agent = {"id": 5} if is_known else {"name": "Ana"}
    rows = [a_message(number, author=author, agent=agent, direction="outbound") for number in range(100)]
    api = PlainApi(rows)
    with laboratory_at(api) as laboratory:
        laboratory.complete_run()
        api.rows = api.rows[:1]
        outcome = laboratory.run(agent_ids="5", from_date=START, to_date=NOW)
        assert len(outcome.incomplete) == is_known
        assert query(laboratory.database, "SELECT count(*) FROM messages") == [(100,)]
        laboratory.complete_run(agent_ids="5", from_date=START, to_date=NOW, accept_deletions=True)
        assert query(laboratory.database, "SELECT count(*) FROM messages") == [(1 if is_known else 100,)]


def test_a_source_of_its_own_refuses_the_whole_load(busy: Laboratory) -> None:
    pipeline = dlt.pipeline("mindo", destination=dlt.destinations.duckdb("warehouse.duckdb"), dataset_name="mindo")
    pipeline.sync_destination()
    delete(busy, 100)
    before = snapshot(busy.database)
    with pytest.raises(Exception, match="it would lose 100 of the 100 messages") as caught:
        pipeline.run(mindo_source(options=busy.options()))
    assert isinstance(_root(caught.value), WindowsIncomplete)
    assert snapshot(busy.database) == before
    pipeline.run(mindo_source(options=busy.options(accept_deletions=True)))
    busy.mirrors(42, 57)


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 100), st.integers(1, 500))
def test_the_rule_is_more_than_the_share_and_at_least_the_number(
    kept: int, lost: int, percent: int, messages: int
) -> None:
    refused = ShrinkGuard(percent, messages).refuses(lost, kept + lost)
    assert refused == (lost >= messages and lost / max(1, kept + lost) > percent / 100)
