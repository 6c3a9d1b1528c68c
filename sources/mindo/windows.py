"""Windows: half-open UTC ranges per company, and the arithmetic that plans them.

All ranges here are `[start, end)` pairs of zone-aware UTC datetimes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .exceptions import ConfigurationError
from .settings import MAX_WINDOW

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Range = tuple[datetime, datetime]


@dataclass(frozen=True, order=True)
class Window:
    """One company's messages with `start <= occurred_at < end`; at most 31 days long."""

    start: datetime
    end: datetime
    company_id: int

    def __str__(self) -> str:
        return f"company {self.company_id} [{format_time(self.start)}, {format_time(self.end)})"


def format_time(moment: datetime) -> str:
    """ISO-8601 in UTC with a `Z`; microseconds only where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Reads what `format_time` writes."""
    return datetime.fromisoformat(text).astimezone(UTC)


def merge_ranges(ranges: Iterable[Range]) -> list[Range]:
    """The union of ranges as sorted ranges that neither overlap nor touch."""
    merged: list[Range] = []
    for start, end in sorted(r for r in ranges if r[0] < r[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def ranges_by_company(windows: Iterable[Window]) -> dict[int, list[Range]]:
    """Windows as merged ranges, by company."""
    by_company: dict[int, list[Range]] = {}
    for window in windows:
        by_company.setdefault(window.company_id, []).append((window.start, window.end))
    return {company_id: merge_ranges(ranges) for company_id, ranges in by_company.items()}


def subtract_ranges(ranges: Iterable[Range], removed: Iterable[Range]) -> list[Range]:
    """What of `ranges` no range of `removed` holds."""
    left = merge_ranges(ranges)
    for hole_start, hole_end in merge_ranges(removed):
        pieces: list[Range] = []
        for start, end in left:
            pieces += [(start, min(end, hole_start)), (max(start, hole_end), end)]
        left = [piece for piece in pieces if piece[0] < piece[1]]
    return left


def intersect_ranges(ranges: Iterable[Range], kept: Iterable[Range]) -> list[Range]:
    """What of `ranges` some range of `kept` holds."""
    merged = merge_ranges(ranges)
    return subtract_ranges(merged, subtract_ranges(merged, kept))


def contiguous_end(start: datetime, covered: Iterable[Range]) -> datetime | None:
    """How far `covered` reaches from `start` without a gap; `None` if it doesn't hold `start`."""
    return next((end for begin, end in merge_ranges(covered) if begin <= start < end), None)


def floor_to_step(moment: datetime, step: timedelta) -> datetime:
    """The last multiple of `step` since 1970 that is not after `moment`: midnight UTC for a day."""
    return moment - (moment - EPOCH) % step


def split_range(start: datetime, end: datetime, step: timedelta) -> Iterator[Range]:
    """Cuts `[start, end)` at every multiple of `step`: no gap, no overlap, nothing left out.

    Cutting on a fixed grid gives the same windows on every night, whatever the time of the run.
    """
    while start < end:
        cut = min(floor_to_step(start, step) + step, end)
        yield start, cut
        start = cut


def plan_windows(company_id: int, ranges: Iterable[Range], step: timedelta) -> list[Window]:
    """The windows that tile the union of `ranges` for a company, oldest first.

    Raises:
        ConfigurationError: If `step` is not positive or longer than the API's 31 days.
    """
    if not timedelta(0) < step <= MAX_WINDOW:
        raise ConfigurationError("window_hours: must be more than 0 and at most 744 (the API reads 31 days at most).")
    return [
        Window(start, end, company_id)
        for first, last in merge_ranges(ranges)
        for start, end in split_range(first, last, step)
    ]


def increment_ranges(
    start: datetime,
    now: datetime,
    covered: Iterable[Range],
    watermark: datetime | None,
    lookback: timedelta,
    step: timedelta,
) -> list[Range]:
    """What a nightly run reads: all of `[start, now)` not yet covered, and the lookback again.

    The lookback starts on the grid of `step`, so a re-read day is a whole day.

    Args:
        start: Where the company's history begins, by configuration.
        now: The end of the run's range.
        covered: Ranges that earlier runs read completely.
        watermark: Up to where the tables are without a gap; `None` before the first run.
        lookback: How far behind the watermark late rows, changes and deletions are looked for.
        step: The length of a window.
    """
    ranges = subtract_ranges([(start, now)], covered)
    if watermark is not None:
        ranges.append((max(start, floor_to_step(watermark - lookback, step)), now))
    return merge_ranges(ranges)
