"""Pieces of HTML from the templates. Whatever comes from the data is text in them: escaped, and made harmless to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..console import clean, counted, duration, moment

_TAB: Final = 4
_LONGEST_TEXT: Final = 20_000


def harmless(value: object) -> object:
    """What stands in a page for a value: text with its lines, and everything else that has no picture made visible."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return ""
    return "\n".join(clean(line) for line in str(value).replace("\r\n", "\n").expandtabs(_TAB).split("\n"))


def shortened(text: object) -> str:
    """Text up to some length, and how much more there is."""
    whole = str(text)
    more = len(whole) - _LONGEST_TEXT
    return whole if more <= 0 else f"{whole[:_LONGEST_TEXT]} … (and {counted(more, 'character')} more)"


def number(value: float | None, digits: int = 0) -> str:
    """A number for people."""
    return "-" if value is None else f"{value:,.{digits}f}"


def percent(part: float, whole: float) -> str:
    """A share for people."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def seconds(value: float | None) -> str:
    """A time of seconds for people."""
    return "-" if value is None else duration(timedelta(seconds=value))


def age(value: timedelta | None) -> str:
    """A length of time for people."""
    return "-" if value is None else duration(value)


def url(**parameters: object) -> str:
    """A link within the dashboard; what is empty is left out."""
    return "?" + urlencode({name: str(value) for name, value in parameters.items() if value not in (None, "")})


def local(value: datetime, zone: Any) -> str:
    """A time on a company's own clock."""
    return value.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mindo_pipeline.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "seconds": seconds,
        "age": age,
        "moment": moment,
        "shortened": shortened,
        "local": local,
    }
    environment.globals |= {"url": url, "percent": percent, "counted": counted, "UTC": UTC}
    return environment


def render(template: str, **values: Any) -> Markup:
    """A template with its values."""
    return Markup(_environment().get_template(f"{template}.html").render(**values))


def style_sheet() -> Markup:
    """The style of all pages."""
    return Markup(files("mindo_pipeline.dashboard").joinpath("templates", "style.css").read_text(encoding="utf-8"))


def table(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], caption: str) -> Markup:
    """A table; a column whose title starts with `>` is aligned to the right."""
    return render("table", columns=columns, rows=rows, caption=caption)


def card(title: str, body: Markup, note: str = "", numbers: Markup | None = None, is_wide: bool = False) -> Markup:
    """A chart or a table with its title, what it means, and its numbers folded below."""
    return render("card", title=title, body=body, note=note, numbers=numbers, is_wide=is_wide)


def cards(*parts: Markup) -> Markup:
    """Cards side by side, as many as there is room for."""
    return Markup('<div class="mindo cards">{}</div>').format(Markup("").join(parts))


def tiles(*parts: tuple[str, str, str]) -> Markup:
    """Single numbers: a title, the number, and what it means."""
    return render("tiles", tiles=parts)


def notice(title: str, *lines: str, kind: str = "hint") -> Markup:
    """A state that says what to do: `hint`, `warning` or `error`."""
    return render("notice", title=title, lines=lines, kind=kind)
