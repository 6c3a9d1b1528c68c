"""Runs a plan: loads of bounded size, one after the other, each committed with its state before the next begins."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pyarrow as pa
from dlt.common.runtime import signals

from mindo import (
    ApiError,
    Company,
    ConfigurationError,
    Coverage,
    Load,
    MindoClient,
    Options,
    Selection,
    Window,
    WindowReader,
    explicit_interval,
    history_starts,
    load_source,
    plan_run,
    unread_ranges,
)
from mindo.columns import EXPORT_WINDOWS, MESSAGES
from mindo.discovery import SchemaChange
from mindo.extraction import LoadedWindow, record_increment, record_nothing
from mindo.pages import Page
from mindo.reader import WindowRead
from mindo.settings import MAX_WINDOW
from mindo.windows import Range, format_time, intersect_ranges, merge_ranges, plan_windows, subtract_ranges

from .warehouse import Warehouse

DEFAULT_LOAD_MESSAGES = 200_000
"""A load is closed at the first window edge beyond this many messages; a crash costs one load at most."""

MOST_PROCESSES = 32
"""Of one command; each takes as much memory as a run."""

DEMO_RUN_PREFIX = "demo-"
"""Begins the `run_id` of every run over made-up data, so that real data is never mixed with it."""

_POSTPONED_ROUNDS = 5


class Progress(Protocol):
    """Is told how a run proceeds. `page_read` is called from the reader's threads."""

    def planned(self, windows: Sequence[Window]) -> None:
        """The run will read these windows."""

    def page_read(self, window: Window, page: Page) -> None:
        """A page was proven."""

    def windows_ended(self, complete: Sequence[LoadedWindow], incomplete: Sequence[WindowRead]) -> None:
        """These windows are loaded, and those can't be."""


@dataclass
class Outcome:
    """What a run did; true of the destination as soon as it is in here.

    Attributes:
        planned: Windows of the plan.
        complete: Windows that are loaded.
        incomplete: Windows of which nothing was loaded, with the reason in `error`.
        changes: Columns that were added.
        load_ids: dlt's ids of the loads; a row with one of them in `_dlt_load_id` was written by this run.
    """

    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    planned: list[Window] = field(default_factory=list)
    complete: list[LoadedWindow] = field(default_factory=list)
    incomplete: list[WindowRead] = field(default_factory=list)
    changes: list[SchemaChange] = field(default_factory=list)
    load_ids: list[str] = field(default_factory=list)

    def add(self, part: Outcome) -> None:
        """Adds what another process did of the plan."""
        self.complete += part.complete
        self.incomplete += part.incomplete
        self.changes += part.changes
        self.load_ids += part.load_ids

    @property
    def rows(self) -> dict[str, int]:
        """Rows of the complete windows by table, as the tables hold them now."""
        total: dict[str, int] = {}
        for window in self.complete:
            for table, rows in window.rows.items():
                total[table] = total.get(table, 0) + rows
        return total


Record = Callable[[Coverage, Load], None]


def check_access(options: Options, companies: Sequence[Company], client: MindoClient) -> None:
    """Asks the API for one message of each company, so that a wrong key or company is found before anything is written.

    Raises:
        AccessError: If a key is refused or may not read a company.
        ConfigurationError: If a company is unknown.
        ApiError: If the API can't be reached or is no Mindo server.
    """

    def probe(company: Company) -> None:
        window = Window(options.now - timedelta(seconds=1), options.now, company.company_id)
        client.probe(window, options.selection.params())

    workers = ThreadPoolExecutor(options.workers)
    try:
        for result in [workers.submit(probe, company) for company in companies]:
            result.result()
    except BaseException:
        client.stop()
        raise
    finally:
        # a request that hangs must hold up neither an error nor Ctrl-C
        workers.shutdown(wait=False, cancel_futures=True)


def run_increment(
    warehouse: Warehouse,
    options: Options,
    companies: Sequence[Company],
    progress: Progress,
    outcome: Outcome,
    load_messages: int = DEFAULT_LOAD_MESSAGES,
) -> None:
    """The nightly increment of all companies, or an explicit range; see `plan_run`.

    Args:
        warehouse: Held with `writing`.
        options: What to read.
        companies: Whose messages to read.
        progress: Is told how it proceeds.
        outcome: Filled load by load, so it is right even when the run ends early.
        load_messages: Bounds a load.

    Raises:
        DestinationError: If a load fails.
    """
    plan = with_unfinished(warehouse, options, companies, plan_run(options, companies, warehouse.coverage))
    starts = history_starts(options, companies, warehouse.coverage)
    record = record_nothing if explicit_interval(options) else record_increment(starts, options.selection)
    _run_plan(warehouse, options, companies, plan, record, progress, outcome, load_messages)


@dataclass(frozen=True)
class BackfillKey:
    """What tells a backfill from another one, so that the same command resumes it, in however many processes.

    Attributes:
        name: Names range and selection in the state.
        interval: The whole range, half-open, UTC.
        company_ids: All of its companies.
    """

    name: str
    interval: Range
    company_ids: tuple[int, ...]

    def record(self, selection: Selection) -> Record:
        """Notes complete windows; the progress is forgotten once there is nothing left to read."""

        def record(coverage: Coverage, load: Load) -> None:
            complete = [window.read.window for window in load.complete]
            coverage.record_complete(selection, complete)
            coverage.record_backfill(self.name, complete)
            if not any(self.left(coverage, company_id) for company_id in self.company_ids):
                coverage.finish_backfill(self.name, self.company_ids)

        return record

    def left(self, coverage: Coverage, company_id: int) -> list[Range]:
        """What is left to read of a company."""
        return subtract_ranges([self.interval], coverage.backfilled(self.name, company_id))


@dataclass(frozen=True)
class Backfill:
    """A range of history to read, resumable by the same command.

    Attributes:
        key: Tells it from others.
        plan: Windows that are left to read, in order.
        windows: How many windows the whole range has.
    """

    key: BackfillKey
    plan: list[Window]
    windows: int


@dataclass(frozen=True)
class Batch:
    """One company's windows in a range of time, by convention within a month: what one process loads at a time.

    Attributes:
        company: Whose messages.
        start: Start of the range, inclusive, UTC.
        end: Its end, exclusive. What lies in the future is left out.
        only_new: Whether only that is read which an increment would read of it: what was never read, and the lookback.
        backfill: The backfill that it is part of; what was read of that already is not read again.
    """

    company: Company
    start: datetime
    end: datetime
    only_new: bool = False
    backfill: BackfillKey | None = None

    def windows(self, options: Options) -> list[Window]:
        """All windows of the range."""
        return plan_windows(self.company.company_id, [(self.start, self.end)], options.window)

    def plan(self, options: Options, coverage: Coverage) -> list[Window]:
        """The windows to read, oldest first."""
        company_id = self.company.company_id
        if self.backfill:
            ranges = self.backfill.left(coverage, company_id)
        elif self.only_new:
            ranges = unread_ranges(options, self.company, coverage)
        else:
            ranges = [(self.start, self.end)]
        own = intersect_ranges(ranges, [(self.start, min(self.end, options.now))])
        return plan_windows(company_id, own, options.window)


def split_by_month(company: Company, ranges: Iterable[Range], backfill: BackfillKey | None = None) -> list[Batch]:
    """Batches of a company, none of them longer than a month of UTC; together they are the ranges, oldest first."""
    return [
        Batch(company, start, end, backfill=backfill)
        for first, last in merge_ranges(ranges)
        for start, end in _months(first, last)
    ]


def _months(start: datetime, end: datetime) -> Iterator[Range]:
    while start < end:
        first = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        cut = min((first + MAX_WINDOW).replace(day=1), end)
        yield start, cut
        start = cut


def plan_backfill(
    options: Options, companies: Sequence[Company], coverage: Coverage, newest_first: bool = False
) -> Backfill:
    """Plans the explicit interval of the options, without what an interrupted backfill of it has done.

    Raises:
        ConfigurationError: If there is no explicit interval.
    """
    if options.interval is None:
        raise ConfigurationError("from: missing; a backfill needs --from (and --to, by default now).")
    start, end = options.interval
    # a range up to now ends later each time, and is still the same backfill
    until = "now" if end == options.now else format_time(end)
    key = BackfillKey(
        f"{format_time(start)}/{until} {options.selection.key}",
        (start, end),
        tuple(company.company_id for company in companies),
    )
    plan = [w for c in key.company_ids for w in plan_windows(c, key.left(coverage, c), options.window)]
    total = sum(len(plan_windows(company_id, [key.interval], options.window)) for company_id in key.company_ids)
    return Backfill(key, sorted(plan, reverse=newest_first), total)


def run_backfill(
    warehouse: Warehouse,
    options: Options,
    companies: Sequence[Company],
    backfill: Backfill,
    progress: Progress,
    outcome: Outcome,
    load_messages: int = DEFAULT_LOAD_MESSAGES,
) -> None:
    """Reads a range of history load by load. No watermark moves, but a later increment need not read the range again.

    Args and errors are those of `run_increment`.
    """
    plan = with_unfinished(warehouse, options, companies, backfill.plan)
    record = backfill.key.record(options.selection)
    _run_plan(warehouse, options, companies, plan, record, progress, outcome, load_messages)


def run_batch(
    warehouse: Warehouse,
    options: Options,
    batch: Batch,
    progress: Progress,
    outcome: Outcome,
    load_messages: int = DEFAULT_LOAD_MESSAGES,
) -> None:
    """Reads a batch, beside other batches of the same dataset. The company's watermark moves, if it is not of a backfill.

    Args and errors are those of `run_increment`; the warehouse is held with `writing(beside_others=True)`.
    """
    companies = [batch.company]
    plan = with_unfinished(
        warehouse, options, companies, batch.plan(options, warehouse.coverage), [(batch.start, batch.end)]
    )
    if batch.backfill:
        record = batch.backfill.record(options.selection)
    else:
        record = record_increment(history_starts(options, companies, warehouse.coverage), options.selection)
    _run_plan(warehouse, options, companies, plan, record, progress, outcome, load_messages, reads_ahead=True)


def run_windows(
    warehouse: Warehouse,
    options: Options,
    companies: Sequence[Company],
    windows: Sequence[Window],
    progress: Progress,
    outcome: Outcome,
    load_messages: int = DEFAULT_LOAD_MESSAGES,
) -> None:
    """Reads just these windows. No watermark moves, but a later increment need not read them again.

    Args and errors are those of `run_increment`.
    """

    def record(coverage: Coverage, load: Load) -> None:
        coverage.record_complete(options.selection, [window.read.window for window in load.complete])

    _run_plan(warehouse, options, companies, list(windows), record, progress, outcome, load_messages)


def _run_plan(
    warehouse: Warehouse,
    options: Options,
    companies: Sequence[Company],
    plan: list[Window],
    record: Record,
    progress: Progress,
    outcome: Outcome,
    load_messages: int,
    reads_ahead: bool = False,
) -> None:
    outcome.planned = list(plan)
    progress.planned(plan)
    # Arrow's own allocator keeps what it freed: a quarter of the peak memory of a long backfill
    pa.set_memory_pool(pa.system_memory_pool())
    # dlt takes signals over while it loads and forgets one that comes late; taken over once for all loads, none is lost
    with _modules_left_alone(), signals.intercepted_signals():
        for _ in range(_POSTPONED_ROUNDS):
            postponed: list[Window] = []
            with WindowReader(options, plan, progress.page_read) as reader:
                while not reader.exhausted:
                    load = Load(outcome.run_id)
                    source = load_source(reader, load, record, list(companies), load_messages)
                    if reads_ahead:
                        # others can load while the API is waited for
                        reader.read_ahead(load_messages)
                    try:
                        with warehouse.loading():
                            info = warehouse.run(source)
                    except BaseException:
                        warehouse.note_failed_load([window.read.window for window in load.complete], options.selection)
                        raise
                    warehouse.unfinished.remove([window.read.window for window in load.complete], options.selection)
                    outcome.load_ids += info.loads_ids
                    outcome.complete += load.complete
                    outcome.incomplete += load.incomplete
                    outcome.changes += load.changes
                    postponed += load.postponed
                    progress.windows_ended(load.complete, load.incomplete)
                    signals.raise_if_signalled()
            plan = postponed
            if not plan:
                return
        moved = ApiError("messages kept moving between windows while they were read; run again")
        unread = [WindowRead(window, error=moved) for window in plan]
        outcome.incomplete += unread
        progress.windows_ended([], unread)


def holds_demo(warehouse: Warehouse) -> bool:
    """Whether all that a warehouse holds are the made-up messages of `mindo demo`."""
    runs = warehouse.query(f"SELECT DISTINCT run_id FROM {{{EXPORT_WINDOWS}}}")
    return bool(runs) and all(row["run_id"].startswith(DEMO_RUN_PREFIX) for row in runs)


def clear_demo(warehouse: Warehouse) -> bool:
    """Makes room for real messages: drops those of the demo, if there are only such, and tells whether. Needs `writing`."""
    return warehouse.clear_if(lambda: holds_demo(warehouse))


@contextmanager
def _modules_left_alone() -> Iterator[None]:
    """They live to the end: looking through all of dlt for garbage again and again costs a twentieth of a long backfill."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def count_written(warehouse: Warehouse, outcome: Outcome) -> int:
    """How many rows of `messages` the run's loads inserted or changed."""
    if not outcome.complete:
        return 0
    marks = ", ".join(["%s"] * len(outcome.load_ids))
    windows = [window.read.window for window in outcome.complete]
    companies = ", ".join(str(company_id) for company_id in {window.company_id for window in windows})
    # companies and times say nothing new, but keep a server from looking at all of history
    rows = warehouse.query(
        f"SELECT count(*) AS n FROM {{{MESSAGES}}} WHERE _dlt_load_id IN ({marks})"
        f" AND company_id IN ({companies}) AND occurred_at >= %s AND occurred_at < %s",
        *outcome.load_ids,
        min(window.start for window in windows),
        max(window.end for window in windows),
    )
    return int(rows[0]["n"]) if rows else 0


def with_unfinished(
    warehouse: Warehouse,
    options: Options,
    companies: Sequence[Company],
    plan: Sequence[Window],
    within: Sequence[Range] | None = None,
) -> list[Window]:
    """A plan, followed by what an earlier run could not finish and the plan does not read anyway; `within` ranges, if given."""
    windows = list(plan)
    for company in companies:
        planned = [(window.start, window.end) for window in plan if window.company_id == company.company_id]
        unfinished = warehouse.unfinished.ranges(company.company_id, options.selection)
        ranges = subtract_ranges(unfinished if within is None else intersect_ranges(unfinished, within), planned)
        windows += plan_windows(company.company_id, ranges, options.window)
    return windows
