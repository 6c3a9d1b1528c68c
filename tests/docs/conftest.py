"""A demo that is loaded once, and an emulator that stands for the real API."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from mindo_emulator import GLOBAL_DEMO_KEY, Emulator, World
from mindo_pipeline import demo as demo_module
from tests.mindo_pipeline.harness import midnight, mindo


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder without anybody's dlt configuration, and a terminal of a known width."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="session")
def demo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse of a demo of four weeks."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("SOURCES__", "DESTINATION__")):
                patch.delenv(name)
        patch.setattr(demo_module, "_MESSAGES", 3_000)
        patch.setattr(demo_module, "_DAYS", 28)
        patch.chdir(folder)
        assert mindo("demo", "--quiet").code == 0
    return folder / "warehouse.duckdb"


@pytest.fixture(scope="session")
def server() -> Iterator[Emulator[World]]:
    """A made-up Mindo with some days of messages."""
    end = midnight()
    with Emulator(World.generate(seed=5, start=end - timedelta(days=3), end=end, messages=150)) as emulator:
        yield emulator


@pytest.fixture
def api(server: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator[World]]:
    """The server, and an environment that leads to it; nothing of another test is left in it."""
    for name, value in {
        "SOURCES__MINDO__BASE_URL": server.base_url,
        "SOURCES__MINDO__API_KEY": GLOBAL_DEMO_KEY,
        "SOURCES__MINDO__COMPANY_IDS": "42,57",
        "SOURCES__MINDO__MAX_ATTEMPTS": "1",
        "SOURCES__MINDO__WINDOW_HOURS": "744",
        # a library's user keeps local state below the home folder; a test must not
        "PIPELINES_DIR": "pipelines",
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.faults.clear()


@pytest.fixture
def reload_configuration() -> Iterator[None]:
    """Makes dlt read the files of the current folder, as a process that starts in it does; undone afterwards."""
    context = Container()[PluggableRunContext]
    context.reload()
    yield
    for path in Path(".dlt").glob("*.toml"):
        path.unlink()
    context.reload()
