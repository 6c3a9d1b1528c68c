"""SIGKILL at sixty moments: the same command, run again without any other step, leaves the tables as the API has them.

`make torture` does the same a thousand times, with any point, moment, command and change.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from mindo_emulator import Emulator, World
from tests.crash_trial import WAREHOUSE, Command, Trial, make_trial_world, start_from, trial_folder, watermarks
from tests.crashing import POINTS, KillPoint
from tests.mindo_pipeline.harness import mindo

RUN, BACKFILL = "run", "backfill"
EMPTY, LOADED = "empty", "loaded"


@dataclass(frozen=True)
class Chain:
    """Kills of one command, one after the other, before it is let through.

    Attributes:
        command: What is killed, and then run again.
        warehouse: Whether it begins with an empty warehouse, or with one that holds an older world.
        points: Where it is killed; a point in brackets is `name[hit]`.
    """

    command: Command
    warehouse: Literal["empty", "loaded"]
    points: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.command}, {self.warehouse}: {'; '.join(self.points)}"


CHAINS = (
    Chain(RUN, EMPTY, ("in a page", "extracted, not committed", "first job moved")),
    Chain(BACKFILL, EMPTY, ("after a page arrived", "extracted, local state not saved", "merged, not noted")),
    Chain(RUN, LOADED, ("between pages", "normalized, still extracted", "local state half dropped")),
    Chain(BACKFILL, LOADED, ("between windows", "normalized, extract half removed", "before catching up")),
    Chain(RUN, EMPTY, ("in extract", "between tables", "before local state is dropped")),
    Chain(BACKFILL, EMPTY, ("extracted, before the state", "first job moved", "local state dropped")),
    Chain(RUN, LOADED, ("after extract", "before the tables are made", "windows half replaced")),
    Chain(BACKFILL, LOADED, ("in normalize", "tables made, not noted", "staged, not noted")),
    Chain(RUN, EMPTY, ("normalized, not committed", "after normalize", "package marked, not moved")),
    Chain(BACKFILL, EMPTY, ("normalized, still extracted", "between tables", "state fetched, not saved")),
    Chain(RUN, LOADED, ("before the first job", "windows replaced, not committed", "after catching up")),
    Chain(BACKFILL, LOADED, ("first job noted", "between staging and merge", "complete in the destination only")),
    Chain(RUN, EMPTY, ("before the state is written", "package moved, jobs still there", "between loads")),
    Chain(BACKFILL, EMPTY, ("between loads", "after the state is written", "after load")),
    Chain(
        RUN, LOADED, ("before the package is complete", "before the package is moved", "windows replaced, not noted")
    ),
    Chain(BACKFILL, LOADED, ("package marked, not moved", "after the state is written", "local state half dropped")),
    Chain(
        RUN,
        LOADED,
        ("complete in the destination only", "normalized, extract half removed", "before windows are replaced"),
    ),
)
RANDOM_KILLS = 3
RANDOM_CHAINS: tuple[tuple[Command, Literal["empty", "loaded"]], ...] = (
    (RUN, EMPTY),
    (BACKFILL, EMPTY),
    (RUN, LOADED),
)


@pytest.fixture(scope="module")
def loaded_trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse that holds the world as it was before any change."""
    folder = tmp_path_factory.mktemp("loaded-trial")
    with Emulator(make_trial_world()) as emulator, trial_folder(folder, emulator):
        assert mindo("run", "--quiet").code == 0
    return folder / WAREHOUSE


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Emulator[World]]:
    """The world, served, with the test's folder as the current one."""
    emulator = Emulator(make_trial_world()).start()
    with trial_folder(tmp_path, emulator):
        yield emulator
    threading.Thread(target=emulator.stop, daemon=True).start()


def test_the_suite_kills_sixty_times_and_at_every_point() -> None:
    named = list(chain.from_iterable(each.points for each in CHAINS))
    assert set(named) == set(POINTS)
    assert len(named) + RANDOM_KILLS * len(RANDOM_CHAINS) == 60


@pytest.mark.parametrize("kills", CHAINS, ids=str)
def test_killed_at_these_points_it_loses_nothing(
    served: Emulator[World], request: pytest.FixtureRequest, kills: Chain
) -> None:
    trial, marks = begin(served, request, kills.command, kills.warehouse)
    for name in kills.points:
        kill(trial, POINTS[name])
    change(trial)
    trial.assert_nothing_is_lost(marks)


@pytest.mark.parametrize(("command", "warehouse"), RANDOM_CHAINS)
def test_killed_at_any_moment_it_loses_nothing(
    served: Emulator[World], request: pytest.FixtureRequest, command: Command, warehouse: Literal["empty", "loaded"]
) -> None:
    trial, marks = begin(served, request, command, warehouse)
    moments = []
    for _ in range(RANDOM_KILLS):
        change(trial)
        moments.append(trial.kill_at_random())
    change(trial)
    try:
        trial.assert_nothing_is_lost(marks)
    except AssertionError as error:
        raise AssertionError(f"killed after {moments} s: {error}") from error


def test_a_warehouse_that_is_deleted_after_a_kill_is_loaded_anew(served: Emulator[World]) -> None:
    trial = Trial(served, RUN, Random(1))
    kill(trial, POINTS["between tables"].at(2))
    WAREHOUSE.unlink()
    trial.assert_nothing_is_lost()


def begin(
    served: Emulator[World], request: pytest.FixtureRequest, command: Command, warehouse: Literal["empty", "loaded"]
) -> tuple[Trial, dict[str, object] | None]:
    """A trial over a warehouse, and the watermarks that it has."""
    trial = Trial(served, command, Random(str(request.node.name)))
    if warehouse == EMPTY:
        return trial, None
    start_from(request.getfixturevalue("loaded_trial"))
    marks = watermarks()
    trial.change_world()
    return trial, marks


def kill(trial: Trial, point: KillPoint) -> None:
    """Kills the command there, after a change; if it never comes there, nothing was proven."""
    change(trial)
    ended = trial.kill_at(point)
    assert ended.killed, f"{point.name!r} was not reached: {ended.err}"


def change(trial: Trial) -> None:
    """Changes the world, where the command is bound to see it: a backfill goes on behind what it has read."""
    if trial.command == RUN:
        trial.change_world()
