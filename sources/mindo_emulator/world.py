"""A world of conversations that can be changed while it is served."""

from __future__ import annotations

import contextlib
import gc
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Self

from .changes import Changes
from .generate import generate_messages
from .model import DEFAULT_INCLUDE, Company, Key, Message, Order, PageSlice, Query, listed
from .moments import DAY, as_moment, from_micros, to_micros
from .paths import copied
from .settings import utc_now
from .store import DEFAULT_COMPANIES, Row
from .truth import visible, wanted

DEFAULT_DAYS = 60


def period(start: datetime | str | None, end: datetime | str | None, days: int) -> tuple[datetime, datetime]:
    """Return [start, end) in UTC; by default the `days` before `end`, and `end` is the next full minute."""
    last = utc_now().replace(second=0, microsecond=0) + timedelta(minutes=1) if end is None else as_moment(end)
    return (last - DAY * days if start is None else as_moment(start)), last


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector: a million new objects without a cycle make it search over and over."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


class World(Changes):
    """Companies and their messages; every method may be called from any thread.

    `World(companies=[42])` is empty; `World.generate(...)` is full of conversations.
    """

    @classmethod
    def generate(
        cls,
        *,
        seed: int = 1,
        companies: Iterable[int | Company] | int = DEFAULT_COMPANIES,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        messages: int = 8_000,
        awkward: float = 0.03,
    ) -> Self:
        """Return a world with exactly `messages` messages in [start, end), the same for the same arguments.

        Args:
            seed: Same seed and range, same world.
            companies: Company ids, `Company` objects, or how many of the demo companies.
            start: First moment; default 60 days before `end`.
            end: Moment after the last; default now. Give it when the world has to be the same tomorrow.
            messages: How many messages, over all companies.
            awkward: Odds that a text or a tool's arguments are awkward (emoji, quotes, NUL, 100 kB, ...).
        """
        world = cls(companies, seed)
        first, last = period(start, end, DEFAULT_DAYS)
        everyone = list(world._companies.values())
        with collector_paused():
            for moment, message in generate_messages(everyone, first, last, messages, seed, awkward):
                row = Row(message, to_micros(moment))
                world._rows[message["metadata"]["company_id"]][message["message_id"]] = row
        return world

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """The times of the first and the last message, or None if there is no message."""
        with self._lock:
            times = [row.micros for rows in self._rows.values() for row in rows.values()]
        return (from_micros(min(times)), from_micros(max(times))) if times else None

    def messages(self, company_id: int | None = None) -> list[Message]:
        """Return copies of the messages of a company (or of all), in (occurred_at, message_id) order."""
        with self._lock:
            keys = merge(*(self._keys(company, "time") for company in listed(company_id, self._companies)))
            return [copied(self._rows[company][message_id].message) for _, message_id, company in keys]

    def message(self, message_id: str, company_id: int | None = None) -> Message:
        """Return a copy of one message."""
        with self._lock:
            found: Message = copied(self._row(message_id, company_id).message)
        return found

    def truth(
        self,
        company_ids: int | Iterable[int] | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        *,
        channel: str = "all",
        agent_ids: Iterable[int] | None = None,
        direction: str = "all",
        include: Collection[str] = DEFAULT_INCLUDE,
    ) -> list[Message]:
        """Return what the API has to return for a window, less `metadata.exported_at`; no bounds mean no limit."""
        with self._lock:
            found = self._wanted(company_ids, start, end, channel, agent_ids, direction)
            return [visible(message, include) for message in found]

    def count(
        self,
        company_ids: int | Iterable[int] | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        *,
        channel: str = "all",
        agent_ids: Iterable[int] | None = None,
        direction: str = "all",
    ) -> int:
        """Return how many messages a window holds."""
        with self._lock:
            return sum(1 for _ in self._wanted(company_ids, start, end, channel, agent_ids, direction))

    def _wanted(
        self,
        company_ids: int | Iterable[int] | None,
        start: datetime | str | None,
        end: datetime | str | None,
        channel: str,
        agent_ids: Iterable[int] | None,
        direction: str,
    ) -> Iterator[Message]:
        first = None if start is None else as_moment(start)
        last = None if end is None else as_moment(end)
        agents = None if agent_ids is None else set(agent_ids)
        for company_id in listed(company_ids, self._companies):
            for row in self._rows.get(company_id, {}).values():
                if wanted(from_micros(row.micros), row.message, first, last, channel, agents, direction):
                    yield row.message

    def page(self, query: Query, after: Key | None, limit: int, order: Order = "time") -> PageSlice:
        """Return up to `limit` rows of the query that come after `after`."""
        with self._lock:
            found = list(islice(self._matching(query, after, order), limit + 1))
            kept = found[:limit]
            lines = [self._rows[company][message_id].line(query.include) for _, message_id, company in kept]
        return PageSlice(lines, kept, more=len(found) > limit)

    def _matching(self, query: Query, after: Key | None, order: Order) -> Iterator[Key]:
        start, end = to_micros(query.start), to_micros(query.end)
        streams = []
        for company in query.company_ids:
            keys = self._keys(company, order)
            first = 0 if after is None else bisect_right(keys, after)
            last = len(keys)
            if order == "time":
                first = max(first, bisect_left(keys, (start, "", -1)))
                last = bisect_left(keys, (end, "", -1))
            streams.append(islice(keys, first, last))
        for key in merge(*streams) if len(streams) > 1 else streams[0]:
            row = self._rows[key[2]][key[1]]
            if start <= row.micros < end and (not query.filters or query.admits(row.message)):
                yield key
