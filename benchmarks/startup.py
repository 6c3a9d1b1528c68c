"""How long `mindo --help` and a run that finds nothing new take."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta

from .emulator import World, serve
from .measuring import FINISHED, measure
from .mindo import COMMAND, MindoFailed, mindo, report_of
from .places import run_folder
from .records import RecordFile

HELP, EMPTY_RUN = "mindo --help", "mindo run, nothing new"
_TIMES = 10


def measure_startup(file: RecordFile, times: int = _TIMES) -> None:
    """Times both, by turns."""
    # Older than the lookback: all that a run reads is empty windows.
    end = datetime.now(UTC).date() - timedelta(days=10)
    world = World(2_000, (end - timedelta(days=5)).isoformat(), end.isoformat())
    with run_folder() as folder, serve(world, "--no-control") as url:
        start = {"start_date": world.start}
        mindo(folder, url, world.companies, "run", "--quiet", options=start)
        for number in range(1, times + 1):
            shown = measure([COMMAND, "--help"], folder, {**os.environ, "HOME": str(folder)})
            if shown.outcome != FINISHED:
                raise MindoFailed(f"mindo --help: {shown.outcome}, {shown.reason}")
            file.add({"kind": HELP, "round": number, **shown.figures()})
            empty = mindo(folder, url, world.companies, "run", "--json", options=start)
            if read := report_of(empty)["rows"].get("messages", 0):
                raise MindoFailed(f"mindo run: read {read} messages where there was nothing new")
            file.add({"kind": EMPTY_RUN, "round": number, **empty.figures()})
            print(f"{HELP}: {shown.seconds:.2f} s; {EMPTY_RUN}: {empty.seconds:.2f} s", file=sys.stderr, flush=True)
