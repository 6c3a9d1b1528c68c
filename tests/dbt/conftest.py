"""A warehouse that was loaded from an awkward world, once for all tests of a process that only look."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from mindo_emulator import Emulator
from tests.dbt.building import build
from tests.support import Laboratory, small_world


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """A laboratory of 600 messages whose models are built."""
    with chdir(tmp_path_factory.mktemp("built")), Emulator(small_world(600)) as emulator:
        laboratory = Laboratory(emulator)
        laboratory.given["companies"] = ZONES
        laboratory.complete_run()
        build(laboratory.database)
        yield laboratory


@pytest.fixture
def copy_of_built(built: Laboratory, tmp_path: Path) -> Path:
    """A built warehouse to change."""
    return Path(shutil.copy(built.database, tmp_path))


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    """An empty warehouse and a world of 400 messages to load into it."""
    monkeypatch.chdir(tmp_path)
    with Emulator(small_world(400)) as emulator:
        laboratory = Laboratory(emulator)
        laboratory.given["companies"] = ZONES
        yield laboratory


ZONES = {
    "42": {"name": "Óptica", "timezone": "America/Argentina/Buenos_Aires"},
    "57": {"name": "Clínica", "timezone": "Europe/Madrid"},
    "63": {"name": "Deco"},
}
"""The third company has no time zone."""
