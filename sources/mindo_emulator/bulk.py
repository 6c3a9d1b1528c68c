"""A world of millions of messages that keeps only a few thousand, as ready-made bytes with gaps for ids and times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from heapq import merge
from itertools import accumulate, islice
from types import MappingProxyType
from typing import Any, Self

import orjson

from .calendar import Calendar
from .encode import encode_line
from .generate import generate_messages
from .model import Company, Key, Message, Order, PageSlice, Query, listed
from .moments import DAY, as_moment, from_micros, to_micros
from .paths import copied
from .settings import utc_now
from .store import DEFAULT_COMPANIES, as_companies

_TILE = b"\x02"
_TIME = b"\x03"
_TIME_GAP = orjson.Fragment(b'"' + _TIME + b'"')
_IDS = re.compile(rb'"((?:(?:msg|conv|ctc)_[0-9a-f]{16})|(?:[0-9a-f]{24}))[0-9a-f]{8}"')
_LONGEST = 4_000  # characters; the average line should not hang on a few texts of 100 kB
_BASE = 2_500


class BulkWorld:
    """Companies with any number of messages, which cannot be changed.

    A base of a few thousand messages per company is repeated: each repetition (a tile) has ids of its own, and each row
    a time of its own. Rows with one time are served in the order of their row numbers, not of their ids.
    """

    def __init__(self, tilings: Iterable[Tiling]) -> None:
        self._tilings = {tiling.company.id: tiling for tiling in tilings}
        self._companies = {tiling.company.id: tiling.company for tiling in self._tilings.values()}

    @classmethod
    def generate(
        cls,
        *,
        seed: int = 1,
        companies: Iterable[int | Company] | int = DEFAULT_COMPANIES,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        messages: int = 1_000_000,
        awkward: float = 0.03,
    ) -> Self:
        """Return a world with exactly `messages` messages in [start, end), shared evenly by the companies.

        Args:
            seed: Same seed and range, same world.
            companies: Company ids, `Company` objects, or how many of the demo companies.
            start: First moment; default 60 days before `end`.
            end: Moment after the last; default the midnight before now, UTC.
            messages: How many messages, over all companies.
            awkward: Odds that a text or a tool's arguments are awkward.
        """
        last = utc_now().replace(hour=0, minute=0, second=0, microsecond=0) if end is None else as_moment(end)
        first = last - DAY * 60 if start is None else as_moment(start)
        everyone = as_companies(companies)
        edges = [messages * rank // len(everyone) for rank in range(len(everyone) + 1)]
        return cls(
            Tiling(company, first, last, edges[rank + 1] - edges[rank], seed, awkward)
            for rank, company in enumerate(everyone)
        )

    @property
    def companies(self) -> Mapping[int, Company]:
        """The companies by id."""
        return MappingProxyType(self._companies)

    def page(self, query: Query, after: Key | None, limit: int, order: Order = "time") -> PageSlice:
        """Return up to `limit` rows of the query that come after `after`.

        Raises:
            ValueError: for any order but `time`.
        """
        if order != "time":
            raise ValueError("a BulkWorld is served in order of time only")
        streams = [self._tilings[company_id].rows(query, after) for company_id in query.company_ids]
        rows = streams[0] if len(streams) == 1 else merge(*streams)
        found = list(islice(rows, limit + 1))
        more = len(found) > limit
        del found[limit:]
        return PageSlice([line for _, line in found], [key for key, _ in found], more)

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
        """Return how many messages a window holds, without walking over them."""
        ids = listed(company_ids, self._companies)
        agents = None if agent_ids is None else frozenset(agent_ids)
        first = from_micros(0) if start is None else as_moment(start)
        last = utc_now() + timedelta(days=36_500) if end is None else as_moment(end)
        query = Query(ids, first, last, channel, direction, agents)
        return sum(self._tilings[company_id].count(query) for company_id in ids)


class Tiling:
    """The rows of one company: row `n` is message `n % base` of the base, in tile `n // base`."""

    def __init__(self, company: Company, start: datetime, end: datetime, rows: int, seed: int, awkward: float) -> None:
        self.company = company
        self.calendar = Calendar(start, end, rows, company.timezone)
        base = min(_BASE, max(1, rows))
        drawn = generate_messages([company], start, start + DAY * 2, base, seed, awkward)
        self._base = [_gapped(message) for _, message in sorted(drawn, key=lambda pair: pair[0])]
        self._templates: dict[frozenset[str], list[list[bytes]]] = {}
        self._masks: dict[tuple[object, ...], tuple[list[bool], list[int]]] = {}

    def rows(self, query: Query, after: Key | None) -> Iterator[tuple[Key, bytes]]:
        """Yield (key, line) of the rows of a query that come after a key."""
        first, last = self._bounds(query)
        if after is not None:
            first = max(first, self._resume(after))
        mask = self._mask(query)[0]
        templates = self._template(query.include)
        size, company_id, clock = len(self._base), self.company.id, _clock()
        for number, moment, segment in self.calendar.walk(first, last):
            tile, place = divmod(number, size)
            if mask and not mask[place]:
                continue
            seconds, micros = divmod(moment, 1_000_000)
            fraction = b".%06d" % micros if micros else b""
            time = _date(segment.midnight) + clock[seconds] + fraction
            line = time.join(templates[place]).replace(_TILE, _suffix(tile))
            yield (segment.midnight + moment, f"{number:012d}", company_id), line

    def count(self, query: Query) -> int:
        """Return how many rows a query has."""
        first, last = self._bounds(query)
        mask, sums = self._mask(query)
        if not mask:
            return max(0, last - first)
        size = len(mask)
        upto = [end // size * sums[-1] + sums[end % size] for end in (first, max(first, last))]
        return upto[1] - upto[0]

    def _bounds(self, query: Query) -> tuple[int, int]:
        return self.calendar.find(to_micros(query.start)), self.calendar.find(to_micros(query.end))

    def _resume(self, after: Key) -> int:
        number = self.calendar.find(after[0])
        while number < self.calendar.rows:
            if (self.calendar.at(number), f"{number:012d}", self.company.id) > after:
                break
            number += 1
        return number

    def _mask(self, query: Query) -> tuple[list[bool], list[int]]:
        """Return which messages of the base pass the filters (nothing if all do), and how many up to each."""
        if not query.filters:
            return [], []
        name = (query.channel, query.direction, query.agent_ids)
        if name not in self._masks:
            mask = [query.admits(message) for message in self._base]
            self._masks[name] = (mask, [0, *accumulate(mask)])
        return self._masks[name]

    def _template(self, include: frozenset[str]) -> list[list[bytes]]:
        if include not in self._templates:
            self._templates[include] = [
                _IDS.sub(b'"\\1' + _TILE + b'"', encode_line(message, include)).split(_TIME) for message in self._base
            ]
        return self._templates[include]


def _gapped(message: Message) -> Message:
    """Return a base message with gaps for its times."""
    made: dict[str, Any] = copied(message)
    made["occurred_at"] = _TIME_GAP
    for call in made["tool_calls"]:
        call["started_at"] = _TIME_GAP
    text = made["content"]["text"]
    if text is not None:
        made["content"]["text"] = text[:_LONGEST]
    return made


@lru_cache(maxsize=4_096)
def _suffix(tile: int) -> bytes:
    # An odd factor maps tiles one to one onto 32 bits, and the ids of neighbouring tiles look unrelated.
    return b"%08x" % (tile * 2_654_435_761 % 2**32)


@lru_cache(maxsize=4_096)
def _date(midnight: int) -> bytes:
    return from_micros(midnight).strftime("%Y-%m-%dT").encode("ascii")


@lru_cache(maxsize=1)
def _clock() -> list[bytes]:
    return [b"%02d:%02d:%02d" % (second // 3600, second // 60 % 60, second % 60) for second in range(86_400)]
