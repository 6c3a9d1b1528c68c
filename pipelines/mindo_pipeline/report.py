"""What a run did, as the JSON object and as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from rich.table import Table

from mindo import Company, Coverage, Options, Window
from mindo.columns import CHILD_TABLES, MESSAGES
from mindo.exceptions import WindowShrunk
from mindo.reader import WindowRead
from mindo.windows import format_time, merge_ranges, parse_time

from .console import clean, counted, json_time, make_table, moment
from .running import Outcome

TABLES = (MESSAGES, *CHILD_TABLES.values())
_MOST_LINES = 20


def outcome_document(
    outcome: Outcome, options: Options, companies: Sequence[Company], coverage: Coverage | None
) -> dict[str, Any]:
    """The part of the JSON object that tells of windows and rows.

    Args:
        outcome: What was done.
        options: What was asked for.
        companies: Whose messages were read.
        coverage: The state after the last load that was committed.
    """
    marks = {c.company_id: coverage.watermark(c.company_id, options.selection) if coverage else None for c in companies}
    return {
        "run_id": outcome.run_id,
        "companies": [{"company_id": c.company_id, "name": c.name, "timezone": c.timezone} for c in companies],
        "windows": list(_windows(outcome)),
        "rows": outcome.rows,
        "schema_changes": [vars(change) for change in outcome.changes],
        "watermarks": {str(company): json_time(mark) for company, mark in marks.items()},
    }


def _windows(outcome: Outcome) -> Iterator[dict[str, Any]]:
    complete = {loaded.read.window: loaded for loaded in outcome.complete}
    incomplete = {read.window: read for read in outcome.incomplete}
    for window in outcome.planned:
        loaded = complete.get(window)
        read = loaded.read if loaded else incomplete.get(window)
        yield {
            **window_document(window),
            "status": "complete" if loaded else failed_status(read) if read else "not_reached",
            "counts": loaded.rows if loaded else {},
            "pages": read.page_count if read else 0,
            "requests": read.requests if read else 0,
            "retries": read.retries if read else 0,
            "bytes": read.bytes if read else 0,
            "error": str(read.error) if read and read.error else None,
        }


def failed_status(read: WindowRead) -> str:
    """What became of a window of which nothing was loaded."""
    return "refused" if isinstance(read.error, WindowShrunk) else "incomplete"


def window_document(window: Window) -> dict[str, Any]:
    """A window as JSON."""
    return {
        "company_id": window.company_id,
        "start": format_time(window.start),
        "end": format_time(window.end),
    }


@dataclass(frozen=True)
class NotLoaded:
    """Adjacent windows of which nothing was loaded, all for the same reason."""

    company_id: int
    status: str
    reason: str
    start: datetime
    end: datetime
    windows: int

    @property
    def line(self) -> str:
        """For people."""
        return (
            f"{self.status}: company {self.company_id} [{format_time(self.start)}, {format_time(self.end)})"
            f" ({counted(self.windows, 'window')}): {clean(self.reason)}"
        )

    @property
    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "company_id": self.company_id,
            "start": format_time(self.start),
            "end": format_time(self.end),
            "windows": self.windows,
            "error": self.reason,
        }


def ranges_not_loaded(windows: Iterable[Mapping[str, Any]]) -> list[NotLoaded]:
    """The incomplete and the refused ones of windows as JSON; adjacent ones with the same reason are one range."""
    failed = sorted((w for w in windows if w["error"]), key=lambda w: (*_told_together(w), parse_time(w["start"])))
    found = []
    for told, group in groupby(failed, key=_told_together):
        spans = [(parse_time(window["start"]), parse_time(window["end"])) for window in group]
        for start, end in merge_ranges(spans):
            found.append(NotLoaded(*told, start, end, sum(start <= span[0] < end for span in spans)))
    return found


def incomplete_lines(outcome: Outcome) -> list[str]:
    """The incomplete and the refused windows with their reasons; adjacent ones with the same reason on one line."""
    failed = [
        {**window_document(read.window), "status": failed_status(read), "error": str(read.error)}
        for read in outcome.incomplete
    ]
    lines = [missing.line for missing in ranges_not_loaded(failed)]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"… and {len(lines) - _MOST_LINES} more; --json names them all."]
    return lines


def _told_together(window: Mapping[str, Any]) -> tuple[int, str, str]:
    return window["company_id"], window["status"], window["error"]


def companies_table(
    outcome: Outcome, options: Options, companies: Sequence[Company], coverage: Coverage | None
) -> Table:
    """A row per company: its windows, its messages and how far it is loaded without a gap."""
    table = make_table("company", "name", ">windows", ">messages", "complete up to (UTC)")
    for company in companies:
        company_id = company.company_id
        planned = sum(window.company_id == company_id for window in outcome.planned)
        loaded = [window for window in outcome.complete if window.read.window.company_id == company_id]
        mark = coverage.watermark(company_id, options.selection) if coverage else None
        table.add_row(
            str(company_id),
            clean(company.name or "-"),
            str(planned) if len(loaded) == planned else f"{len(loaded)} of {planned}",
            f"{sum(window.rows[MESSAGES] for window in loaded):,}",
            moment(mark),
        )
    return table


def rows_table(outcome: Outcome) -> Table:
    """Rows per table that the complete windows have."""
    table = make_table("table", ">rows read")
    for name, rows in outcome.rows.items():
        table.add_row(name, f"{rows:,}")
    return table


def change_lines(outcome: Outcome) -> list[str]:
    """The columns that the run added, a line per table."""
    lines = []
    for title, is_variant in (("new columns", False), ("values of another type, kept in columns of their own", True)):
        added = sorted({(c.table, c.column, c.data_type) for c in outcome.changes if c.is_variant is is_variant})
        if added:
            lines.append(f"{title}:")
        for table, columns in groupby(added, key=lambda change: change[0]):
            lines.append(clean(f"  {table}: {', '.join(f'{column} ({kind})' for _, column, kind in columns)}"))
    return [*lines, ""] if lines else []
