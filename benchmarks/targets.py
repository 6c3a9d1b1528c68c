"""What must hold, and what was measured of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from .contenders import AIRBYTE, DLT_PLAIN, DLT_TUNED, FLOOR, OURS, PEERS, SINGER, Contender
from .destinations import FIRST, POSTGRES
from .figures import Ratio, cpu_seconds, finished, largest_finished, megabytes, rate, ratio, seconds
from .growth import LOOKBACK, PREPARE, STRICT
from .models import FULL, INCREMENT
from .records import Record, read
from .startup import HELP

JUDGED = 500_000
"""The size at which contenders are compared."""
FLOOR_SIZE = 1_000_000
FEWEST_TIMES = {DLT_PLAIN: 25.0, DLT_TUNED: 7.0, SINGER: 7.0, AIRBYTE: 6.0}
MOST_FLOOR_TIMES = 2.5
MOST_MEGABYTES = 600.0
SMALLEST_HISTORY, LARGEST_HISTORY = 100_000, 10_000_000
MOST_GROWTH = 1.5
FEWEST_WORKER_TIMES = 8.0
MOST_HELP_SECONDS = 0.4
FEWEST_INTO_POSTGRES = 15_000
MOST_BUILD_SECONDS = 60.0
FEWEST_FULL_TIMES = 5.0


@dataclass(frozen=True)
class Target:
    """A promise, what was measured, and whether it held; `None` if it was not measured."""

    promise: str
    measured: str
    held: bool | None


@dataclass(frozen=True)
class Measured:
    """All files of results."""

    throughput: Sequence[Record] = ()
    growth: Sequence[Record] = ()
    latency: Sequence[Record] = ()
    startup: Sequence[Record] = ()
    destinations: Sequence[Record] = ()
    models: Sequence[Record] = ()

    @classmethod
    def of(cls, folder: Path) -> Measured:
        """What the files of a folder have."""
        return cls(**{kind.name: read(folder, kind.name) for kind in fields(cls)})


def judge(measured: Measured) -> list[Target]:
    """Every target with its measured value."""
    return [
        *(_faster(measured, peer, times) for peer, times in FEWEST_TIMES.items()),
        _least_memory(measured),
        _near_the_floor(measured),
        _peak(measured),
        _ran_through(measured),
        *_growth(measured),
        *_workers(measured),
        _help(measured),
        _postgres(measured),
        *_models(measured),
    ]


def _target(promise: str, measured: str | None, held: bool) -> Target:
    return Target(promise, "not measured", None) if measured is None else Target(promise, measured, held)


def _faster(measured: Measured, peer: Contender, times: float) -> Target:
    promise = f"{JUDGED:,} messages: at least {times:.0f}x the messages/s of {peer.title}"
    ours = finished(measured.throughput, contender=OURS.name, messages=JUDGED)
    theirs = largest_finished(measured.throughput, peer.name, JUDGED)
    if not ours or not theirs:
        return _target(promise, None, False)
    found = ratio(ours, theirs, rate)
    where = "" if theirs.messages == JUDGED else f", its rate at {theirs.messages:,}, the most it loaded right"
    return _target(promise, f"{found}{where}", found.value >= times)


def _least_memory(measured: Measured) -> Target:
    promise = f"{JUDGED:,} messages: less memory than any of them"
    ours = finished(measured.throughput, contender=OURS.name, messages=JUDGED)
    theirs = {peer: largest_finished(measured.throughput, peer.name, JUDGED) for peer in PEERS}
    peaks = {peer: runs.middle(megabytes) for peer, runs in theirs.items() if runs}
    if not ours or not peaks:
        return _target(promise, None, False)
    least = min(peaks, key=peaks.__getitem__)
    peak = ours.middle(megabytes)
    return _target(
        promise, f"{peak:,.0f} MB; the least of theirs {peaks[least]:,.0f} MB ({least.title})", peak < peaks[least]
    )


def _near_the_floor(measured: Measured) -> Target:
    promise = f"{FLOOR_SIZE:,} messages: at most {MOST_FLOOR_TIMES}x the time of the floor"
    ours = finished(measured.throughput, contender=OURS.name, messages=FLOOR_SIZE)
    floor = finished(measured.throughput, contender=FLOOR.name, messages=FLOOR_SIZE)
    if not ours or not floor:
        return _target(promise, None, False)
    found = ratio(ours, floor, seconds)
    return _target(promise, str(found), found.value <= MOST_FLOOR_TIMES)


def _peak(measured: Measured) -> Target:
    promise = f"peak memory under {MOST_MEGABYTES:.0f} MB at any size, 4 workers"
    records = [r for r in measured.throughput if r["contender"] == OURS.name and "peak_megabytes" in r]
    records += measured.growth
    if not records:
        return _target(promise, None, False)
    largest = max(records, key=megabytes)
    what = largest.get("kind") or f"{largest['messages']:,} messages"
    history = f", {largest['history']:,} messages" if "history" in largest else ""
    found = f"{megabytes(largest):,.0f} MB ({what}{history})"
    are_all_measured = finished(measured.throughput, contender=OURS.name, messages=FLOOR_SIZE) and finished(
        measured.growth, kind=PREPARE, history=LARGEST_HISTORY
    )
    if megabytes(largest) < MOST_MEGABYTES and not are_all_measured:
        return Target(promise, f"{found}; larger sizes are not measured", None)
    return _target(promise, found, megabytes(largest) < MOST_MEGABYTES)


def _ran_through(measured: Measured) -> Target:
    promise = f"{LARGEST_HISTORY:,} messages run through"
    runs = finished(measured.growth, kind=PREPARE, history=LARGEST_HISTORY)
    if not runs:
        return _target(promise, None, False)
    record = runs.records[0]
    return _target(promise, f"{record['read']:,} messages in {record['seconds']:,.0f} s", True)


def _growth(measured: Measured) -> Iterator[Target]:
    for kind in (STRICT, LOOKBACK):
        smallest = finished(measured.growth, kind=kind, history=SMALLEST_HISTORY)
        largest = finished(measured.growth, kind=kind, history=LARGEST_HISTORY)
        for name, value in (("CPU time", cpu_seconds), ("memory", megabytes)):
            promise = (
                f"{kind}, over {LARGEST_HISTORY:,}: at most {MOST_GROWTH}x the {name} of over {SMALLEST_HISTORY:,}"
            )
            found = ratio(largest, smallest, value) if largest and smallest else None
            yield _target(promise, str(found) if found else None, bool(found and found.value <= MOST_GROWTH))


def _workers(measured: Measured) -> Iterator[Target]:
    one, sixteen = (finished(measured.latency, workers=count) for count in (1, 16))
    promise = f"200 ms per request: 16 workers at least {FEWEST_WORKER_TIMES:.0f}x one worker"
    found: Ratio | None = ratio(one, sixteen, seconds) if one and sixteen else None
    yield _target(promise, str(found) if found else None, bool(found and found.value >= FEWEST_WORKER_TIMES))
    promise = "16 workers keep within the API's rate limit"
    if not sixteen:
        yield _target(promise, None, False)
        return
    most = sixteen.ends(requests_per_minute)[1]
    limit = sixteen.records[0]["rate_limit_per_second"] * 60
    retries = sum(record["retries"] for record in sixteen.records)
    measured_text = f"{most:,.0f} requests a minute of {limit:,}; {retries} had to be repeated"
    yield _target(promise, measured_text, retries == 0 and most <= limit)


def requests_per_minute(record: Record) -> float:
    return float(record["requests"] / record["seconds"] * 60)


def _help(measured: Measured) -> Target:
    promise = f"`mindo --help` under {MOST_HELP_SECONDS} s"
    runs = finished(measured.startup, kind=HELP)
    if not runs:
        return _target(promise, None, False)
    return _target(promise, f"{runs.middle(seconds):.2f} s", runs.middle(seconds) < MOST_HELP_SECONDS)


def _postgres(measured: Measured) -> Target:
    promise = f"into PostgreSQL at least {FEWEST_INTO_POSTGRES:,} messages/s"
    runs = finished(measured.destinations, destination=POSTGRES, kind=FIRST)
    if not runs:
        return _target(promise, None, False)
    return _target(promise, f"{runs.middle(rate):,.0f} messages/s", runs.middle(rate) >= FEWEST_INTO_POSTGRES)


def _models(measured: Measured) -> Iterator[Target]:
    full, increment = (finished(measured.models, kind=kind) for kind in (FULL, INCREMENT))
    promise = f"dbt models of 1,000,000 messages in under {MOST_BUILD_SECONDS:.0f} s"
    yield _target(
        promise,
        f"{full.middle(seconds):.1f} s" if full else None,
        bool(full and full.middle(seconds) < MOST_BUILD_SECONDS),
    )
    promise = f"dbt models {INCREMENT}: all anew take at least {FEWEST_FULL_TIMES:.0f}x as long"
    found: Ratio | None = ratio(full, increment, seconds) if full and increment else None
    yield _target(promise, str(found) if found else None, bool(found and found.value >= FEWEST_FULL_TIMES))
