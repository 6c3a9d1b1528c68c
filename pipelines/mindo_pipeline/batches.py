"""One batch of windows, loaded on its own: what `mindo backfill --processes` and every engine call.

It is safe beside any other load of the dataset and beside its own twin: the folder it works in, with dlt's packages and state,
and the staging dataset are its own, each load takes over the state that the last one left and holds the destination's lock
meanwhile, and loading a window twice gives what loading it once does. Where there is no lock (`Warehouse.can_be_shared`) whoever
starts batches has to start them one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mindo import MindoClient, Options
from mindo.exceptions import WindowShrunk

from .exit_codes import ExitCode
from .progress import Progress
from .report import incomplete_lines
from .running import (
    DEFAULT_LOAD_MESSAGES,
    Batch,
    Outcome,
    check_access,
    clear_demo,
    count_written,
    run_batch,
    split_by_month,
)
from .warehouse import Warehouse

__all__ = ["Batch", "BatchLoad", "load_batch", "split_by_month"]


@dataclass(frozen=True)
class BatchLoad:
    """What became of a batch.

    Attributes:
        outcome: Its windows and rows.
        written: How many rows of `messages` were inserted or changed.
        watermark: Up to where the company's messages are loaded without a gap, after it.
    """

    outcome: Outcome
    written: int
    watermark: datetime | None

    @property
    def code(self) -> ExitCode:
        """`COMPLETE`; `GUARD` if a window was refused, which trying again can't change; `API` if one could not be read."""
        errors = [read.error for read in self.outcome.incomplete]
        if any(isinstance(error, WindowShrunk) for error in errors):
            return ExitCode.GUARD
        return ExitCode.API if errors else ExitCode.COMPLETE

    @property
    def reasons(self) -> list[str]:
        """Why windows are not loaded, adjacent ones on one line."""
        return incomplete_lines(self.outcome)


def load_batch(
    batch: Batch,
    options: Options,
    destination: str | None = None,
    dataset: str | None = None,
    load_messages: int = DEFAULT_LOAD_MESSAGES,
    outcome: Outcome | None = None,
    on_wait: Callable[[], None] = lambda: None,
) -> BatchLoad:
    """Loads a batch in a temporary folder of its own, so that any machine can do it.

    Args:
        batch: What to load.
        options: How to read it; a range in them is ignored.
        destination: Name of a dlt destination; by default DuckDB.
        dataset: Name of the dataset.
        load_messages: Bounds a load, which is committed at the first window edge beyond it.
        outcome: Filled load by load, so it is right even if an error is raised.
        on_wait: Called when another load has to be waited for.

    Raises:
        ConfigurationError: If an option, the key or the company is unusable. Retrying can't help.
        SpoolError: If there is no room for pages or packages.
        ApiError: If the API can't be reached.
        DestinationError: If the destination can't be written, or a load failed.
    """
    warehouse = Warehouse(destination, dataset, shares_no_folder=True)
    warehouse.on_wait = on_wait
    check_access(options, [batch.company], MindoClient(options))
    return load_batch_into(warehouse, batch, options, load_messages, outcome or Outcome())


def load_batch_into(
    warehouse: Warehouse, batch: Batch, options: Options, load_messages: int, outcome: Outcome
) -> BatchLoad:
    """The same with a warehouse that is open already; see `load_batch`."""
    with warehouse.writing(beside_others=True):
        clear_demo(warehouse)
        run_batch(warehouse, options, batch, Progress(), outcome, load_messages)
        written = count_written(warehouse, outcome)
        watermark = warehouse.coverage.watermark(batch.company.company_id, options.selection)
    return BatchLoad(outcome, written, watermark)
