"""Takes the pictures of the docs: `python -m tests.dashboard.pictures`, over the demo's messages; see docs/dashboard.md.

It looks at the same pages as the tests, in light, dark and on a phone.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.dashboard.serving import DESK, PHONE, REPOSITORY, browser, dashboard, visit
from tests.mindo_pipeline.harness import mindo

PICTURES = REPOSITORY / "docs" / "pictures"
MOST_BYTES = 150_000


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        name: Its file, without the ending.
        query: The page.
        screen: Size of the window.
        scheme: `light` or `dark`.
        opens: Whether the first conversation that is found is opened first.
    """

    name: str
    query: str
    screen: dict[str, int]
    scheme: str = "light"
    opens: bool = False


TAKEN = (
    Picture("health", "?page=health", DESK),
    Picture("conversations", "?page=conversations", DESK),
    Picture("search", "?page=read&text=pedido", DESK),
    Picture("conversation-dark", "?page=read&tool=buscar_pedido", DESK, "dark", opens=True),
    Picture("conversations-phone", "?page=conversations", PHONE, "dark"),
)


@contextmanager
def _demo() -> Iterator[None]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            assert mindo("demo", "--quiet").code == 0
            assert mindo("report", "--quiet").code == 0
            yield
        finally:
            os.chdir(before)


def take_pictures(folder: Path = PICTURES) -> list[Path]:
    """Writes all pictures and gives their files."""
    folder.mkdir(parents=True, exist_ok=True)
    with _demo(), dashboard() as (url, _), browser() as started:
        files = [_take(started, url, picture, folder) for picture in TAKEN]
        page = started.new_page(viewport=DESK)
        page.goto(Path("report.html").absolute().as_uri())
        return [*files, _shot(page, folder / "report.png")]


def _take(started: Browser, url: str, picture: Picture, folder: Path) -> Path:
    with visit(started, url, viewport=picture.screen, color_scheme=picture.scheme) as visited:
        page = visited.open(picture.query)
        if picture.opens:
            page.locator(".mindo.results a").first.click()
            page.wait_for_selector(".mindo.thread")
            page.locator("details.call summary").first.click()
        return _shot(page, folder / f"{picture.name}.png")


def _shot(page: Page, file: Path) -> Path:
    # where the tables are on this machine is nobody's business
    page.locator(".note", has_text="duckdb:").evaluate_all(
        "all => all.forEach(e => e.textContent = e.textContent.replace(/duckdb:[^,]+/, 'warehouse.duckdb'))"
    )
    page.screenshot(path=file)
    assert file.stat().st_size < MOST_BYTES, f"{file.name} is too large for the docs"
    return file


if __name__ == "__main__":
    for taken in take_pictures():
        print(taken, taken.stat().st_size, file=sys.stderr)
