"""Messages per second of every contender, from HTTP to the four tables, as a whole process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .checking import rows_in
from .contenders import Contender
from .emulator import KEY, World, serve
from .environments import NotInstalled
from .measuring import FAILED, FINISHED, MEMORY_LIMIT, TIME_LIMIT, Limits, measure
from .places import ROOT, run_folder
from .records import Record, RecordFile
from .truth import Api, count_rows

SIZES = (10_000, 100_000, 500_000, 1_000_000)
NOT_INSTALLED, WRONG_ROWS, NOT_TRIED = "not installed", "wrong rows", "not tried"


def measure_throughput(
    file: RecordFile,
    contenders: Sequence[Contender],
    sizes: Sequence[int] = SIZES,
    rounds: int = 3,
    api: Api | None = None,
    limits: Limits | None = None,
) -> None:
    """Runs every contender once per size and round, by turns. One that met a limit is not tried with as many again.

    Args:
        file: Where the measures go.
        contenders: Who is measured.
        sizes: Messages to load; of no meaning if an API is given.
        rounds: How often.
        api: Another API than the emulator.
        limits: Of each run.
    """
    truths: dict[int, dict[str, int]] = {}
    for number in range(1, rounds + 1):
        for size in sizes if api is None else [0]:
            waiting = [c for c in contenders if not file.has(contender=c.name, round=number, messages=size)]
            if not waiting:
                continue
            if api is not None:
                _measure_all(file, waiting, api, number, truths, size, limits)
                continue
            world = World(size)
            with serve(world, "--no-control") as url:
                served = Api(url, KEY, world.companies, world.start, world.end)
                _measure_all(file, waiting, served, number, truths, size, limits)


def _measure_all(
    file: RecordFile,
    contenders: Sequence[Contender],
    api: Api,
    number: int,
    truths: dict[int, dict[str, int]],
    size: int,
    limits: Limits | None,
) -> None:
    if size not in truths:
        truths[size] = count_rows(api)
    for contender in contenders:
        messages = truths[size]["messages"]
        record: Record = {"contender": contender.name, "messages": messages, "round": number}
        if smaller := _gave_up(file, contender, messages):
            record |= {"outcome": NOT_TRIED, "reason": f"{smaller['outcome']} at {smaller['messages']:,} messages"}
        else:
            record |= load(contender, api, truths[size], limits)
        file.add(record)
        print(describe(record), file=sys.stderr, flush=True)


def load(contender: Contender, api: Api, truth: dict[str, int], limits: Limits | None = None) -> Record:
    """Runs a contender in an empty folder and compares what it loaded with the truth."""
    try:
        contender.python()
    except NotInstalled as error:
        return {"outcome": NOT_INSTALLED, "reason": str(error)}
    with run_folder() as folder:
        database = folder / "warehouse.duckdb"
        measured = measure(contender.command(), folder, contender.environment(api, folder, database), limits)
        figures = measured.figures() | {"versions": contender.versions()}
        if measured.outcome == FINISHED:
            rows = rows_in(database)
            figures["rows"] = rows
            if wrong := [
                f"{table}: {rows[table]:,} of {truth[table]:,}" for table in truth if rows[table] != truth[table]
            ]:
                figures |= {"outcome": WRONG_ROWS, "reason": "; ".join(wrong)}
        if figures["reason"]:
            reason = _without_paths(str(figures["reason"]), folder)
            is_quotable = api.is_made_up or measured.outcome != FAILED
            figures["reason"] = reason if is_quotable else reason.partition(":")[0]
        return figures


def describe(record: Record) -> str:
    """A measure in a line."""
    line = f"{record['contender']:<10} {record['messages']:>10,} messages  {record['outcome']}"
    if record["outcome"] != FINISHED:
        return f"{line}: {record['reason']}"
    return (
        f"{line}: {record['seconds']:.1f} s, {record['messages'] / record['seconds']:,.0f}/s, CPU {record['cpu_seconds']:.1f} s,"
        f" peak {record['peak_megabytes']:,.0f} MB"
    )


def _gave_up(file: RecordFile, contender: Contender, messages: int) -> Record | None:
    return next(
        (
            record
            for record in file.records
            if record["contender"] == contender.name
            and record["outcome"] in (TIME_LIMIT, MEMORY_LIMIT)
            and record["messages"] <= messages
        ),
        None,
    )


def _without_paths(text: str, folder: Path) -> str:
    return text.replace(str(folder), "…").replace(str(ROOT), ".")[:300]
