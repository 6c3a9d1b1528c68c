"""`mindo report`: one file that can be mailed, with the numbers of the dashboard, no text of messages, and no need of a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from mindo_emulator import Emulator, World
from mindo_pipeline.warehouse import Warehouse
from tests.dashboard.serving import HOSTILE, MARKUP, PHONE, hostile_world, zones
from tests.mindo_pipeline.harness import DAY, midnight, mindo, settings
from tests.support import EVERYTHING

MOST_BYTES = 1_000_000


@pytest.fixture(scope="module")
def world_and_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A warehouse of three weeks of the hostile world, of which a day of company 63 was never read."""
    world, folder = hostile_world(), tmp_path_factory.mktemp("report")
    lost = midnight() - 5 * DAY
    with pytest.MonkeyPatch.context() as patch, Emulator(world) as emulator:
        patch.chdir(folder)
        told = settings(emulator, SOURCES__MINDO__START_DATE=(midnight() - 21 * DAY).date().isoformat())
        for name, value in {**told, "SOURCES__MINDO__COMPANIES": zones(world)}.items():
            patch.setenv(name, value)
        assert mindo("run", "--quiet", "--companies", "42,57").code == 0
        for start, end in ((midnight() - 21 * DAY, lost), (lost + DAY, midnight())):
            asked = ("--companies", "63", "--from", start.date().isoformat(), "--to", end.date().isoformat())
            assert mindo("backfill", "--quiet", *asked).code == 0
    return world, folder


@pytest.fixture
def loaded(world_and_folder: tuple[World, Path], monkeypatch: pytest.MonkeyPatch) -> World:
    """That world, with its warehouse in the current folder."""
    world, folder = world_and_folder
    monkeypatch.chdir(folder)
    return world


def test_it_holds_numbers_labels_and_gaps_and_no_text(loaded: World) -> None:
    result = mindo("report", "--json")
    assert result.code == 0
    document: dict[str, Any] = result.document
    page = Path("report.html").read_text()
    assert document["bytes"] == len(page.encode()) < MOST_BYTES
    assert Path("report.html").stat().st_mode & 0o077 == 0
    companies = {company["company_id"]: company for company in document["companies"]}
    lost = midnight() - 5 * DAY
    assert [gap["start"][:10] for gap in companies[63]["gaps"]] == [lost.date().isoformat()]
    assert "1 gap: numbers of these days are too low." in page
    assert f"mindo backfill --companies 63 --from {lost.date()} --to {(lost + DAY).date()}" in page
    assert f"<strong>{document['messages']:,}</strong>" in page
    assert "order_inquiry" in page
    texts = {
        text
        for company in (42, 57, 63)
        for m in loaded.truth(company, midnight() - 30 * DAY, midnight() + DAY, include=EVERYTHING)
        if len(text := m["content"]["text"] or "") > 12 and text not in (HOSTILE, MARKUP)
    }
    assert not {text for text in texts if text in page}
    # names of labels and tools can be anything, too
    assert "<img" not in page
    assert "<script" not in page
    assert "\u202e" not in page


def test_companies_and_days_can_be_chosen(loaded: World) -> None:
    chosen = mindo("report", "--json", "--companies", "57", "--days", "5", "--out", "small.html").document
    assert [company["company_id"] for company in chosen["companies"]] == [57]
    everything = mindo("report", "--json", "--out", "large.html").document
    assert 0 < chosen["messages"] < everything["messages"]
    unknown = mindo("report", "--companies", "99")
    assert (unknown.code, "holds nothing of 99" in unknown.error) == (2, True)
    nowhere = mindo("report", "--out", "missing/report.html")
    assert (nowhere.code, "name another file with --out" in nowhere.error) == (2, True)


def test_a_browser_shows_it_without_a_network_and_without_a_script(loaded: World, browser: Browser) -> None:
    assert mindo("report").code == 0
    asked: list[str] = []
    context = browser.new_context(java_script_enabled=False, offline=True, viewport=PHONE)
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(Path("report.html").absolute().as_uri())
    assert page.locator("svg.chart").count() >= 8
    assert page.locator("h1").inner_text().startswith("Mindo, ")
    page.emulate_media(media="print")
    assert page.get_by_text("inbound").first.is_visible()
    context.close()
    assert len(asked) == 1
    again = browser.new_page(viewport=PHONE)
    again.goto(Path("report.html").absolute().as_uri())
    assert again.evaluate("document.documentElement.scrollWidth <= innerWidth")
    again.close()


def test_charts_take_their_colours_from_the_style(loaded: World) -> None:
    assert mindo("report").code == 0
    page = Path("report.html").read_text()
    drawn = set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]+)"', page))
    styled = set(re.findall(r'="(#00000[0-9a-f])"\]', page))
    assert drawn
    assert drawn <= styled
    assert "prefers-color-scheme: dark" in page


def test_of_an_empty_warehouse_it_says_that_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import duckdb

    with duckdb.connect("warehouse.duckdb"):
        pass
    assert Warehouse().file is not None
    result = mindo("report")
    assert result.code == 0
    assert "Nothing counts as read yet." in result.out
    assert "Nothing counts as read yet." in Path("report.html").read_text()
