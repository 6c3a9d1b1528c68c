"""Measures what the arithmetic has to be told, and then what it predicted: a hundredth of 500 companies with 24 months.

What costs are measured by has no latency and no rate limit. The runs that are compared with their forecast have both, as an API
has, and load into PostgreSQL.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import median
from typing import Any, Final

import psycopg2

from tests.destinations.servers import postgres_server

from ..emulator import KEY, World, serve
from ..measuring import Limits
from ..mindo import mindo, report_of
from ..places import ROOT, run_folder
from ..records import RecordFile
from .arithmetic import Costs, Workload, as_record, forecast
from .emulated import requests_asked
from .machines import tell

COSTS, RUN = "costs", "run"
SCALE: Final = 100
WHOLE: Final = Workload(companies=500, days=730, daily_messages=100)
"""What is simulated at 1/100."""
LATENCY_SECONDS: Final = 0.1
RATE_LIMIT: Final = 20.0
_LONGEST_SECONDS: Final = 7_200.0
_START: Final = date(2024, 1, 1)
_CALIBRATED: Final = Workload(companies=5, days=91, daily_messages=100, latency_seconds=0.0)


@dataclass(frozen=True)
class _Measured:
    seconds: float
    requests: int
    rows: Mapping[str, int]
    bytes: int


def variants(days: int) -> list[Workload]:
    """What is measured: more workers, a rate limit, longer windows, more processes; what takes longest comes last."""
    one = replace(WHOLE, companies=WHOLE.companies // SCALE, days=days, latency_seconds=LATENCY_SECONDS)
    return [
        replace(one, workers=4, window_days=31),
        replace(one, workers=16),
        replace(one, workers=4),
        replace(one, workers=16, rate_limit=RATE_LIMIT),
        replace(one, workers=4, processes=2),
        replace(one, workers=4, processes=4),
        replace(one, workers=1),
    ]


def measure_times(file: RecordFile, days: int = WHOLE.days) -> None:
    """Measures costs, then each variant that is not in the file yet."""
    if not file.has(kind=COSTS):
        file.add({"kind": COSTS, **vars(_measure_costs())})
    costs = Costs.of(next(record for record in file.records if record["kind"] == COSTS))
    for work in variants(days):
        if file.has(kind=RUN, **as_record(work)):
            continue
        measured = _backfill(work)
        expected = forecast(work, costs)
        if measured.rows["messages"] != work.messages:
            raise SystemExit(f"{measured.rows['messages']:,} messages arrived instead of {work.messages:,}")
        figures = {"seconds": round(measured.seconds, 1), "requests": measured.requests}
        file.add({"kind": RUN, **as_record(work), **figures})
        tell(
            f"{work.workers} workers, {work.processes} processes: {measured.seconds:,.0f} s of {expected.seconds:,.0f} s foretold,"
            f" {measured.requests:,} requests of {work.requests:,}"
        )


def _measure_costs() -> Costs:
    small = _backfill(_CALIBRATED)
    large_work = replace(_CALIBRATED, daily_messages=1_000)
    large = _backfill(large_work)
    message_seconds = (large.seconds - small.seconds) / (large_work.messages - _CALIBRATED.messages)
    start, alone = _batches_alone(_CALIBRATED)
    together_work = replace(_CALIBRATED, processes=4)
    together = _backfill(together_work)
    per_batch = message_seconds * _CALIBRATED.messages / _CALIBRATED.batches
    return Costs(
        start_seconds=round(start, 2),
        batch_seconds=round(max(0.0, alone - per_batch), 3),
        batch_seconds_side_by_side=round(max(0.0, (together.seconds - start) / together_work.batches - per_batch), 3),
        message_seconds=round(message_seconds, 7),
        message_bytes=round(large.bytes / large_work.messages, 1),
        message_rows=round(sum(large.rows.values()) / large_work.messages, 3),
    )


def _backfill(work: Workload) -> _Measured:
    """Loads it by `mindo backfill`, into an empty PostgreSQL."""
    end = _START + timedelta(days=work.days)
    companies = _companies(work)
    world = World(work.messages, _START.isoformat(), end.isoformat(), companies)
    with ExitStack() as stack:
        url = stack.enter_context(serve(world, *_limits(work)))
        folder = stack.enter_context(run_folder())
        postgres = stack.enter_context(postgres_server("fsync=on", "synchronous_commit=on"))
        measured = mindo(
            folder,
            url,
            companies,
            *("backfill", "--from", world.start, "--to", world.end, "--destination", "postgres", "--json"),
            *(["--processes", str(work.processes)] if work.processes > 1 else []),
            options={"workers": str(work.workers), "window_hours": str(work.window_days * 24)},
            environment={"DESTINATION__POSTGRES__CREDENTIALS": postgres},
            limits=Limits(seconds=_LONGEST_SECONDS),
        )
        report = report_of(measured)
        return _Measured(
            measured.seconds,
            requests_asked(url),
            _rows_of(postgres, report["rows"]),
            sum(window["bytes"] for window in report["windows"]),
        )


def _rows_of(postgres: str, tables: Sequence[str]) -> dict[str, int]:
    counted = {}
    connection = psycopg2.connect(postgres)
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"SELECT count(*) FROM mindo.{table}")
            counted[table] = (cursor.fetchone() or (0,))[0]
    connection.close()
    return counted


def _batches_alone(work: Workload) -> tuple[float, float]:
    """Seconds until a process can begin, and of a batch that is alone."""
    end = _START + timedelta(days=work.days)
    companies = _companies(work)
    with ExitStack() as stack:
        url = stack.enter_context(serve(World(work.messages, _START.isoformat(), end.isoformat(), companies)))
        folder = stack.enter_context(run_folder())
        told = {
            "HOME": str(folder),
            "PATH": "",
            "PYTHONPATH": str(ROOT),
            "SOURCES__MINDO__BASE_URL": url,
            "SOURCES__MINDO__API_KEY": KEY,
            "SOURCES__MINDO__COMPANY_IDS": companies,
            "DESTINATION__POSTGRES__CREDENTIALS": stack.enter_context(
                postgres_server("fsync=on", "synchronous_commit=on")
            ),
        }
        command = [sys.executable, "-m", "benchmarks.fleet.batches", _START.isoformat(), end.isoformat()]
        done = subprocess.run(command, cwd=folder, env=told, check=True, stdout=subprocess.PIPE, text=True)
    printed: dict[str, Any] = json.loads(done.stdout)
    return float(printed["start_seconds"]), median(printed["batch_seconds"])


def _companies(work: Workload) -> str:
    return ",".join(str(101 + number) for number in range(work.companies))


def _limits(work: Workload) -> list[str]:
    limits = ["--latency", str(work.latency_seconds)]
    return limits + (["--rate-limit", str(work.rate_limit)] if work.rate_limit else [])
