"""What was read completely, per company and selection: the incremental state of the source.

Kept in dlt's resource state, so it travels with the destination and is committed with the rows it speaks of::

    {"companies": {"42": {"<selection key>": {"watermark": "2026-05-01T03:00:00Z",
                                              "covered": [["2026-01-01T00:00:00Z", "2026-05-01T03:00:00Z"]]}}},
     "backfills": {"<range and selection>": {"42": [["2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"]]}},
     "agents": {"42": {"5": "agt_…"}}}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from .selection import Selection
from .windows import Range, Window, contiguous_end, format_time, merge_ranges, parse_time, subtract_ranges


class Coverage:
    """Reads and writes the state dictionary that it wraps."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    def company_ids(self) -> list[int]:
        """Companies with any state, sorted."""
        return sorted(int(company) for company in self._state.get("companies", {}))

    def selections(self, company_id: int) -> list[Selection]:
        """What was read of a company, each selection on its own."""
        return [Selection.from_key(key) for key in self._state.get("companies", {}).get(str(company_id), {})]

    def covered(self, company_id: int, selection: Selection) -> list[Range]:
        """Ranges read completely with at least this selection."""
        return merge_ranges(
            piece for _, entry in self._entries(company_id, selection) for piece in _read_ranges(entry.get("covered"))
        )

    def watermark(self, company_id: int, selection: Selection) -> datetime | None:
        """Up to where the tables are gap-free for at least this selection; `None` before the first run."""
        marks = [
            parse_time(entry["watermark"]) for _, entry in self._entries(company_id, selection) if "watermark" in entry
        ]
        return max(marks, default=None)

    def record_increment(
        self, start: datetime, selection: Selection, complete: Iterable[Window], incomplete: Iterable[Window]
    ) -> None:
        """Notes the windows of an incremental run; the watermark moves over complete windows only.

        An incomplete window is a hole from now on: the watermark can't pass it, and the next run reads it again.

        Args:
            start: Where the history begins, by configuration.
            selection: What was read.
            complete: Windows read whole.
            incomplete: Windows that could not be proven complete.
        """
        holes = list(incomplete)
        for company_id in self.record_complete(selection, complete) | {w.company_id for w in holes}:
            entry = self._entry(company_id, selection)
            covered = subtract_ranges(
                self.covered(company_id, selection), [(w.start, w.end) for w in holes if w.company_id == company_id]
            )
            entry["covered"] = _write_ranges(covered)
            reached = contiguous_end(start, covered)
            marks = [mark for mark in (self.watermark(company_id, selection), reached) if mark is not None]
            if marks:
                entry["watermark"] = format_time(max(marks))

    def record_complete(self, selection: Selection, complete: Iterable[Window]) -> set[int]:
        """Adds windows to what is covered without moving a watermark; returns their companies."""
        by_company: dict[int, list[Range]] = {}
        for window in complete:
            by_company.setdefault(window.company_id, []).append((window.start, window.end))
        for company_id, ranges in by_company.items():
            entry = self._entry(company_id, selection)
            entry["covered"] = _write_ranges(merge_ranges([*_read_ranges(entry.get("covered")), *ranges]))
        return set(by_company)

    def backfilled(self, backfill: str, company_id: int) -> list[Range]:
        """What an unfinished backfill has already read of a company."""
        return _read_ranges(self._state.get("backfills", {}).get(backfill, {}).get(str(company_id)))

    def record_backfill(self, backfill: str, complete: Iterable[Window]) -> None:
        """Notes the windows of a backfill, so that the same command resumes behind them."""
        done = self._state.setdefault("backfills", {}).setdefault(backfill, {})
        for window in complete:
            company = str(window.company_id)
            done[company] = _write_ranges(merge_ranges([*_read_ranges(done.get(company)), (window.start, window.end)]))

    def finish_backfill(self, backfill: str) -> None:
        """Forgets a backfill's progress: the same command then reads its range again."""
        self._state.get("backfills", {}).pop(backfill, None)

    def agent_authors(self, company_id: int, agent_ids: Iterable[int]) -> set[str]:
        """The anonymised author ids that agents are known by, as far as they were seen."""
        known = self._state.get("agents", {}).get(str(company_id), {})
        return {known[str(agent)] for agent in agent_ids if str(agent) in known}

    def record_agents(self, company_id: int, authors: dict[int, str]) -> None:
        """Notes which author id an agent has; writes nothing that is already there."""
        if authors:
            known = self._state.setdefault("agents", {}).setdefault(str(company_id), {})
            known.update({str(agent): author for agent, author in authors.items()})

    def _entries(self, company_id: int, selection: Selection) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, entry in self._state.get("companies", {}).get(str(company_id), {}).items():
            if Selection.from_key(key).contains(selection):
                yield key, entry

    def _entry(self, company_id: int, selection: Selection) -> dict[str, Any]:
        company = self._state.setdefault("companies", {}).setdefault(str(company_id), {})
        entry: dict[str, Any] = company.setdefault(selection.key, {})
        return entry


def _read_ranges(pairs: list[list[str]] | None) -> list[Range]:
    return [(parse_time(start), parse_time(end)) for start, end in pairs or []]


def _write_ranges(ranges: Iterable[Range]) -> list[list[str]]:
    return [[format_time(start), format_time(end)] for start, end in ranges]
