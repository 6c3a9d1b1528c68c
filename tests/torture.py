"""Kills `mindo run` and `mindo backfill` with SIGKILL, as often as told, and compares the warehouse with the truth each time.

A trial is a chain of kills of one command over one warehouse, while messages arrive late, change, move and go; then the same
command is let through, and once more. Where it is killed, what changes and how large pages and loads are is drawn from the
seed. The first loss, duplicate or run that needs a hand ends it, with the line that repeats the trial. Writes what it counted
to `benchmarks/results/torture.md`.

    make torture ARGS='--kills 1000'
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from itertools import count
from pathlib import Path
from random import Random
from typing import Final

from mindo_emulator import Emulator
from tests.crash_trial import WAREHOUSE, Command, Trial, make_trial_world, start_from, trial_folder, watermarks
from tests.crashing import POINTS

RESULTS: Final = Path(__file__).parents[1] / "benchmarks" / "results" / "torture.md"
ANY_MOMENT: Final = "any moment"
OUTCOMES: Final = ("recovered", "lost", "duplicates", "other failures")
_PROGRESS_SECONDS: Final = 10.0


@dataclass
class TrialReport:
    """How a trial went.

    Attributes:
        number: Together with the seed it tells all that was drawn.
        title: Command and warehouse.
        kills: The points where it was killed.
        moments: After how many seconds it was killed, where that was at any moment.
        not_reached: How many commands ended by themselves before the point; they count as no kill.
        outcome: One of `OUTCOMES`.
        failure: What did not hold, and the folder that shows it.
    """

    number: int
    title: str = ""
    kills: list[str] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    not_reached: int = 0
    outcome: str = "recovered"
    failure: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1_000, help="how often to kill (default 1000)")
    parser.add_argument("--seed", type=int, default=None, help="repeats the same draws (default: a new one)")
    parser.add_argument("--trial", type=int, default=None, help="only this trial of the seed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="trials at once (default: the cores)")
    options = parser.parse_args()
    seed = Random().randrange(1_000_000) if options.seed is None else options.seed
    # before anything reads dlt's configuration, and for all children
    os.environ |= {"RUNTIME__LOG_LEVEL": "CRITICAL", "RUNTIME__DLTHUB_TELEMETRY": "false"}
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    if options.trial is not None:
        report = run_trial(seed, options.trial, folder)
        print(f"{report.title}, killed at {report.kills} {report.moments}: {report.outcome}\n{report.failure}")
        return _exit_code([report], folder)
    started = time.monotonic()
    reports = []
    # Ctrl-C ends it early; what was counted so far stands
    with contextlib.suppress(KeyboardInterrupt):
        for report in run_trials(seed, options.kills, options.workers, folder):
            reports.append(report)
            if report.failure:
                print(f"{report.title}, killed at {report.kills} {report.moments}: {report.outcome}\n{report.failure}")
                print(f"To repeat it: make torture ARGS='--seed {seed} --trial {report.number}'", file=sys.stderr)
    RESULTS.write_text(describe(reports, seed, time.monotonic() - started))
    print(f"{RESULTS.name}: {sum(len(report.kills) for report in reports):,} kills, seed {seed}")
    return _exit_code(reports, folder)


def _exit_code(reports: list[TrialReport], folder: Path) -> int:
    """1 if a trial failed, whose folder stays then."""
    failed = any(report.failure for report in reports)
    if not failed:
        shutil.rmtree(folder, ignore_errors=True)
    return int(failed)


def run_trials(seed: int, kills: int, workers: int, folder: Path) -> Iterator[TrialReport]:
    """Runs trials side by side until there were that many kills, or one failed."""
    done = failed = 0
    started = told = time.monotonic()
    # its workers start children of their own, which those of a pool of multiprocessing may not
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as executor:
        numbers = count()
        running: set[Future[TrialReport]] = {
            executor.submit(run_trial, seed, next(numbers), folder) for _ in range(workers)
        }
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                report = future.result()
                done, failed = done + len(report.kills), failed + bool(report.failure)
                yield report
                if done < kills and not failed:
                    running.add(executor.submit(run_trial, seed, next(numbers), folder))
            if time.monotonic() - told > _PROGRESS_SECONDS:
                told = time.monotonic()
                print(f"{done:,} of {kills:,} kills, {failed} failures, {timedelta(seconds=round(told - started))}")


def run_trial(seed: int, number: int, parent: Path) -> TrialReport:
    """Draws a trial and runs it in a folder of its own, which stays if it fails."""
    random = Random(f"{seed}/{number}")
    report = TrialReport(number)
    folder = parent / f"trial-{number}"
    warehouse, seconds = loaded_warehouse(parent)
    loaded = random.choice([None, warehouse])
    with Emulator(make_trial_world()) as emulator, trial_folder(folder, emulator):
        commands: tuple[Command, ...] = ("run", "backfill")
        trial = Trial(emulator, random.choice(commands), random, random.randint(2, 12), random.randint(10, 60), seconds)
        report.title = f"{trial.command}, {'loaded' if loaded else 'empty'} warehouse"
        marks = None
        try:
            if loaded:
                start_from(loaded)
                marks = watermarks()
                trial.change_world()
            for _ in range(random.randint(1, 4)):
                _kill(trial, random, report)
            if trial.command == "run":
                trial.change_world()
            trial.assert_nothing_is_lost(marks)
        except Exception as error:
            report.outcome = _outcome(error)
            report.failure = f"{''.join(traceback.format_exception_only(error))}see {folder}"
    if not report.failure:
        shutil.rmtree(folder, ignore_errors=True)
    return report


def _kill(trial: Trial, random: Random, report: TrialReport) -> None:
    """Kills the command once, after a change where the command is bound to see it, at a point or at any moment."""
    if trial.command == "run":
        trial.change_world()
    name = random.choice([ANY_MOMENT, *POINTS])
    if name == ANY_MOMENT or random.random() < 0.25:
        report.moments.append(round(trial.kill_at_random(), 3))
        report.kills.append(ANY_MOMENT)
        return
    point = POINTS[name]
    if trial.kill_at(point.at(point.hit + random.choice([0, 0, 0, 1, 2, 5]))).killed:
        report.kills.append(name)
    else:
        report.not_reached += 1


@functools.cache
def loaded_warehouse(parent: Path) -> tuple[Path, float]:
    """A warehouse that holds the world before any change, and how long it took; made once for each worker."""
    folder = parent / f"loaded-{os.getpid()}"
    with Emulator(make_trial_world()) as emulator, trial_folder(folder, emulator):
        trial = Trial(emulator, "run", Random())
        started = time.monotonic()
        trial.let_through()
        return folder / WAREHOUSE, time.monotonic() - started


def _outcome(error: Exception) -> str:
    text = str(error)
    if "missing" in text:
        return "lost"
    return "duplicates" if "twice" in text or "too many" in text or "rows for" in text else "other failures"


def describe(reports: list[TrialReport], seed: int, seconds: float) -> str:
    """The result as Markdown."""
    kills: dict[str, Counter[str]] = {name: Counter() for name in (*POINTS, ANY_MOMENT)}
    for report in reports:
        for name in report.kills:
            kills[name][report.outcome] += 1
    total = sum((counter for counter in kills.values()), Counter[str]())
    versions = ", ".join(f"{name} {version(name)}" for name in ("mindo-connector", "dlt", "duckdb"))
    lines = [
        "# Torture",
        "",
        f"`mindo run` and `mindo backfill`, killed by SIGKILL {total.total():,} times in {len(reports):,} chains of up to 4"
        f" kills, then run again without any other step and compared with the truth cell by cell: {total['recovered']:,}"
        f" recovered, {total['lost']:,} lost, {total['duplicates']:,} with duplicates, {total['other failures']:,} failed"
        " otherwise.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {timedelta(seconds=round(seconds))} on {os.cpu_count()} cores, seed {seed};"
        f" {versions}, Python {platform.python_version()}.",
        "",
        f"| killed | kills | {' | '.join(OUTCOMES)} |",
        f"| :--- | {' | '.join(['---:'] * (len(OUTCOMES) + 1))} |",
        *(
            f"| {name} | {counter.total():,} | {' | '.join(f'{counter[outcome]:,}' for outcome in OUTCOMES)} |"
            for name, counter in [*kills.items(), ("**all**", total)]
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
