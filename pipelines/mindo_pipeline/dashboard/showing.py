"""How a page comes to be on the screen: what is shown while a question is asked, and where it can't be answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from markupsafe import Markup

from mindo import ConfigurationError

from ..console import moment
from ..errors import DestinationError
from . import pages, questions
from .fragments import cards, notice, url
from .health import health as find_health
from .reader import Reader, WarehouseBusy
from .scope import Company, Scope
from .variables import Variables

_SHORTLY_BEFORE: Final = 6

Answer = TypeVar("Answer")

_PARTS: Final = {
    "around": (_SHORTLY_BEFORE, questions.PART),
    "since": (0, questions.PART),
    "until": (questions.PART, 0),
}
"""How many messages a link shows before and after the one that it names."""


def html(markup: Markup) -> Any:
    """A piece of a page as marimo shows it."""
    import marimo as mo

    # marimo takes nothing but a plain text for HTML
    return mo.Html(str(markup))


def loading(mo: Any) -> None:
    """Says that a question is being asked, until there is something else to show."""
    mo.output.replace(html(_asking()))


def shown(mo: Any, reader: Reader, page: Callable[[], Markup]) -> None:
    """Shows a page, or why there is none."""
    found, failure = answered(reader, page)
    mo.output.replace(failure if found is None else html(found))


def shown_by_and_by(mo: Any, reader: Reader, page: Iterator[Markup]) -> None:
    """Shows a page as it grows: each state of it in place of the one before."""
    loading(mo)
    last = Markup("")
    while True:
        # the end of a page is no answer, and no failure
        found, failure = answered(reader, lambda: next(page, Markup("")))
        if not found:
            mo.output.replace(html(last) if failure is None else mo.vstack([html(last), failure]))
            return
        last = found
        mo.output.replace(html(last + _asking()))


def answered(reader: Reader, question: Callable[[], Answer]) -> tuple[Answer | None, Any]:
    """The answer to a question, or else why there is none, as something to show."""
    try:
        if not reader.is_missing:
            return question(), None
    except WarehouseBusy as busy:
        return None, html(notice("A load is under way.", str(busy), "Then reload this page.", kind="warning"))
    except (DestinationError, ConfigurationError) as error:
        what = "See that the warehouse is there and can be read, then reload this page. mindo check tells more."
        return None, html(notice("The warehouse can't be read.", str(error), what, kind="error"))
    except Exception as error:
        # the text of any other exception could quote a message
        line = f"Something unforeseen happened ({type(error).__name__}). Reload this page; if it stays, report it."
        return None, html(notice("This can't be shown.", line, kind="error"))
    empty = "mindo run loads it; mindo demo makes one up, without a key. Then reload this page."
    return None, html(notice("There is no warehouse yet.", f"{reader.place} is not there.", empty))


def health(reader: Reader, scope: Scope) -> Iterator[Markup]:
    """How far each company is loaded, and what has to be mended; then what is drawn."""
    found = find_health(reader, scope.companies, (scope.first, scope.last))
    as_of = Markup('<p class="mindo note">As of {} UTC.</p>').format(moment(found.now))
    first = [pages.companies(found), pages.failures(found), pages.schema_changes(found)]
    yield pages.summary(found) + cards(*first)
    yield pages.summary(found) + cards(*first, pages.runs(found)) + as_of


def overview(reader: Reader, scope: Scope) -> Iterator[Markup]:
    """The charts of conversations, with those that take longer after those that don't."""
    volume = questions.volume(reader, scope)
    if not volume.total:
        yield pages.no_messages()
        return
    parts = pages.volume(volume, scope)
    yield pages.conversation_tiles(volume, None, scope) + cards(*parts)
    handling = questions.handling(reader, scope)
    parts.append(pages.handling(handling, scope))
    tiles = pages.conversation_tiles(volume, handling, scope)
    yield tiles + cards(*parts)
    parts.append(pages.responses(questions.responses(reader, scope), scope))
    yield tiles + cards(*parts)


def conversation(reader: Reader, there: questions.Loaded, variables: Variables, given: Mapping[str, str]) -> Markup:
    """The conversation that a link names."""
    number = given.get("company", "")
    company_id = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0
    company = next((c for c in there.companies if c.id == company_id), Company(company_id, None, "UTC"))
    around = given.get("around")
    kind = next((kind for kind in _PARTS if kind in given), "until")
    found = questions.thread(reader, company_id, given["conversation"], given.get(kind), *_PARTS[kind])
    here = {name: value for name, value in given.items() if name not in ("company", "conversation", *_PARTS)}
    back = Markup('<p class="mindo"><a href="{}">Back to the search</a></p>').format(url(**here))
    return back + pages.thread(found, company, given["conversation"], around, variables, here)


def _asking() -> Markup:
    return Markup('<p class="mindo note" role="status">Asking the warehouse…</p>')
