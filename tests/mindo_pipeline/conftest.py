"""A made-up Mindo for each test, the environment that leads the command to it, and warehouses that are loaded once only."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindo_emulator import Emulator, World
from mindo_pipeline import demo as demo_module
from tests.mindo_pipeline.harness import make_world, mindo, settings

WAREHOUSE = "warehouse.duckdb"


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without anybody's dlt configuration, and a terminal of a known width."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("MINDO_DEBUG", raising=False)
    return home


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator[World]]:
    """An emulator that the command is configured for; its world is the same in every test."""
    emulator = Emulator(make_world()).start()
    for name, value in settings(emulator).items():
        monkeypatch.setenv(name, value)
    yield emulator
    # its end takes a while, which nobody has to wait for
    threading.Thread(target=emulator.stop, daemon=True).start()


@pytest.fixture(scope="session")
def loaded_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse after a run over that world."""
    with Emulator(make_world()) as emulator:
        return _make_file(tmp_path_factory.mktemp("loaded"), dict(settings(emulator)), "run")


@pytest.fixture
def loaded(api: Emulator[World], loaded_file: Path) -> Emulator[World]:
    """The emulator, and a warehouse that was loaded from it."""
    shutil.copy(loaded_file, WAREHOUSE)
    return api


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo of 500 messages."""
    monkeypatch.setattr(demo_module, "_MESSAGES", 500)
    monkeypatch.setattr(demo_module, "_DAYS", 6)


@pytest.fixture(scope="session")
def demo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse after a demo."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_module, "_MESSAGES", 500)
        patch.setattr(demo_module, "_DAYS", 6)
        return _make_file(tmp_path_factory.mktemp("demo"), {}, "demo")


@pytest.fixture
def after_demo(small_demo: None, demo_file: Path) -> None:
    """A folder in which a demo has run."""
    shutil.copy(demo_file, WAREHOUSE)


def _make_file(folder: Path, environment: dict[str, str], command: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("SOURCES__", "DESTINATION__")):
                patch.delenv(name)
        for name, value in {"RUNTIME__DLTHUB_TELEMETRY": "false", **environment}.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        assert mindo(command, "--quiet").code == 0
    return folder / WAREHOUSE
