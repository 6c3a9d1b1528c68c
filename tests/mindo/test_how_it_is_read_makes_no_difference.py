"""The same world read in any way: however many workers, however long the windows, however small the pages, the tables are equal.

Nine ways in which every pair of values meets once; all 27 with MINDO_TORTURE=1.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import chdir
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from pathlib import Path
from shutil import copy
from typing import Any

import pytest

from mindo_emulator import Emulator, EmulatorSettings, World
from tests.mindo.conftest import MakeLaboratory
from tests.support import NOW, THOROUGH, Laboratory, Row, Table, query, read_tables, small_world, snapshot

SINCE = NOW - timedelta(hours=52)
COMPANIES = [42, 57]
WORKERS, WINDOW_HOURS, LIMITS = (1, 4, 16), (1, 24, 744), (1, 7, 10_000)


@dataclass(frozen=True)
class Way:
    """A way to read a world."""

    workers: int
    window_hours: int
    limit: int

    @property
    def options(self) -> dict[str, Any]:
        """As options of a run."""
        return {"workers": self.workers, "window_hours": self.window_hours, "limit": self.limit}

    def __str__(self) -> str:
        return f"{self.workers}-workers-{self.window_hours}-hours-{self.limit}-rows"


USUAL = Way(4, 24, 10_000)
WAYS = [
    Way(WORKERS[i], WINDOW_HOURS[j], LIMITS[k])
    for i, j, k in product(range(3), repeat=3)
    # a Latin square: each value meets each other one once
    if THOROUGH or k == (i + j) % 3
]


def a_mixed_world() -> World:
    """Two companies and two days of messages: some on the edges of windows, in one moment, or of ever changing types."""
    world = small_world(64, companies=COMPANIES, start=SINCE, awkward=0.3)
    midnight = NOW.replace(hour=0)
    edges = [SINCE, midnight, midnight - timedelta(microseconds=1), NOW - timedelta(hours=1)]
    for number, moment in enumerate(edges + [midnight + timedelta(hours=1)] * 9):
        world.add_message(
            COMPANIES[number % 2],
            moment,
            f"borde {number}",
            message_id=f"msg_{number % 7:024x}{number // 7}",
            classifications=[{"label": "n", "value": number}] * (number % 3),
            tool_calls=[{"name": "n", "cost": [1, "1", 2.5, True][number % 4], f"only_{number % 3}": {}}]
            * (number % 4),
        )
    odd: list[Any] = [1, "1", 2.5, True, {"a": 1}, [None], None, 2**60]
    for number, message in enumerate(world.messages()):
        owner = message["metadata"]["company_id"]
        world.set_member(message["message_id"], "mood", odd[number % len(odd)], owner)
        if number % 3 == 0:
            world.set_member(message["message_id"], "context.seen", odd[number % 5], owner)
    return world


def settings() -> EmulatorSettings:
    return EmulatorSettings(order="shuffled", clock=lambda: NOW)


def prepare(laboratory: Laboratory) -> Laboratory:
    laboratory.given |= {"company_ids": COMPANIES, "start_date": SINCE}
    return laboratory


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse as read in the usual way, which holds what the world holds."""
    with chdir(tmp_path_factory.mktemp("usual")), Emulator(a_mixed_world(), settings()) as emulator:
        laboratory = prepare(Laboratory(emulator))
        laboratory.complete_run(**USUAL.options)
        laboratory.mirrors(*COMPANIES, start=SINCE)
        return laboratory.database


def without_load_id(rows: Iterable[Row]) -> list[str]:
    return sorted(repr(sorted((row | {"_dlt_load_id": ""}).items())) for row in rows)


def assert_same_tables(one: dict[str, Table], other: dict[str, Table]) -> None:
    assert one.keys() == other.keys()
    for table in one:
        assert list(one[table].types.items()) == list(other[table].types.items()), f"{table} has other columns"
        assert without_load_id(one[table].rows) == without_load_id(other[table].rows), f"{table} has other rows"


def totals(database: Path) -> list[tuple[Any, ...]]:
    """What the ledger says was read, by company."""
    return query(
        database,
        "SELECT company_id, min(window_start), max(window_end), sum(epoch_us(window_end) - epoch_us(window_start)),"
        " sum(messages), sum(classifications), sum(extractions), sum(tool_calls) FROM export_windows"
        " GROUP BY company_id ORDER BY company_id",
    )


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_tables_are_the_same_however_they_are_read(open_laboratory: MakeLaboratory, usual: Path, way: Way) -> None:
    laboratory = prepare(open_laboratory(a_mixed_world(), settings()))
    laboratory.complete_run(**way.options)
    assert_same_tables(read_tables(usual), read_tables(laboratory.database))
    assert totals(usual) == totals(laboratory.database)


def test_reading_again_in_another_way_writes_nothing(open_laboratory: MakeLaboratory, usual: Path) -> None:
    laboratory = prepare(open_laboratory(a_mixed_world(), settings()))
    copy(usual, laboratory.database)
    before = snapshot(usual)
    for way in WAYS if THOROUGH else (Way(1, 1, 7), Way(16, 744, 1), Way(4, 24, 10_000)):
        laboratory.now += timedelta(minutes=1)
        outcome = laboratory.complete_run(lookback_days=31, **way.options)
        assert sum(load.read.rows for load in outcome.complete) == len(before["messages"])
        assert snapshot(laboratory.database) == before, f"read as {way}, rows were written"
