"""The questions that the pages ask, each one SQL of DuckDB and PostgreSQL alike, over the tables of docs/tables.md.

Everything is counted in the database; what comes back is as long as a chart is wide, or as a page is long. Definitions are those of
dbt/DECISIONLOG.md, within the days that are looked at: a message before them is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple
from zoneinfo import available_timezones

from mindo.columns import COMPANIES, EXPORT_WINDOWS, MESSAGES
from mindo.sql import identifier

from .reader import Reader
from .scope import Company, Scope, whole_days
from .variables import Variables

CLASSIFICATIONS: Final = "messages__classifications"
EXTRACTIONS: Final = "messages__extractions"
TOOL_CALLS: Final = "messages__tool_calls"

MOST_VALUES: Final = 6
"""Values of a label that have a colour of their own; the rest is counted together."""

PAGE: Final = 25
PART: Final = 50
"""Messages of a conversation at once."""

MOST_RUNS: Final = 20
_MOST_LABELS: Final = 200
_MOST_TOOLS: Final = 50
_MOST_SCHEMAS: Final = 20
_NOTHING: Final = "(none)"

_OWN_COLUMNS: Final = frozenset(
    {"company_id", "message_id", "conversation_id", "occurred_at", "channel", "direction", "author__id"}
)


def _author(table: str) -> str:
    """Who wrote, as the dbt models have it: by the prefix of the id, then by what the API reports."""
    return f"""CASE WHEN starts_with({table}.author__id, 'ctc_') THEN 'contact'
        WHEN starts_with({table}.author__id, 'agt_') THEN 'agent' WHEN starts_with({table}.author__id, 'op_') THEN 'operator'
        ELSE coalesce(lower({table}.author__type), CASE WHEN {table}.direction = 'inbound' THEN 'contact' ELSE 'unknown' END)
        END"""


def _quarter(table: str) -> str:
    """The quarter of an hour: every time zone is off by some of them, and there are few."""
    return f"CAST(floor(extract(epoch FROM {table}.occurred_at) / 900) AS BIGINT)"


class _Of(NamedTuple):
    """A scope as parts of a query over a table `m`.

    Attributes:
        table: Defines `scope`.
        joined: Joins it, and leaves only rows in it.
        values: Those of `table`.
        bounds: Those of `joined`.
    """

    table: str
    joined: str
    values: list[Any]
    bounds: list[Any]


def _of(scope: Scope) -> _Of:
    table, values = scope.table()
    joined = """JOIN scope ON scope.company_id = m.company_id AND m.occurred_at >= scope.since AND m.occurred_at < scope.until
    WHERE m.occurred_at >= %s AND m.occurred_at < %s"""
    return _Of(table, joined, values, list(scope.overall()))


@dataclass(frozen=True)
class Loaded:
    """What there is to look at.

    Attributes:
        companies: All companies, by their number.
        first: First day that has messages, on any company's clock; `None` if there are none.
        last: The last one.
    """

    companies: tuple[Company, ...]
    first: date | None
    last: date | None


def loaded(reader: Reader) -> Loaded:
    """Companies and days of the warehouse, by the ledger: how many messages there are makes no difference."""
    spans = reader.rows(
        f"SELECT company_id, min(window_start) AS first, max(window_end) AS last FROM {{{EXPORT_WINDOWS}}}"
        " WHERE messages > 0 GROUP BY company_id"
    )
    about = {row["company_id"]: row for row in reader.rows(f"SELECT company_id, name, timezone FROM {{{COMPANIES}}}")}
    known = {*about, *(row["company_id"] for row in spans), *reader.coverage.company_ids()}
    zones = available_timezones()
    companies = []
    for company_id in sorted(known):
        row = about.get(company_id, {})
        zone = row.get("timezone")
        companies.append(Company(int(company_id), row.get("name"), zone if zone in zones else "UTC"))
    if not spans:
        return Loaded(tuple(companies), None, None)
    start, end = min(row["first"] for row in spans), max(row["last"] for row in spans)
    # a window of today ends now, and one that was cut by hand may end in the future
    first, last = whole_days(start, min(end, datetime.now(UTC)), companies)
    return Loaded(tuple(companies), first, last)


@dataclass(frozen=True)
class Volume:
    """Messages by day and by hour; rows are `{"step", <dimension>, "messages"}`.

    Attributes:
        total: All of them.
        by: For `channel`, `direction` and `author`, rows over time.
        by_hour: Rows of `weekday` (1 is Monday), `hour` and `messages`: what contacts wrote, on each company's own clock.
    """

    total: int
    by: dict[str, list[dict[str, Any]]]
    by_hour: list[dict[str, Any]]


_DIMENSIONS: Final = ("channel", "direction", "author")


def volume(reader: Reader, scope: Scope) -> Volume:
    """How much was written, and when."""
    of = _of(scope)
    rows = reader.rows(
        f"""
WITH {of.table}, counted AS (
    SELECT m.company_id, scope.zone, {_quarter("m")} AS quarter, m.channel, m.direction, {_author("m")} AS author,
        count(*) AS messages
    FROM {{{MESSAGES}}} AS m {of.joined}
    GROUP BY 1, 2, 3, 4, 5, 6
), placed AS (
    SELECT timezone(zone, to_timestamp(quarter * 900)) AS local_time, coalesce(channel, '{_NOTHING}') AS channel,
        coalesce(direction, '{_NOTHING}') AS direction, author, messages
    FROM counted
), cut AS (
    SELECT CAST(date_trunc('{scope.step}', local_time) AS DATE) AS step, CAST(extract(isodow FROM local_time) AS INTEGER) AS weekday,
        CAST(extract(hour FROM local_time) AS INTEGER) AS hour, channel, direction, author, messages,
        CASE WHEN author = 'contact' THEN 1 ELSE 0 END AS is_asked
    FROM placed
)
SELECT step, channel, direction, author, weekday, hour, is_asked, CAST(sum(messages) AS BIGINT) AS messages
FROM cut
GROUP BY GROUPING SETS ((step, channel), (step, direction), (step, author), (weekday, hour, is_asked))
""",
        *of.values,
        *of.bounds,
    )
    by = {
        name: sorted(
            ({"step": r["step"], name: r[name], "messages": r["messages"]} for r in rows if r["step"] and r[name]),
            key=lambda row, name=name: (row["step"], row[name]),  # type: ignore[misc]
        )
        for name in _DIMENSIONS
    }
    hours = [
        {"weekday": r["weekday"], "hour": r["hour"], "messages": r["messages"]}
        for r in rows
        if r["weekday"] is not None and r["is_asked"] == 1
    ]
    total = sum(row["messages"] for row in by["channel"])
    return Volume(total, by, sorted(hours, key=lambda row: (row["weekday"], row["hour"])))


@dataclass(frozen=True)
class Responses:
    """How long contacts waited for replies; times are seconds.

    Attributes:
        by_replier: Rows of `replier` (agent, operator, or all), `responses`, `median`, `p95`.
        over_time: Rows of `step`, `responses`, `median`, `p95`.
    """

    by_replier: list[dict[str, Any]]
    over_time: list[dict[str, Any]]


def responses(reader: Reader, scope: Scope) -> Responses:
    """Times from the contact's first message since the last reply to the next reply."""
    of = _of(scope)
    rows = reader.rows(
        f"""
WITH {of.table}, chosen AS (
    SELECT m.company_id, coalesce(m.conversation_id, m.message_id) AS conversation_id, m.occurred_at,
        m.context__thread_position AS position, {_author("m")} AS author
    FROM {{{MESSAGES}}} AS m {of.joined}
), placed AS (
    SELECT company_id, conversation_id, occurred_at, author,
        count(*) FILTER (WHERE author <> 'contact') OVER (
            PARTITION BY company_id, conversation_id
            ORDER BY occurred_at, position NULLS FIRST, CASE author WHEN 'contact' THEN 0 WHEN 'agent' THEN 1 ELSE 2 END
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS replies_before
    FROM chosen WHERE author IN ('contact', 'agent', 'operator')
), turns AS (
    SELECT company_id, conversation_id, coalesce(replies_before, 0) AS turn,
        min(occurred_at) FILTER (WHERE author = 'contact') AS asked_at,
        max(occurred_at) FILTER (WHERE author <> 'contact') AS replied_at,
        max(author) FILTER (WHERE author <> 'contact') AS replier
    FROM placed GROUP BY 1, 2, 3
), timed AS (
    SELECT CAST(date_trunc('{scope.step}', timezone(scope.zone, t.replied_at)) AS DATE) AS step, t.replier,
        CAST(extract(epoch FROM (t.replied_at - t.asked_at)) AS DOUBLE PRECISION) AS seconds
    FROM turns AS t JOIN scope ON scope.company_id = t.company_id
    WHERE t.asked_at IS NOT NULL AND t.replied_at IS NOT NULL
)
SELECT step, replier, count(*) AS responses, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95
FROM timed GROUP BY GROUPING SETS ((step), (replier), ())
""",
        *of.values,
        *of.bounds,
    )
    named = [{**row, "replier": row["replier"] or "all"} for row in rows if row["step"] is None and row["responses"]]
    over_time = [{k: row[k] for k in ("step", "responses", "median", "p95")} for row in rows if row["step"]]
    keys = ("replier", "responses", "median", "p95")
    return Responses(
        [{key: row[key] for key in keys} for row in sorted(named, key=lambda row: str(row["replier"]))],
        sorted(over_time, key=lambda row: row["step"]),
    )


@dataclass(frozen=True)
class Handling:
    """Who handled conversations. A conversation counts on each day on which something was written in it.

    Attributes:
        conversations: Different conversations.
        over_time: Rows of `step`, `contained`, `handed_off`, `other_ai` (an operator wrote before the AI agent only),
            `person_only` and `nobody`.
    """

    conversations: int
    over_time: list[dict[str, Any]]

    def total(self, kind: str) -> int:
        """Days of conversations of a kind."""
        return sum(int(row[kind]) for row in self.over_time)

    @property
    def with_ai(self) -> int:
        """Days of conversations in which an AI agent wrote."""
        return sum(self.total(kind) for kind in ("contained", "handed_off", "other_ai"))


HANDLED: Final = ("contained", "handed_off", "other_ai", "person_only", "nobody")


def handling(reader: Reader, scope: Scope) -> Handling:
    """What became of conversations, day by day: contained by the AI, handed off, or handled by people."""
    of = _of(scope)
    rows = reader.rows(
        f"""
WITH {of.table}, quarters AS (
    SELECT m.company_id, coalesce(m.conversation_id, m.message_id) AS conversation_id, {_quarter("m")} AS quarter,
        min(m.occurred_at) FILTER (WHERE {_author("m")} = 'agent') AS first_agent,
        max(m.occurred_at) FILTER (WHERE {_author("m")} = 'operator') AS last_operator
    FROM {{{MESSAGES}}} AS m {of.joined}
    GROUP BY 1, 2, 3
), days AS (
    SELECT q.company_id, q.conversation_id, CAST(timezone(scope.zone, to_timestamp(q.quarter * 900)) AS DATE) AS day,
        min(q.first_agent) AS first_agent, max(q.last_operator) AS last_operator
    FROM quarters AS q JOIN scope ON scope.company_id = q.company_id GROUP BY 1, 2, 3
), judged AS (
    SELECT company_id, conversation_id, day,
        CASE WHEN first_agent IS NULL AND last_operator IS NULL THEN 'nobody' WHEN first_agent IS NULL THEN 'person_only'
            WHEN last_operator IS NULL THEN 'contained' WHEN last_operator > first_agent THEN 'handed_off'
            ELSE 'other_ai' END AS handled
    FROM days
)
SELECT CAST(date_trunc('{scope.step}', day) AS DATE) AS step, handled, count(*) AS conversations FROM judged GROUP BY 1, 2
UNION ALL
SELECT NULL, NULL, count(*) FROM (SELECT DISTINCT company_id, conversation_id FROM judged) AS different
""",
        *of.values,
        *of.bounds,
    )
    steps: dict[date, dict[str, Any]] = {}
    different = 0
    for row in rows:
        if row["step"] is None:
            different = row["conversations"]
        else:
            step = steps.setdefault(row["step"], {"step": row["step"], **dict.fromkeys(HANDLED, 0)})
            step[row["handled"]] = row["conversations"]
    return Handling(different, [steps[step] for step in sorted(steps)])


def labels(reader: Reader, scope: Scope) -> list[dict[str, Any]]:
    """Labels that were given, the most used first: `label`, `items`."""
    of = _of(scope)
    return reader.rows(
        f"""
WITH {of.table}
SELECT m.label, count(*) AS items FROM {{{CLASSIFICATIONS}}} AS m {of.joined} AND m.label IS NOT NULL
GROUP BY m.label ORDER BY items DESC, m.label LIMIT {_MOST_LABELS}
""",
        *of.values,
        *of.bounds,
    )


def label_values(reader: Reader, scope: Scope, label: str) -> list[dict[str, Any]]:
    """Values of a label over time: `step`, `value`, `items`, `is_other`.

    The values after the first `MOST_VALUES` are counted together; their `is_other` is true, and their `value` empty.
    """
    of = _of(scope)
    rows = reader.rows(
        f"""
WITH {of.table}, counted AS (
    SELECT scope.zone, {_quarter("m")} AS quarter, coalesce(m.value, '{_NOTHING}') AS value, count(*) AS items
    FROM {{{CLASSIFICATIONS}}} AS m {of.joined} AND m.label = %s
    GROUP BY 1, 2, 3
), ranked AS (
    SELECT value, row_number() OVER (ORDER BY sum(items) DESC, value) AS place FROM counted GROUP BY value
)
SELECT CAST(date_trunc('{scope.step}', timezone(c.zone, to_timestamp(c.quarter * 900))) AS DATE) AS step,
    CASE WHEN r.place <= {MOST_VALUES} THEN r.value ELSE '' END AS value, r.place > {MOST_VALUES} AS is_other,
    CAST(sum(c.items) AS BIGINT) AS items
FROM counted AS c JOIN ranked AS r ON r.value = c.value
GROUP BY 1, 2, 3 ORDER BY 1, 2
""",
        *of.values,
        *of.bounds,
        label,
    )
    return rows


def _failed(reader: Reader, variables: Variables) -> tuple[str, list[str]]:
    """Whether a tool call of a table `m` failed, and the values for its parameters."""
    column = variables.tool_error_column
    has_error = f" OR m.{identifier(column)} IS NOT NULL" if column in reader.columns(TOOL_CALLS) else ""
    marks = ", ".join(["%s"] * len(variables.tool_error_statuses))
    is_status = f"lower(m.status) IN ({marks})" if marks else "false"
    return f"(coalesce({is_status}, false){has_error})", list(variables.tool_error_statuses)


def tools(reader: Reader, scope: Scope, variables: Variables) -> list[dict[str, Any]]:
    """Tools by how much they are used: `tool`, `calls`, `errors`, `median_ms`, `p95_ms` (empty where no duration is sent)."""
    of = _of(scope)
    failed, statuses = _failed(reader, variables)
    column = variables.tool_duration_column
    duration = (
        f"CAST(m.{identifier(column)} AS DOUBLE PRECISION)"
        if column in reader.columns(TOOL_CALLS)
        else "NULL::DOUBLE PRECISION"
    )
    return reader.rows(
        f"""
WITH {of.table}, calls AS (
    SELECT coalesce(m.name, '{_NOTHING}') AS tool, {failed} AS is_failed, {duration} AS ms
    FROM {{{TOOL_CALLS}}} AS m {of.joined}
)
SELECT tool, count(*) AS calls, count(*) FILTER (WHERE is_failed) AS errors,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS median_ms, percentile_cont(0.95) WITHIN GROUP (ORDER BY ms) AS p95_ms
FROM calls GROUP BY tool ORDER BY calls DESC, tool LIMIT {_MOST_TOOLS}
""",
        *of.values,
        *statuses,
        *of.bounds,
    )


class Call(NamedTuple):
    """A place in a list of tool calls, from which on to go on."""

    occurred_at: datetime
    message_id: str
    position: int


def tool_calls(
    reader: Reader, scope: Scope, variables: Variables, tool: str, only_failed: bool, before: Call | None = None
) -> list[dict[str, Any]]:
    """Calls of a tool, the latest first, one more than `PAGE` if there are more."""
    of = _of(scope)
    failed, statuses = _failed(reader, variables)
    conditions = [f"coalesce(m.name, '{_NOTHING}') = %s"]
    values: list[Any] = [tool]
    if only_failed:
        conditions.append(failed)
        values += statuses
    if before:
        conditions.append("(m.occurred_at, m.message_id, m._dlt_list_idx) < (%s, %s, %s)")
        values += before
    column = variables.tool_error_column
    error = f"CAST(m.{identifier(column)} AS VARCHAR)" if column in reader.columns(TOOL_CALLS) else "NULL"
    return reader.rows(
        f"""
WITH {of.table}
SELECT m.company_id, m.message_id, m._dlt_list_idx, coalesce(m.conversation_id, m.message_id) AS conversation_id, m.occurred_at,
    m.name AS tool, m.status, {error} AS error, CAST(m.arguments AS VARCHAR) AS arguments, CAST(m.result AS VARCHAR) AS result
FROM {{{TOOL_CALLS}}} AS m {of.joined} AND {" AND ".join(conditions)}
ORDER BY m.occurred_at DESC, m.message_id DESC, m._dlt_list_idx DESC LIMIT {PAGE + 1}
""",
        *of.values,
        *of.bounds,
        *values,
    )


@dataclass(frozen=True)
class Criteria:
    """What a conversation is looked for by; what is empty doesn't matter. All of it has to be true of one message.

    Attributes:
        text: A part of the message's text, in any case.
        label: Name of a label that the message has.
        label_value: Part of that label's value.
        extraction: Part of a field's name or its value that was extracted.
        tool: Name of a tool that was called.
        id: A trace, message, conversation or author's id, whole.
    """

    text: str = ""
    label: str = ""
    label_value: str = ""
    extraction: str = ""
    tool: str = ""
    id: str = ""


def call_place(row: dict[str, Any]) -> Call:
    """Where a list goes on after a tool call."""
    return Call(row["occurred_at"], row["message_id"], row["_dlt_list_idx"])


class Found(NamedTuple):
    """A place in a list of conversations, from which on to go on."""

    occurred_at: datetime
    company_id: int
    conversation_id: str


def _like(part: str) -> str:
    """A pattern for ILIKE with ESCAPE '!'."""
    return "%" + "".join(f"!{c}" if c in "!%_" else c for c in part) + "%"


def _conditions(reader: Reader, criteria: Criteria, variables: Variables, scope: Scope) -> tuple[str, list[Any]]:
    """The criteria as conditions on messages `m`."""
    since, until = scope.overall()
    found: list[str] = []
    values: list[Any] = []

    def has_child(table: str, condition: str, *given: Any) -> None:
        found.append(
            f"(m.company_id, m.message_id) IN (SELECT t.company_id, t.message_id FROM {{{table}}} AS t"
            f" WHERE t.occurred_at >= %s AND t.occurred_at < %s AND {condition})"
        )
        values.extend([since, until, *given])

    if criteria.text:
        found.append("m.content__text ILIKE %s ESCAPE '!'")
        values.append(_like(criteria.text))
    if criteria.id:
        found.append("(m.trace_id = %s OR m.message_id = %s OR m.conversation_id = %s OR m.author__id = %s)")
        values += [criteria.id] * 4
    if criteria.label and criteria.label_value:
        has_child(
            CLASSIFICATIONS, "t.label = %s AND t.value ILIKE %s ESCAPE '!'", criteria.label, _like(criteria.label_value)
        )
    elif criteria.label:
        has_child(CLASSIFICATIONS, "t.label = %s", criteria.label)
    elif criteria.label_value:
        has_child(CLASSIFICATIONS, "t.value ILIKE %s ESCAPE '!'", _like(criteria.label_value))
    if criteria.extraction:
        known = reader.columns(EXTRACTIONS)
        columns = [
            name for name in (variables.extraction_field_column, variables.extraction_value_column) if name in known
        ]
        if columns:
            like = " OR ".join(f"CAST(t.{identifier(name)} AS VARCHAR) ILIKE %s ESCAPE '!'" for name in columns)
            has_child(EXTRACTIONS, f"({like})", *[_like(criteria.extraction)] * len(columns))
        else:
            found.append("false")
    if criteria.tool:
        has_child(TOOL_CALLS, "t.name = %s", criteria.tool)
    return "".join(f" AND {condition}" for condition in found), values


def conversations(
    reader: Reader, scope: Scope, criteria: Criteria, variables: Variables, before: Found | None = None
) -> list[dict[str, Any]]:
    """Conversations with messages that meet the criteria, the latest first, one more than `PAGE` if there are more.

    Each row has `company_id`, `conversation_id`, `hits`, and of the latest such message `occurred_at`, `message_id`, `channel`,
    `author` and `text`.
    """
    of = _of(scope)
    conditions, values = _conditions(reader, criteria, variables, scope)
    after = " WHERE (last_hit, company_id, conversation_id) < (%s, %s, %s)" if before else ""
    chosen = f"FROM {{{MESSAGES}}} AS m {of.joined}{conditions}"
    page = reader.rows(
        f"""
WITH {of.table}, hits AS (
    SELECT m.company_id, coalesce(m.conversation_id, m.message_id) AS conversation_id, max(m.occurred_at) AS last_hit,
        count(*) AS hits
    {chosen} GROUP BY 1, 2
)
SELECT company_id, conversation_id, last_hit, hits FROM hits{after}
ORDER BY last_hit DESC, company_id DESC, conversation_id DESC LIMIT {PAGE + 1}
""",
        *of.values,
        *of.bounds,
        *values,
        *(before or ()),
    )
    if not page:
        return []
    # the text of a few messages, not that of all that were looked through
    pairs = ", ".join(["(%s, %s)"] * len(page))
    texts = reader.rows(
        f"""
WITH {of.table}, latest AS (
    SELECT m.company_id, coalesce(m.conversation_id, m.message_id) AS conversation_id, m.message_id, m.occurred_at, m.channel,
        {_author("m")} AS author, coalesce(m.content__text, m.content__type) AS text, row_number() OVER (
            PARTITION BY m.company_id, coalesce(m.conversation_id, m.message_id)
            ORDER BY m.occurred_at DESC, m.message_id DESC) AS place
    {chosen} AND (m.company_id, coalesce(m.conversation_id, m.message_id)) IN ({pairs})
        AND m.occurred_at >= %s
)
SELECT company_id, conversation_id, message_id, occurred_at, channel, author, text FROM latest WHERE place = 1
""",
        *of.values,
        *of.bounds,
        *values,
        *(value for row in page for value in (row["company_id"], row["conversation_id"])),
        min(row["last_hit"] for row in page),
    )
    about = {(row["company_id"], row["conversation_id"]): row for row in texts}
    return [
        {"hits": row["hits"], "last_hit": row["last_hit"], **about[key]}
        for row in page
        if (key := (row["company_id"], row["conversation_id"])) in about
    ]


def found_place(row: dict[str, Any]) -> Found:
    """Where a list goes on after a conversation."""
    return Found(row["last_hit"], row["company_id"], row["conversation_id"])


@dataclass(frozen=True)
class Thread:
    """A part of a conversation, in the order of dbt/DECISIONLOG.md.

    Attributes:
        messages: The messages, each with `author`, and with `labels`, `extractions` and `tool_calls` as lists of rows.
        has_earlier: Whether there are messages before them.
        has_later: Whether there are messages after them.
    """

    messages: list[dict[str, Any]]
    has_earlier: bool
    has_later: bool


def thread(
    reader: Reader,
    company_id: int,
    conversation_id: str,
    anchor: str | None = None,
    before: int = PART,
    after: int = PART,
) -> Thread:
    """A part of a conversation.

    Args:
        reader: The warehouse.
        company_id: Its company.
        conversation_id: Its id, or that of a message without a conversation.
        anchor: Id of a message; of one that is not there, or none, it is the latest.
        before: So many messages before it.
        after: So many after it.
    """
    agents = [name for name in ("agent__name", "agent__model") if name in reader.columns(MESSAGES)]
    ordered = f"""
SELECT m.*, row_number() OVER (ORDER BY m.occurred_at, m.context__thread_position NULLS FIRST,
        CASE WHEN m.author = 'contact' THEN 0 ELSE 1 END, m.message_id) AS place, count(*) OVER () AS messages
FROM (
    SELECT message_id, occurred_at, channel, direction, author__display_name, content__type, content__text,
        content__media_mime, context__thread_position, context__reply_to_message_id, trace_id, {_author("m")} AS author
        {"".join(f", {name}" for name in agents)}
    FROM {{{MESSAGES}}} AS m
    WHERE m.company_id = %s AND (m.conversation_id = %s OR (m.conversation_id IS NULL AND m.message_id = %s))
) AS m
"""
    rows = reader.rows(
        f"""
WITH ordered AS ({ordered}), middle AS (
    SELECT coalesce(max(place) FILTER (WHERE message_id = %s), max(messages)) AS place FROM ordered
)
SELECT ordered.* FROM ordered JOIN middle ON ordered.place BETWEEN middle.place - %s AND middle.place + %s
ORDER BY ordered.place
""",
        company_id,
        conversation_id,
        conversation_id,
        anchor or "",
        before,
        after,
    )
    if not rows:
        return Thread([], False, False)
    for name, table in (("labels", CLASSIFICATIONS), ("extractions", EXTRACTIONS), ("tool_calls", TOOL_CALLS)):
        items = _items(reader, table, company_id, rows)
        for row in rows:
            row[name] = [item for item in items if item["message_id"] == row["message_id"]]
    return Thread(rows, rows[0]["place"] > 1, rows[-1]["place"] < rows[-1]["messages"])


def _items(reader: Reader, table: str, company_id: int, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a list table has of some messages: all that the API sent of each item, as text."""
    members = [name for name in reader.columns(table) if name not in _OWN_COLUMNS and not name.startswith("_")]
    if not members:
        return []
    listed = ", ".join(f"CAST({identifier(name)} AS VARCHAR) AS {identifier(name)}" for name in members)
    marks = ", ".join(["%s"] * len(messages))
    return reader.rows(
        f"""
SELECT message_id, {listed} FROM {{{table}}}
WHERE company_id = %s AND occurred_at >= %s AND occurred_at <= %s AND message_id IN ({marks})
ORDER BY message_id, _dlt_list_idx
""",
        company_id,
        min(message["occurred_at"] for message in messages),
        max(message["occurred_at"] for message in messages),
        *(message["message_id"] for message in messages),
    )


def runs(reader: Reader) -> list[dict[str, Any]]:
    """The last runs, the latest first: `run_id`, `started_at`, `finished_at`, `windows`, `companies` and what they read."""
    return reader.rows(
        f"""
SELECT w.run_id, min(w.started_at) AS started_at, max(w.finished_at) AS finished_at, count(*) AS windows,
    count(DISTINCT w.company_id) AS companies, CAST(sum(w.messages) AS BIGINT) AS messages,
    CAST(sum(w.requests) AS BIGINT) AS requests, CAST(sum(w.retries) AS BIGINT) AS retries
FROM {{{EXPORT_WINDOWS}}} AS w JOIN {{_dlt_loads}} AS l ON l.load_id = w._dlt_load_id
WHERE l.status = 0
GROUP BY w.run_id ORDER BY started_at DESC LIMIT {MOST_RUNS}
"""
    )


def schemas(reader: Reader) -> list[dict[str, Any]]:
    """The last schemas of the tables that dlt noted, the latest first: `inserted_at` and `schema`, a JSON text."""
    return reader.rows(
        "SELECT inserted_at, schema FROM {_dlt_version} WHERE schema_name = %s"
        f" ORDER BY version DESC, inserted_at DESC LIMIT {_MOST_SCHEMAS}",
        "mindo",
    )
