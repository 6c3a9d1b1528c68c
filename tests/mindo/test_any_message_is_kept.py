"""Property: whatever JSON the messages hold, the tables hold the same, over nights and over the batches of a load."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.scripted_api import PlainApi, a_message, laboratory_at
from tests.support import NOW, START, Laboratory, Message, assert_tables_hold, query, read_tables, snapshot

texts = st.text(max_size=30) | st.sampled_from(["12", "2026-01-01", "null", "{}", "true", "1e5", "", "\x00", "NaN, ]"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=5
)
unknown = st.dictionaries(st.sampled_from(["alpha", "beta", "gamma_ray", "select"]), json_values, max_size=3)
items = st.lists(unknown | json_values.filter(lambda value: not isinstance(value, dict)), max_size=3)
known = {
    "label": texts,
    "value": json_values,
    "name": texts,
    "status": scalars,
    "arguments": json_values,
    "result": json_values,
}


@st.composite
def messages(draw: st.DrawFn) -> Message:
    message = a_message(draw(st.integers(0, 15)))
    message["occurred_at"] = f"2026-04-2{draw(st.integers(4, 9))}T12:00:00.{draw(st.integers(0, 999_999)):06}"
    message |= draw(unknown)
    for name in ("author", "agent", "content", "context", "metadata"):
        message[name] = {**(message[name] or {}), **draw(unknown)} if draw(st.booleans()) else message[name]
    message["content"]["text"] = draw(scalars)
    message["author"]["display_name"] = draw(texts)
    message["context"]["thread_position"] = draw(st.none() | st.integers(0, 9) | scalars)
    message["trace_id"] = draw(st.none() | texts)
    for name in ("classifications", "extractions", "tool_calls"):
        found = draw(items)
        message[name] = [
            {**item, **{member: draw(known[member]) for member in draw(st.sets(st.sampled_from(sorted(known))))}}
            if isinstance(item, dict)
            else item
            for item in found
        ]
    return message


nights = st.lists(st.lists(messages(), min_size=3, max_size=8), min_size=2, max_size=2)


def _once_each(found: list[Message]) -> list[Message]:
    return list({message["message_id"]: message for message in found}.values())


@pytest.mark.slow
# shrinking would take minutes, and the messages are small as they are
@settings(max_examples=3, phases=(Phase.explicit, Phase.generate))
@given(nights, st.sampled_from([3, 50]))
def test_any_messages_over_any_nights(found: list[list[Message]], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder, PlainApi([]) as api:
        laboratory = Laboratory(api, str(Path(folder) / "warehouse.duckdb"))
        laboratory.given |= {"company_ids": [42], "start_date": START, "window_hours": 744, "limit": limit}
        laboratory.given["lookback_days"] = 30
        for night in found:
            api.rows = _once_each(night)
            laboratory.complete_run()
            assert_tables_hold(read_tables(laboratory.database), api.rows, [42], START, NOW)


def batches_of(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr("mindo.shaping.BATCH_ROWS", rows)
    monkeypatch.setattr("mindo.extraction.BATCH_ROWS", rows)


def mixed_messages() -> list[Message]:
    """Forty messages over several days whose members come, go and change their type."""
    found = []
    for number in range(40):
        message = a_message(number, f"2026-04-2{4 + number % 5}T12:00:{number:02}")
        odd: list[Any] = [1, None, 2.5, "x", True, {"a": number}, [number], 2**70, None, "2026-01-01"]
        value = odd[number // 2 % len(odd)]
        if number % 3:
            message["author"]["mood"] = value
            message["rank"] = value
        if number > 20:
            message["agent"] = {"id": number if number % 2 else str(number), "late": "yes"}
            message["tool_calls"] = [{"name": "n", "cost": value, f"only_{number % 4}": number}] * (number % 3)
        if number == 33:
            message["content"] = "texto"
        message["extractions"] = [{"field": "f", "value": value}]
        message["context"]["thread_position"] = value
        found.append(message)
    return found


def test_batches_of_one_load_may_differ_in_columns_and_types(monkeypatch: pytest.MonkeyPatch) -> None:
    batches_of(monkeypatch, 3)
    found = mixed_messages()
    with laboratory_at(PlainApi(found), limit=4, window_hours=48) as laboratory:
        laboratory.complete_run()
        assert_tables_hold(read_tables(laboratory.database), found, [42], START, NOW)
        counts = "SELECT sum(messages), sum(tool_calls), sum(extractions) FROM export_windows"
        assert query(laboratory.database, counts) == [(40, sum(len(m["tool_calls"]) for m in found), 40)]
        before = snapshot(laboratory.database)
        batches_of(monkeypatch, 1000)
        laboratory.complete_run(lookback_days=30)
        assert snapshot(laboratory.database) == before
