"""One warehouse, one dashboard and one browser for all tests of the pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.dashboard import serving
from tests.dashboard.serving import Visit
from tests.destinations.conftest import place, postgres

__all__ = ["place", "postgres"]

MakeVisit = Callable[[], Visit]


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder without anybody's configuration, and a terminal of a known width."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a warehouse with hostile messages."""
    with serving.loaded_folder(tmp_path_factory.mktemp("dashboard")) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """A dashboard over it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with serving.dashboard() as (found, _):
            yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with serving.browser() as started:
        yield started


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Keeps what a page is made of from one visit to the next, as browsers do."""
    opened = browser.new_context(viewport=serving.DESK, color_scheme="light")
    yield opened
    opened.close()


@pytest.fixture
def visit(context: BrowserContext, url: str) -> Iterator[MakeVisit]:
    """Makes visits, each of which must have been clean at the end."""
    visits: list[Visit] = []

    def make() -> Visit:
        visits.append(Visit(context, url))
        return visits[-1]

    yield make
    for visited in visits:
        visited.was_clean()
        visited.page.close()
