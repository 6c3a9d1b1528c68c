"""`mindo verify`: whether the warehouse holds what the API returns, window by window; and its repair."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from rich.table import Table

from mindo import (
    AccessError,
    Company,
    ConfigurationError,
    Coverage,
    MindoClient,
    Options,
    Window,
    explicit_interval,
    resolve_companies,
    resolve_options,
)
from mindo.exceptions import WindowShrunk
from mindo.reader import WindowRead
from mindo.windows import format_time, plan_windows, ranges_by_company, subtract_ranges

from .comparing import ComparedWindow, compare_windows
from .console import counted, duration, make_table, moment
from .errors import explain
from .exit_codes import ExitCode
from .loading import parse_count
from .progress import make_progress
from .report import change_lines, failed_status, incomplete_lines, outcome_document, window_document
from .running import Outcome, check_access, count_written, holds_demo, run_windows
from .session import CommandFailed, Session, Verdict
from .warehouse import Warehouse

_MOST_ROWS: Final = 20
_SEEDS: Final = 1_000_000
_KINDS: Final = ("missing", "extra", "changed")


def verify_command(
    session: Session,
    given: dict[str, Any],
    destination: str | None,
    dataset: str | None,
    sample: str | None,
    seed: str | None,
    repair: bool,
) -> Verdict:
    """Compares what was loaded with the API, and loads the windows that differ again if `repair` is wanted."""
    options = resolve_options(given)
    sampling = _Sampling.parse(sample, seed)
    warehouse = Warehouse(destination, dataset)
    client = MindoClient(options)
    companies = resolve_companies(options, client)
    check_access(options, companies, client)
    warehouse.reading()
    if holds_demo(warehouse):
        raise ConfigurationError(
            f"{warehouse.location}: it holds the made-up messages of `mindo demo`; `mindo run` makes room for real ones."
        )
    whole_plan = plan_verification(options, companies, warehouse.coverage)
    if not whole_plan:
        raise ConfigurationError(
            f"nothing to verify: {warehouse.location} holds no range that was read with {options.selection.key};"
            " load it with `mindo run`, or name a range with --from."
        )
    for company_id in sorted({company.company_id for company in companies} - {w.company_id for w in whole_plan}):
        session.warn(f"company {company_id}: no range of it was read with {options.selection.key}; --from names one.")
    plan = sampling.take(whole_plan)
    verification = _Verification(session, options, warehouse, companies, plan)
    if sampling.size is not None:
        taken = f"{counted(len(plan), 'window')} of {len(whole_plan):,}, taken at random (--seed {sampling.seed})"
        session.document["sample"] = {"windows": len(plan), "of": len(whole_plan), "seed": sampling.seed}
        session.show(f"sample: {taken}", *_limited([f"  {window}" for window in plan]), "")
    verification.compare()
    if repair and verification.different:
        return verification.repair()
    return verification.verdict()


def plan_verification(options: Options, companies: Sequence[Company], coverage: Coverage) -> list[Window]:
    """The windows to compare, oldest first: an explicit range, or else all that was read with at least the selection."""
    interval = explicit_interval(options)
    windows: list[Window] = []
    for company in companies:
        ranges = [interval] if interval else coverage.covered(company.company_id, options.selection)
        windows += plan_windows(company.company_id, ranges, options.window)
    return sorted(windows)


@dataclass(frozen=True)
class _Sampling:
    """Which windows of a plan are taken: `size` of them at random, or all if it is `None`."""

    size: int | None
    seed: int

    @classmethod
    def parse(cls, sample: str | None, seed: str | None) -> _Sampling:
        """Reads `--sample` and `--seed`.

        Raises:
            ConfigurationError: If one of them is not a whole number above 0, or the seed has no sample.
        """
        if sample is None and seed is not None:
            raise ConfigurationError("seed: it tells which windows --sample takes; give --sample as well.")
        return cls(
            None if sample is None else parse_count("sample", sample),
            random.randint(1, _SEEDS) if seed is None else parse_count("seed", seed),
        )

    def take(self, plan: Sequence[Window]) -> list[Window]:
        """The windows taken, in the order of the plan."""
        if self.size is None or self.size >= len(plan):
            return list(plan)
        return sorted(random.Random(self.seed).sample(plan, self.size))


@dataclass
class _Verification:
    """A verification and what is known of it so far."""

    session: Session
    options: Options
    warehouse: Warehouse
    companies: list[Company]
    plan: list[Window]
    compared: list[ComparedWindow] = field(default_factory=list)
    repaired: Outcome | None = None
    compared_again: list[ComparedWindow] = field(default_factory=list)

    @property
    def different(self) -> list[ComparedWindow]:
        """Windows that differ."""
        return [window for window in self.compared if window.status == "different"]

    def compare(self) -> None:
        """Compares every window of the plan, and shows what differs."""
        self.describe()
        try:
            self._compare(self.plan, self.compared)
        except BaseException as error:
            self.describe()
            self.show()
            raise self._cut_short(error) from error
        self.describe()
        self.show()

    def _compare(self, plan: Sequence[Window], compared: list[ComparedWindow]) -> None:
        with make_progress(self.session.err, self.session.note, self.session.quiet) as progress:
            progress.planned(plan)
            for group in compare_windows(self.warehouse, self.options, plan, progress.page_read):
                compared += group
                progress.windows_ended([], _unread(group))

    def repair(self) -> Verdict:
        """Loads the windows that differ, as a backfill would, and compares them once more."""
        self.repaired = outcome = Outcome()
        windows = [different.window for different in self.different]
        written = 0
        try:
            with self.warehouse.writing():
                with make_progress(self.session.err, self.session.note, self.session.quiet) as progress:
                    run_windows(self.warehouse, self.options, self.companies, windows, progress, outcome)
                written = count_written(self.warehouse, outcome)
                self._compare([loaded.read.window for loaded in outcome.complete], self.compared_again)
        except BaseException as error:
            self.describe(written)
            raise self._cut_short(error) from error
        self.describe(written)
        self.session.show(*change_lines(outcome))
        for line in incomplete_lines(outcome):
            self.session.warn(line)
        return self._verdict_of_repair(outcome, written)

    def describe(self, written: int = 0) -> None:
        """Brings the JSON object up to date."""
        document = self.session.document
        document |= {
            "location": self.warehouse.location,
            "dataset": self.warehouse.dataset,
            "selection": self.options.selection.key,
            "windows": list(self._window_documents()),
            "totals": {
                "in_api": sum(window.in_api for window in self.compared),
                "in_warehouse": sum(window.in_warehouse for window in self.compared),
                **{kind: _total(self.compared, kind) for kind in _KINDS},
            },
        }
        if self.repaired is not None:
            loaded = outcome_document(self.repaired, self.options, self.companies, None)
            document["repair"] = {
                **{name: loaded[name] for name in ("run_id", "rows", "schema_changes")},
                "messages_written": written,
            }

    def _window_documents(self) -> Iterator[dict[str, Any]]:
        compared = {window.window: window for window in self.compared}
        repaired = self._repaired_statuses()
        for window in self.plan:
            found = compared.get(window)
            if found is None:
                yield {**window_document(window), "status": "not_reached"}
                continue
            yield {
                **window_document(window),
                "status": repaired.get(window, found.status),
                "in_api": found.in_api,
                "in_warehouse": found.in_warehouse,
                **{kind: getattr(found, kind).count for kind in _KINDS},
                "examples": {kind: ids for kind in _KINDS if (ids := getattr(found, kind).ids)},
                "error": str(found.error) if found.error else None,
            }

    def _repaired_statuses(self) -> dict[Window, str]:
        """What became of the windows that were loaded again, as far as they came to it."""
        statuses = {
            again.window: "repaired" if again.status == "equal" else again.status for again in self.compared_again
        }
        failed = self.repaired.incomplete if self.repaired is not None else []
        return statuses | {read.window: failed_status(read) for read in failed}

    def show(self) -> None:
        """Prints the windows that differ, names those that can't be read, and tells of ranges that were never loaded."""
        if self.different:
            self.session.show("", *_differences_table(self.different))
        for line in incomplete_lines(Outcome(incomplete=_unread(self.compared))):
            self.session.warn(line)
        for line in self._never_loaded_lines():
            self.session.note(line)

    def _never_loaded_lines(self) -> list[str]:
        lines = []
        different = ranges_by_company(different.window for different in self.different)
        for company_id, ranges in sorted(different.items()):
            covered = self.warehouse.coverage.covered(company_id, self.options.selection)
            lines += [
                f"company {company_id} [{format_time(start)}, {format_time(end)}): nothing tells that this was ever loaded,"
                " so its messages can be missing for that reason."
                for start, end in subtract_ranges(ranges, covered)
            ]
        return _limited(lines)

    def verdict(self) -> Verdict:
        """How a verification ended that came to its end."""
        incomplete = _unread(self.compared)
        windows = counted(len(self.plan), "window")
        unread = f"{len(incomplete):,} could not be read whole" if incomplete else ""
        if self.different:
            totals = ", ".join(f"{_total(self.compared, kind):,} {kind}" for kind in _KINDS)
            also = f"; {unread}" if unread else ""
            line = f"{len(self.different):,} of {windows} differ: of their messages {totals}{also}."
            return Verdict(
                ExitCode.DIFFERENT, f"{line} The same command with --repair loads the windows that differ again."
            )
        if incomplete:
            equal = len(self.compared) - len(incomplete)
            line = f"{unread.replace(' could', f' of {windows} could', 1)}; {equal:,} are equal."
            return Verdict(ExitCode.API, f"{line} To compare the rest: {_advice(incomplete)}.")
        messages = counted(sum(window.in_api for window in self.compared), "message")
        took = duration(self.session.elapsed)
        return Verdict(ExitCode.COMPLETE, f"equal: {windows} with {messages} hold what the API returns, {took}.")

    def _verdict_of_repair(self, outcome: Outcome, written: int) -> Verdict:
        windows = counted(len(self.different), "window")
        still = sum(again.status == "different" for again in self.compared_again)
        shrunk = sum(isinstance(read.error, WindowShrunk) for read in outcome.incomplete)
        unread = [*_unread(self.compared), *outcome.incomplete, *_unread(self.compared_again)]
        if still:
            line = (
                f"{still:,} of {windows} loaded again and still not equal. If the API changed meanwhile, repair again;"
            )
            return Verdict(
                ExitCode.DIFFERENT,
                f"{line} if rows were written by something else than mindo, delete their messages there first.",
            )
        if shrunk:
            line = f"{shrunk:,} of {windows} that differ would lose many messages and stayed as they were."
            return Verdict(ExitCode.GUARD, f"{line} If they are really gone, repair again with --accept-deletions.")
        if unread:
            line = f"{len(outcome.complete):,} of {windows} that differed are loaded again, but"
            line += f" {counted(len(unread), 'window')} could not be read whole."
            return Verdict(ExitCode.API, f"{line} To repair the rest: {_advice(unread)}.")
        line = f"repaired: {windows} loaded again, {counted(written, 'message')} of them new or changed;"
        return Verdict(ExitCode.COMPLETE, f"{line} everything that was compared is equal now.")

    def _cut_short(self, error: BaseException) -> CommandFailed:
        code, line = explain(error)
        reason = "stopped" if code is ExitCode.INTERRUPTED else line.rstrip(".")
        if self.repaired is None:
            done = f"{len(self.compared):,} of {counted(len(self.plan), 'window')} were compared"
        else:
            done = (
                f"{len(self.repaired.complete):,} of {counted(len(self.different), 'window')} are loaded again and stay"
            )
        return CommandFailed(code, f"{reason}; {done}.")


def _unread(compared: Sequence[ComparedWindow]) -> list[WindowRead]:
    """The windows that could not be read whole."""
    return [WindowRead(window.window, error=window.error) for window in compared if window.error is not None]


def _advice(incomplete: Sequence[WindowRead]) -> str:
    refused = any(isinstance(read.error, AccessError) for read in incomplete)
    return "see `mindo check`, then verify again" if refused else "verify again later"


def _total(compared: Sequence[ComparedWindow], kind: str) -> int:
    return sum(getattr(window, kind).count for window in compared)


def _limited(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_ROWS
    return lines if more <= 0 else [*lines[:_MOST_ROWS], f"… and {more:,} more; --json names every window."]


def _differences_table(different: Sequence[ComparedWindow]) -> list[Table | str]:
    """A row per window; adjacent windows of a company share one where there are many."""
    rows = sorted(different, key=lambda compared: (compared.window.company_id, compared.window.start))
    groups = [[row] for row in rows] if len(rows) <= _MOST_ROWS else list(_adjacent(rows))
    table = make_table(
        "company", "from (UTC)", "to (UTC)", ">windows", ">in API", ">in warehouse", *(f">{kind}" for kind in _KINDS)
    )
    for group in groups[:_MOST_ROWS]:
        table.add_row(
            str(group[0].window.company_id),
            moment(group[0].window.start),
            moment(group[-1].window.end),
            f"{len(group):,}",
            f"{sum(row.in_api for row in group):,}",
            f"{sum(row.in_warehouse for row in group):,}",
            *(f"{_total(group, kind):,}" for kind in _KINDS),
        )
    more = len(groups) - _MOST_ROWS
    return [table, *([f"… and {more:,} more ranges that differ; --json names every window."] if more > 0 else [])]


def _adjacent(rows: Sequence[ComparedWindow]) -> Iterator[list[ComparedWindow]]:
    number = 0
    numbered = []
    for before, row in zip([None, *rows], rows, strict=False):
        is_next = before and (before.window.company_id, before.window.end) == (row.window.company_id, row.window.start)
        number += not is_next
        numbered.append((number, row))
    for _, group in groupby(numbered, key=lambda pair: pair[0]):
        yield [row for _, row in group]
