"""Retries without their waits, and a laboratory per test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from mindo_emulator import Emulator, EmulatorSettings, World
from tests.support import Laboratory, small_world


class MakeLaboratory(Protocol):
    """Opens an emulator over a world, and a warehouse beside it."""

    def __call__(self, world: World | None = None, settings: EmulatorSettings | None = None) -> Laboratory: ...


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backs off for a millisecond, not for half a second."""
    monkeypatch.setattr("mindo.client._FIRST_BACKOFF_SECONDS", 0.001)


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
