"""The dashboard as somebody sees it: in a real browser, over a warehouse of which one conversation tries everything."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from mindo_pipeline.dashboard.charts import short
from tests.dashboard.conftest import MakeVisit
from tests.dashboard.serving import HOSTILE, MARKUP, PHONE, TRACE

PAGES = (
    "?page=health",
    "?page=conversations&days=7",
    "?page=read&days=7",
    "?page=read&company=42&conversation=conv_hostile",
)
MESSAGES = re.compile(r"[\d,]+")


CONTRAST = """(() => {
    const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true})
    const rgba = c => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1)
        return [...canvas.getImageData(0, 0, 1, 1).data] }
    const part = v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 }
    const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b)
    const ground = e => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor)
        if (c[3] > 200) return c } return [255, 255, 255] }
    const texts = [...document.querySelectorAll('.mindo p, .mindo li, .mindo h2, .mindo a, .mindo summary')]
    const worst = Math.min(...texts.map(e => {
        const [a, b] = [light(rgba(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x)
        return (a + .05) / (b + .05) }))
    return [worst, light(ground(document.querySelector('.mindo.top')))]
})()"""
"""The worst contrast of a text with what is behind it, and how light the page is."""


def number_of(page: Page, title: str) -> str:
    return page.locator(".mindo.tiles > div", has_text=title).locator("strong").inner_text()


@pytest.mark.parametrize("query", PAGES)
def test_a_page_loads_without_an_error_and_fits_on_a_phone(visit: MakeVisit, query: str) -> None:
    page = visit().open(query)
    expect(page.locator(".mindo.top h1")).to_have_text("Mindo")
    page.set_viewport_size(PHONE)
    wide = page.evaluate(
        "[...document.querySelectorAll('html, body, #App')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.id)"
    )
    assert wide == []
    outside = page.evaluate(
        """[...document.querySelectorAll('.mindo, .mindo *')].filter(e => {
            if (e.closest('.scroll') || e.closest('svg') || e.closest('.unseen')) return false
            return e.getBoundingClientRect().right > innerWidth + 1
        }).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert outside == []


def test_health_tells_of_each_company_how_far_it_is(visit: MakeVisit) -> None:
    page = visit().open("?page=health&days=7")
    rows = page.locator("table.companies tbody tr")
    expect(rows).to_have_count(3)
    assert number_of(page, "Gaps") == "0"
    assert rows.first.locator(".days i.complete").count() >= 6
    assert page.locator("svg.chart").count() == 1


def test_filters_change_what_is_counted_and_stay_in_the_link(visit: MakeVisit) -> None:
    visited = visit()
    page = visited.open("?page=conversations&days=7")
    week = number_of(page, "Messages")
    page.get_by_label("Days").select_option(label="All days")
    expect(page.locator(".mindo.tiles strong").first).not_to_have_text(week)
    every_day = number_of(visited.settled(), "Messages")
    page.get_by_label("Companies").click()
    page.get_by_role("option", name=re.compile("57")).click()
    page.keyboard.press("Escape")
    expect(page.locator(".mindo.tiles strong").first).not_to_have_text(every_day)
    one_company = number_of(visited.settled(), "Messages")
    assert len(one_company) <= len(every_day)
    assert parse_qs(urlsplit(page.url).query) == {"page": ["conversations"], "days": ["all"], "companies": ["57"]}
    again = visit().open(f"?{urlsplit(page.url).query}")
    assert number_of(again, "Messages") == one_company


def test_days_can_be_chosen(visit: MakeVisit) -> None:
    page = visit().open("?page=conversations&days=chosen")
    expect(page.get_by_text("From and to")).to_be_visible()
    assert MESSAGES.fullmatch(number_of(page, "Messages"))


def test_a_label_is_drawn_over_time(visit: MakeVisit) -> None:
    page = visit().open("?page=conversations&days=all")
    page.get_by_label("Label over time").select_option(label="Sentiment")
    expect(page.get_by_role("heading", name=re.compile("^Sentiment, by day"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("label Sentiment"))).to_be_visible()


def test_a_failed_tool_call_leads_to_its_conversation(visit: MakeVisit) -> None:
    visited = visit()
    page = visited.open("?page=conversations&days=7")
    page.get_by_label("Calls of the tool").select_option(label=short(HOSTILE))
    call = page.locator(".mindo.calls > li")
    expect(call).to_have_count(1)
    call.locator("summary").click()
    expect(call.locator("pre").first).to_contain_text("7*7")
    call.get_by_role("link", name=re.compile("open the conversation")).click()
    page.wait_for_selector(".mindo.thread")
    expect(page.locator(".message.wanted")).to_have_attribute("id", "msg_hostile")


def test_a_conversation_is_found_and_opened(visit: MakeVisit) -> None:
    visited = visit()
    page = visited.open("?page=read&days=all")
    expect(page.locator(".mindo.results > li")).to_have_count(25)
    page.get_by_label("Text", exact=True).fill("ONERROR")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".mindo.results > li")).to_have_count(1)
    page.locator(".mindo.results a").click()
    page.wait_for_selector(".mindo.thread")
    expect(page.locator(".mindo.thread .message")).to_have_count(2)
    page.get_by_role("link", name="Back to the search").click()
    expect(page.locator(".mindo.results > li")).to_have_count(1)


def test_results_are_paged(visit: MakeVisit) -> None:
    visited = visit()
    page = visited.open("?page=read&days=all")
    first = page.locator(".mindo.results a").first.get_attribute("href")
    page.get_by_role("button", name="Older conversations").click()
    expect(page.locator(".mindo.results a").first).not_to_have_attribute("href", str(first))
    visited.settled()
    page.get_by_role("button", name="Newer conversations").click()
    expect(page.locator(".mindo.results a").first).to_have_attribute("href", str(first))


def test_a_long_conversation_is_read_in_parts(visit: MakeVisit) -> None:
    visited = visit()
    page = visited.open("?page=read&company=57&conversation=conv_long")
    expect(page.locator(".mindo.thread .message").last).to_contain_text("line 229")
    assert page.locator(".mindo.thread .message").count() == 51
    page.get_by_role("link", name="Earlier messages").click()
    expect(page.locator(".mindo.thread .message").last).to_contain_text("line 179")
    visited.settled()
    texts = page.locator(".mindo.thread .message .text").all_inner_texts()
    assert texts == [f"line {number}" for number in range(129, 180)]
    page.get_by_role("link", name="Later messages").click()
    expect(page.locator(".mindo.thread .message").last).to_contain_text("line 229")


def test_hostile_text_stays_text(visit: MakeVisit) -> None:
    page = visit().open("?page=read&company=42&conversation=conv_hostile")
    texts = page.locator(".mindo.thread .message .text").all_inner_texts()
    assert set(texts) == {HOSTILE, MARKUP.replace("\u202e", "\\u202e").replace("\u202c", "\\u202c")}
    assert page.locator(".mindo.thread img, .mindo.thread script, .mindo.thread em, .mindo.thread .katex").count() == 0
    page.locator(".mindo.thread details.call summary").click()
    expect(page.locator(".mindo.thread details.call pre").first).to_contain_text("onerror")
    link = page.get_by_role("link", name="Langfuse trace")
    expect(link).to_have_attribute("href", f"https://cloud.langfuse.com/project/it%27s%20%3Cmine%3E/traces/{TRACE}")


def test_the_keyboard_reaches_every_control(visit: MakeVisit) -> None:
    visited = visit()
    page = visited.open("?page=health&days=7")
    reached = [_focused_after(page, "Tab") for _ in range(5)]
    assert reached == ["A Health", "A Conversations", "A Read", "BUTTON Select...", "SELECT"]
    page.get_by_role("link", name="Read").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**page=read**")
    visited.settled()
    reached = [_focused_after(page, "Tab") for _ in range(14)]
    assert reached.count("INPUT") == 6
    assert "BUTTON Search" in reached
    page.locator(".mindo.results a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".mindo.thread")


def _focused_after(page: Page, key: str) -> str:
    page.keyboard.press(key)
    found = page.evaluate(
        """(() => { let e = document.activeElement
        while (e && e.shadowRoot && e.shadowRoot.activeElement) e = e.shadowRoot.activeElement
        return e.tagName + ' ' + (e.tagName === 'SELECT' ? '' : e.innerText) })()"""
    )
    return str(found).strip()


def test_text_can_be_read_in_light_and_dark(visit: MakeVisit) -> None:
    page = visit().open("?page=read&company=42&conversation=conv_hostile")
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"document.body.classList.contains('{scheme}')")
        worst, ground = page.evaluate(CONTRAST)
        assert worst >= 4.5
        grounds.append(ground)
    assert grounds[0] > 0.8 > 0.2 > grounds[1]


def test_a_link_to_nothing_says_what_to_do(visit: MakeVisit) -> None:
    page = visit().open("?page=read&company=nonsense&conversation=conv_gone&days=-3&companies=x,'&around=;--")
    expect(page.locator(".mindo.notice")).to_contain_text("not in the warehouse")
