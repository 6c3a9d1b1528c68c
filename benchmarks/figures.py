"""Medians and ratios of measured runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from statistics import median

from .measuring import FINISHED
from .records import Record

Value = Callable[[Record], float]


def rate(record: Record) -> float:
    """Messages per second."""
    return float(record["messages"] / record["seconds"])


def seconds(record: Record) -> float:
    return float(record["seconds"])


def cpu_seconds(record: Record) -> float:
    return float(record["cpu_seconds"])


def megabytes(record: Record) -> float:
    return float(record["peak_megabytes"])


@dataclass(frozen=True)
class Runs:
    """Runs of the same thing that finished and loaded the right rows."""

    records: tuple[Record, ...]

    def middle(self, value: Value) -> float:
        return median(value(record) for record in self.records)

    def ends(self, value: Value) -> tuple[float, float]:
        values = sorted(value(record) for record in self.records)
        return values[0], values[-1]

    def of_rounds(self, rounds: Set[int]) -> Runs:
        return Runs(tuple(record for record in self.records if record["round"] in rounds))

    @property
    def messages(self) -> int:
        return int(self.records[0]["messages"])


@dataclass(frozen=True)
class Ratio:
    """The ratio of two medians, and the least and the greatest ratio of a single round."""

    value: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"{self.value:.1f}x ({self.least:.1f} to {self.greatest:.1f})"


def ratio(above: Runs, below: Runs, value: Value) -> Ratio:
    """How often `below` goes into `above`, over the rounds that both have; over all rounds if they have none in common."""
    common = {record["round"] for record in above.records} & {record["round"] for record in below.records}
    if common:
        above, below = above.of_rounds(common), below.of_rounds(common)
    rounds = {record["round"]: value(record) for record in below.records}
    single = [value(record) / rounds[record["round"]] for record in above.records if record["round"] in rounds]
    middle = above.middle(value) / below.middle(value)
    return Ratio(middle, min(single, default=middle), max(single, default=middle))


def finished(records: Iterable[Record], **members: object) -> Runs | None:
    """The finished runs that have these members, if there is one."""
    found = [
        record
        for record in records
        if record.get("outcome") == FINISHED and all(record.get(name) == value for name, value in members.items())
    ]
    return Runs(tuple(found)) if found else None


def largest_finished(records: Sequence[Record], contender: str, size: int) -> Runs | None:
    """A contender's runs at a size or, if it never finished there, at the largest one below it."""
    sizes = sorted({record["messages"] for record in records if record["messages"] <= size}, reverse=True)
    return next((runs for size in sizes if (runs := finished(records, contender=contender, messages=size))), None)
