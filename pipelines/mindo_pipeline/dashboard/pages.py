"""What the pages and the report show of the answers: numbers, charts and tables as HTML. Asks nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from markupsafe import Markup

from ..console import counted, duration, moment
from . import charts
from .fragments import card, notice, number, percent, render, seconds, table, tiles, url
from .health import COMPLETE, GAP, OUTSIDE, PART, Health, Reading
from .questions import HANDLED, PAGE, Criteria, Handling, Responses, Thread, Volume
from .scope import Company, Scope
from .variables import Variables

_MOST_ROWS: Final = 100
_MOST_FAILURES: Final = 25
_HOURS: Final = 3
_STATES: Final = {COMPLETE: "read whole", PART: "read in part", GAP: "gap", OUTSIDE: "not read"}
_AUTHORS: Final = ("contact", "agent", "operator")
_HANDLED_TITLES: Final = {
    "contained": "AI alone",
    "handed_off": "AI, then a person",
    "other_ai": "a person, then AI",
    "person_only": "person alone",
    "nobody": "nobody",
}
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_REPLIERS: Final = {"agent": "AI agents", "operator": "people", "all": "all replies"}
REST: Final = "all other values"


def summary(found: Health) -> Markup:
    """The state of the warehouse in a few numbers, and what has to be done about it."""
    oldest = found.readings[0] if found.readings else None
    age = oldest.age(found.now) if oldest else None
    late, gaps = len(found.late), found.gaps
    shown = tiles(
        (
            "Furthest behind",
            duration(age) if age else "-",
            f"company {oldest.company.id}" if oldest else "nothing was read yet",
        ),
        ("Companies behind", number(late), "more than 36 hours old" if late else "all within 36 hours"),
        ("Gaps", number(gaps), "times that were not read whole" if gaps else "every day in between was read whole"),
        ("To mend", number(len(found.failures)), "listed below" if found.failures else "nothing failed"),
    )
    if found.is_part_of_copy:
        warning = notice(
            "This warehouse holds part of a copy only.", "Give the same mindo copy once more.", kind="warning"
        )
        return warning + shown
    return shown


def companies(found: Health) -> Markup:
    """How far each company is read, with its calendar."""
    readings = found.readings[:_MOST_ROWS]
    if not readings:
        return notice("Nothing counts as read yet.", "mindo run reads what is new; mindo demo shows it without a key.")
    days = readings[0].days.each()
    body = render(
        "companies",
        readings=readings,
        now=found.now,
        first=days[0][0] if days else "-",
        last=days[-1][0] if days else "-",
        counts=[_in_words(reading) for reading in readings],
        words=_STATES,
        more=len(found.readings) - len(readings),
    )
    note = "The watermark is up to where the tables are gap-free. A quiet company is not a late one."
    return card("Companies, those furthest behind first", body, note, is_wide=True)


def _in_words(reading: Reading) -> str:
    counts = {word: reading.days.states.count(state) for state, word in _STATES.items()}
    return ", ".join(f"{counted(count, 'day')} {word}" for word, count in counts.items() if count)


def failures(found: Health) -> Markup:
    """What has to be mended, and how."""
    body = render("failures", failures=found.failures[:_MOST_FAILURES], more=len(found.failures[_MOST_FAILURES:]))
    if not found.failures:
        body = Markup(
            "<p>Nothing: no load failed, no window is missing between others, no backfill stopped half-way.</p>"
        )
    return card("To mend", body, is_wide=bool(found.failures))


def runs(found: Health) -> Markup:
    """What the last runs read."""
    rows = [
        {
            **row,
            "started": moment(row["started_at"]),
            "took": duration(row["finished_at"] - row["started_at"]),
            **{name: number(row[name] or 0) for name in ("windows", "companies", "messages", "requests", "retries")},
        }
        for row in found.runs
    ]
    if not rows:
        return card("Runs", Markup("<p>No run has loaded anything yet.</p>"))
    bars = [
        {"name": row["started_at"].strftime("%m-%d %H:%M"), "value": row["messages"] or 0}
        for row in reversed(found.runs)
    ]
    drawn = charts.amounts(bars, "name", "value", "Messages that each of the last runs read")
    columns = {
        "started": "Started (UTC)",
        "took": ">Took",
        "companies": ">Companies",
        "windows": ">Windows",
        "messages": ">Messages",
        "requests": ">Requests",
        "retries": ">Retries",
    }
    listed = table(columns, rows, "The last runs")
    note = "Messages read, the lookback included."
    return card("Messages per run", drawn, note) + card("The last runs", listed)


def schema_changes(found: Health) -> Markup:
    """Columns that were added lately."""
    rows = [
        {"added": moment(c.added_at), "column": f"{c.table}.{c.column}", "type": c.data_type}
        for c in found.schema_changes[:_MOST_FAILURES]
    ]
    body = (
        table({"added": "Added (UTC)", "column": "Column", "type": "Type"}, rows, "Columns that were added")
        if rows
        else Markup("<p>No column was added to a table that was there before.</p>")
    )
    return card("Schema changes", body)


def conversation_tiles(found: Volume, handled: Handling | None, scope: Scope) -> Markup:
    """The conversations of some days in a few numbers; those that are not there yet are dashes."""
    with_ai = handled.with_ai if handled else 0
    contained, handed_off = (handled.total("contained"), handled.total("handed_off")) if handled else (0, 0)
    return tiles(
        ("Messages", number(found.total), f"{scope.first} to {scope.last}, each company's own clock"),
        ("Conversations", number(handled.conversations if handled else None), "with a message in these days"),
        ("Contained by AI", percent(contained, with_ai), "of days of conversations with an AI agent: no person wrote"),
        ("Handed off", percent(handed_off, with_ai), "of the same: a person wrote after the AI agent"),
    )


def no_messages() -> Markup:
    """Where there is nothing to count."""
    return notice("There are no messages in these days.", "Choose other days or companies above.")


def volume(found: Volume, scope: Scope) -> list[Markup]:
    """How much was written: by channel, direction and author, and when."""
    parts = [_over_time(found, scope, name, title) for name, title in _VOLUMES.items()]
    busiest = max(found.by_hour, key=lambda row: row["messages"], default=None)
    if busiest:
        parts.append(
            card(
                "Busiest hours",
                charts.hours(found.by_hour, "Messages of contacts by weekday and hour"),
                f"What contacts wrote, on each company's own clock. Most: {_WEEKDAYS[busiest['weekday'] - 1]},"
                f" {busiest['hour']:02d}:00.",
                _hours_table(found.by_hour),
            )
        )
    return parts


_VOLUMES: Final = {
    "channel": "Messages by channel",
    "direction": "Messages by direction",
    "author": "Messages by author",
}


def _over_time(found: Volume, scope: Scope, name: str, title: str) -> Markup:
    rows = found.by[name]
    sums: dict[str, int] = {}
    for row in rows:
        sums[row[name]] = sums.get(row[name], 0) + row["messages"]
    order = sorted(sums, key=lambda value: (_AUTHORS.index(value) if value in _AUTHORS else 9, -sums[value], value))
    listed = [
        {"name": value, "messages": number(sums[value]), "share": percent(sums[value], found.total)} for value in order
    ]
    drawn = charts.stacked(rows, scope.steps, name, "messages", order, f"{title}, by {scope.step}")
    columns = {"name": name.title(), "messages": ">Messages", "share": ">Share"}
    return card(f"{title}, by {scope.step}", drawn, numbers=table(columns, listed, title))


def _hours_table(by_hour: Sequence[dict[str, Any]]) -> Markup:
    rows = [
        {
            "hours": f"{first:02d}:00 to {first + _HOURS:02d}:00",
            **{
                str(day): number(
                    sum(r["messages"] for r in by_hour if r["weekday"] == day and first <= r["hour"] < first + _HOURS)
                )
                for day in range(1, 8)
            },
        }
        for first in range(0, 24, _HOURS)
    ]
    columns = {"hours": "Hours", **{str(day): f">{name[:3]}" for day, name in enumerate(_WEEKDAYS, 1)}}
    return table(columns, rows, "Messages of contacts by hours and weekday")


def handling(found: Handling, scope: Scope) -> Markup:
    """Who handled the conversations."""
    kinds = [kind for kind in HANDLED if found.total(kind)]
    if not kinds:
        return Markup("")
    flat = [
        {"step": row["step"], "kind": _HANDLED_TITLES[kind], "conversations": row[kind]}
        for row in found.over_time
        for kind in kinds
    ]
    whole = sum(found.total(kind) for kind in kinds)
    listed = [
        {"kind": _HANDLED_TITLES[kind], "days": number(found.total(kind)), "share": percent(found.total(kind), whole)}
        for kind in kinds
    ]
    order = [_HANDLED_TITLES[kind] for kind in kinds]
    drawn = charts.stacked(
        flat, scope.steps, "kind", "conversations", order, f"Conversations by who handled them, by {scope.step}"
    )
    columns = {"kind": "Handled by", "days": ">Conversation days", "share": ">Share"}
    note = "Who wrote in a conversation on a day. Handed off: a person wrote after the AI agent."
    return card(f"Containment and hand-offs, by {scope.step}", drawn, note, table(columns, listed, "Handled by"))


def responses(found: Responses, scope: Scope) -> Markup:
    """How long contacts waited."""
    if not found.by_replier:
        return Markup("")
    listed = [
        {
            "replier": _REPLIERS.get(row["replier"], row["replier"]),
            "responses": number(row["responses"]),
            "median": seconds(row["median"]),
            "p95": seconds(row["p95"]),
        }
        for row in found.by_replier
    ]
    columns = {"replier": "Replies of", "responses": ">Replies", "median": ">Median", "p95": ">95th percentile"}
    drawn = charts.lines(
        found.over_time,
        scope.steps,
        {"median": "median", "p95": "95th percentile"},
        f"Time to a reply by {scope.step}: median and 95th percentile",
    )
    note = "From the contact's first message since the last reply to the next reply. The scale is logarithmic."
    return card(f"Response times, by {scope.step}", drawn + table(columns, listed, "Response times"), note)


def label(name: str, rows: Sequence[dict[str, Any]], scope: Scope) -> Markup:
    """The values of a label over time."""
    named = [{**row, "value": REST if row["is_other"] else row["value"]} for row in rows]
    sums: dict[str, int] = {}
    for row in named:
        sums[row["value"]] = sums.get(row["value"], 0) + row["items"]
    order = sorted(sums, key=lambda value: (value == REST, -sums[value], value))
    whole = sum(sums.values())
    listed = [{"value": v, "items": number(sums[v]), "share": percent(sums[v], whole)} for v in order]
    columns = {"value": "Value", "items": ">Times", "share": ">Share"}
    drawn = charts.stacked(
        named, scope.steps, "value", "items", order, f"Values of the label {charts.short(name)}, by {scope.step}"
    )
    return card(f"{charts.short(name)}, by {scope.step}", drawn) + card(
        f"Values of {charts.short(name)}", table(columns, listed, "Values")
    )


def tools(rows: Sequence[dict[str, Any]]) -> Markup:
    """Which tools are used, and how often they fail."""
    listed = [
        {
            "tool": row["tool"],
            "calls": number(row["calls"]),
            "errors": number(row["errors"]),
            "rate": percent(row["errors"], row["calls"]),
            "median": _milliseconds(row["median_ms"]),
            "p95": _milliseconds(row["p95_ms"]),
        }
        for row in rows
    ]
    columns = {
        "tool": "Tool",
        "calls": ">Calls",
        "errors": ">Errors",
        "rate": ">Error rate",
        "median": ">Median",
        "p95": ">95th percentile",
    }
    worst = sorted(rows, key=lambda row: -row["errors"] / row["calls"])[:10]
    drawn = charts.shares(worst, "tool", "errors", "calls", "Error rate of tools")
    return card("Tool error rates", drawn, "Calls with a status of failure, or with an error.") + card(
        "Tools", table(columns, listed, "Tools")
    )


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"


def calls(rows: Sequence[dict[str, Any]], variables: Variables) -> Markup:
    """Single calls of a tool."""
    if not rows:
        return notice("There are no such calls in these days.", "Choose another tool, other days, or all calls.")
    shown = [{**row, "failed": variables.is_failed(row["status"], row["error"])} for row in rows[:PAGE]]
    return render("calls", calls=shown)


def results(
    rows: Sequence[dict[str, Any]], companies: Sequence[Company], criteria: Criteria, back: dict[str, Any]
) -> Markup:
    """Conversations that were found."""
    if not rows:
        return notice(
            "No conversation was found.",
            "Try other days or companies, or fewer words. All that you fill in has to be true of one message.",
        )
    known = {company.id: company for company in companies}
    shown = []
    for row in rows[:PAGE]:
        company = known.get(row["company_id"]) or Company(row["company_id"], None, "UTC")
        shown.append(
            {
                "company": company.title,
                "channel": row["channel"] or "-",
                "author": row["author"],
                "text": (row["text"] or "")[:300],
                "time": _time(row["occurred_at"], company, "%Y-%m-%d %H:%M"),
                "hits": counted(row["hits"], "matching message" if any(vars(criteria).values()) else "message"),
                "url": url(
                    **back,
                    conversation=row["conversation_id"],
                    company=row["company_id"],
                    around=row["message_id"] if any(vars(criteria).values()) else None,
                ),
            }
        )
    return render("results", rows=shown)


def thread(
    found: Thread,
    company: Company,
    conversation_id: str,
    around: str | None,
    variables: Variables,
    here: dict[str, Any],
) -> Markup:
    """A conversation as a chat."""
    if not found.messages:
        return notice(
            "This conversation is not in the warehouse.",
            "It was deleted or forgotten, or the link is of another warehouse. Search for another one.",
        )
    shown = []
    day = None
    for message in found.messages:
        today = _time(message["occurred_at"], company, "%A, %-d %B %Y")
        author = message["author"]
        shown.append(
            {
                **message,
                "day": today if today != day else None,
                "time": _time(message["occurred_at"], company, "%H:%M:%S"),
                "side": author if author in _AUTHORS else "other",
                "who": _who(message),
                "text": message["content__text"],
                "is_wanted": message["message_id"] == around,
                "trace_url": variables.trace_url(message["trace_id"]),
                "extractions": [_field_first(item, variables) for item in message["extractions"]],
                "tool_calls": [
                    {**call, "failed": variables.is_failed(call.get("status"), call.get(variables.tool_error_column))}
                    for call in message["tool_calls"]
                ],
            }
        )
        day = today
    place = {**here, "company": company.id, "conversation": conversation_id}
    return render(
        "thread",
        company=company,
        conversation_id=conversation_id,
        total=found.messages[0]["messages"],
        channel=found.messages[0]["channel"] or "-",
        messages=shown,
        earlier=url(**place, until=found.messages[0]["message_id"]) if found.has_earlier else None,
        later=url(**place, since=found.messages[-1]["message_id"]) if found.has_later else None,
    )


def _field_first(item: dict[str, Any], variables: Variables) -> dict[str, Any]:
    """An extraction as one reads it: the field, its value, then whatever else there is."""
    leading = (variables.extraction_field_column, variables.extraction_value_column)
    return {**{name: item[name] for name in leading if name in item}, **item}


def _who(message: dict[str, Any]) -> str:
    kind = {"contact": "Contact", "agent": "AI agent", "operator": "Operator"}.get(message["author"], message["author"])
    name = message["author__display_name"] or message.get("agent__name")
    return f"{kind} {name}" if name else str(kind)


def _time(value: datetime, company: Company, form: str) -> str:
    return value.astimezone(ZoneInfo(company.zone)).strftime(form)
