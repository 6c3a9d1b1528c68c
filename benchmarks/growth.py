"""What a night costs while the tables grow: 20,000 new messages on top of a history of 0.1, 1 and 10 million.

The history is loaded by `mindo backfill` from an emulator whose world ends with the last midnight, all but its last day. Then a
run finds nothing new up to now, and `mindo state rewind` puts the watermark back to the beginning of the last day: the next
`mindo run` reads that day as any night does. Warehouses are kept in `.bench/` for as long as code and day stay the same.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from mindo_emulator.generate import WEEKDAY_WEIGHTS

from .checking import rows_in
from .emulator import World, serve
from .measuring import Limits, Measure
from .mindo import DATABASE, mindo, report_of
from .places import KEPT, ROOT, run_folder
from .records import RecordFile

HISTORIES = (100_000, 1_000_000, 10_000_000)
NIGHT = 20_000
STRICT, LOOKBACK, PREPARE = "the night only", "the night and a lookback of 3 days", "backfill of the history"
_LOOKBACKS = {STRICT: {"lookback_days": "0"}, LOOKBACK: {}}
_DAY = timedelta(days=1)
_LONG = Limits(seconds=7_200.0)


@dataclass(frozen=True)
class History:
    """A world whose last day has as many messages as a night, and all days before it about as many as asked for."""

    size: int
    first_day: date
    night: date
    messages: int

    @property
    def end(self) -> date:
        return self.night + _DAY

    @property
    def world(self) -> World:
        return World(self.messages, self.first_day.isoformat(), self.end.isoformat())


def measure_growth(file: RecordFile, histories: Sequence[int] = HISTORIES, rounds: int = 3) -> None:
    """Measures nights on top of each history, by turns."""
    last_midnight = datetime.now(UTC).date()
    prepared = {size: _recorded(plan_history(size, last_midnight), file) for size in histories}
    for number in range(1, rounds + 1):
        for size, (history, warehouse) in prepared.items():
            for kind, options in _LOOKBACKS.items():
                if not file.has(kind=kind, history=size, round=number):
                    _night(file, history, warehouse, kind, options, number)


def plan_history(size: int, end: date) -> History:
    """Chooses the days before `end`, and how many messages to spread over them."""
    night = end - _DAY
    night_weight = WEEKDAY_WEIGHTS[night.weekday()]
    first_day, weight = night, 0.0
    while True:
        added = WEEKDAY_WEIGHTS[(first_day - _DAY).weekday()]
        before, after = (abs(NIGHT * total / night_weight - size) for total in (weight, weight + added))
        if weight and before <= after:
            return History(size, first_day, night, round(NIGHT * (weight + night_weight) / night_weight))
        first_day, weight = first_day - _DAY, weight + added


def _night(
    file: RecordFile, history: History, warehouse: Path, kind: str, options: dict[str, str], number: int
) -> None:
    with run_folder() as folder:
        shutil.copytree(warehouse, folder, dirs_exist_ok=True)
        measured = read_night(folder, history, options)
        read, written = report_of(measured)["rows"]["messages"], report_of(measured)["messages_written"]
    record = {"kind": kind, "history": history.size, "round": number, "rows_before": history.messages - written}
    record |= {"read": read, "written": written} | measured.figures()
    file.add(record)
    print(_describe(record), file=sys.stderr, flush=True)


def read_night(folder: Path, history: History, options: Mapping[str, str]) -> Measure:
    """Runs the night in a folder with a prepared warehouse, which then has all messages of the world.

    Raises:
        SystemExit: If it has not.
    """
    start = {"start_date": history.first_day.isoformat(), **options}
    with serve(history.world, "--no-control") as url:
        measured = mindo(folder, url, history.world.companies, "run", "--json", options=start, limits=_LONG)
    rows = rows_in(folder / DATABASE)["messages"]
    if rows != history.messages:
        raise SystemExit(f"after the night the table has {rows:,} messages instead of {history.messages:,}")
    return measured


def _recorded(history: History, file: RecordFile) -> tuple[History, Path]:
    place = prepare_history(history)
    if not file.has(kind=PREPARE, history=history.size):
        record = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        file.add(record)
        print(_describe(record), file=sys.stderr, flush=True)
    return history, place


def prepare_history(history: History) -> Path:
    """Loads a history, unless it was loaded by the same code on the same day, and gives the folder of its warehouse."""
    place = KEPT / "warehouses" / f"{history.size}-{history.night}-{_code_digest()}"
    measured_file = place.with_suffix(".json")
    if not measured_file.exists():
        for outdated in (KEPT / "warehouses").glob(f"{history.size}-*"):
            shutil.rmtree(outdated) if outdated.is_dir() else outdated.unlink()
        place.mkdir(parents=True)
        record = _prepare(history, place)
        measured_file.write_text(json.dumps(record), encoding="utf-8")
    return place


def _prepare(history: History, place: Path) -> dict[str, Any]:
    print(f"preparing a history of {history.size:,} messages", file=sys.stderr)
    world, night = history.world, history.night.isoformat()
    start = {"start_date": history.first_day.isoformat()}
    with serve(world, "--no-control") as url:
        backfill = ("backfill", "--from", world.start, "--to", night, "--json")
        measured = mindo(place, url, world.companies, *backfill, limits=_LONG)
    with serve(World(0, world.start, world.end, world.companies), "--no-control") as url:
        mindo(place, url, world.companies, "run", "--quiet", options=start)
        mindo(place, url, world.companies, "state", "rewind", "--companies", world.companies, "--to", night, "--yes")
    read = report_of(measured)["rows"]["messages"]
    rows = rows_in(place / DATABASE)["messages"]
    if rows != read:
        raise SystemExit(f"after the backfill the table has {rows:,} messages instead of {read:,}")
    record = {"kind": PREPARE, "history": history.size, "round": 1, "rows_before": 0, "read": read, "written": read}
    return record | measured.figures()


def _code_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "sources" / "mindo").rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _describe(record: dict[str, Any]) -> str:
    return (
        f"{record['kind']}, history {record['history']:,}: {record['read']:,} read, {record['written']:,} written,"
        f" {record['seconds']:.1f} s, CPU {record['cpu_seconds']:.1f} s, peak {record['peak_megabytes']:,.0f} MB"
    )
