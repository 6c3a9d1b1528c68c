"""What the dbt models cost: all of them from nothing, after a night, and with nothing new, by `mindo dbt build`."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from .growth import NIGHT, plan_history, prepare_history, read_night
from .measuring import Limits
from .mindo import mindo
from .places import run_folder
from .records import RecordFile

HISTORY = 1_000_000
FULL, INCREMENT, UNCHANGED = "all models anew", f"after a night of {NIGHT:,} messages", "nothing new"
_LONG = Limits(seconds=7_200.0)


def measure_models(file: RecordFile, rounds: int = 3, size: int = HISTORY) -> None:
    """Builds the models over a history, reads its night, and builds them again, twice."""
    history = plan_history(size, datetime.now(UTC).date())
    warehouse = prepare_history(history)
    for number in range(1, rounds + 1):
        if file.has(kind=UNCHANGED, history=size, round=number):
            continue
        with run_folder() as folder:
            shutil.copytree(warehouse, folder, dirs_exist_ok=True)
            _build(file, folder, FULL, size, number, "--full-refresh")
            read_night(folder, history, {"lookback_days": "0"})
            _build(file, folder, INCREMENT, size, number)
            _build(file, folder, UNCHANGED, size, number)


def _build(file: RecordFile, folder: Path, kind: str, size: int, number: int, *options: str) -> None:
    measured = mindo(folder, "", "", "dbt", "build", "--json", *options, limits=_LONG)
    file.add({"kind": kind, "history": size, "round": number, **measured.figures()})
    print(f"models, {kind}: {measured.seconds:.1f} s, CPU {measured.cpu_seconds:.1f} s", file=sys.stderr, flush=True)
