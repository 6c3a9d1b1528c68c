"""What was read completely, per company and selection: the incremental state of the source.

Kept in dlt's resource state, so it travels with the destination and is committed with the rows it speaks of::

    {"companies": {"42": {"<selection key>": {"watermark": "2026-05-01T03:00:00Z",
                                              "covered": [["2026-01-01T00:00:00Z", "2026-05-01T03:00:00Z"]],
                                              "holes": [["2026-04-02T00:00:00Z", "2026-04-03T00:00:00Z"]]}}},
     "backfills": {"<range and selection>": {"42": [["2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"]]}},
     "agents": {"42": {"5": "agt_…"}},
     "forgotten": {"contacts": ["ctc_…"], "conversations": ["conv_…"], "derived": ["conv_…"], "shared": ["conv_…"]}}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from .selection import Selection
from .windows import (
    Range,
    Window,
    contiguous_end,
    format_time,
    merge_ranges,
    parse_time,
    ranges_by_company,
    subtract_ranges,
)


@dataclass(frozen=True)
class Forgotten:
    """Who was erased, and must not be loaded again.

    Attributes:
        contacts: Author ids (`ctc_…`) none of whose messages are loaded.
        conversations: Conversations that were asked for; nothing of them is loaded.
        derived: Conversations in which a forgotten contact wrote and, as far as is known, no other contact. Until one is
            seen there nothing of them is loaded: answers quote the person.
        shared: Conversations in which other contacts wrote too; of these only what the forgotten wrote is left out.
    """

    contacts: frozenset[str] = frozenset()
    conversations: frozenset[str] = frozenset()
    derived: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()


FORGOTTEN_KINDS = tuple(kind.name for kind in fields(Forgotten))


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
        """Ranges read completely with at least this selection, and not tried in vain with it since."""
        pieces: list[Range] = []
        holes: list[Range] = []
        for key, entry in self._entries(company_id, selection):
            own_holes = _read_ranges(entry.get("holes"))
            pieces += subtract_ranges(_read_ranges(entry.get("covered")), own_holes)
            if key == selection.key:
                holes = own_holes
        return subtract_ranges(pieces, holes)

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
            own = [(w.start, w.end) for w in holes if w.company_id == company_id]
            if own:
                entry["holes"] = _write_ranges(merge_ranges([*_read_ranges(entry.get("holes")), *own]))
            reached = contiguous_end(start, self.covered(company_id, selection))
            marks = [mark for mark in (self.watermark(company_id, selection), reached) if mark is not None]
            if marks:
                entry["watermark"] = format_time(max(marks))

    def record_complete(self, selection: Selection, complete: Iterable[Window]) -> set[int]:
        """Adds windows to what is covered without moving a watermark; returns their companies."""
        by_company = ranges_by_company(complete)
        for company_id, ranges in by_company.items():
            entry = self._entry(company_id, selection)
            entry["covered"] = _write_ranges(merge_ranges([*_read_ranges(entry.get("covered")), *ranges]))
            for key, other in self._state["companies"][str(company_id)].items():
                if "holes" in other and selection.contains(Selection.from_key(key)):
                    other["holes"] = _write_ranges(subtract_ranges(_read_ranges(other["holes"]), ranges))
                    if not other["holes"]:
                        del other["holes"]
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

    def finish_backfill(self, backfill: str, company_ids: Iterable[int]) -> None:
        """Forgets a backfill's progress for its companies: the same command then reads its range again."""
        backfills = self._state.get("backfills", {})
        for company_id in company_ids:
            backfills.get(backfill, {}).pop(str(company_id), None)
        if not backfills.get(backfill, True):
            del backfills[backfill]

    def agent_authors(self, company_id: int, agent_ids: Iterable[int]) -> set[str]:
        """The anonymised author ids that agents are known by, as far as they were seen."""
        known = self._state.get("agents", {}).get(str(company_id), {})
        return {known[str(agent)] for agent in agent_ids if str(agent) in known}

    def authors_by_company(self, windows: Iterable[Window], selection: Selection) -> dict[int, set[str]]:
        """The author ids that the agents of a selection are known by, for each company of some windows.

        Only what earlier loads learned counts: what a load may delete must not depend on what it happens to see.
        """
        companies = {window.company_id for window in windows}
        return {company_id: self.agent_authors(company_id, selection.agent_ids) for company_id in companies}

    def record_agents(self, company_id: int, authors: dict[int, str]) -> None:
        """Notes which author id an agent has; writes nothing that is already there."""
        if authors:
            known = self._state.setdefault("agents", {}).setdefault(str(company_id), {})
            known.update({str(agent): author for agent, author in authors.items()})

    def unfinished_backfills(self, company_id: int) -> dict[str, list[Range]]:
        """What unfinished backfills have read of a company, by the name of each: its range and selection."""
        done = {name: self.backfilled(name, company_id) for name in self._state.get("backfills", {})}
        return {name: ranges for name, ranges in done.items() if ranges}

    def known_agents(self, company_id: int) -> int:
        """How many agents of a company are known by their author id."""
        return len(self._state.get("agents", {}).get(str(company_id), {}))

    def rewind(self, company_id: int, moment: datetime) -> None:
        """Takes everything from a moment on out of what counts as read, for all selections and unfinished backfills.

        Watermarks are no later than the moment then.
        """
        company = str(company_id)
        for entry in self._state.get("companies", {}).get(company, {}).values():
            entry["covered"] = _write_ranges(_before(moment, _read_ranges(entry.get("covered"))))
            if "watermark" in entry:
                entry["watermark"] = format_time(min(moment, parse_time(entry["watermark"])))
        for done in self._state.get("backfills", {}).values():
            if company in done:
                done[company] = _write_ranges(_before(moment, _read_ranges(done[company])))

    def drop_company(self, company_id: int) -> None:
        """Drops what is known of a company: it counts as never read. Who was forgotten stays so."""
        company = str(company_id)
        backfills = self._state.get("backfills", {})
        for part in (self._state.get("companies", {}), self._state.get("agents", {}), *backfills.values()):
            part.pop(company, None)
        for name in [name for name, done in backfills.items() if not done]:
            del backfills[name]

    def forgotten(self) -> Forgotten:
        """Who was erased and stays out."""
        ids = self._state.get("forgotten", {})
        return Forgotten(**{name: frozenset(ids.get(name, ())) for name in FORGOTTEN_KINDS})

    def record_forgotten(self, forgotten: Forgotten) -> None:
        """Adds to who must not be loaded again.

        Whether a conversation is derived or shared is as said last; one that was asked for is neither.
        """
        known = self.forgotten()
        conversations = known.conversations | forgotten.conversations
        merged = Forgotten(
            known.contacts | forgotten.contacts,
            conversations,
            ((known.derived - forgotten.shared) | forgotten.derived) - conversations,
            ((known.shared - forgotten.derived) | forgotten.shared) - conversations,
        )
        self._state["forgotten"] = {name: sorted(getattr(merged, name)) for name in FORGOTTEN_KINDS}

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


def _before(moment: datetime, ranges: list[Range]) -> list[Range]:
    return [(start, min(end, moment)) for start, end in ranges if start < moment]
