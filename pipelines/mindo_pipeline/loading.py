"""`mindo run` and `mindo backfill`: the way from options to a loaded, reported run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mindo import (
    AccessError,
    Company,
    ConfigurationError,
    Coverage,
    MindoClient,
    Options,
    Window,
    resolve_companies,
    resolve_options,
)
from mindo.columns import MESSAGES
from mindo.exceptions import WindowShrunk
from mindo.extraction import LoadedWindow
from mindo.reader import WindowRead

from .console import counted, duration
from .errors import explain
from .exit_codes import ExitCode
from .progress import Progress, make_progress
from .report import change_lines, companies_table, incomplete_lines, outcome_document, rows_table
from .running import (
    DEFAULT_LOAD_MESSAGES,
    MOST_PROCESSES,
    Batch,
    Outcome,
    check_access,
    clear_demo,
    count_written,
    plan_backfill,
    run_backfill,
    run_batch,
    run_increment,
)
from .session import CommandFailed, Session, Verdict
from .warehouse import Warehouse

Read = Callable[[Warehouse, Options, Sequence[Company], Progress, Outcome], None]


def run_command(
    session: Session, given: dict[str, Any], destination: str | None, dataset: str | None, load_messages: str | None
) -> Verdict:
    """The nightly increment, or an explicit range."""
    return load_increment(session, resolve_options(given), Warehouse(destination, dataset), load_messages)


def load_increment(session: Session, options: Options, warehouse: Warehouse, load_messages: str | None) -> Verdict:
    """The same into a warehouse that is open already."""
    read = partial(run_increment, load_messages=parse_load_messages(load_messages))
    return load(session, options, warehouse, read, partial(drop_demo, session))


def batch_command(
    session: Session,
    given: dict[str, Any],
    destination: str | None,
    dataset: str | None,
    load_messages: str | None,
    only_new: bool,
) -> Verdict:
    """One batch of a longer plan, in a folder of its own."""
    size = parse_load_messages(load_messages)
    options = resolve_options(given)
    if options.interval is None:
        raise ConfigurationError("from: missing; a batch needs --from (and --to, by default now).")
    if len(options.company_ids) > 1:
        raise ConfigurationError("companies: a batch is of one company; name it: --companies 42.")
    start, end = options.interval

    def read(
        warehouse: Warehouse, options: Options, companies: Sequence[Company], progress: Progress, outcome: Outcome
    ) -> None:
        run_batch(warehouse, options, Batch(companies[0], start, end, only_new), progress, outcome, size)

    warehouse = Warehouse(destination, dataset, shares_no_folder=True)
    return load(session, options, warehouse, read, partial(drop_demo, session), is_shared=True)


def backfill_command(
    session: Session,
    given: dict[str, Any],
    destination: str | None,
    dataset: str | None,
    load_messages: str | None,
    newest_first: bool,
    processes: str | None,
) -> Verdict:
    """A range of history in bounded, resumable loads."""
    size = parse_load_messages(load_messages)
    count = 1 if processes is None else parse_count("processes", processes)
    if count > MOST_PROCESSES:
        raise ConfigurationError(f"processes: at most {MOST_PROCESSES} can load side by side.")
    checked = resolve_options(given)
    # of no company: finds a missing range before the warehouse is opened
    plan_backfill(checked, [], Coverage({}))

    def read(
        warehouse: Warehouse, options: Options, companies: Sequence[Company], progress: Progress, outcome: Outcome
    ) -> None:
        backfill = plan_backfill(options, companies, warehouse.coverage, newest_first)
        done = backfill.windows - len(backfill.plan)
        if done > 0:
            session.note(f"resuming: {done:,} of {counted(backfill.windows, 'window')} are already done")
        session.document["resumed_windows"] = max(0, done)
        if count == 1:
            run_backfill(warehouse, options, companies, backfill, progress, outcome, size)
        else:
            from .processes import Place, backfill_in_processes

            place = Place(destination, dataset, size)
            backfill_in_processes(
                warehouse, options, companies, backfill, newest_first, place, count, progress, outcome, session.note
            )

    warehouse = Warehouse(destination, dataset)
    if count > 1 and not warehouse.can_be_shared:
        raise ConfigurationError(
            f"processes: {warehouse.location} has no lock that would keep them apart; load it with one process."
        )
    return load(session, checked, warehouse, read, partial(drop_demo, session), is_shared=count > 1)


@dataclass
class _Run:
    """A run and what is known of it so far."""

    session: Session
    options: Options
    warehouse: Warehouse
    outcome: Outcome
    companies: list[Company] = field(default_factory=list)
    coverage: Coverage | None = None

    def planned(self, windows: Sequence[Window]) -> None:
        """Tells the observers."""
        for observer in self.session.observers:
            observer.planned(windows)

    def keep_state(self) -> None:
        """Keeps the state as of the last load that is safe at the destination."""
        self.coverage = self.warehouse.coverage

    def committed(self, complete: Sequence[LoadedWindow], incomplete: Sequence[WindowRead]) -> None:
        """A load is safe at the destination."""
        self.keep_state()
        for observer in self.session.observers:
            observer.loaded(complete, incomplete)

    def describe(self) -> None:
        """Brings the JSON object up to date."""
        self.session.document |= {
            "location": self.warehouse.location,
            "dataset": self.warehouse.dataset,
            **outcome_document(self.outcome, self.options, self.companies, self.coverage),
        }

    def show(self) -> None:
        """Prints what was loaded, and what could not be."""
        outcome = self.outcome
        if outcome.complete:
            self.session.show("", companies_table(outcome, self.options, self.companies, self.coverage))
            self.session.show(rows_table(outcome), *change_lines(outcome))
        if not self.session.events:
            for line in incomplete_lines(outcome):
                self.session.warn(line)

    def verdict(self, written: int) -> Verdict:
        """How a run ended that came to its end."""
        windows, broken = counted(len(self.outcome.planned), "window"), len(self.outcome.incomplete)
        shrunk = sum(isinstance(read.error, WindowShrunk) for read in self.outcome.incomplete)
        if shrunk:
            line = (
                f"{shrunk:,} of {windows} would lose many messages and stayed as they were. If they are really gone,"
                " run again with --accept-deletions."
            )
            rest = f" {broken - shrunk:,} more could not be read whole; run again later." if broken > shrunk else ""
            return Verdict(ExitCode.GUARD, line + rest)
        if broken:
            refused = any(isinstance(read.error, AccessError) for read in self.outcome.incomplete)
            advice = "see `mindo check`, then run again" if refused else "run again later"
            line = f"{broken:,} of {windows} could not be read whole; the rest is loaded. To read them: {advice}."
            return Verdict(ExitCode.API, line)
        if not self.outcome.planned:
            return Verdict(ExitCode.COMPLETE, "nothing new: there is no window left to read.")
        read = counted(self.outcome.rows.get(MESSAGES, 0), "message")
        took = f"{windows} in {duration(self.session.elapsed)}"
        if not written:
            return Verdict(ExitCode.COMPLETE, f"nothing new: {read} read, none of them new or changed, {took}.")
        return Verdict(ExitCode.COMPLETE, f"loaded: {read} read, {written:,} of them new or changed, {took}.")

    def cut_short(self, error: BaseException) -> CommandFailed:
        """How a run ended that did not come to its end."""
        code, line = (error.code, str(error)) if isinstance(error, CommandFailed) else explain(error)
        stays = f"{len(self.outcome.complete):,} of {counted(len(self.outcome.planned), 'window')} are loaded and stay"
        reason = "stopped" if code is ExitCode.INTERRUPTED else line.rstrip(".")
        return CommandFailed(code, f"{reason}; {stays}, the same command reads the rest.")


def load(
    session: Session,
    options: Options,
    warehouse: Warehouse,
    read: Read,
    prepare: Callable[[Warehouse], None],
    run_id: str | None = None,
    is_shared: bool = False,
) -> Verdict:
    """Runs a plan and reports it, however it ends.

    Args:
        session: Where it is reported.
        options: What to read.
        warehouse: Where to load.
        read: Reads the plan.
        prepare: Looks at the warehouse before anything is written.
        run_id: Names the run in the ledger.
        is_shared: Whether others may load a DuckDB file in turns with this run; on a server they always may.
    """
    run = _Run(session, options, warehouse, Outcome() if run_id is None else Outcome(run_id))
    run.describe()
    for observer in session.observers:
        observer.began(run.outcome.run_id)
    try:
        warehouse.check_free()
        client = MindoClient(options)
        run.companies += resolve_companies(options, client)
        check_access(options, run.companies, client)
        warehouse.on_wait = lambda: session.note("waiting for another run to end its load", "waiting")
        with warehouse.writing(beside_others=is_shared or warehouse.file is None):
            prepare(warehouse)
            run.keep_state()
            with make_progress(session.err, session.note, session.quiet, session.log) as progress:
                progress.on_plan, progress.on_load = run.planned, run.committed
                read(warehouse, options, run.companies, progress, run.outcome)
            written = count_written(warehouse, run.outcome)
    except BaseException as error:
        run.describe()
        if not run.outcome.planned:
            raise
        run.show()
        raise run.cut_short(error) from error
    run.describe()
    session.document["messages_written"] = written
    run.show()
    return run.verdict(written)


def drop_demo(session: Session, warehouse: Warehouse) -> None:
    """Makes room for real messages: those of the demo are dropped, because the two must never mix."""
    if clear_demo(warehouse):
        session.note("The made-up messages of `mindo demo` were dropped to make room for real ones.")


def parse_load_messages(text: str | None) -> int:
    """Reads `--load-messages`.

    Raises:
        ConfigurationError: If it is not a whole number above 0.
    """
    return DEFAULT_LOAD_MESSAGES if text is None else parse_count("load_messages", text)


def parse_count(name: str, text: str) -> int:
    """Reads a number of things.

    Raises:
        ConfigurationError: If it is not a whole number above 0.
    """
    digits = text.replace("_", "")
    if not (digits.isascii() and digits.isdigit() and int(digits) > 0):
        raise ConfigurationError(f"{name}: {text!r} is not a whole number above 0.")
    return int(digits)
