"""What a visitor can set: the page, companies, days, what is looked for. All of it starts as the link says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import date, timedelta
from typing import Any, Final

from markupsafe import Markup

from .charts import short
from .fragments import render, url
from .questions import PAGE, Criteria, Loaded
from .reader import Reader
from .scope import Company, Scope
from .showing import html

HEALTH: Final = "health"
CONVERSATIONS: Final = "conversations"
READ: Final = "read"
CHOSEN: Final = "chosen"

_PAGES: Final = {HEALTH: "Health", CONVERSATIONS: "Conversations", READ: "Read"}
_PERIODS: Final = {
    "Last 7 days": "7",
    "Last 30 days": "30",
    "Last 90 days": "90",
    "Last 12 months": "365",
    "All days": "all",
    "Days that I choose": CHOSEN,
}
_USUAL: Final = "30"
_GRID: Final = (
    "display: grid; gap: 0.4rem 1.2rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr))"
)
_FIRST_LABELS: Final = ("Intent", "Topic", "Sentiment")
_TITLES: Final = {
    "text": "Text",
    "label": "Label",
    "label_value": "Value of a label",
    "extraction": "Extracted field or value",
    "tool": "Tool",
    "id": "Id of a trace, message, conversation or author",
}


def page(given: Mapping[str, str]) -> str:
    """The page that the link names."""
    name = given.get("page", "")
    return name if name in _PAGES else HEALTH


def heading(reader: Reader, page: str, ids: Sequence[int], days: str) -> Any:
    """What this is, of which warehouse, and links to all pages that keep what was set."""
    known = {"days": days, "companies": ",".join(map(str, ids))}
    links = [(title, url(page=name, **known), name == page) for name, title in _PAGES.items()]
    return html(render("heading", place=reader.place, links=links))


def companies(mo: Any, there: Loaded, given: Mapping[str, str]) -> Any:
    """The companies to choose from; none chosen means all."""
    options = {f"{company.id} {short(company.name or '')}".strip(): company.id for company in there.companies}
    wanted = set(given.get("companies", "").split(","))
    return mo.ui.multiselect(
        options=options,
        value=[title for title, company_id in options.items() if str(company_id) in wanted],
        label="Companies",
        on_change=lambda ids: _noted(mo, companies=",".join(map(str, ids)) or None),
    )


def period(mo: Any, there: Loaded, given: Mapping[str, str]) -> Any:
    """The days to choose from, back from the last one that has messages."""
    values = {value: title for title, value in _PERIODS.items()}
    return mo.ui.dropdown(
        options=_PERIODS,
        value=values.get(given.get("days", ""), values[_USUAL]),
        allow_select_none=False,
        label="Days",
        on_change=lambda value: _noted(mo, days=value),
    )


def dates(mo: Any, there: Loaded) -> Any:
    """Any two days."""
    last = there.last or date.today()
    first = there.first or last
    start = max(first, last - timedelta(days=int(_USUAL) - 1))
    return mo.ui.date_range(start=first, stop=last, value=(start, last), label="From and to")


def scope(there: Loaded, ids: Sequence[int], days: str, chosen: tuple[date, date] | None) -> Scope:
    """What the pages are about."""
    companies = tuple(c for c in there.companies if not ids or c.id in ids) or (Company(0, None, "UTC"),)
    last = there.last or date.today()
    first = there.first or last
    if chosen is not None:
        return Scope(companies, *chosen)
    if days == "all":
        return Scope(companies, first, last)
    return Scope(companies, last - timedelta(days=int(days) - 1), last)


def label(mo: Any, labels: Sequence[Mapping[str, Any]], given: Mapping[str, str]) -> Any:
    """The labels to choose from."""
    options = _titled(row["label"] for row in labels)
    first = next((name for name in (given.get("label", ""), *_FIRST_LABELS) if name in options), next(iter(options)))
    return mo.ui.dropdown(options=options, value=first, allow_select_none=False, label="Label over time")


def tool(mo: Any, tools: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    """The tools to choose from, and whether only calls that failed are listed."""
    options = _titled(row["tool"] for row in tools)
    return (
        mo.ui.dropdown(options=options, label="Calls of the tool"),
        mo.ui.checkbox(value=True, label="only failed ones"),
    )


def _titled(names: Iterable[str]) -> dict[str, str]:
    """Names from the data by a title that fits on any screen; no two titles are the same."""
    titled: dict[str, str] = {}
    for name in names:
        title = short(name)
        titled[title if title not in titled else f"{title} ({len(titled) + 1})"] = name
    return titled


def search(mo: Any, given: Mapping[str, str]) -> Any:
    """What conversations are looked for by."""
    boxes = {
        name: mo.ui.text(value=given.get(name, ""), label=title, full_width=True) for name, title in _TITLES.items()
    }
    places = Markup("").join(Markup("<div>{}</div>").format(f"{{{name}}}") for name in boxes)
    # the style sheet does not reach into a form
    form = html(Markup('<div style="{}">{}</div>').format(_GRID, places)).batch(**boxes)
    return form.form(
        submit_button_label="Search",
        bordered=False,
        on_change=lambda found: _noted(mo, **{name: found[name] or None for name in _TITLES}) if found else None,
    )


def criteria(found: Mapping[str, str] | None, given: Mapping[str, str]) -> Criteria:
    """What was looked for last: by the form, or before by the link."""
    source = given if found is None else found
    return Criteria(**{field.name: source.get(field.name, "").strip() for field in fields(Criteria)})


def place(days: str, ids: Sequence[int], criteria: Criteria) -> dict[str, Any]:
    """What a link has to say to come back here."""
    return {"page": "read", "days": days, "companies": ",".join(map(str, ids)), **vars(criteria)}


def paging(
    mo: Any,
    rows: Sequence[dict[str, Any]],
    before: tuple[Any, ...],
    set_before: Callable[[tuple[Any, ...]], None],
    place_of: Callable[[dict[str, Any]], Any],
    what: str,
) -> tuple[Any, Any]:
    """Buttons to the pages of a list, back and on; each works only as long as a page of its own has it as a variable."""
    newer = mo.ui.button(label=f"Newer {what}", disabled=not before, on_click=lambda _: set_before(before[:-1]))
    older = mo.ui.button(
        label=f"Older {what}",
        disabled=len(rows) <= PAGE,
        on_click=lambda _: set_before((*before, place_of(rows[PAGE - 1]))),
    )
    return newer, older


def _noted(mo: Any, **parameters: str | None) -> None:
    """Keeps the link in the address bar true."""
    known = mo.query_params()
    for name, value in parameters.items():
        if value is None:
            known.remove(name)
        else:
            known.set(name, value)
