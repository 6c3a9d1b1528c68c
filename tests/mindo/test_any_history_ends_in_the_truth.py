"""The promise as a state machine: whatever the world, the clock, the API and the machine do, the tables hold the truth.

Hypothesis makes up programs of changes and runs, and after each run the warehouse is compared with a model: what the API
had for every window when that window was last read whole. A failing program is printed step by step.

A few histories by default; with MINDO_TORTURE=1 many and long ones, and a failing one is shrunk.

Not compared until it has been read again, as the README's limits say: a message that moved in time or whose channel or
direction changed, until its old and its new place were both read with everything in them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from mindo import Selection, Window
from mindo_emulator import Emulator, EmulatorSettings, World
from mindo_emulator.truth import visible, wanted
from mindo_pipeline.running import Outcome
from tests.crashing import POINTS, run_laboratory_and_kill
from tests.support import (
    DAY,
    EVERYTHING,
    NOW,
    OBJECTS,
    TABLES,
    THOROUGH,
    Laboratory,
    Message,
    Row,
    Silence,
    Table,
    assert_tables_hold,
    changed_keys,
    query,
    read_tables,
    same_json,
    union,
)

Key = tuple[int, str]
Range = tuple[datetime, datetime]
Truth = dict[int, list[Message]]

MIDNIGHT = NOW.replace(hour=0)
HOUR, MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)
EARLIEST, LATEST = MIDNIGHT - 9 * DAY, MIDNIGHT + 7 * DAY
EVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


# --- what is drawn -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How a run reads and loads."""

    workers: int = 4
    window_hours: int = 24
    limit: int = 10_000
    load_messages: int = 1_000_000

    @property
    def options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("workers", "window_hours", "limit", "load_messages")}


@dataclass(frozen=True)
class Part:
    """What a run asks for; by default everything."""

    channel: str = "all"
    direction: str = "all"
    include: tuple[str, ...] = EVERYTHING

    @property
    def options(self) -> dict[str, Any]:
        return {"channel": self.channel, "direction": self.direction, "include": ",".join(self.include) or "none"}

    @property
    def selection(self) -> Selection:
        return Selection.parse(**self.options)

    def holds(self, message: Message) -> bool:
        """Whether a run of this part replaces a stored message."""
        return wanted(moment_of(message), message, None, None, self.channel, None, self.direction)

    def contains(self, other: Part) -> bool:
        return (
            self.channel in ("all", other.channel)
            and self.direction in ("all", other.direction)
            and set(other.include) <= set(self.include)
        )


ALL = Part()
ways = st.builds(
    Way,
    workers=st.sampled_from([4, 1]),
    window_hours=st.sampled_from([24, 24, 744, 10]),
    limit=st.sampled_from([10_000, 2]),
    load_messages=st.sampled_from([1_000_000, 1_000_000, 12]),
)
filters = st.sampled_from(
    [
        Part("whatsapp"),
        Part(direction="outgoing"),
        Part("instagram", "incoming"),
        Part("messenger", include=("trace_id",)),
    ]
)
fewer_includes = st.sampled_from(
    [Part(include=EVERYTHING[:2]), Part(include=("tool_calls", "trace_id")), Part(include=())]
)
parts = filters | fewer_includes
moments = st.builds(
    lambda day, time: MIDNIGHT + day * DAY + time,
    st.integers(-9, 5),
    st.sampled_from([-MICROSECOND, timedelta(0), MICROSECOND, 3 * HOUR, 14 * HOUR, timedelta(hours=14, seconds=1)]),
)
late_moments = st.builds(
    lambda day, time: MIDNIGHT + day * DAY + time,
    st.integers(-3, 3),
    st.sampled_from([-MICROSECOND, timedelta(0), 2 * HOUR, 14 * HOUR]),
)
texts = st.sampled_from(
    [
        "hola",
        "",
        "12",
        "null",
        '{"a": 1}',
        "'); DROP TABLE messages; --",
        "{staging_table}",
        "%s ? $1",
        'ñ\u0000🙂\n"\\',
        None,
    ]
)
values = st.sampled_from([1, "1", 2.5, True, "2026-01-01", {"a": 1}, [1, None], 2**60, None])
classifications = st.lists(
    st.sampled_from(
        [{"label": "Intent", "value": "x"}, {"label": "Mood", "value": 3}, {"label": "Mood", "score": 0.5}]
    ),
    max_size=3,
)
tool_calls = st.lists(
    st.builds(lambda cost, arguments: {"name": "n", "cost": cost, "arguments": arguments}, values, values), max_size=3
)
extractions = st.lists(st.builds(lambda value: {"field": "f", "value": value}, values), max_size=3)
GONE = "gone"
"""Stands for no value at all."""

changes = st.fixed_dictionaries(
    {},
    optional={
        "content.text": texts,
        "author.display_name": texts,
        "trace_id": texts,
        "classifications": classifications,
        "extractions": extractions,
        "tool_calls": tool_calls,
        "mood": values | st.just(GONE),
        "author.mood": values | st.just(GONE),
        "context.thread_position": values,
        "agent": st.just(GONE),
        "agent.id": values,
    },
).filter(bool)
durations = st.sampled_from([DAY, 11 * HOUR, timedelta(minutes=1), timedelta(0), 2 * DAY])
channels = st.sampled_from(["META_WHATSAPP", "INSTAGRAM", "MESSENGER"])
directions = st.sampled_from(["inbound", "outbound"])

CURED: list[tuple[str, dict[str, Any]]] = [
    ("server_error", {"status": 503}),
    ("rate_limited", {"retry_after": 0}),
    ("cut_chunked", {"at": 0.4}),
    ("cut_length", {"at": 0.9}),
    ("reset_in_body", {"at": 0.5}),
    ("close_before", {}),
    ("half_line", {}),
    ("error_line", {"where": "end"}),
    ("bad_json_line", {}),
    ("outside_window", {"seconds": 0.000001}),
    ("other_company", {}),
    ("expired_cursor", {}),
    ("empty_page", {}),
    ("rows_repeated", {}),
    ("doubled_rows", {}),
    ("out_of_order", {}),
    ("no_trailing_newline", {}),
]
BROKEN = ["html_page", "server_error", "error_line", "close_before"]
"""Faults that leave no window whole, not even an empty one."""


# --- the model -----------------------------------------------------------------------------------------------------


class Model:
    """What the warehouse has to hold, in plain words.

    Attributes:
        held: Messages as they have to be stored.
        moving: Messages of which a part may be elsewhere, with the places that have to be read before they are compared.
        written: Messages that were written since the warehouse was last compared.
        reads: Which ranges increments and backfills read whole (`True`) or failed at (`False`), in order.
    """

    def __init__(self) -> None:
        self.held: dict[Key, Message] = {}
        self.moving: dict[Key, set[datetime]] = {}
        self.written: set[Key] = set()
        self.reads: list[tuple[int, Part, Range, bool]] = []

    def read(self, truth: Truth, company: int, start: datetime, end: datetime, part: Part) -> list[Message]:
        """Replaces a window by what the API had for it; returns that."""
        found = [
            visible(message, part.include)
            for message in truth[company]
            if wanted(moment_of(message), message, start, end, part.channel, None, part.direction)
        ]
        answer = {(company, message["message_id"]): message for message in found}
        for key, held in list(self.held.items()):
            if key[0] == company and start <= moment_of(held) < end and part.holds(held) and key not in answer:
                del self.held[key]
        for key, message in answer.items():
            kept = self.held.get(key, {})
            whole = message | {name: kept.get(name) for name in EVERYTHING if name not in part.include}
            if not same_json(without_nulls(whole), without_nulls(kept)):
                self.written.add(key)
            self.held[key] = whole
        if part == ALL:
            self._settle(company, start, end)
        return found

    def unsettle(self, key: Key, *places: datetime) -> None:
        """Notes that a message is not compared until these places, and where it is held, were read."""
        held = [moment_of(self.held[key])] if key in self.held else []
        self.moving.setdefault(key, set()).update([*places, *held])

    def gaps(self, company: int, part: Part, start: datetime, end: datetime) -> list[Range]:
        """What of [start, end) an increment of this part still has to read: a part counts as read where a wider one was."""
        left = [(start, end)]
        for wider in {read for _, read, _, _ in self.reads if read.contains(part)}:
            covered: list[Range] = []
            for owner, read, found, is_whole in self.reads:
                if owner == company and is_whole and read.contains(wider):
                    covered = union([*covered, found])
                elif owner == company and not is_whole and read == wider:
                    covered = without(covered, [found])
            left = without(left, covered)
        # what was tried in vain with this part is read again, whatever a wider one read before
        failed: list[Range] = []
        for owner, read, found, is_whole in self.reads:
            if owner == company and is_whole and read.contains(part):
                failed = without(failed, [found])
            elif owner == company and not is_whole and read == part:
                failed = union([*failed, found])
        return union([*left, *without([(start, end)], without([(start, end)], failed))])

    def _settle(self, company: int, start: datetime, end: datetime) -> None:
        for key, places in list(self.moving.items()):
            if key[0] == company:
                places.difference_update([place for place in places if start <= place < end])
                if not places:
                    del self.moving[key]


def moment_of(message: Message) -> datetime:
    moment = datetime.fromisoformat(message["occurred_at"])
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def without_nulls(message: Message) -> Message:
    """A message less the members that give no cell a value."""
    full = {name: value for name, value in message.items() if value is not None}
    for name in OBJECTS:
        if isinstance(full.get(name), dict):
            full[name] = {member: value for member, value in full[name].items() if value is not None}
            if not full[name]:
                del full[name]
    return full


def without(ranges: Iterable[Range], removed: Iterable[Range]) -> list[Range]:
    """What of sorted ranges is in none of the removed ones."""
    left = list(ranges)
    for start, end in removed:
        left = [
            piece
            for first, last in left
            for piece in ((first, min(last, start)), (max(first, end), last))
            if piece[0] < piece[1]
        ]
    return left


def by_company(windows: Iterable[Window]) -> dict[int, list[Range]]:
    found: dict[int, list[Range]] = {}
    for window in windows:
        found.setdefault(window.company_id, []).append((window.start, window.end))
    return {company: union(ranges) for company, ranges in found.items()}


class StopsAfter(Silence):
    """Ends a run like Ctrl-C does, behind a number of loads."""

    def __init__(self, loads: int) -> None:
        self.left = loads

    def windows_ended(self, complete: Any, incomplete: Any) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Read:
    """A row of the ledger: a window that a run read whole."""

    run_id: str
    window: Window
    part: Part
    counts: tuple[int | None, ...]
    ids_digest: str


LEDGER = (
    "SELECT run_id, window_start, window_end, company_id, channel, direction, include, messages, classifications,"
    " extractions, tool_calls, ids_digest, agent_ids FROM export_windows"
)


def read_ledger(database: Path) -> list[Read]:
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
    if ("mindo", "export_windows") not in tables:
        return []
    rows = query(database, LEDGER)
    assert {row[-1] for row in rows} <= {"all"}
    return [
        Read(
            run,
            Window(start, end, company),
            Part(channel, direction, tuple(filter(None, include.split(",")))),
            tuple(counts),
            digest,
        )
        for run, start, end, company, channel, direction, include, *counts, digest, _ in rows
    ]


# --- the machine ---------------------------------------------------------------------------------------------------


class AnyHistory(RuleBasedStateMachine):
    """A world that changes, a warehouse that follows it, and a model of what the warehouse has to hold."""

    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.folder_before = Path.cwd()
        self.folder = Path(tempfile.mkdtemp(prefix="history-", dir=self.folder_before))
        os.chdir(self.folder)
        self.world = World.generate(
            seed=3, companies=[42, 57, 63], start=EARLIEST, end=NOW + 2 * DAY, messages=36, awkward=0.1
        )
        self.emulator = Emulator(self.world, EmulatorSettings(order="shuffled")).start()
        self.laboratory = Laboratory(self.emulator)
        self.laboratory.given["confirm_windows"] = True
        self.spool = self.folder / "spool"
        self.given = self.laboratory.given
        self.given |= {"company_ids": [42], "start_date": MIDNIGHT - 4 * DAY, "spool_dir": str(self.spool)}
        self.model = Model()
        self.killed_at: Truth | None = None
        self.ledger: set[Read] = set()
        self.reads_of_this_run: list[Read] = []
        self.parts = {ALL}
        self.marks: dict[tuple[int, Part], datetime] = {}
        self.rows_before: dict[str, dict[Any, Row]] = {table: {} for table in TABLES}
        self.moving_before: set[Key] = set()
        self.is_to_compare = False

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self._everything_is_read_at_last()
        finally:
            self.emulator.stop()
            os.chdir(self.folder_before)
            shutil.rmtree(self.folder)

    @property
    def now(self) -> datetime:
        return self.laboratory.now

    # --- the world -------------------------------------------------------------------------------------------------

    @initialize(target=messages)
    def begin(self) -> Any:
        return multiple(*[(m["metadata"]["company_id"], m["message_id"]) for m in self.world.messages()])

    @rule(
        target=messages,
        company=st.sampled_from([42, 42, 57, 63]),
        moment=moments,
        text=texts,
        channel=channels,
        direction=directions,
        calls=tool_calls,
        found=extractions,
    )
    def add(
        self, company: int, moment: datetime, text: Any, channel: str, direction: str, calls: Any, found: Any
    ) -> Key:
        name = self.world.add_message(
            company, moment, text, channel=channel, direction=direction, tool_calls=calls, extractions=found
        )
        return company, name

    @rule(message=messages, to=changes)
    def change(self, message: Key, to: dict[str, Any]) -> None:
        if found := self._found(message):
            for member, value in to.items():
                *way, last = member.split(".")
                if value is not GONE:
                    self.world.set_member(message[1], member, value, message[0])
                elif last in ((found[way[0]] or {}) if way else found):
                    self.world.remove_member(message[1], member, message[0])

    @rule(message=messages, channel=channels, direction=directions)
    def readdress(self, message: Key, channel: str, direction: str) -> None:
        if found := self._found(message):
            self.world.set_member(message[1], "channel", channel, message[0])
            self.world.set_member(message[1], "direction", direction, message[0])
            self.model.unsettle(message, moment_of(found))

    @rule(message=messages, moment=late_moments)
    def move(self, message: Key, moment: datetime) -> None:
        if found := self._found(message):
            self.world.move(message[1], moment, message[0])
            self.model.unsettle(message, moment, moment_of(found))

    @rule(message=consumes(messages))
    def delete(self, message: Key) -> None:
        if self._found(message):
            self.world.delete(message[1], message[0])

    @rule(company=st.sampled_from([42, 57]), day=st.integers(-4, 2))
    def delete_a_day(self, company: int, day: int) -> None:
        start = MIDNIGHT + day * DAY
        for message in self.world.truth(company, start, start + DAY):
            self.world.delete(message["message_id"], company)

    def _found(self, message: Key) -> Message | None:
        """A message, if it is still there."""
        return next((m for m in self.world.messages(message[0]) if m["message_id"] == message[1]), None)

    # --- time and configuration ------------------------------------------------------------------------------------

    @rule(after=durations)
    def time_passes(self, after: timedelta) -> None:
        self._wait(after)

    def _wait(self, after: timedelta) -> None:
        self.laboratory.now = min(self.now + after, LATEST)

    @rule(
        lookback_days=st.sampled_from([3, 0, 0.5, 1, 10]),
        earlier=st.sampled_from([0, 0, 1, 2.25]),
        companies=st.sampled_from([(42,), (42, 57), (42, 57, 63)]),
    )
    def configure(self, lookback_days: float, earlier: float, companies: tuple[int, ...]) -> None:
        self.given["lookback_days"] = lookback_days
        self.given["start_date"] = max(EARLIEST, self.given["start_date"] - earlier * DAY)
        self.given["company_ids"] = sorted({*self.given["company_ids"], *companies})

    # --- runs ------------------------------------------------------------------------------------------------------

    @rule(after=durations, way=ways)
    def night(self, after: timedelta, way: Way) -> None:
        self._wait(after)
        self._increment(way)

    @rule(way=ways, part=parts)
    def night_of_a_part(self, way: Way, part: Part) -> None:
        self._increment(way, part)

    @rule(way=ways, faults=st.lists(st.tuples(st.sampled_from(CURED), st.integers(0, 12)), min_size=1, max_size=2))
    def night_with_trouble(self, way: Way, faults: list[tuple[tuple[str, dict[str, Any]], int]]) -> None:
        for (kind, options), after in faults:
            self.emulator.faults.add(kind, after=after, **options)
        self._increment(way)

    @rule(
        after=durations,
        way=ways,
        part=st.just(ALL) | parts,
        company=st.sampled_from([42, 42, 57]),
        ago=st.sampled_from([DAY, HOUR, 2 * DAY, 5 * DAY]),
        kind=st.sampled_from(BROKEN),
    )
    def night_with_a_broken_window(
        self, after: timedelta, way: Way, part: Part, company: int, ago: timedelta, kind: str
    ) -> None:
        self._wait(after)
        self.emulator.faults.add(kind, company=company, covering=self.now - ago, times=None)
        self._increment(way, part, broken=(company, self.now - ago), max_attempts=2)

    @rule(way=ways, part=st.just(ALL) | parts, start=moments, length=st.sampled_from([7 * HOUR, DAY, 20 * DAY]))
    def read_a_range(self, way: Way, part: Part, start: datetime, length: timedelta) -> None:
        start = min(start, self.now - HOUR)
        given = {"from_date": start, "to_date": min(start + length, self.now)}
        truth, is_after_a_kill = self._truth(), self.killed_at is not None
        outcome = self.laboratory.run(**way.options, **part.options, **given)
        assert not outcome.incomplete
        self._take(outcome, truth, is_noted=False)
        assert all(ranges == [tuple(given.values())] for ranges in by_company(outcome.planned).values())
        assert is_after_a_kill or self._watermarks() == self.marks, "an explicit range moved a watermark"

    @rule(
        way=ways,
        start=moments,
        length=st.sampled_from([DAY, 20 * DAY]),
        newest_first=st.booleans(),
        kind=st.none() | st.sampled_from(BROKEN),
    )
    def backfill(self, way: Way, start: datetime, length: timedelta, newest_first: bool, kind: str | None) -> None:
        start = min(start, self.now - HOUR)
        if kind:
            self.emulator.faults.add(kind, company=42, covering=start, times=None)
        given = {"from_date": start, "to_date": min(start + length, self.now), "max_attempts": 2}
        truth, is_after_a_kill = self._truth(), self.killed_at is not None
        _, outcome = self.laboratory.backfill(newest_first, **way.options, **given)
        self.emulator.faults.clear()
        assert len(outcome.incomplete) == sum(is_in(w, 42, start) for w in outcome.planned if kind)
        self._take(outcome, truth)
        assert is_after_a_kill or self._watermarks() == self.marks, "a backfill moved a watermark"

    @rule(way=ways, start=moments, loads=st.integers(1, 2), goes_on=st.booleans())
    def interrupted_backfill(self, way: Way, start: datetime, loads: int, goes_on: bool) -> None:
        self._catch_up()
        start = min(start, self.now - HOUR)
        given = {**way.options, "load_messages": 4, "from_date": start, "to_date": self.now}
        truth = self._truth()
        with suppress(KeyboardInterrupt):
            self.laboratory.backfill(progress=StopsAfter(loads), **given)
        done = self._new_reads()
        self._note(truth, done)
        if goes_on:
            _, outcome = self.laboratory.backfill(**given)
            self._take(outcome, truth)
            for company in self.given["company_ids"]:
                assert self.model.gaps(company, ALL, start, self.now) == [], "a resumed backfill left a gap"

    @rule(
        way=ways, point=st.sampled_from(sorted(POINTS)), later=st.sampled_from([0, 0, 1, 3]), is_backfill=st.booleans()
    )
    def killed(self, way: Way, point: str, later: int, is_backfill: bool) -> None:
        truth = self._truth()
        if self.killed_at != truth:
            self._catch_up()
        given = way.options
        if is_backfill:
            given |= {"from_date": self.given["start_date"], "to_date": self.now}
        at = POINTS[point]
        ended = run_laboratory_and_kill(
            self.laboratory, "backfill" if is_backfill else "run", at=at.at(at.hit + later), **given
        )
        assert ended.killed or ended.code == 0, ended.err
        self.killed_at = truth
        # as the README says, the folder of a killed run stays until it is deleted
        shutil.rmtree(self.spool, ignore_errors=True)

    def _increment(
        self, way: Way, part: Part = ALL, broken: tuple[int, datetime] | None = None, **changes: Any
    ) -> None:
        self.parts.add(part)
        truth, is_after_a_kill = self._truth(), self.killed_at is not None
        outcome = self.laboratory.run(**way.options, **part.options, **changes)
        self.emulator.faults.clear()
        failed = {read.window for read in outcome.incomplete}
        assert failed == {window for window in outcome.planned if broken and is_in(window, *broken)}

        self._settle_the_kill(outcome.run_id)
        planned, start = by_company(outcome.planned), self.given["start_date"]
        for company in self.given["company_ids"]:
            wanted_ranges = self.model.gaps(company, part, start, self.now)
            mark = self._known_mark(company, part)
            if mark and not is_after_a_kill:
                looked_back = max(start, mark - timedelta(days=self.given.get("lookback_days", 3)))
                wanted_ranges.append((looked_back, self.now))
            left = without(union(wanted_ranges), planned.get(company, []))
            assert left == [], f"a night did not read {left} of company {company}"
        self._take(outcome, truth)
        self.model.reads += [(w.company_id, part, (w.start, w.end), False) for w in failed]

        marks = self._watermarks()
        for company in planned:
            gaps = self.model.gaps(company, part, start, self.now)
            reached = min([self.now, *[gap[0] for gap in gaps], *[w.start for w in failed if w.company_id == company]])
            known = self._known_mark(company, part)
            # without a mark so far, a gap at the very beginning leaves none
            expected = max(known or reached, reached) if known or reached > start else None
            found = marks.get((company, part))
            if is_after_a_kill:
                assert (found or start) >= reached
            else:
                assert found == expected, f"company {company}: the watermark is {found} instead of {expected}"

    def _known_mark(self, company: int, part: Part) -> datetime | None:
        found = [mark for (owner, read), mark in self.marks.items() if owner == company and read.contains(part)]
        return max(found, default=None)

    def _truth(self) -> Truth:
        return {company: self.world.truth(company, include=EVERYTHING) for company in (42, 57, 63)}

    def _new_reads(self) -> list[Read]:
        """Rows of the ledger that were not there before; the others are as they were."""
        if not self.laboratory.database.exists():
            return []
        rows = read_ledger(self.laboratory.database)
        found = set(rows)
        assert len(found) == len(rows)
        assert self.ledger <= found, "rows of the ledger are gone or changed"
        new = found - self.ledger
        self.ledger = found
        self.is_to_compare = True
        return sorted(new, key=lambda read: read.window)

    def _take(self, outcome: Outcome, truth: Truth, is_noted: bool = True) -> None:
        """Tells the model what a run did, by its own report, which has to be that of the ledger."""
        self._settle_the_kill(outcome.run_id)
        new, self.reads_of_this_run = self.reads_of_this_run, []
        complete = [load.read.window for load in outcome.complete]
        assert sorted(complete) == [read.window for read in new], "the ledger says something else than the run"
        assert sorted([*complete, *[read.window for read in outcome.incomplete]]) == sorted(outcome.planned)
        self._note(truth, new, is_noted)

    def _note(self, truth: Truth, reads: Iterable[Read], is_noted: bool = True) -> None:
        for read in reads:
            window, part = read.window, read.part
            found = self.model.read(truth, window.company_id, window.start, window.end, part)
            digest = hashlib.md5(",".join(sorted(m["message_id"] for m in found)).encode()).hexdigest()
            counts = [len(found)]
            counts += [sum(len(m[name]) for m in found) if name in part.include else None for name in EVERYTHING[:3]]
            assert read == replace(read, counts=tuple(counts), ids_digest=digest), "the ledger counts differently"
            if is_noted:
                self.model.reads.append((window.company_id, part, (window.start, window.end), True))

    def _settle_the_kill(self, run_id: str | None = None) -> None:
        """Tells the model what a killed run and the catching up after it loaded, by the ledger: it left no report."""
        new = self._new_reads()
        self.reads_of_this_run += [read for read in new if read.run_id == run_id]
        others = [read for read in new if read.run_id != run_id]
        if self.killed_at is not None:
            self._note(self.killed_at, others)
            self.killed_at = None
        else:
            assert others == [], "the ledger has windows of a run that never was"

    def _catch_up(self) -> None:
        """Does what every run does first, where one was killed before."""
        if self.killed_at is not None:
            with self.laboratory.warehouse().writing():
                pass
            self._settle_the_kill()

    def _everything_is_read_at_last(self) -> None:
        if not self.laboratory.database.exists():
            return
        self.laboratory.now = LATEST + DAY
        self.given["company_ids"] = [42, 57, 63]
        truth = self._truth()
        outcome = self.laboratory.run(from_date=EARLIEST - DAY, to_date=self.now, window_hours=744)
        self._take(outcome, truth, is_noted=False)
        assert not self.model.moving
        self.the_warehouse_holds_what_was_read()
        self.laboratory.mirrors(start=EARLIEST - DAY)

    # --- what holds ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.is_to_compare and self.killed_at is None)
    @invariant()
    def the_warehouse_holds_what_was_read(self) -> None:
        self.is_to_compare = False
        tables = read_tables(self.laboratory.database)
        rows = {table: keyed(table, content) for table, content in tables.items()}
        moving = set(self.model.moving)
        compared = {
            table: Table(content.types, [row for row in content.rows if key_of(row) not in moving])
            for table, content in tables.items()
        }
        held = [message for key, message in self.model.held.items() if key not in moving]
        assert_tables_hold(compared, held, (42, 57, 63), *EVER, stamped=True)

        uncertain = moving | self.moving_before
        changed = {
            table: {key[:2] for key in changed_keys(self.rows_before[table], rows[table])} - uncertain
            for table in TABLES
        }
        written = (self.model.written & rows["messages"].keys()) - uncertain
        assert changed["messages"] == written, "other rows than those that changed were written"
        assert all(changed[table] <= written for table in TABLES), "an unchanged item was written again"
        self.rows_before, self.moving_before, self.model.written = rows, moving, set()

        marks = self._watermarks()
        for key, mark in self.marks.items():
            assert marks.get(key, mark) >= mark, "a watermark moved backwards"
            assert key in marks, "a watermark is gone"
        self.marks = marks
        self._nothing_stays_behind()

    def _watermarks(self) -> dict[tuple[int, Part], datetime]:
        warehouse = self.laboratory.warehouse()
        warehouse.reading()
        found = {
            (company, part): warehouse.coverage.watermark(company, part.selection)
            for company in (42, 57, 63)
            for part in self.parts
        }
        return {key: mark for key, mark in found.items() if mark is not None}

    def _nothing_stays_behind(self) -> None:
        assert not self.spool.exists() or not list(self.spool.iterdir()), "pages stayed in the spool"
        packages = Path(".dlt/.var/pipelines")
        pending = [*packages.glob("*/mindo/load/n*/*"), *packages.glob("*/mindo/normalize/extracted/*")]
        assert pending == [], "a load was left unfinished"
        with duckdb.connect(str(self.laboratory.database), read_only=True) as connection:
            count = connection.execute("SELECT count(*) FROM mindo_staging.export_windows").fetchone()
            assert count == (0,), "rows stayed in the staging table export_windows"
            staged = connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'mindo_staging'"
            )
            assert {name for (name,) in staged.fetchall()}.isdisjoint(TABLES), "messages were staged"


def is_in(window: Window, company: int, moment: datetime) -> bool:
    return window.company_id == company and window.start <= moment < window.end


def key_of(row: Row) -> Key:
    return row["company_id"], row["message_id"]


def keyed(table: str, content: Table) -> dict[Any, Row]:
    """Rows by primary key, which has to be one."""
    names = ["company_id", "message_id", *(["_dlt_list_idx"] if table != "messages" else [])]
    found = {tuple(row[name] for name in names): row for row in content.rows}
    assert len(found) == len(content.rows), f"{table} has a key twice"
    return found


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = (
    settings(settings.get_profile("torture"))
    if THOROUGH
    # shrinking would take minutes, and these programs are short as they are
    else settings(max_examples=4, stateful_step_count=16, phases=(Phase.explicit, Phase.generate))
)
TestAnyHistory = pytest.mark.slow(pytest.mark.timeout(0 if THOROUGH else 900)(TestAnyHistory))
