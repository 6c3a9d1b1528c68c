"""Several runs may load one dataset at the same time, where the destination has locks; elsewhere the second one is told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

import psycopg2
import pytest

from mindo import Selection
from mindo_emulator import GLOBAL_DEMO_KEY, World
from mindo_pipeline.cli import call
from tests.crashing import POINTS, Ended, run_and_kill
from tests.destinations.conftest import MakeLaboratory, PlaceLaboratory
from tests.support import COMPANIES, DAY, NOW, START, TABLES, THOROUGH

ROUNDS = 5 if THOROUGH else 2
HALVES = ((START, NOW - 3 * DAY), (NOW - 3 * DAY, NOW))


@pytest.fixture
def laboratory(open_laboratory: MakeLaboratory, monkeypatch: pytest.MonkeyPatch) -> PlaceLaboratory:
    made = open_laboratory(World.generate(seed=3, companies=COMPANIES, start=START, end=NOW, messages=240, awkward=0.1))
    monkeypatch.setenv("SOURCES__MINDO__BASE_URL", made.server.base_url)
    monkeypatch.setenv("SOURCES__MINDO__API_KEY", GLOBAL_DEMO_KEY)
    return made


def run_at_once(commands: Sequence[Sequence[str]]) -> list[Ended]:
    """Runs commands at the same time, in a process each."""
    with ThreadPoolExecutor(len(commands)) as threads:
        return list(threads.map(lambda command: run_and_kill(call, command), commands))


def commands_of(laboratory: PlaceLaboratory) -> list[list[str]]:
    """A backfill for each company and half of the time."""
    return [
        ["backfill", "--destination", laboratory.place.destination, "--dataset", laboratory.dataset, "--companies", str(company),
         "--from", start.isoformat(), "--to", end.isoformat(), "--load-messages", "20", "--accept-deletions"]
        for company in COMPANIES for start, end in HALVES
    ]  # fmt: skip


def change(world: World, random: Random) -> None:
    """Something new, edited, moved and gone in every company, and a member that is new to all."""
    for company in COMPANIES:
        edited, moved, deleted = random.sample([m["message_id"] for m in world.messages(company)], 3)
        world.edit_text(edited, f"otra vez {random.random()}", company)
        world.set_member(edited, f"member_{random.randrange(100)}", random.random(), company)
        # within its half, so that one run sees where it went
        time = next(m["occurred_at"] for m in world.messages(company) if m["message_id"] == moved)
        start, end = next(half for half in HALVES if half[0].isoformat()[:19] <= time < half[1].isoformat()[:19])
        world.move(moved, start + (end - start) * random.random(), company)
        world.delete(deleted, company)
        world.add_message(company, START + (NOW - START) * random.random(), "tarde")


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_runs_of_other_companies_and_windows_may_load_at_once(laboratory: PlaceLaboratory) -> None:
    random = Random(7)
    for _ in range(ROUNDS):
        ends = run_at_once(commands_of(laboratory))
        assert [end.code for end in ends] == [0] * len(ends), "\n".join(end.err for end in ends)
        laboratory.mirrors()
        with (warehouse := laboratory.warehouse()).writing():
            covered = {company: warehouse.coverage.covered(company, Selection()) for company in COMPANIES}
        assert covered == {company: [(START, NOW)] for company in COMPANIES}, "a run forgot what another one had read"
        change(laboratory.world, random)
    with psycopg2.connect(laboratory.place.configuration()["DESTINATION__POSTGRES__CREDENTIALS"]) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE %s", (f"{laboratory.dataset}%",))
        assert cursor.fetchall() == [(laboratory.dataset,)]
        cursor.execute(
            "SELECT count(*) FROM pg_indexes WHERE schemaname = %s AND indexname ~ '__(key|time)$'",
            (laboratory.dataset,),
        )
        assert cursor.fetchall() == [(2 * len(TABLES),)], "a merge is slow without indexes"


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_a_second_run_on_a_file_is_told_so(laboratory: PlaceLaboratory) -> None:
    commands = [command for command in commands_of(laboratory) if HALVES[0][0].isoformat() in command]
    ends = run_at_once(commands)
    codes = {end.code for end in ends}
    assert 0 in codes
    assert codes <= {0, 5}
    for end in ends:
        if end.code:
            assert "another mindo run is writing to it" in end.err.splitlines()[-1]
    for command in commands:
        assert call(command) == 0
    laboratory.mirrors(end=HALVES[0][1])
    assert os.environ["SOURCES__MINDO__API_KEY"] not in "".join(end.out + end.err for end in ends)


def staging_datasets(laboratory: PlaceLaboratory) -> list[str]:
    with psycopg2.connect(laboratory.place.configuration()["DESTINATION__POSTGRES__CREDENTIALS"]) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE %s", (f"{laboratory.dataset}\\_staging\\_%",)
        )
        return [name for (name,) in cursor.fetchall()]


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_a_batch_beside_its_twin_and_after_a_killed_one_is_exact(laboratory: PlaceLaboratory) -> None:
    batch = [
        "batch", "--destination", laboratory.place.destination, "--dataset", laboratory.dataset, "--companies", "42",
        "--from", START.isoformat(), "--to", NOW.isoformat(), "--quiet",
    ]  # fmt: skip
    killed = run_and_kill(call, batch, at=POINTS["merged, not noted"])
    assert killed.killed, killed.err
    assert len(staging_datasets(laboratory)) == 1, "a killed batch has no folder from which the next one could go on"
    ends = run_at_once([batch, batch, batch])
    assert [end.code for end in ends] == [0, 0, 0], "\n".join(end.err for end in ends)
    assert staging_datasets(laboratory) == []
    laboratory.mirrors(42)
    before = laboratory.snapshot()
    assert call(batch) == 0
    assert laboratory.snapshot() == before


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_processes_without_a_lock_are_refused(laboratory: PlaceLaboratory, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--destination", laboratory.place.destination, "--dataset", laboratory.dataset]
    assert call(["backfill", *where, "--from", START.isoformat(), "--processes", "2"]) == 2
    assert "has no lock that would keep them apart; load it with one process." in capsys.readouterr().err
    with laboratory.warehouse().writing():
        batch = ["batch", *where, "--companies", "42", "--from", START.isoformat(), "--to", NOW.isoformat()]
        assert call(batch) == 5, "where nothing else keeps writers apart, the folder has to"
