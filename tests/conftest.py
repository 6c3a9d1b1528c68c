"""Isolation for every test: no configuration from outside, nothing written outside of a temporary folder."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

_MEMORY_DISK = Path("/dev/shm")
_ROOM = 4 * 2**30
if _MEMORY_DISK.is_dir() and shutil.disk_usage(_MEMORY_DISK).free > _ROOM:
    # hundreds of small databases are written and thrown away: a disk only makes them wait
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY_DISK))

_FOREIGN = ("SOURCES__", "DESTINATION__", "DLT_", "LOAD__", "NORMALIZE__", "EXTRACT__", "PIPELINE", "CREDENTIALS")

# a database and a server make an example slow, and the machine noisy: time is no reason to fail
_USUAL = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}
settings.register_profile("quick", max_examples=50, database=None, **_USUAL)
settings.register_profile("ci", max_examples=100, database=None, derandomize=True, print_blob=True, **_USUAL)
# many and long histories, and time to shrink one that fails
settings.register_profile("torture", max_examples=30, stateful_step_count=40, database=None, print_blob=True, **_USUAL)
settings.load_profile("torture" if os.environ.get("MINDO_TORTURE") else "ci" if os.environ.get("CI") else "quick")


class WithoutPandas:
    """Says at once that there is no pandas: DuckDB looks for it at every value it is given, five hundred times in a run."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, WithoutPandas)


def pytest_configure() -> None:
    # who starts the tests in the background lets them, and all that they start, ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Keeps what was imported, which stays to the end, out of each collection of garbage, and nothing else."""
    gc.collect()
    gc.freeze()
    # so does a run; of one among hundreds in a process the private folders would stay, and each later run looks into them
    gc.freeze = gc.unfreeze = lambda: None


@pytest.fixture(scope="session", autouse=True)
def own_temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps temporary files of this process apart from all others: runs look for what killed ones have left there."""
    folder = str(tmp_path_factory.mktemp("temporary"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backs off for a millisecond, not for half a second."""
    monkeypatch.setattr("mindo.client._FIRST_BACKOFF_SECONDS", 0.001)


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs the test in an empty folder with a clean environment."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "CRITICAL")
    monkeypatch.chdir(tmp_path)
    return tmp_path
