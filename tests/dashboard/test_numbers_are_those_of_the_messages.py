"""Every number of the pages is what plain Python counts in the API's messages, on DuckDB and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from mindo_emulator import Emulator, World
from mindo_pipeline.dashboard import questions
from mindo_pipeline.dashboard.questions import Criteria, Loaded
from mindo_pipeline.dashboard.reader import Reader
from mindo_pipeline.dashboard.scope import Scope
from mindo_pipeline.dashboard.variables import Variables
from mindo_pipeline.warehouse import Warehouse
from tests.dashboard.serving import zones
from tests.dashboard.truth import Truth, as_text, author, median, moment, percentile
from tests.destinations.places import Place
from tests.mindo_pipeline.harness import DAY, make_world, midnight, mindo, settings
from tests.support import EVERYTHING

DATASET = "looked_at"
pytestmark = pytest.mark.parametrize("place", ["duckdb", "postgres"], indirect=True)


@dataclass
class Looked:
    """A loaded warehouse, and the world it was loaded from."""

    world: World
    reader: Reader
    there: Loaded
    variables: Variables

    def scope(self, *ids: int, days: int = 3) -> Scope:
        """The last days but one: messages before and after must not count."""
        assert self.there.last is not None
        last = self.there.last - timedelta(days=1)
        return Scope(
            tuple(c for c in self.there.companies if not ids or c.id in ids), last - timedelta(days=days - 1), last
        )

    def truth(self, scope: Scope) -> Truth:
        start, end = midnight() - 30 * DAY, midnight() + DAY
        messages = [m for c in scope.companies for m in self.world.truth(c.id, start, end, include=EVERYTHING)]
        return Truth(messages, {c.id: c.timezone for c in self.world.companies.values()}, scope.first, scope.last)


@pytest.fixture
def looked(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Looked]:
    world = make_world(700, 6)
    at = midnight() - 2 * DAY
    # equal times, pieces, a person before the AI agent, nobody, no conversation, and what only a position puts in order
    for seconds, direction, about, conversation in (
        (0, "inbound", None, "conv_equal"),
        (0, "outbound", {"type": "agent", "id": "agt_1"}, "conv_equal"),
        (5, "inbound", None, "conv_equal"),
        (9, "inbound", None, "conv_equal"),
        (65, "outbound", {"type": "operator", "id": "op_1"}, "conv_equal"),
        (70, "outbound", {"type": "operator", "id": "op_1"}, "conv_equal"),
        (0, "outbound", {"type": "operator", "id": "op_2"}, "conv_backwards"),
        (1, "outbound", {"type": "agent", "id": "agt_2"}, "conv_backwards"),
        (2, "outbound", {"type": "campaign", "id": None}, "conv_backwards"),
        (3, "inbound", None, "conv_backwards"),
    ):
        world.add_message(
            57,
            at + timedelta(seconds=seconds),
            "100% _sure_!",
            direction=direction,
            author=about,
            conversation_id=conversation,
        )
    with Emulator(world) as emulator:
        told = settings(emulator, SOURCES__MINDO__START_DATE=(midnight() - 6 * DAY).date().isoformat())
        for name, value in {**told, "SOURCES__MINDO__COMPANIES": zones(world)}.items():
            monkeypatch.setenv(name, value)
        _drop(place)
        assert mindo("run", "--quiet", "--destination", place.destination, "--dataset", DATASET).code == 0
    reader = Reader(lambda: Warehouse(place.destination, DATASET))
    yield Looked(world, reader, questions.loaded(reader), Variables.resolve())
    _drop(place)


def _drop(place: Place) -> None:
    if place.destination == "postgres":
        from tests.destinations.test_dbt_builds_on_postgresql import _cursor

        with _cursor(place.url) as cursor:  # type: ignore[attr-defined]
            cursor.execute(f"DROP SCHEMA IF EXISTS {DATASET} CASCADE")


def test_what_is_counted_is_what_was_sent(looked: Looked) -> None:
    for scope in (looked.scope(), looked.scope(57), looked.scope(42, 63, days=1)):
        truth = looked.truth(scope)
        _volume_is_true(looked, scope, truth)
        _waits_are_true(looked, scope, truth)
        _handling_is_true(looked, scope, truth)
        _labels_are_true(looked, scope, truth)
        _tools_are_true(looked, scope, truth)
    _search_is_true(looked)
    _threads_are_true(looked)


def _volume_is_true(looked: Looked, scope: Scope, truth: Truth) -> None:
    found = questions.volume(looked.reader, scope)
    assert found.total == len(truth.chosen()) > 0
    for what in ("channel", "direction", "author"):
        assert {(row["step"], row[what]): row["messages"] for row in found.by[what]} == truth.by_day(what)
    assert {(row["weekday"], row["hour"]): row["messages"] for row in found.by_hour} == truth.by_hour()


def _waits_are_true(looked: Looked, scope: Scope, truth: Truth) -> None:
    found = questions.responses(looked.reader, scope)
    waits = truth.waits()
    for row in found.by_replier:
        own = [seconds for kind, _, seconds in waits if row["replier"] in (kind, "all")]
        assert row["responses"] == len(own) > 0
        assert (row["median"], row["p95"]) == pytest.approx((median(own), percentile(own, 0.95)))
    assert {row["replier"] for row in found.by_replier} == {"all", *(kind for kind, _, _ in waits)}
    assert {row["step"] for row in found.over_time} == {day for _, day, _ in waits}
    for row in found.over_time:
        own = [seconds for _, day, seconds in waits if day == row["step"]]
        assert (row["responses"], row["median"]) == (len(own), pytest.approx(median(own)))


def _handling_is_true(looked: Looked, scope: Scope, truth: Truth) -> None:
    found = questions.handling(looked.reader, scope)
    assert found.conversations == len(truth.conversations())
    counted = {(row["step"], kind): row[kind] for row in found.over_time for kind in questions.HANDLED if row[kind]}
    assert counted == truth.handled()


def _labels_are_true(looked: Looked, scope: Scope, truth: Truth) -> None:
    assert {row["label"]: row["items"] for row in questions.labels(looked.reader, scope)} == truth.labels()
    for label in ("Intent", "Sentiment"):
        expected = truth.values(label)
        rows = questions.label_values(looked.reader, scope, label)
        named = {(row["step"], row["value"]): row["items"] for row in rows if not row["is_other"]}
        assert named.items() <= expected.items()
        assert sum(row["items"] for row in rows) == sum(expected.values())
        assert len({value for _, value in named}) == min(questions.MOST_VALUES, len({value for _, value in expected}))


def _tools_are_true(looked: Looked, scope: Scope, truth: Truth) -> None:
    rows = questions.tools(looked.reader, scope, looked.variables)
    assert {row["tool"]: (row["calls"], row["errors"]) for row in rows} == truth.tools()
    for row in rows:
        calls = questions.tool_calls(looked.reader, scope, looked.variables, row["tool"], only_failed=True)
        assert len(calls) == min(row["errors"], questions.PAGE + 1)
        listed, place = [], None
        while page := questions.tool_calls(looked.reader, scope, looked.variables, row["tool"], False, place):
            listed += page[: questions.PAGE]
            place = questions.call_place(listed[-1])
        assert len({(c["message_id"], c["_dlt_list_idx"]) for c in listed}) == len(listed) == row["calls"]


def _search_is_true(looked: Looked) -> None:
    scope = looked.scope()
    chosen = looked.truth(scope).chosen()
    some = next(m for m in chosen if m["trace_id"])

    def has(message: Any, part: str) -> bool:
        return part in (message["content"]["text"] or "").lower()

    cases = [
        (Criteria(), lambda m: True),
        (Criteria(text="HOLA"), lambda m: has(m, "hola")),
        (Criteria(text="100% _sure_!"), lambda m: has(m, "100% _sure_!")),
        (Criteria(text="0__"), lambda m: has(m, "0__")),
        (Criteria(label="Intent"), lambda m: any(i["label"] == "Intent" for i in m["classifications"])),
        (
            Criteria(label="Sentiment", label_value="NEG"),
            lambda m: any(i["label"] == "Sentiment" and "neg" in as_text(i["value"]) for i in m["classifications"]),
        ),
        (Criteria(extraction="order_numb"), lambda m: any("order_numb" in i["field"] for i in m["extractions"])),
        (
            Criteria(text="a", tool="buscar_pedido"),
            lambda m: has(m, "a") and any(c["name"] == "buscar_pedido" for c in m["tool_calls"]),
        ),
        (Criteria(id=some["trace_id"]), lambda m: m["trace_id"] == some["trace_id"]),
        (Criteria(id=some["conversation_id"]), lambda m: m["conversation_id"] == some["conversation_id"]),
    ]
    for criteria, matches in cases:
        expected: dict[tuple[int, str], int] = {}
        for message in filter(matches, chosen):
            key = (message["metadata"]["company_id"], message["conversation_id"])
            expected[key] = expected.get(key, 0) + 1
        found: list[dict[str, Any]] = []
        place = None
        while page := questions.conversations(looked.reader, scope, criteria, looked.variables, place):
            found += page[: questions.PAGE]
            place = questions.found_place(found[-1])
        assert {(row["company_id"], row["conversation_id"]): row["hits"] for row in found} == expected
        assert [row["occurred_at"] for row in found] == sorted((row["occurred_at"] for row in found), reverse=True)
    assert expected


def _threads_are_true(looked: Looked) -> None:
    scope = looked.scope()
    longest = sorted(looked.truth(scope).conversations().items(), key=lambda item: -len(item[1]))[:2]
    for (company_id, conversation_id), _ in [*longest, ((57, "conv_equal"), None)]:
        start, end = midnight() - 30 * DAY, midnight() + DAY
        expected = [
            m
            for m in looked.world.truth(company_id, start, end, include=EVERYTHING)
            if m["conversation_id"] == conversation_id
        ]
        found = questions.thread(looked.reader, company_id, conversation_id)
        assert {m["message_id"] for m in found.messages} == {m["message_id"] for m in expected}
        assert [m["occurred_at"] for m in found.messages] == sorted(map(moment, expected))
        for row in found.messages:
            message = next(m for m in expected if m["message_id"] == row["message_id"])
            assert row["author"] == author(message)
            assert row["content__text"] == message["content"]["text"]
            assert [(i["label"], as_text(i["value"])) for i in message["classifications"]] == [
                (i["label"], as_text(i["value"])) for i in row["labels"]
            ]
            assert [i["field"] for i in message["extractions"]] == [i["field"] for i in row["extractions"]]
            assert [c["name"] for c in message["tool_calls"]] == [c["name"] for c in row["tool_calls"]]
