"""A made-up Mindo and a webhook; nothing of this process's environment leads to them, the shipped files have to."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator

import pytest

from mindo_emulator import Emulator, World
from tests.mindo_pipeline.harness import make_world
from tests.schedules.places import Webhook, webhook_server


@pytest.fixture
def api() -> Iterator[Emulator[World]]:
    """A made-up Mindo with four days of messages."""
    emulator = Emulator(make_world()).start()
    yield emulator
    # its end takes a while, which nobody has to wait for
    threading.Thread(target=emulator.stop, daemon=True).start()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A webhook that remembers what it was told."""
    with webhook_server() as server:
        yield server


def need(tool: str) -> str:
    """The path of a program, or a skip; `make schedules` installs them all, and there a missing one fails."""
    found = shutil.which(tool, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"]))
    if found is None and not os.environ.get("MINDO_SCHEDULES"):
        pytest.skip(f"no {tool}: `make schedules` installs it")
    assert found is not None, f"{tool} is missing; see scripts/install-schedule-tools"
    return found
