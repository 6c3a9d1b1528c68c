"""A laboratory per test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, chdir
from pathlib import Path
from shutil import copy
from typing import Protocol

import pytest

from mindo_emulator import Emulator, EmulatorSettings, World
from tests.support import Laboratory, small_world


class MakeLaboratory(Protocol):
    """Opens an emulator over a world, and a warehouse beside it."""

    def __call__(self, world: World | None = None, settings: EmulatorSettings | None = None) -> Laboratory: ...


@pytest.fixture
def open_laboratory(isolated: Path) -> Iterator[MakeLaboratory]:
    with ExitStack() as stack:

        def make(world: World | None = None, settings: EmulatorSettings | None = None) -> Laboratory:
            emulator = stack.enter_context(Emulator(small_world() if world is None else world, settings))
            return Laboratory(emulator)

        yield make


@pytest.fixture
def laboratory(open_laboratory: MakeLaboratory) -> Laboratory:
    """A small world of three companies over ten days, its emulator, and an empty warehouse."""
    return open_laboratory()


@pytest.fixture(scope="session")
def first_load(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse after the first run over the small world; made once, as all state lives in the file."""
    folder = tmp_path_factory.mktemp("first_load")
    with chdir(folder), Emulator(small_world()) as emulator:
        laboratory = Laboratory(emulator)
        laboratory.complete_run()
        return laboratory.database


@pytest.fixture
def loaded(open_laboratory: MakeLaboratory, first_load: Path) -> Laboratory:
    """A laboratory whose first run is done."""
    laboratory = open_laboratory()
    copy(first_load, laboratory.database)
    return laboratory
