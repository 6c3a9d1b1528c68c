"""Charts as SVG, made on this machine: no script runs in the browser, and a report needs nothing else.

Colours are set by the style sheet: each is drawn in one of `_INKS`, which stands for a variable of it, so that a chart is right in
light and dark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from threading import Lock
from typing import Any, Final

from markupsafe import Markup, escape

from ..console import clean

_WIDTH: Final = 400
_HEIGHT: Final = 180
_INKS: Final = tuple(f"#00000{number}" for number in range(1, 9))
_OTHER: Final = "#000009"
_TEXT: Final = "#00000a"
_LINE: Final = "#00000b"
_SEQUENTIAL: Final = "#00000c"
_LONGEST: Final = 28
_FEW_BARS: Final = 10
_WIDEST_BAR: Final = 32
_ROOM_FOR_TEXT: Final = 1.2
_FONT: Final = "Arial"
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LABELLED: Final = re.compile(r'<(path|rect)( aria-label="([^"]*)"[^>]*)/>')
_SIZE: Final = re.compile(r'^<svg([^>]*?) width="(\d+)" height="(\d+)"')
_drawing = Lock()

Rows = Sequence[dict[str, Any]]


def short(text: object) -> str:
    """Text from the data as it fits into a chart, made harmless."""
    cleaned = clean(text)
    return cleaned if len(cleaned) <= _LONGEST else f"{cleaned[: _LONGEST - 1]}…"


def prepare() -> None:
    """Imports what charts are made with, which takes a second."""
    import vl_convert  # noqa: F401

    _altair()


def warm_up() -> None:
    """Draws once: the first time takes longer than all others."""
    amounts([{"name": "", "value": 1}], "name", "value", "")


def stacked(rows: Rows, steps: Sequence[date], series: str, value: str, order: Sequence[str], title: str) -> Markup:
    """Bars over time, a colour for each value of `series`, in the given order; those beyond the inks share a grey.

    Args:
        rows: Each with `step`, the series and the value.
        steps: All points in time; one without a row is drawn as nothing.
        series: Column of the series.
        value: Column of the numbers.
        order: The series, as they are stacked and listed; what is not among them is left out.
        title: What it shows, for those who can't see it.
    """
    alt = _altair()
    names = {name: short(name) for name in order}
    data = [
        {
            "step": row["step"].isoformat(),
            "series": names[row[series]],
            "value": row[value],
            "place": order.index(row[series]),
        }
        for row in rows
        if row[series] in names
    ]
    chart = (
        alt.Chart(alt.Data(values=data))
        .mark_bar()
        .encode(
            x=_time_axis(steps),
            y=alt.Y("sum(value):Q", title=None, axis=alt.Axis(tickCount=4, format="~s")),
            color=alt.Color(
                "series:N",
                sort=None,
                scale=alt.Scale(domain=list(names.values()), range=_palette(len(names))),
                legend=None,
            ),
            order=alt.Order("place:Q"),
            description="series:N",
        )
    )
    return _keys(list(names.values())) + _svg(chart, title)


def lines(rows: Rows, steps: Sequence[date], columns: dict[str, str], title: str) -> Markup:
    """Lines of seconds over time, on a logarithmic scale.

    Args:
        rows: Each with `step` and the columns.
        steps: All points in time.
        columns: Names for people, by column.
        title: What it shows, for those who can't see it.
    """
    alt = _altair()
    data = [
        {"step": row["step"].isoformat(), "series": name, "value": max(float(row[column]), 0.1)}
        for row in rows
        for column, name in columns.items()
    ]
    top = max((row["value"] for row in data), default=1.0)
    ticks = [seconds for seconds in (0.1, 1, 10, 60, 600, 3_600, 36_000, 86_400, 864_000) if seconds <= top * 6]
    label = (
        "datum.value >= 86400 ? datum.value / 86400 + ' d' : datum.value >= 3600 ? datum.value / 3600 + ' h'"
        " : datum.value >= 60 ? datum.value / 60 + ' min' : datum.value + ' s'"
    )
    chart = (
        alt.Chart(alt.Data(values=data))
        .mark_line(point=alt.OverlayMarkDef(size=18), strokeWidth=2)
        .encode(
            x=_time_axis(steps),
            y=alt.Y(
                "value:Q",
                title=None,
                scale=alt.Scale(type="log", domainMin=min((row["value"] for row in data), default=0.1)),
                axis=alt.Axis(values=ticks, labelExpr=label),
            ),
            color=alt.Color(
                "series:N",
                sort=None,
                scale=alt.Scale(domain=list(columns.values()), range=_palette(len(columns))),
                legend=None,
            ),
        )
    )
    return _keys(list(columns.values())) + _svg(chart, title)


def hours(rows: Rows, title: str) -> Markup:
    """A week of hours, the darker the more messages."""
    alt = _altair()
    found = {(row["weekday"], row["hour"]): int(row["messages"]) for row in rows}
    data = [
        {"day": name, "hour": hour, "messages": found.get((number, hour), 0)}
        for number, name in enumerate(_WEEKDAYS, 1)
        for hour in range(24)
    ]
    chart = (
        alt.Chart(alt.Data(values=data))
        .mark_rect(color=_SEQUENTIAL, stroke=None)
        .encode(
            x=alt.X(
                "hour:O",
                title=None,
                axis=alt.Axis(
                    values=[0, 6, 12, 18], labelAngle=0, labelExpr="(datum.value < 10 ? '0' : '') + datum.value + ':00'"
                ),
            ),
            y=alt.Y("day:O", sort=list(_WEEKDAYS), title=None),
            opacity=alt.Opacity("messages:Q", scale=alt.Scale(range=[0.05, 1], zero=True), legend=None),
        )
    )
    return _svg(chart, title)


def shares(rows: Rows, name: str, part: str, whole: str, title: str) -> Markup:
    """Bars of percentages, the largest first, with their numbers."""
    alt = _altair()
    data: list[dict[str, Any]] = [
        {
            "name": short(row[name]),
            "percent": 100 * row[part] / row[whole] if row[whole] else 0,
            "text": f"{100 * row[part] / row[whole]:.1f} %" if row[whole] else "-",
        }
        for row in rows
    ]
    base = alt.Chart(alt.Data(values=data)).encode(
        x=alt.X(
            "percent:Q",
            title=None,
            scale=alt.Scale(domainMin=0, domainMax=max([1.0, *(row["percent"] for row in data)]) * _ROOM_FOR_TEXT),
            axis=alt.Axis(tickCount=4, format="~s", labelExpr="datum.label + ' %'"),
        ),
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=150)),
    )
    bars = base.mark_bar(color=_INKS[4], height={"band": 0.7})
    texts = base.mark_text(align="left", dx=4, color=_TEXT, fontSize=11).encode(
        text="text:N", description=alt.value("")
    )
    return _svg((bars + texts), title, height=max(60, 24 * len(data)))


def amounts(rows: Rows, name: str, value: str, title: str) -> Markup:
    """A bar for each row, in its order."""
    alt = _altair()
    data = [{"name": row[name], "value": row[value]} for row in rows]
    bars = alt.Chart(alt.Data(values=data))
    # a single bar as wide as the chart would look like an area
    chart = (
        bars.mark_bar(color=_INKS[0], size=_WIDEST_BAR) if len(data) < _FEW_BARS else bars.mark_bar(color=_INKS[0])
    ).encode(
        x=alt.X("name:N", sort=None, title=None, axis=alt.Axis(labelAngle=-45, labelOverlap=True)),
        y=alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=4, format="~s")),
    )
    return _svg(chart, title)


def _time_axis(steps: Sequence[date]) -> Any:
    alt = _altair()
    every = max(1, -(-len(steps) // 6))
    ticks = [step.isoformat() for step in steps]
    label = "utcFormat(toDate(datum.value), '%-d %b')"
    return alt.X(
        "step:O",
        title=None,
        scale=alt.Scale(domain=ticks),
        axis=alt.Axis(values=ticks[::every], labelAngle=0, labelExpr=label, labelFlush=True),
    )


def _keys(names: Sequence[str]) -> Markup:
    """What each colour stands for; outside of the drawing, where it finds room on any screen."""
    listed = (
        Markup('<li><i class="ink{}"></i>{}</li>').format(min(place, len(_INKS)) + 1, name)
        for place, name in enumerate(names)
    )
    return Markup('<ul class="keys">{}</ul>').format(Markup("").join(listed)) if len(names) > 1 else Markup("")


def _palette(number: int) -> list[str]:
    return [_INKS[place] if place < len(_INKS) else _OTHER for place in range(number)]


@lru_cache(maxsize=1)
def _altair() -> Any:
    # takes a second, and only charts need it
    import altair

    return altair


def _svg(chart: Any, title: str, height: int = _HEIGHT) -> Markup:
    import vl_convert

    specification = (
        chart.properties(
            width=_WIDTH, height=height, background="transparent", autosize={"type": "fit", "contains": "padding"}
        )
        .configure(font=_FONT)
        .configure_view(stroke=None)
        .configure_axis(
            gridColor=_LINE,
            domainColor=_LINE,
            tickColor=_LINE,
            labelColor=_TEXT,
            labelFontSize=12,
        )
        .configure_axisX(grid=False)
        .to_dict()
    )
    with _drawing:
        drawn = vl_convert.vegalite_to_svg(specification)
    return _framed(drawn, title)


def _framed(drawn: str, title: str) -> Markup:
    """Lets a chart grow with its place, names it, and tells of a mark what it stands for where the pointer is."""
    titled = _LABELLED.sub(lambda found: f"<{found[1]}{found[2]}><title>{found[3]}</title></{found[1]}>", drawn)
    frame = rf'<svg\1 class="chart" role="img" aria-label="{escape(title)}" data-width="\2"'
    return Markup(_SIZE.sub(frame, titled.replace(' class="marks"', "", 1), count=1))
