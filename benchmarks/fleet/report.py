"""Writes `fleet.md` and the tables of the guide, from the measured files only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from ..places import ROOT
from ..records import Record, read
from .arithmetic import Costs, Workload, forecast, nightly
from .times import COSTS, LATENCY_SECONDS, RATE_LIMIT, RUN, SCALE, WHOLE

PROOF: Final = "fleet_proof"
TIMES: Final = "fleet_times"
GUIDE: Final = ROOT / "docs" / "fleet.md"
PAGE: Final = "fleet.md"
_LOOKBACK_DAYS: Final = 3
_PLACE: Final = "<!-- {name}: made by `make fleet ARGS=report` -->\n{table}<!-- end -->"
_GUIDE_LATENCY_SECONDS: Final = 0.2
_ONE, _MONTHS, _BATCHES = "`mindo backfill`", "… with windows of 31 days", "4 batches at a time, `workers = 1`"
_SIZES: Final = (
    (_ONE, Workload(companies=10, days=730, daily_messages=100)),
    (_ONE, Workload(companies=10, days=730, daily_messages=1_000)),
    (_ONE, Workload(companies=100, days=730, daily_messages=100)),
    (_MONTHS, Workload(companies=100, days=730, daily_messages=100, window_days=31)),
    (_ONE, Workload(companies=100, days=730, daily_messages=1_000)),
    (_BATCHES, Workload(companies=100, days=730, daily_messages=1_000, processes=4, workers=1)),
    (_ONE, Workload(companies=1_000, days=730, daily_messages=100)),
    (_MONTHS, Workload(companies=1_000, days=730, daily_messages=100, window_days=31)),
    (_BATCHES, Workload(companies=1_000, days=730, daily_messages=100, processes=4, workers=1)),
)
"""With so many requests under way as the rate limit has room for."""


def write_pages(folder: Path, guide: Path = GUIDE) -> None:
    """Writes the page of results into the folder, and the tables into the guide."""
    proofs, times = read(folder, PROOF), read(folder, TIMES)
    (folder / PAGE).write_text(make_page(proofs, times), encoding="utf-8")
    guide.write_text(fill_in(guide.read_text(encoding="utf-8"), times), encoding="utf-8")


def make_page(proofs: Sequence[Record], times: Sequence[Record]) -> str:
    """The text of `fleet.md`."""
    parts = ["# A fleet\n"]
    parts += [_proof(record) for record in proofs[-1:]]
    if costs := _costs_of(times):
        parts.append(_times(times, costs))
    return "\n".join(parts)


def fill_in(guide: str, times: Sequence[Record]) -> str:
    """The guide with its tables; without measured files it stays as it is."""
    costs = _costs_of(times)
    if costs is None:
        return guide
    tables = {"measured": measured_table(times, costs), "whole": whole_table(costs), "sizes": sizes_table(costs)}
    for name, table in tables.items():
        place = re.compile(_PLACE.format(name=name, table="(?:.*\n)*?"))
        filled = _PLACE.format(name=name, table=table)
        # not as a pattern, in which a backslash would mean something
        guide = filled.join(place.split(guide))
    return guide


def measured_table(times: Sequence[Record], costs: Costs) -> str:
    """What was foretold and what was measured, of a hundredth."""
    rows = []
    for record in sorted(times, key=_place):
        if record["kind"] == RUN:
            work = _work_of(record)
            told = forecast(work, costs)
            rows.append(
                [
                    *_settings(work),
                    f"{work.requests:,}",
                    f"{record['requests']:,}",
                    _time(told.seconds),
                    _time(record["seconds"]),
                    told.bound,
                ]
            )
    head = [
        "workers",
        "processes",
        "window",
        "rate limit",
        "requests foretold",
        "sent, refused ones as well",
        "time foretold",
        "measured",
        "bound by",
    ]
    return _table(head, rows)


def whole_table(costs: Costs) -> str:
    """The same for all of it, foretold."""
    rows = []
    for work in _whole_variants():
        told = forecast(work, costs)
        rows.append([*_settings(work), f"{work.requests:,}", _time(told.seconds), told.bound])
    return _table(["workers", "processes", "window", "rate limit", "requests", "time", "bound by"], rows)


def sizes_table(costs: Costs) -> str:
    """What 24 months of 10, 100 and 1,000 companies are, and what a night is."""
    rows = []
    for how, size in _SIZES:
        work = replace(size, latency_seconds=_GUIDE_LATENCY_SECONDS, rate_limit=RATE_LIMIT)
        night = nightly(work, _LOOKBACK_DAYS)
        told, at_night = forecast(work, costs), forecast(night, costs)
        rows.append(
            [
                f"{work.companies:,}",
                f"{work.daily_messages:,.0f}",
                how,
                f"{work.requests:,}",
                f"{work.messages * costs.message_rows / 1e6:,.0f} m",
                f"{work.messages * costs.message_bytes / 1e9:,.1f}",
                _time(told.seconds),
                told.bound,
                f"{night.requests:,}",
                _time(at_night.seconds),
            ]
        )
    head = [
        "companies",
        "messages a day",
        "how",
        "requests",
        "rows",
        "GB read",
        "time",
        "bound by",
        "requests a night",
        "time of a night",
    ]
    return _table(head, rows, left=(2,))


def _whole_variants() -> list[Workload]:
    whole = replace(WHOLE, latency_seconds=LATENCY_SECONDS)
    return [
        whole,
        replace(whole, workers=16),
        replace(whole, workers=16, rate_limit=RATE_LIMIT),
        replace(whole, workers=16, rate_limit=RATE_LIMIT, window_days=31),
        replace(whole, processes=4),
        replace(whole, processes=16),
    ]


def _proof(record: Record) -> str:
    return (
        f"Dagster with its daemon, Celery and Redis, PostgreSQL, and workers that share no folder: a backfill of"
        f" {record['companies']} companies x {record['months']} months, {record['messages']:,} messages, while requests"
        f" failed. One of two workers was killed by SIGKILL while it loaded, after {record['killed_after']} of"
        f" {record['partitions']} partitions, with {_counted(record['staging_when_killed'], 'staging schema')} of its own;"
        " it did not come back, and nothing was done by hand.\n\n"
        "| | |\n|:---|---:|\n"
        + "".join(
            f"| {what} | {value} |\n"
            for what, value in (
                ("runs of the backfill", f"{record['runs']:,}"),
                ("of them died", f"{record['runs_dead']:,}"),
                ("begun again by Dagster", f"{record['runs_retried']:,}"),
                ("a run is taken for dead after", f"{record['longest_run_seconds']} s"),
                ("time of the backfill", _time(record["backfill_seconds"])),
                ("requests, all in all", f"{record['requests']:,}"),
                ("of them failed, by the emulator's faults", f"{record['requests_struck']:,}"),
                ("rows of the four tables, each cell as the API gives it", f"{record['rows']:,}"),
                ("partitions materialised", f"{record['partitions']:,}"),
                (
                    "two runs of one partition in an empty database: at the same time for",
                    f"{record['begun_at_once_overlap_seconds']} s",
                ),
                (
                    "two runs of one partition later, no row written: at the same time for",
                    f"{record['again_at_once_overlap_seconds']} s",
                ),
                ("staging schemas left", "0"),
            )
        )
        + f"\n`mindo verify`: {record['verified']} `mindo status`: every company is complete up to the end of its last month.\n\n"
        + _circumstances(record)
    )


def _times(times: Sequence[Record], costs: Costs) -> str:
    record = next(record for record in times if record["kind"] == COSTS)
    runs = [_work_of(record) for record in times if record["kind"] == RUN]
    of_what = ""
    if runs:
        work = runs[0]
        of_what = (
            f"{work.companies} companies x {work.days} days x {work.daily_messages:,.0f} messages a day into PostgreSQL, from an"
            f" emulator that takes {work.latency_seconds * 1000:.0f} ms for a request:\n\n{measured_table(times, costs)}\n"
        )
    return (
        "## Foretold and measured\n\n"
        f"{WHOLE.companies} companies x 24 months at 1/{SCALE} scale. {of_what}"
        "The arithmetic is `benchmarks/fleet/arithmetic.py`. It was told what was measured without latency:\n\n"
        + _table(
            ["what", "measured"],
            [
                ["start of a command", f"{costs.start_seconds:.1f} s"],
                ["a batch on its own", f"{costs.batch_seconds:.2f} s"],
                ["a batch, four at a time", f"{costs.batch_seconds_side_by_side:.2f} s"],
                ["a message in addition", f"{costs.message_seconds * 1e6:.0f} µs"],
                ["bytes of a message", f"{costs.message_bytes:,.0f}"],
                ["rows of a message, in four tables", f"{costs.message_rows:.2f}"],
            ],
            left=(0,),
        )
        + f"\nAll of it, {WHOLE.companies} companies x 24 months, on paper:\n\n{whole_table(costs)}\n"
        + _circumstances(record)
    )


def _circumstances(record: Record) -> str:
    changed = ", with changes" if record["changed"] else ""
    return (
        f"{record['date'][:10]}, on {record['cores']} cores, {record['system']}, Python {record['python']},"
        f" commit {record['commit']}{changed}.\n"
    )


def _costs_of(times: Sequence[Record]) -> Costs | None:
    return next((Costs.of(record) for record in times if record["kind"] == COSTS), None)


def _work_of(record: Record) -> Workload:
    return Workload(**{name: record[name] for name in Workload.__dataclass_fields__})


def _place(record: Record) -> tuple[Any, ...]:
    """Where a run stands among others."""
    return tuple(record.get(name) or 0 for name in ("processes", "window_days", "rate_limit", "workers"))


def _settings(work: Workload) -> list[str]:
    return [
        str(work.workers),
        str(work.processes),
        _counted(work.window_days, "day"),
        f"{work.rate_limit:.0f}/s" if work.rate_limit else "none",
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> str:
    lines = [head, [":---" if place in left else "---:" for place in range(len(head))], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _counted(number: Any, noun: str) -> str:
    return f"{number:,.0f} {noun}{'' if number == 1 else 's'}"


def _time(seconds: float) -> str:
    """In the two largest units, as whole numbers."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    whole = timedelta(minutes=round(seconds / 60))
    if whole < timedelta(hours=2):
        return f"{whole // timedelta(minutes=1)} min"
    hours, minutes = divmod(whole // timedelta(minutes=1), 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
