"""`mindo run` and `mindo backfill`: the way from options to a loaded, reported run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from mindo import (
    AccessError,
    Company,
    ConfigurationError,
    Coverage,
    MindoClient,
    Options,
    resolve_companies,
    resolve_options,
)
from mindo.columns import EXPORT_WINDOWS, MESSAGES
from mindo.exceptions import WindowShrunk

from .console import counted, duration
from .errors import explain
from .exit_codes import ExitCode
from .progress import Progress, make_progress
from .report import change_lines, companies_table, incomplete_lines, outcome_document, rows_table
from .running import (
    DEFAULT_LOAD_MESSAGES,
    Outcome,
    check_access,
    plan_backfill,
    run_backfill,
    run_increment,
)
from .session import CommandFailed, Session, Verdict
from .warehouse import Warehouse

DEMO_RUN_PREFIX: Final = "demo-"
"""Begins the `run_id` of every run over made-up data, so that real data is never mixed with it."""

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


def backfill_command(
    session: Session,
    given: dict[str, Any],
    destination: str | None,
    dataset: str | None,
    load_messages: str | None,
    newest_first: bool,
) -> Verdict:
    """A range of history in bounded, resumable loads."""
    size = parse_load_messages(load_messages)
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
        run_backfill(warehouse, options, companies, backfill, progress, outcome, size)

    return load(session, checked, Warehouse(destination, dataset), read, partial(drop_demo, session))


@dataclass
class _Run:
    """A run and what is known of it so far."""

    session: Session
    options: Options
    warehouse: Warehouse
    outcome: Outcome
    companies: list[Company] = field(default_factory=list)
    coverage: Coverage | None = None

    def committed(self) -> None:
        """Keeps the state as of the last load that is safe at the destination."""
        self.coverage = self.warehouse.coverage

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
        code, line = explain(error)
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
) -> Verdict:
    """Runs a plan and reports it, however it ends.

    Args:
        session: Where it is reported.
        options: What to read.
        warehouse: Where to load.
        read: Reads the plan.
        prepare: Looks at the warehouse before anything is written.
        run_id: Names the run in the ledger.
    """
    run = _Run(session, options, warehouse, Outcome() if run_id is None else Outcome(run_id))
    run.describe()
    try:
        warehouse.check_free()
        client = MindoClient(options)
        run.companies += resolve_companies(options, client)
        check_access(options, run.companies, client)
        warehouse.on_wait = lambda: session.note("waiting for another run to end its load")
        with warehouse.writing(beside_others=True):
            prepare(warehouse)
            run.committed()
            with make_progress(session.err, session.note, session.quiet) as progress:
                progress.on_load = run.committed
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


def count_written(warehouse: Warehouse, outcome: Outcome) -> int:
    """How many rows of `messages` the run's loads inserted or changed."""
    if not outcome.load_ids:
        return 0
    marks = ", ".join(["%s"] * len(outcome.load_ids))
    rows = warehouse.query(
        f"SELECT count(*) AS n FROM {{{MESSAGES}}} WHERE _dlt_load_id IN ({marks})", *outcome.load_ids
    )
    return int(rows[0]["n"]) if rows else 0


def holds_demo(warehouse: Warehouse) -> bool:
    """Whether all that a warehouse holds are the made-up messages of `mindo demo`."""
    runs = warehouse.query(f"SELECT DISTINCT run_id FROM {{{EXPORT_WINDOWS}}}")
    return bool(runs) and all(row["run_id"].startswith(DEMO_RUN_PREFIX) for row in runs)


def drop_demo(session: Session, warehouse: Warehouse) -> None:
    """Makes room for real messages: those of the demo are dropped, because the two must never mix."""
    if holds_demo(warehouse):
        warehouse.clear()
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
