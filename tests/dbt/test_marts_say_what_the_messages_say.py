"""The marts, worked out once more in plain Python from the messages that the API serves."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from tests.dbt.building import PROJECT, dbt, parsed_project
from tests.dbt.conftest import ZONES
from tests.support import NOW, START, Laboratory, Message

ZONE = {company: ZoneInfo(ZONES[str(company)].get("timezone", "UTC")) for company in (42, 57, 63)}
REPLIERS = ("agent", "operator")
SESSION_GAP = timedelta(hours=24)
OPENING, CLOSING, DAYS_OPEN = time(9), time(18), range(5)
Conversation = tuple[int, str]
Rows = dict[Any, dict[str, Any]]


@pytest.fixture(scope="module")
def conversations(built: Laboratory) -> dict[Conversation, list[Message]]:
    """The messages of each conversation, in order."""
    found: dict[Conversation, list[Message]] = defaultdict(list)
    for message in built.world.messages():
        found[message["metadata"]["company_id"], message["conversation_id"]].append(message)
    for messages in found.values():
        messages.sort(
            key=lambda m: (sent(m), m["context"]["thread_position"] or 0, author(m) != "contact", m["message_id"])
        )
    return found


def rows(built: Laboratory, table: str, *keys: str) -> Rows:
    """A mart, by its key."""
    with duckdb.connect(str(built.database), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(f"SELECT * FROM mindo_marts.{table}")
        names = [column[0] for column in found.description]
        records = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    by_key = {tuple(record[key] for key in keys): record for record in records}
    assert len(by_key) == len(records)
    return by_key


def sent(message: Message) -> datetime:
    return datetime.fromisoformat(message["occurred_at"]).replace(tzinfo=UTC)


def author(message: Message) -> str:
    prefixes = {"ctc_": "contact", "agt_": "agent", "op_": "operator"}
    identity = message["author"]["id"] or ""
    return next((kind for prefix, kind in prefixes.items() if identity.startswith(prefix)), message["author"]["type"])


def company(message: Message) -> int:
    found = message["metadata"]["company_id"]
    assert isinstance(found, int)
    return found


def day(message: Message) -> date:
    return sent(message).astimezone(ZONE[company(message)]).date()


def business_seconds(zone: ZoneInfo, first: datetime, last: datetime) -> float:
    """Seconds on the clock within business hours, day by day."""
    start, end = (moment.astimezone(zone).replace(tzinfo=None) for moment in (first, last))
    total = timedelta()
    for offset in range((end.date() - start.date()).days + 1):
        today = start.date() + timedelta(days=offset)
        if today.weekday() in DAYS_OPEN:
            opened = max(start, datetime.combine(today, OPENING))
            closed = min(end, datetime.combine(today, CLOSING))
            total += max(closed - opened, timedelta())
    return total.total_seconds()


def responses(messages: list[Message]) -> list[tuple[Message, datetime]]:
    """Replies that answer something, with the moment since which the contact waited."""
    found, waiting = [], None
    for message in messages:
        if author(message) == "contact":
            waiting = waiting or sent(message)
        elif author(message) in REPLIERS and waiting:
            found.append((message, waiting))
            waiting = None
    return found


def taken_over(messages: list[Message]) -> list[tuple[Message, Message]]:
    """Replies, each with the next of its session, where AI agent and operator change."""
    found, before = [], None
    for previous, message in zip([None, *messages], messages, strict=False):
        if previous and sent(message) - sent(previous) > SESSION_GAP:
            before = None
        if author(message) in REPLIERS:
            if before and author(before) != author(message):
                found.append((before, message))
            before = message
    return found


def seconds(message: Message, since: datetime) -> float:
    return (sent(message) - since).total_seconds()


def percentile(values: list[float], share: float) -> float | None:
    """With interpolation between the two values next to it."""
    if not values:
        return None
    ordered, position = sorted(values), (len(values) - 1) * share
    below = int(position)
    above = min(below + 1, len(values) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def near(found: Any, wanted: float | None) -> bool:
    return bool(found is None if wanted is None else found == pytest.approx(wanted, abs=2e-6))


def test_conversations_are_counted_and_judged(
    built: Laboratory, conversations: dict[Conversation, list[Message]]
) -> None:
    stored = rows(built, "mindo__conversations", "company_id", "conversation_id")
    assert stored.keys() == conversations.keys()
    for key, messages in conversations.items():
        row, authors = stored[key], [author(m) for m in messages]
        replies = [a for a in authors if a in REPLIERS]
        handed = [(author(a), author(b)) for a, b in taken_over(messages)]
        calls = [call for m in messages for call in m.get("tool_calls") or []]
        labels = {
            f"{c['label']}: {text(c['value'])}"
            for m in messages
            for c in m["classifications"]
            if c["value"] is not None
        }
        assert (row["messages"], row["started_at"], row["ended_at"]) == (
            len(messages),
            sent(messages[0]),
            sent(messages[-1]),
        )
        assert (row["started_on"], row["ended_on"]) == (min(map(day, messages)), max(map(day, messages)))
        assert (row["channel"], row["started_by"]) == (messages[0]["channel"], authors[0])
        counts = [row[f"{kind}_messages"] for kind in ("contact", "agent", "operator")]
        assert counts == [authors.count(kind) for kind in ("contact", "agent", "operator")]
        assert row["other_messages"] == len(messages) - sum(counts)
        assert row["responses"] == len(responses(messages))
        assert row["hand_offs"] == len(handed)
        assert row["hand_offs_to_operator"] == handed.count(("agent", "operator"))
        assert row["is_ai_only"] == (set(replies) == {"agent"})
        assert row["is_operator_only"] == (set(replies) == {"operator"})
        assert row["is_handed_off"] == (("agent", "operator") in handed)
        assert row["is_unanswered"] == ("contact" in authors and not responses(messages))
        last = next((a for a in reversed(authors) if a == "contact" or a in REPLIERS), None)
        assert row["is_awaiting_reply"] == (last == "contact")
        assert row["tool_calls"] == len(calls)
        assert row["tool_errors"] == sum(
            c["status"] in ("error", "timeout") or c.get("error") is not None for c in calls
        )
        assert row["traces"] == len({m["trace_id"] for m in messages if m.get("trace_id")})
        assert row["labels"] == (", ".join(sorted(labels)) or None)


def test_response_times_are_those_of_the_messages(
    built: Laboratory, conversations: dict[Conversation, list[Message]]
) -> None:
    stored = rows(built, "mindo__conversation_metrics", "company_id", "conversation_id")
    assert stored.keys() == conversations.keys()
    for key, messages in conversations.items():
        row, zone = stored[key], ZONE[key[0]]
        answered = responses(messages)
        position = next((n for n, m in enumerate(messages) if author(m) == "contact"), None)
        asked = None if position is None else sent(messages[position])
        for prefix, kinds in {"": REPLIERS, "ai_": ("agent",), "operator_": ("operator",)}.items():
            first = next((m for m in messages[(position or 0) + 1 :] if author(m) in kinds), None) if asked else None
            assert row[f"first_{prefix}response_at"] == (first and sent(first))
            assert near(row[f"first_{prefix}response_seconds"], first and seconds(first, asked))
            assert near(
                row[f"first_{prefix}response_business_seconds"], first and business_seconds(zone, asked, sent(first))
            )
            own = [(m, since) for m, since in answered if author(m) in kinds]
            assert row[f"{prefix}responses"] == len(own)
            waits = [seconds(m, since) for m, since in own]
            worked = [business_seconds(zone, since, sent(m)) for m, since in own]
            assert near(row[f"median_{prefix}response_seconds"], median(waits) if waits else None)
            assert near(row[f"p95_{prefix}response_seconds"], percentile(waits, 0.95))
            assert near(row[f"median_{prefix}response_business_seconds"], median(worked) if worked else None)
            assert near(row[f"p95_{prefix}response_business_seconds"], percentile(worked, 0.95))


def test_days_are_those_of_the_companies_clocks(
    built: Laboratory, conversations: dict[Conversation, list[Message]]
) -> None:
    stored = rows(built, "mindo__companies_by_day", "company_id", "occurred_on")
    by_day: dict[Any, list[Message]] = defaultdict(list)
    waits: dict[Any, list[float]] = defaultdict(list)
    begun: dict[Any, int] = defaultdict(int)
    for key, messages in conversations.items():
        for message in messages:
            by_day[key[0], day(message)].append(message)
        for message, since in responses(messages):
            waits[key[0], day(message)].append(seconds(message, since))
        begun[key[0], min(map(day, messages))] += 1
    last = NOW - timedelta(microseconds=1)
    touched = {
        (number, START.astimezone(zone).date() + timedelta(days=n))
        for number, zone in ZONE.items()
        for n in range((last.astimezone(zone).date() - START.astimezone(zone).date()).days + 1)
    }
    assert stored.keys() == touched | by_day.keys()
    for key, row in stored.items():
        messages = by_day[key]
        midnights = [datetime.combine(key[1] + timedelta(days=n), time(), ZONE[key[0]]) for n in (0, 1)]
        assert row["is_complete"] == (midnights[0] >= START and midnights[1] <= NOW)
        assert row["messages"] == len(messages)
        assert row["contact_messages"] == sum(author(m) == "contact" for m in messages)
        assert row["conversations"] == len({m["conversation_id"] for m in messages})
        assert row["contacts"] == len({m["author"]["id"] for m in messages if author(m) == "contact"})
        assert row["responses"] == len(waits[key])
        assert near(row["median_response_seconds"], median(waits[key]) if waits[key] else None)
        assert row["new_conversations"] == begun[key]


def test_agents_are_judged_by_their_days(built: Laboratory, conversations: dict[Conversation, list[Message]]) -> None:
    stored = rows(built, "mindo__agents_by_day", "company_id", "occurred_on", "agent_author_id")
    wrote: dict[Any, set[str]] = defaultdict(set)
    handed: dict[Any, set[str]] = defaultdict(set)
    with_operator: dict[Any, set[str]] = defaultdict(set)
    calls: dict[Any, list[Any]] = defaultdict(list)
    for (number, conversation), messages in conversations.items():
        replies = [m for m in messages if author(m) in REPLIERS]
        for message in replies:
            key = (number, day(message), message["author"]["id"])
            if author(message) == "agent":
                wrote[key].add(conversation)
                calls[key] += message.get("tool_calls") or []
            else:
                with_operator[key[:2]].add(conversation)
        for before, _ in taken_over(messages):
            if author(before) == "agent":
                handed[number, day(before), before["author"]["id"]].add(conversation)
    assert stored.keys() == wrote.keys()
    for key, row in stored.items():
        contained = wrote[key] - handed[key] - with_operator[key[:2]]
        assert row["conversations"] == len(wrote[key])
        assert row["contained_conversations"] == len(contained)
        assert near(row["containment_rate"], len(contained) / len(wrote[key]))
        assert near(row["hand_off_rate"], len(handed[key]) / len(wrote[key]))
        errors = sum(c["status"] in ("error", "timeout") or c.get("error") is not None for c in calls[key])
        assert near(row["tool_error_rate"], errors / len(calls[key]) if calls[key] else None)


def test_labels_and_tools_are_shared_out(built: Laboratory, conversations: dict[Conversation, list[Message]]) -> None:
    labels = rows(built, "mindo__classifications_by_day", "company_id", "occurred_on", "label", "value")
    tools = rows(built, "mindo__tools_by_day", "company_id", "occurred_on", "tool_name")
    counted: dict[Any, int] = defaultdict(int)
    of_label: dict[Any, int] = defaultdict(int)
    of_day: dict[Any, int] = defaultdict(int)
    durations: dict[Any, list[float]] = defaultdict(list)
    for message in (m for messages in conversations.values() for m in messages):
        key = (company(message), day(message))
        for item in message["classifications"]:
            counted[(*key, item["label"], text(item["value"]))] += 1
            of_label[(*key, item["label"])] += 1
            of_day[key] += 1
        for call in message.get("tool_calls") or []:
            durations[(*key, call["name"])].append(call["duration_ms"])
    assert {key: row["classifications"] for key, row in labels.items()} == counted
    for key, row in labels.items():
        assert near(row["share_of_label"], counted[key] / of_label[key[:3]])
        assert near(row["share_of_mix"], counted[key] / of_day[key[:2]])
    assert {key: row["calls"] for key, row in tools.items()} == {key: len(found) for key, found in durations.items()}
    for key, row in tools.items():
        assert near(row["p95_duration_ms"], percentile([float(d) for d in durations[key] if d is not None], 0.95))


def test_the_latest_extraction_of_a_field_counts(
    built: Laboratory, conversations: dict[Conversation, list[Message]]
) -> None:
    stored = rows(built, "mindo__extraction_values", "company_id", "conversation_id", "field")
    found: dict[Any, list[str]] = defaultdict(list)
    for key, messages in conversations.items():
        for item in (item for m in messages for item in m.get("extractions") or []):
            if item["value"] is not None:
                found[(*key, item["field"])].append(item["value"])
    assert {key: (text(values[-1]), text(values[0]), len(values)) for key, values in found.items()} == {
        key: (row["value"], row["first_value"], row["extractions"]) for key, row in stored.items()
    }


def text(value: Any) -> str | None:
    """A JSON value as the warehouse holds it."""
    return value if isinstance(value, str | None) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def test_all_of_the_project_is_there(built: Laboratory) -> None:
    models = {path.stem for path in (PROJECT / "models").rglob("*.sql")}
    with duckdb.connect(str(built.database), read_only=True) as connection:
        found = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema IN ('mindo_marts', 'mindo_intermediate')"
        ).fetchall()
    assert {name for (name,) in found} == models


def test_every_unit_test_of_the_metrics_passes(built: Laboratory) -> None:
    told = dbt(built.database, "test", "--select", "test_type:unit")
    assert told.failures == {}
    tested = {node.model for node in parsed_project().unit_tests.values()}
    assert tested >= {path.stem for path in (PROJECT / "models" / "marts").glob("*.sql")}
