"""Times for millions of rows without storing them: a formula from row number to microsecond, and back."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from zoneinfo import ZoneInfo

from .generate import HOUR_WEIGHTS, WEEKDAY_WEIGHTS
from .moments import DAY_MICROS, from_micros, to_micros

_STEPS = 1 << 16
_HOUR_MICROS = DAY_MICROS // 24


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of rows within one UTC day.

    Attributes:
        first: Number of its first row.
        rows: How many rows it has.
        midnight: The midnight before it, microseconds since 1970.
        low: Where its rows begin in the day's curve.
        high: Where they end.
    """

    first: int
    rows: int
    midnight: int
    low: int
    high: int


class Calendar:
    """Spreads rows over [start, end) with the rhythm of days and hours of a time zone; times never decrease.

    Args:
        start: First moment.
        end: Moment after the last.
        rows: How many rows.
        timezone: IANA name.

    Raises:
        ValueError: if the range is too short to hold rows.
    """

    def __init__(self, start: datetime, end: datetime, rows: int, timezone: str) -> None:
        offset = start.astimezone(ZoneInfo(timezone)).utcoffset()
        self._curve = _day_curve(round(offset.total_seconds() / 3600) if offset else 0)
        self.rows = rows
        self.segments = list(self._cut(start, end, rows))
        if rows and not self.segments:
            raise ValueError("the range is too short")
        self._firsts = [segment.first for segment in self.segments]

    def _cut(self, start: datetime, end: datetime, rows: int) -> Iterator[Segment]:
        first, last = to_micros(start), to_micros(end)
        days: list[tuple[int, int, int, float]] = []
        midnight = first - first % DAY_MICROS
        while midnight < last:
            low = bisect_left(self._curve, max(0, first - midnight))
            high = bisect_right(self._curve, min(DAY_MICROS, last - midnight)) - 1
            if low < high:
                weight = (high - low) * WEEKDAY_WEIGHTS[from_micros(midnight).weekday()]
                days.append((midnight, low, high, weight))
            midnight += DAY_MICROS
        sums = list(accumulate(day[3] for day in days))
        done = 0
        for (midnight, low, high, _), total in zip(days, sums, strict=True):
            upto = round(rows * total / sums[-1])
            if upto > done:
                yield Segment(done, upto - done, midnight, low, high)
            done = upto

    def within(self, segment: Segment, place: int) -> int:
        """Return the time of day, in microseconds, of a segment's row."""
        if place % 16 == 1:
            # Every sixteenth row shares the time of the row before: ties for page edges to cut through.
            place -= 1
        position = segment.low * segment.rows + place * (segment.high - segment.low)
        step, rest = divmod(position, segment.rows)
        start = self._curve[step]
        return start + (self._curve[step + 1] - start) * rest // segment.rows

    def at(self, number: int) -> int:
        """Return the time of a row, in microseconds since 1970."""
        segment = self.segments[bisect_right(self._firsts, number) - 1]
        return segment.midnight + self.within(segment, number - segment.first)

    def find(self, micros: int) -> int:
        """Return the number of the first row at this time or later."""
        return bisect_left(range(self.rows), micros, key=self.at)

    def walk(self, first: int, last: int) -> Iterator[tuple[int, int, Segment]]:
        """Yield (row number, time of day, segment) for the rows from `first` to before `last`."""
        for segment in self.segments[max(0, bisect_right(self._firsts, first) - 1) :]:
            for number in range(max(first, segment.first), min(last, segment.first + segment.rows)):
                yield number, self.within(segment, number - segment.first), segment
            if segment.first + segment.rows >= last:
                return


def _day_curve(offset_hours: int) -> array[int]:
    """Return times of the UTC day, strictly rising, that cut it into parts of equal traffic."""
    weights = [HOUR_WEIGHTS[(hour + offset_hours) % 24] for hour in range(24)]
    sums = [0, *accumulate(weights)]
    curve = array("q", [0])
    hour = 0
    for step in range(1, _STEPS):
        mass = step * sums[-1] / _STEPS
        while sums[hour + 1] <= mass:
            hour += 1
        moment = int((hour + (mass - sums[hour]) / weights[hour]) * _HOUR_MICROS)
        curve.append(max(moment, curve[-1] + 1))
    curve.append(DAY_MICROS)
    return curve
