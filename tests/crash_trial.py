"""A warehouse that is loaded by a command which is killed again and again, and what has to hold once it was let through.

Used by the tests (`test_a_killed_run_loses_nothing`) and by `make torture`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Literal
from unittest import mock

from mindo_emulator import Emulator, World
from mindo_pipeline.cli import call
from tests.crashing import Ended, KillPoint, run_and_kill
from tests.mindo_pipeline.harness import DAY, midnight, settings
from tests.support import TABLES, assert_mirrors, changed_keys, query, snapshot

Command = Literal["run", "backfill"]

COMPANIES = (42, 57)
DAYS = 2
MESSAGES = 48
WAREHOUSE = Path("warehouse.duckdb")
_PIPELINES = Path(".dlt/.var/pipelines")
_TEMPORARY = Path("temporary")
_TRIES = 6


def make_trial_world(seed: int = 5, messages: int = MESSAGES) -> World:
    """Two companies, and two days that end at the last midnight."""
    end = midnight()
    return World.generate(
        seed=seed, companies=COMPANIES, start=end - DAYS * DAY, end=end, messages=messages, awkward=0.2
    )


@contextmanager
def trial_folder(folder: Path, emulator: Emulator[World]) -> Iterator[None]:
    """Makes a folder the current one, with a home and temporary folder of its own, and leads the command to the emulator."""
    before = Path.cwd()
    (folder / _TEMPORARY).mkdir(parents=True, exist_ok=True)
    environment = {
        **settings(emulator),
        "SOURCES__MINDO__COMPANY_IDS": ",".join(map(str, COMPANIES)),
        "SOURCES__MINDO__START_DATE": (midnight() - DAYS * DAY).isoformat(),
        "HOME": str(folder),
        "TMPDIR": str(folder / _TEMPORARY),
        "RUNTIME__LOG_LEVEL": "CRITICAL",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }
    with mock.patch.dict(os.environ, environment), mock.patch.object(tempfile, "tempdir", environment["TMPDIR"]):
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


@dataclass
class Trial:
    """One command over one warehouse, in the current folder.

    Attributes:
        emulator: What is read.
        command: `run`, or a `backfill` of the world's days.
        random: Decides how the world changes.
        limit: Messages per page; few, so that there is something between pages.
        load_messages: Messages per load; few, so that there is something between loads.
        seconds: How long the command takes if nobody kills it; about.
    """

    emulator: Emulator[World]
    command: Command
    random: Random
    limit: int = 5
    load_messages: int = 30
    seconds: float = 1.5
    start: datetime = field(default_factory=lambda: midnight() - DAYS * DAY)
    end: datetime = field(default_factory=midnight)
    _changes: int = 0

    @property
    def world(self) -> World:
        """What is served."""
        return self.emulator.world

    @property
    def arguments(self) -> list[str]:
        """The command line, always the same; the last run only, which has to find nothing new, makes one load of it."""
        return [*self._in_one_load, "--load-messages", str(self.load_messages)]

    @property
    def _in_one_load(self) -> list[str]:
        range_ = ["--from", self.start.isoformat(), "--to", self.end.isoformat()] if self.command == "backfill" else []
        return [self.command, *range_, "--limit", str(self.limit), "--json"]

    def change_world(self) -> None:
        """A late message, with a member that no message had; an edit, new classifications, a deletion and a move."""
        self._changes += 1
        company = self.random.choice(COMPANIES)
        ids = [message["message_id"] for message in self.world.messages(company)]
        edited, labelled, deleted, moved = self.random.sample(ids, 4)
        late = self.world.add_message(company, self._moment(), f"tarde {self._changes}")
        self.world.set_member(late, f"content.extra_{self._changes % 3}", self._changes, company)
        self.world.set_member(late, "tool_calls", [{"name": "buscar", "status": "ok", "arguments": {"n": 1}}], company)
        self.world.edit_text(edited, f"corregido {self._changes}", company)
        self.world.reclassify(labelled, [{"label": "Intent", "value": f"otra {self._changes}"}], company)
        self.world.delete(deleted, company)
        self.world.move(moved, self._moment(), company)

    def _moment(self) -> datetime:
        return self.start + self.random.random() * (self.end - self.start - timedelta(seconds=1))

    def kill_at(self, point: KillPoint) -> Ended:
        """Runs the command up to a point; whether it was reached is in the result."""
        return run_and_kill(call, self.arguments, at=point)

    def kill_at_random(self) -> float:
        """Kills the command at any moment and returns after how many seconds; one that had ended does not count."""
        seconds = self.seconds
        # of its own, so that how often it is tried changes nothing that is drawn later
        moments = Random(self.random.random())
        for _ in range(_TRIES):
            after = moments.uniform(0.02, seconds)
            if run_and_kill(call, self.arguments, after=after).killed:
                return after
            seconds *= 0.6
        raise AssertionError(f"the command ended by itself {_TRIES} times")

    def let_through(self) -> dict[str, Any]:
        """Runs the command to its end and returns its JSON object."""
        return _complete(*self.arguments)

    def assert_nothing_is_lost(self, watermarks: Mapping[str, datetime | None] | None = None) -> None:
        """Runs the same command again and compares the warehouse with the world; then once more, to see it write nothing.

        Args:
            watermarks: What they have to be after a backfill; a run's have to be at its own start.
        """
        again = self.let_through()
        assert_mirrors(WAREHOUSE, self.world, COMPANIES, self.start, self.end)
        self._assert_marks(again, watermarks)
        assert_nothing_twice()
        assert_nothing_left_behind()
        before = snapshot(WAREHOUSE)
        third = _complete(*self._in_one_load)
        assert third["messages_written"] == 0, "a further run wrote messages"
        after = snapshot(WAREHOUSE)
        for table in TABLES:
            assert changed_keys(before[table], after[table]) == set(), f"a further run wrote rows of {table}"
            assert before[table].keys() == after[table].keys(), f"a further run deleted rows of {table}"

    def _assert_marks(self, document: Mapping[str, Any], expected: Mapping[str, datetime | None] | None) -> None:
        marks = {company: _moment_of(text) for company, text in document["watermarks"].items()}
        assert marks.keys() == {str(company) for company in COMPANIES}
        if self.command == "backfill":
            assert marks == (expected or dict.fromkeys(marks)), "a backfill moved a watermark"
            return
        started = datetime.fromisoformat(document["started_at"])
        for mark in marks.values():
            assert mark is not None
            assert started - timedelta(minutes=5) <= mark <= started + timedelta(minutes=5), "the watermark is behind"


def watermarks() -> dict[str, datetime | None]:
    """The watermark of each company, as `mindo status` tells it."""
    rows = _complete("status", "--json")["companies"]
    return {str(row["company_id"]): _moment_of(row["watermark"]) for row in rows}


def _complete(*arguments: str) -> dict[str, Any]:
    """Lets the command through and returns its JSON object."""
    ended = run_and_kill(call, list(arguments))
    assert ended.code == 0, f"exit code {ended.code}: {ended.err}"
    document: dict[str, Any] = json.loads(ended.out)
    return document


def assert_nothing_twice() -> None:
    """No load, no state and no window of a run is noted twice, and no load is without its mark."""
    for table, key in {
        "_dlt_loads": "load_id",
        "_dlt_pipeline_state": "_dlt_load_id",
        "export_windows": "(run_id, company_id, window_start, window_end)",
        "companies": "company_id",
    }.items():
        (rows, keys) = query(WAREHOUSE, f"SELECT count(*), count(DISTINCT {key}) FROM {table}")[0]
        assert rows == keys, f"{table} holds {rows} rows for {keys} keys"
    for table in (*TABLES, "export_windows"):
        unmarked = query(
            WAREHOUSE, f"SELECT count(*) FROM {table} WHERE _dlt_load_id NOT IN (SELECT load_id FROM _dlt_loads)"
        )
        assert unmarked == [(0,)], f"{table} has rows of a load that never ended"


def assert_nothing_left_behind() -> None:
    """No page, no load package and no text in the staging dataset outlives the command."""
    for (table,) in query(
        WAREHOUSE, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'mindo_staging'"
    ):
        rows = query(WAREHOUSE, f"SELECT count(*) FROM mindo_staging.{table}")[0][0]
        assert rows == 0 or table.startswith("_dlt"), f"{rows} rows stay in staging table {table}"
    jobs = [path for path in _PIPELINES.rglob("*") if path.is_file() and path.parent.name.endswith("_jobs")]
    assert jobs == [], "files of a load package stay"
    assert list(_PIPELINES.rglob("*.parquet")) == []
    assert [path.name for path in _TEMPORARY.glob("mindo*")] == [], "temporary folders stay"
    assert not Path("warehouse.duckdb.tmp").exists()


def start_from(loaded: Path) -> None:
    """Puts a copy of a loaded warehouse into the current folder."""
    shutil.copy(loaded, WAREHOUSE)


def _moment_of(text: Any) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
