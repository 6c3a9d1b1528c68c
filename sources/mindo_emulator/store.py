"""Where a changeable world keeps its rows: by company and id, with indexes and encoded lines that changes drop."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import RLock
from types import MappingProxyType

from .corpus import BUSINESSES, business
from .encode import encode_line
from .model import Company, Key, Message, Order, listed

DEFAULT_COMPANIES = (42, 57, 63)


@dataclass(slots=True)
class Row:
    """A message with the time it is found by and its encoded lines.

    Attributes:
        message: The message; change it through the world only.
        micros: Its time, microseconds since 1970. Windows go by this, whatever `occurred_at` prints.
        lines: Encoded lines by set of includes.
    """

    message: Message
    micros: int
    lines: dict[frozenset[str], bytes] = field(default_factory=dict)

    def line(self, include: frozenset[str]) -> bytes:
        """Return the encoded line, from the cache if it is there."""
        line = self.lines.get(include)
        if line is None:
            line = self.lines[include] = encode_line(self.message, include)
        return line


class Store:
    """Companies and rows behind one lock.

    Args:
        companies: Company ids, `Company` objects, or how many of the demo companies.
        seed: Seeds the ids of messages that are added later.
    """

    def __init__(self, companies: Iterable[int | Company] | int = DEFAULT_COMPANIES, seed: int = 1) -> None:
        self._lock = RLock()
        self._seed = seed
        self._added = 0
        self._companies = {company.id: company for company in as_companies(companies)}
        self._rows: dict[int, dict[str, Row]] = {company_id: {} for company_id in self._companies}
        self._index: dict[tuple[int, Order], list[Key]] = {}

    @property
    def companies(self) -> Mapping[int, Company]:
        """The companies by id."""
        return MappingProxyType(self._companies)

    def _owner(self, message_id: str, company_id: int | None) -> int:
        owners = [c for c in listed(company_id, self._companies) if message_id in self._rows.get(c, {})]
        if len(owners) != 1:
            raise LookupError(f"{message_id!r} belongs to {len(owners)} companies; one is needed")
        return owners[0]

    def _row(self, message_id: str, company_id: int | None) -> Row:
        return self._rows[self._owner(message_id, company_id)][message_id]

    def _put(self, company_id: int, message_id: str, row: Row) -> None:
        self._rows[company_id][message_id] = row
        self._drop_index(company_id)

    def _drop_index(self, company_id: int) -> None:
        self._index.pop((company_id, "time"), None)
        self._index.pop((company_id, "shuffled"), None)

    def _keys(self, company_id: int, order: Order) -> list[Key]:
        keys = self._index.get((company_id, order))
        if keys is None:
            rows = self._rows.get(company_id, {})
            if order == "time":
                keys = sorted((row.micros, message_id, company_id) for message_id, row in rows.items())
            else:
                # A checksum of the id: looks random, and stays the same whatever happens to other rows.
                keys = sorted((zlib.crc32(message_id.encode()), message_id, company_id) for message_id in rows)
            self._index[(company_id, order)] = keys
        return keys


def as_companies(companies: Iterable[int | Company] | int) -> list[Company]:
    """Return companies from ids, from a number of demo companies, or as they are."""
    if isinstance(companies, int):
        known = [company.id for company in BUSINESSES]
        companies = [*known, *range(1_001, 1_001 + companies)][:companies]
    return [item if isinstance(item, Company) else business(item) for item in companies]
