"""How far each company is loaded, and what went wrong: from the state and the ledger, never from traffic."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from mindo import Coverage, Selection
from mindo.windows import Range, subtract_ranges

from . import questions
from .reader import Reader
from .scope import Company

_DAY: Final = timedelta(days=1)
_EVERYTHING: Final = Selection().key
_LATE: Final = timedelta(hours=36)
_TECHNICAL: Final = "_"

COMPLETE, PART, GAP, OUTSIDE = "complete", "part", "gap", "outside"
"""What is true of a day: read whole, read in part, not read although days around it were, or not within what was ever read."""


@dataclass(frozen=True)
class Days:
    """Days of a company in UTC, as windows are.

    Attributes:
        day: The first day.
        states: What is true of each day from then on.
    """

    day: date
    states: list[str]

    def each(self) -> list[tuple[date, str]]:
        """The days with their states."""
        return [(self.day + number * _DAY, state) for number, state in enumerate(self.states)]


@dataclass(frozen=True)
class Reading:
    """What was read of a company with one combination of filters.

    Attributes:
        company: The company.
        filters: The filters, empty if there were none.
        watermark: Up to where the tables are gap-free.
        first: From when on something was read.
        gaps: Ranges that were not read whole, between the first and the last time that were.
        days: The calendar.
    """

    company: Company
    filters: str
    watermark: datetime | None
    first: datetime | None
    gaps: list[Range]
    days: Days

    def age(self, now: datetime) -> timedelta | None:
        """How old the watermark is."""
        return now - self.watermark if self.watermark else None

    def is_late(self, now: datetime) -> bool:
        """Whether it is behind what a nightly run would have reached."""
        age = self.age(now)
        return age is None or age > _LATE


@dataclass(frozen=True)
class SchemaChange:
    """A column that a load added.

    Attributes:
        added_at: When dlt noted it.
        table: The table.
        column: The column.
        data_type: dlt's name of its type.
    """

    added_at: datetime
    table: str
    column: str
    data_type: str


@dataclass(frozen=True)
class Failure:
    """Something that a later run, or somebody, has to mend.

    Attributes:
        company_id: Whose.
        start: From when on, UTC.
        end: Until when, exclusive.
        what: What happened.
        remedy: What to do.
    """

    company_id: int
    start: datetime
    end: datetime
    what: str
    remedy: str


@dataclass(frozen=True)
class Health:
    """All of it, at one time.

    Attributes:
        now: The time.
        readings: A row per company and combination of filters, those furthest behind first.
        failures: What has to be mended.
        runs: The last runs, the latest first; see `questions.runs`.
        schema_changes: The last columns that were added, the latest first.
        is_part_of_copy: Whether a copy into the warehouse broke off.
    """

    now: datetime
    readings: list[Reading]
    failures: list[Failure]
    runs: list[dict[str, Any]]
    schema_changes: list[SchemaChange]
    is_part_of_copy: bool

    @property
    def late(self) -> list[Reading]:
        """Those that are behind."""
        return [reading for reading in self.readings if reading.is_late(self.now)]

    @property
    def gaps(self) -> int:
        """How many gaps there are."""
        return sum(len(reading.gaps) for reading in self.readings)


def health(
    reader: Reader, companies: Sequence[Company], days: tuple[date, date], now: datetime | None = None
) -> Health:
    """Asks for all of it.

    Args:
        reader: The warehouse.
        companies: Which companies.
        days: First and last day of the calendar, inclusive, UTC.
        now: The clock.
    """
    clock = now or datetime.now(UTC)
    coverage = reader.coverage
    readings = [
        _reading(coverage, company, selection, days)
        for company in companies
        for selection in _widest(coverage.selections(company.id))
    ]
    oldest = datetime.min.replace(tzinfo=UTC)
    return Health(
        clock,
        sorted(readings, key=lambda reading: (reading.watermark or oldest, reading.company.id)),
        _failures(reader, readings, {company.id for company in companies}),
        questions.runs(reader),
        schema_changes(questions.schemas(reader)),
        reader.holds_part_of_copy,
    )


def _widest(selections: list[Selection]) -> list[Selection]:
    """Selections that no other one contains."""
    return [s for s in selections if not any(other != s and other.contains(s) for other in selections)]


def _reading(coverage: Coverage, company: Company, selection: Selection, days: tuple[date, date]) -> Reading:
    covered = coverage.covered(company.id, selection)
    whole = [(covered[0][0], covered[-1][1])] if covered else []
    return Reading(
        company,
        "" if selection.key == _EVERYTHING else selection.key,
        coverage.watermark(company.id, selection),
        covered[0][0] if covered else None,
        subtract_ranges(whole, covered),
        calendar(covered, *days),
    )


def calendar(covered: Sequence[Range], first: date, last: date) -> Days:
    """What is true of each day, by what was read completely.

    Args:
        covered: Ranges, UTC, in order.
        first: First day.
        last: Last day, inclusive.
    """
    states = []
    for number in range((last - first).days + 1):
        start = datetime.combine(first + number * _DAY, time(), UTC)
        missing = subtract_ranges([(start, start + _DAY)], covered)
        if not missing:
            states.append(COMPLETE)
        elif missing != [(start, start + _DAY)]:
            states.append(PART)
        elif covered and covered[0][0] < start < covered[-1][1]:
            states.append(GAP)
        else:
            states.append(OUTSIDE)
    return Days(first, states)


def _failures(reader: Reader, readings: Sequence[Reading], company_ids: set[int]) -> list[Failure]:
    found = [
        Failure(company_id, start, end, "its load failed", "the next run of it reads it again")
        for company_id, _, (start, end) in reader.unfinished
        if company_id in company_ids
    ]
    found += [
        Failure(
            reading.company.id,
            start,
            end,
            "was never read whole",
            f"mindo backfill --companies {reading.company.id} --from {_typed(start)} --to {_typed(end)}",
        )
        for reading in readings
        for start, end in reading.gaps
    ]
    coverage = reader.coverage
    for company_id in sorted(company_ids):
        for name, ranges in coverage.unfinished_backfills(company_id).items():
            if ranges:
                remedy = f"give the same command again ({name})"
                found.append(Failure(company_id, ranges[0][0], ranges[-1][1], "its backfill has not ended", remedy))
    return sorted(found, key=lambda failure: failure.start, reverse=True)


def _typed(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return text.removesuffix("T00:00:00Z")


def schema_changes(schemas: Sequence[dict[str, Any]]) -> list[SchemaChange]:
    """Columns that a schema has and the one before it had not; of new tables nothing is told.

    Args:
        schemas: Rows of `questions.schemas`, the latest first.
    """
    found: list[SchemaChange] = []
    columns = [_columns(row["schema"]) for row in schemas]
    for number, (row, after) in enumerate(zip(schemas, columns, strict=True)):
        before = columns[number + 1] if number + 1 < len(columns) else after
        found += [
            SchemaChange(row["inserted_at"], table, column, kind)
            for table, own in after.items()
            for column, kind in own.items()
            if table in before and column not in before[table]
        ]
    return found


def _columns(schema: str) -> dict[str, dict[str, str]]:
    """Tables with their columns, as far as there are any; dlt's own are left out."""
    tables: dict[str, Any] = json.loads(schema).get("tables", {})
    return {
        name: {
            column: str(about["data_type"])
            for column, about in table.get("columns", {}).items()
            if "data_type" in about and not column.startswith(_TECHNICAL)
        }
        for name, table in tables.items()
        if not name.startswith(_TECHNICAL)
    }
