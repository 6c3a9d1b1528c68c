"""How many requests, rows and bytes a range of history is, and how long it takes to load: on paper.

The number of requests follows from how the reader works: the pages of a window, and one request more for its end. Until a reader
has seen a thousand messages in the order of their time, it asks for the last page of a window as well. Each command and each
batch begins with a request per company, to try the key.

Time is whatever takes longest of three: what the API lets through, what waiting for its answers takes, and what writing takes.
What a machine and a warehouse need for a batch and a message is measured (`Costs`); all else is counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from mindo_pipeline.running import DEFAULT_LOAD_MESSAGES

from ..records import Record

_ROWS_THAT_SHOW_AN_ORDER: Final = 1_000
_ROWS_WITH_AN_ORDER: Final = 2
_DAYS_OF_A_MONTH: Final = 365.25 / 12


@dataclass(frozen=True)
class Costs:
    """What was measured without latency and without a rate limit.

    Attributes:
        start_seconds: From the start of the command to the first request.
        batch_seconds: A batch of one company and month, on its own, whatever it holds.
        batch_seconds_side_by_side: The same per batch when as many as possible are under way: loads take turns.
        message_seconds: A message, in addition.
        message_bytes: Size of a message as received.
        message_rows: Rows in all tables per message.
    """

    start_seconds: float
    batch_seconds: float
    batch_seconds_side_by_side: float
    message_seconds: float
    message_bytes: float
    message_rows: float

    @classmethod
    def of(cls, record: Record) -> Self:
        """Takes them from a record of results."""
        return cls(**{name: record[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Workload:
    """History to load, and by what.

    Attributes:
        companies: How many.
        days: How many, of each company.
        daily_messages: Of a company, on average.
        window_days: Length of a window.
        page_size: Most messages of a page.
        workers: Requests at a time, of a process.
        processes: Batches at a time; with one, a single command reads everything in large loads.
        latency_seconds: Between a request and its answer.
        rate_limit: Requests per second that the API allows; `None` for any number.
    """

    companies: int
    days: int
    daily_messages: float
    window_days: float = 1.0
    page_size: int = 10_000
    workers: int = 4
    processes: int = 1
    latency_seconds: float = 0.2
    rate_limit: float | None = None

    @property
    def months(self) -> int:
        return max(1, round(self.days / _DAYS_OF_A_MONTH))

    @property
    def windows(self) -> int:
        """Those longer than a day begin at fixed days, so that a range begins and ends within one; a day begins with a range."""
        ranges = self.batches if self.processes > 1 else self.companies
        cut = 0 if self.window_days <= 1 else 1
        return round(self.companies * self.days / self.window_days + ranges * cut)

    @property
    def messages(self) -> int:
        return round(self.companies * self.days * self.daily_messages)

    @property
    def batches(self) -> int:
        return self.companies * self.months

    @property
    def readers(self) -> int:
        """How many begin without knowing the API's order."""
        return self.batches if self.processes > 1 else 1

    @property
    def requests(self) -> int:
        per_window = self.messages / self.windows
        pages = self.windows * max(1, math.ceil(per_window / self.page_size))
        # one message has no order, and then there is nothing but the last page to ask for
        unsure = math.ceil(_ROWS_THAT_SHOW_AN_ORDER / per_window) - 1 if per_window >= _ROWS_WITH_AN_ORDER else 0
        again = min(unsure, self.windows / self.readers) * self.readers
        keys = self.companies + (self.batches if self.processes > 1 else 0)
        return round(pages + self.windows + again + keys)


@dataclass(frozen=True)
class Forecast:
    """How long a workload takes, and why.

    Attributes:
        requests_seconds: At the rate limit; 0 without one.
        waiting_seconds: Answers waited for, with all workers of all processes at it, and what comes before and after in each
            of them.
        writing_seconds: Loads, one after the other, as those of one dataset are.
        start_seconds: Comes before all of it.
    """

    requests_seconds: float
    waiting_seconds: float
    writing_seconds: float
    start_seconds: float

    @property
    def seconds(self) -> float:
        return self.start_seconds + max(self.requests_seconds, self.waiting_seconds, self.writing_seconds)

    @property
    def bound(self) -> str:
        """What takes longest."""
        parts = {
            "rate limit": self.requests_seconds,
            "latency": self.waiting_seconds,
            "loads": self.writing_seconds,
        }
        return max(parts, key=lambda name: parts[name])


def forecast(work: Workload, costs: Costs) -> Forecast:
    """How long it takes."""
    reading = work.requests * work.latency_seconds / work.workers
    limited = work.requests / work.rate_limit if work.rate_limit else 0.0
    messages = work.messages * costs.message_seconds
    if work.processes == 1:
        # what is read meanwhile costs no time; the last load has nothing to be read beside it
        last = min(work.messages, DEFAULT_LOAD_MESSAGES) * costs.message_seconds
        loads = math.ceil(work.messages / DEFAULT_LOAD_MESSAGES) * costs.batch_seconds
        return Forecast(limited + last, reading + last, messages + loads, costs.start_seconds)
    alone = work.batches * costs.batch_seconds + messages
    side_by_side = work.batches * costs.batch_seconds_side_by_side + messages
    return Forecast(limited, (reading + alone) / work.processes, side_by_side, costs.start_seconds)


def nightly(work: Workload, lookback_days: int) -> Workload:
    """What a night reads of the same companies: the day that has passed, and the lookback from the start of a window on."""
    first = 0 if work.window_days <= 1 else round(work.window_days / 2)
    return replace(work, days=first + lookback_days + 1)


def as_record(work: Workload) -> dict[str, Any]:
    """A workload as it is kept in a file of results."""
    return {name: getattr(work, name) for name in work.__dataclass_fields__}
