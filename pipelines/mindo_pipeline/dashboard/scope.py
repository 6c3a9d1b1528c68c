"""What a page is about: which companies, and which days of their own clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

_MOST_SINGLE_DAYS: Final = 120
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Company:
    """A company and its clock.

    Attributes:
        id: Its number.
        name: Its name, where it is known.
        zone: Its IANA time zone; UTC where none is known, or one that doesn't exist.
    """

    id: int
    name: str | None
    zone: str

    @property
    def title(self) -> str:
        """How people call it."""
        return self.name or f"Company {self.id}"


@dataclass(frozen=True)
class Scope:
    """Companies and days.

    Attributes:
        companies: At least one.
        first: First day, on each company's own clock.
        last: Last day, inclusive.
    """

    companies: tuple[Company, ...]
    first: date
    last: date

    @property
    def step(self) -> str:
        """What a point in time of a chart stands for: `day`, or `week` where days are too many."""
        return "day" if (self.last - self.first).days < _MOST_SINGLE_DAYS else "week"

    @property
    def days(self) -> int:
        """How many days."""
        return (self.last - self.first).days + 1

    @property
    def steps(self) -> list[date]:
        """The points in time of a chart; weeks by their Monday."""
        if self.step == "day":
            return [self.first + number * _DAY for number in range(self.days)]
        monday = self.first - self.first.weekday() * _DAY
        return [monday + number * 7 * _DAY for number in range((self.last - monday).days // 7 + 1)]

    def bounds(self, company: Company) -> tuple[datetime, datetime]:
        """The half-open range of a company's days, UTC."""
        zone = ZoneInfo(company.zone)
        start, end = (datetime.combine(day, time(), zone) for day in (self.first, self.last + _DAY))
        return start.astimezone(UTC), end.astimezone(UTC)

    def table(self) -> tuple[str, list[Any]]:
        """The companies as a table of SQL: `scope (company_id, zone, since, until)`.

        Returns:
            Its definition for a WITH clause, and the values for its parameters.
        """
        values = [[company.id, company.zone, *self.bounds(company)] for company in self.companies]
        rows = ", ".join(["(%s, %s, %s, %s)"] * len(values))
        return f"scope (company_id, zone, since, until) AS (VALUES {rows})", [cell for row in values for cell in row]

    def overall(self) -> tuple[datetime, datetime]:
        """The range that holds those of all companies, for the database to skip the rest by."""
        bounds = [self.bounds(company) for company in self.companies]
        return min(start for start, _ in bounds), max(end for _, end in bounds)


def whole_days(start: datetime, end: datetime, companies: Sequence[Company]) -> tuple[date, date]:
    """The first and last day that a half-open range in UTC touches on any of the companies' clocks."""
    zones = {company.zone for company in companies} or {"UTC"}
    last = end - timedelta(microseconds=1)
    return (
        min(start.astimezone(ZoneInfo(zone)).date() for zone in zones),
        max(last.astimezone(ZoneInfo(zone)).date() for zone in zones),
    )
