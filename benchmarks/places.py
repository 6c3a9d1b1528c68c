"""Where the harness keeps its things."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTENDERS = ROOT / "benchmarks" / "contenders"
SHARED = CONTENDERS / "shared"
"""Modules that several contenders use."""
CHART = ROOT / "benchmarks" / "chart"
RESULTS = ROOT / "benchmarks" / "results"
KEPT = ROOT / ".bench"
"""Environments and prepared warehouses; git ignores it."""


def work_folder() -> Path:
    """The folder for what a run writes, on a disk: a database in memory would count as nobody's memory.

    Raises:
        SystemExit: If the system's temporary folder lies in memory.
    """
    folder = Path(tempfile.gettempdir()).resolve()
    if folder.is_relative_to("/dev/shm"):
        raise SystemExit(f"{folder} is memory, not a disk: set TMPDIR to another folder.")
    return folder


@contextlib.contextmanager
def run_folder() -> Iterator[Path]:
    """An empty folder for a run, which is removed afterwards, whatever is left in it."""
    with tempfile.TemporaryDirectory(
        prefix="mindo-benchmark-", dir=work_folder(), ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)
