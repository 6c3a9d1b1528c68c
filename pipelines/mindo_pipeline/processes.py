"""Batches side by side, in processes of their own: `mindo backfill --processes`."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from pebble import ProcessExpired, ProcessPool

from mindo import Company, Options
from mindo.windows import ranges_by_company

from .batches import Batch, load_batch_into, split_by_month
from .exit_codes import ExitCode
from .progress import Progress
from .running import Backfill, Outcome, with_unfinished
from .session import CommandFailed, explain_failure, libraries_kept_quiet, terminable
from .warehouse import Warehouse

_TRIES: Final = 2
"""How often a batch is loaded whose process was killed, all in all."""
_SIGNAL_CHECK_SECONDS: Final = 0.2
_SECONDS_TO_CLEAN_UP: Final = 20
_PRIVATE: Final = 0o077
_KILLED: Final = "a process was killed while it loaded, twice; if memory was short, give fewer --processes"


@dataclass(frozen=True)
class Place:
    """Where batches are loaded, and in what portions."""

    destination: str | None
    dataset: str | None
    load_messages: int


@dataclass(frozen=True)
class _Ended:
    """How a batch ended in its process; an error comes as exit code and line, as its text could quote a row."""

    outcome: Outcome
    code: ExitCode = ExitCode.COMPLETE
    line: str = ""


def backfill_in_processes(
    warehouse: Warehouse,
    options: Options,
    companies: Sequence[Company],
    backfill: Backfill,
    newest_first: bool,
    place: Place,
    processes: int,
    progress: Progress,
    outcome: Outcome,
    note: Callable[[str], None],
) -> None:
    """Reads a range of history in batches of a company and a month each; see `run_backfill`.

    Args:
        warehouse: Held with `writing(beside_others=True)`; afterwards in the state that the processes left.
        options: What to read.
        companies: Whose messages to read.
        backfill: What is left to read.
        newest_first: Whether the latest month begins.
        place: Where to load.
        processes: How many load at a time.
        progress: Is told how it proceeds.
        outcome: Filled batch by batch.
        note: Tells something to whoever watches.

    Raises:
        CommandFailed: If a batch failed.
    """
    ranges = ranges_by_company(with_unfinished(warehouse, options, companies, backfill.plan))
    batches = [
        batch
        for company in companies
        for batch in split_by_month(company, ranges.get(company.company_id, []), backfill.key)
    ]
    batches.sort(key=lambda batch: (batch.start, batch.company.company_id), reverse=newest_first)
    outcome.planned = [window for batch in batches for window in batch.windows(options)]
    progress.planned(outcome.planned)

    def ended(of_batch: Outcome) -> None:
        outcome.add(of_batch)
        progress.batch_ended(of_batch.complete, of_batch.incomplete)

    try:
        load_batches(
            batches,
            options,
            place,
            processes,
            ended,
            lambda: note("a process was killed; its batch is loaded again"),
        )
    finally:
        warehouse.refresh()


def load_batches(
    batches: Sequence[Batch],
    options: Options,
    place: Place,
    processes: int,
    on_end: Callable[[Outcome], None],
    on_retry: Callable[[], None],
) -> None:
    """Loads batches, several at a time.

    A process that is killed costs its batch one more try. After a failure no further batch begins, and those that have begun
    are brought to their end.

    Args:
        batches: In the order in which they begin.
        options: How to read them; the workers are those of each process.
        place: Where to load them.
        processes: How many there are at a time.
        on_end: Called with what was done of each batch, as each ends.
        on_retry: Called when a process was killed and its batch begins again.

    Raises:
        CommandFailed: If a batch failed, or its process was killed again.
        KeyboardInterrupt: If it was stopped; the processes have ended by then.
    """
    # another one than the default on Linux: a copy of a process with threads can hang
    context = multiprocessing.get_context("spawn")
    is_alive, lifeline = context.Pipe(duplex=False)

    def make_pool() -> ProcessPool:
        return ProcessPool(processes, initializer=_become_worker, initargs=(is_alive,), context=context)

    pool = make_pool()
    waiting = [(batch, _TRIES) for batch in reversed(batches)]
    running: dict[Future[_Ended], tuple[Batch, int]] = {}
    failure: CommandFailed | None = None
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                batch, tries = waiting.pop()
                running[pool.schedule(_load, args=(batch, options, place))] = (batch, tries - 1)
            for future in wait(running, _SIGNAL_CHECK_SECONDS, FIRST_COMPLETED).done:
                batch, tries = running.pop(future)
                try:
                    ended = future.result()
                except (ProcessExpired, BrokenProcessPool) as error:
                    if isinstance(error, BrokenProcessPool) and pool.active is False:
                        _end(pool)
                        pool = make_pool()
                    if tries:
                        on_retry()
                        waiting.append((batch, tries))
                    else:
                        failure = failure or CommandFailed(ExitCode.DESTINATION, _KILLED)
                else:
                    on_end(ended.outcome)
                    if ended.code is not ExitCode.COMPLETE:
                        failure = failure or CommandFailed(ended.code, ended.line)
            if failure:
                waiting.clear()
    except BaseException:
        for future in _interrupt(running):
            on_end(future.result().outcome)
        raise
    finally:
        _end(pool)
        lifeline.close()
    if failure:
        raise failure


def _end(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


def _interrupt(running: Collection[Future[_Ended]]) -> list[Future[_Ended]]:
    """Lets batches leave no rows behind before their processes end; those that did so in time."""
    for process in multiprocessing.active_children():
        process.terminate()
    return [future for future in wait(running, _SECONDS_TO_CLEAN_UP).done if not future.exception()]


def _become_worker(is_alive: Connection) -> None:
    """Prepares a process; it ends with its parent, however that ended."""
    os.umask(_PRIVATE)

    def end_with_parent() -> None:
        with contextlib.suppress(EOFError, OSError):
            is_alive.recv()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _load(batch: Batch, options: Options, place: Place) -> _Ended:
    """Loads a batch in this process. Working folders are the usual ones, so that the next run finishes what a killed one left."""
    outcome = Outcome()
    try:
        with terminable(), libraries_kept_quiet():
            warehouse = Warehouse(place.destination, place.dataset)
            load_batch_into(warehouse, batch, options, place.load_messages, outcome)
    except BaseException as error:
        return _Ended(outcome, *explain_failure(error))
    return _Ended(outcome)
