"""What more workers gain where each request takes 200 ms and a page holds 1,000 messages."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Sequence

from .checking import rows_in
from .emulator import World, serve
from .measuring import FINISHED
from .mindo import DATABASE, mindo, report_of
from .places import run_folder
from .records import RecordFile

WORKERS = (1, 4, 16)
LATENCY_SECONDS = 0.2
PAGE_CAP = 1_000
# Requests per second; beyond them the emulator answers 429.
RATE_LIMIT = 100
_COMPANIES = ",".join(map(str, range(101, 113)))
WORLD = World(168_000, "2026-04-01", "2026-04-15", _COMPANIES)
"""Twelve companies with about a thousand messages a day: a window has one full page or two pages."""


def measure_latency(file: RecordFile, workers: Sequence[int] = WORKERS, rounds: int = 3, world: World = WORLD) -> None:
    """Backfills the world with each number of workers, by turns."""
    options = ("--latency", str(LATENCY_SECONDS), "--page-cap", str(PAGE_CAP), "--rate-limit", str(RATE_LIMIT))
    for number in range(1, rounds + 1):
        for count in workers:
            if file.has(workers=count, round=number):
                continue
            with run_folder() as folder:
                with serve(world, *options) as url:
                    backfill = ("backfill", "--from", world.start, "--to", world.end, "--json")
                    measured = mindo(folder, url, world.companies, *backfill, options={"workers": str(count)})
                    with urllib.request.urlopen(f"{url}/_emulator/stats", timeout=30) as answer:
                        requests = json.load(answer)["requests"]
                rows = rows_in(folder / DATABASE)["messages"]
            if rows != world.messages:
                raise SystemExit(f"with {count} workers the table has {rows:,} messages instead of {world.messages:,}")
            record = {
                "workers": count,
                "round": number,
                "messages": rows,
                "companies": world.companies.count(",") + 1,
                "latency_seconds": LATENCY_SECONDS,
                "page_cap": PAGE_CAP,
                "rate_limit_per_second": RATE_LIMIT,
                "requests": requests,
                "retries": sum(window["retries"] for window in report_of(measured)["windows"]),
                **measured.figures(),
            }
            file.add(record)
            line = f"{count:>2} workers: {FINISHED}, {measured.seconds:.1f} s, {requests:,} requests, {record['retries']} retries"
            print(line, file=sys.stderr, flush=True)
