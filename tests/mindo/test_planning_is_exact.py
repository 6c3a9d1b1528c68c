"""Properties of plans: windows tile their range, ranges behave like sets, and no watermark ever passes a hole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindo import ConfigurationError, Coverage, Selection, Window
from mindo.selection import parse_ids
from mindo.windows import (
    MAX_WINDOW,
    contiguous_end,
    floor_to_step,
    format_time,
    increment_ranges,
    merge_ranges,
    parse_time,
    plan_windows,
    subtract_ranges,
)

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
ORIGIN = datetime(2026, 3, 1, tzinfo=UTC)

moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
steps = st.one_of(
    st.sampled_from([HOUR, 6 * HOUR, DAY, 7 * DAY, MAX_WINDOW]),
    st.timedeltas(timedelta(hours=3), MAX_WINDOW),
)
hours = st.integers(0, 60)
hour_ranges = st.lists(st.tuples(hours, hours), max_size=8)
Hours = list[tuple[int, int]]


def as_ranges(pairs: Hours) -> list[tuple[datetime, datetime]]:
    return [(ORIGIN + start * HOUR, ORIGIN + end * HOUR) for start, end in pairs]


def as_slots(ranges: Any) -> set[int]:
    """The hours in ranges whose edges are whole hours."""
    return {
        hour
        for start, end in ranges
        for hour in range(int((start - ORIGIN) / HOUR), int((end - ORIGIN) / HOUR))
        if start < end
    }


@given(moments, st.timedeltas(timedelta(microseconds=1), 200 * DAY), steps)
def test_windows_tile_a_range(start: datetime, length: timedelta, step: timedelta) -> None:
    windows = plan_windows(42, [(start, start + length)], step)
    assert windows[0].start == start
    assert windows[-1].end == start + length
    for one, other in pairwise(windows):
        assert one.end == other.start
        assert floor_to_step(one.end, step) == one.end, "a seam is off the grid"
    for window in windows:
        assert timedelta(0) < window.end - window.start <= step <= timedelta(days=31)
        assert window.start.tzinfo is UTC


@given(moments, steps, st.timedeltas(timedelta(0), 20 * DAY))
def test_the_grid_does_not_depend_on_when_the_run_begins(moment: datetime, step: timedelta, later: timedelta) -> None:
    end = moment + 40 * DAY
    seams = {window.start for window in plan_windows(42, [(moment, end)], step)} - {moment}
    later_seams = {window.start for window in plan_windows(42, [(moment + later, end)], step)} - {moment + later}
    assert later_seams == {seam for seam in seams if seam > moment + later}


@given(hour_ranges, steps)
def test_windows_of_several_ranges_hold_each_moment_once(pairs: Hours, step: timedelta) -> None:
    windows = plan_windows(42, as_ranges(pairs), max(step, HOUR))
    assert windows == sorted(windows)
    for one, other in pairwise(windows):
        assert one.end <= other.start
    assert merge_ranges((w.start, w.end) for w in windows) == merge_ranges(as_ranges(pairs))


@pytest.mark.parametrize("step", [timedelta(0), -HOUR, MAX_WINDOW + timedelta(microseconds=1)])
def test_a_window_is_never_longer_than_the_api_reads(step: timedelta) -> None:
    with pytest.raises(ConfigurationError):
        plan_windows(42, [(ORIGIN, ORIGIN + DAY)], step)


@given(hour_ranges)
def test_merged_ranges_are_the_union(pairs: Hours) -> None:
    merged = merge_ranges(as_ranges(pairs))
    assert as_slots(merged) == as_slots(as_ranges(pairs))
    assert all(one[1] < other[0] for one, other in pairwise(merged))
    assert merge_ranges(merged) == merged


@given(hour_ranges, hour_ranges)
def test_subtracted_ranges_are_the_difference(pairs: Hours, removed: Hours) -> None:
    left = subtract_ranges(as_ranges(pairs), as_ranges(removed))
    assert as_slots(left) == as_slots(as_ranges(pairs)) - as_slots(as_ranges(removed))
    assert all(start < end for start, end in left)


@given(hours, hour_ranges)
def test_the_contiguous_end_is_the_first_missing_hour(start: int, pairs: Hours) -> None:
    slots = as_slots(as_ranges(pairs))
    end = contiguous_end(ORIGIN + start * HOUR, as_ranges(pairs))
    reached = next(hour for hour in range(start, 62) if hour not in slots)
    assert end == (ORIGIN + reached * HOUR if reached > start else None)


@given(hours, hours, hour_ranges, st.none() | hours, st.integers(0, 30), st.integers(1, 24))
def test_an_increment_is_what_is_missing_and_the_lookback(
    start: int, length: int, covered: Hours, mark: int | None, lookback: int, step: int
) -> None:
    now = start + length
    ranges = increment_ranges(
        ORIGIN + start * HOUR,
        ORIGIN + now * HOUR,
        as_ranges(covered),
        None if mark is None else ORIGIN + mark * HOUR,
        lookback * HOUR,
        step * HOUR,
    )
    slots = as_slots(ranges)
    assert slots <= set(range(start, now))
    assert set(range(start, now)) - as_slots(as_ranges(covered)) <= slots
    if mark is None:
        assert slots == set(range(start, now)) - as_slots(as_ranges(covered))
    else:
        assert set(range(max(start, mark - lookback), now)) <= slots
        surplus = slots & as_slots(as_ranges(covered)) - set(range(max(start, mark - lookback), now))
        assert len(surplus) < step, "more than the rest of one window was read again"


@settings(max_examples=300)
@given(st.data())
def test_no_watermark_ever_passes_a_hole(data: st.DataObject) -> None:
    state: dict[str, Any] = {}
    selection = Selection()
    complete_once: set[int] = set()
    broken: set[int] = set()
    start = data.draw(st.integers(0, 60), "start")
    latest_start, now, last_mark = start, start + 1, None
    for _ in range(data.draw(st.integers(1, 6), "nights")):
        now += data.draw(st.integers(0, 60), "hours later")
        start = data.draw(st.sampled_from([start, start, max(0, start - 7), min(now - 1, start + 5)]), "start")
        latest_start = max(latest_start, start)
        coverage = Coverage(state)
        mark = coverage.watermark(42, selection)
        plan = plan_windows(
            42,
            increment_ranges(
                ORIGIN + start * HOUR,
                ORIGIN + now * HOUR,
                coverage.covered(42, selection),
                mark,
                data.draw(st.integers(0, 48), "lookback") * HOUR,
                data.draw(st.sampled_from([1, 6, 24]), "step") * HOUR,
            ),
            DAY,
        )
        planned = as_slots((w.start, w.end) for w in plan)
        assert set(range(start, now)) - complete_once <= planned, "what was never read is not planned"
        assert broken & set(range(start, now)) <= planned, "a hole is not read again"
        # loads of a run record their windows bit by bit, in order
        while plan:
            load, plan = plan[: (size := data.draw(st.integers(1, len(plan))))], plan[size:]
            good = [window for window in load if data.draw(st.integers(0, 4))]
            bad = [window for window in load if window not in good]
            Coverage(state).record_increment(ORIGIN + start * HOUR, selection, good, bad)
            read, failed = (as_slots((w.start, w.end) for w in windows) for windows in (good, bad))
            complete_once |= read
            broken = (broken | failed) - read
            mark = Coverage(state).watermark(42, selection)
            if mark is not None:
                passed = set(range(latest_start, int((mark - ORIGIN) / HOUR)))
                assert passed <= complete_once, "the watermark passed what was never read"
                assert last_mark is None or mark >= last_mark
            last_mark = mark
        everything = set(range(start, now))
        # without a window to read nothing is recorded, also if the hole that held the mark lies before the start by now
        if planned and everything <= complete_once and not broken & everything:
            assert last_mark is not None
            assert last_mark >= ORIGIN + now * HOUR


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20), st.booleans()), max_size=20))
def test_companies_and_selections_do_not_touch_each_other(records: list[tuple[int, int, bool]]) -> None:
    parts = [Selection(), Selection(channel="whatsapp"), Selection(direction="incoming", include=())]
    alone: dict[tuple[int, str], dict[str, Any]] = {}
    shared: dict[str, Any] = {}
    for company, day, good in records:
        window = Window(ORIGIN + day * DAY, ORIGIN + (day + 1) * DAY, company)
        selection = parts[1 + company % 2]
        for state in (shared, alone.setdefault((company, selection.key), {})):
            Coverage(state).record_increment(ORIGIN, selection, [window] if good else [], [] if good else [window])
    for (company, key), state in alone.items():
        selection = Selection.from_key(key)
        assert Coverage(shared).covered(company, selection) == Coverage(state).covered(company, selection)
        assert Coverage(shared).watermark(company, selection) == Coverage(state).watermark(company, selection)
        assert Coverage(shared).watermark(company, parts[0]) is None


@given(moments)
def test_times_are_written_and_read(moment: datetime) -> None:
    assert parse_time(format_time(moment)) == moment
    assert format_time(moment).endswith("Z")


channels = st.sampled_from(["whatsapp", "instagram", "messenger", "all"])
directions = st.sampled_from(["incoming", "outgoing", "all"])
agents = st.lists(st.integers(1, 6), max_size=4)
includes = st.lists(st.sampled_from(["classifications", "extractions", "tool_calls", "trace_id"]), max_size=5)
selections = st.builds(
    Selection.parse, channels, directions, agents, includes.map(lambda names: ",".join(names) or "none")
)


@given(selections)
def test_a_selection_survives_its_key(selection: Selection) -> None:
    assert Selection.from_key(selection.key) == selection
    assert selection.contains(selection)


@given(selections)
def test_parameters_are_those_of_the_contract(selection: Selection) -> None:
    params = selection.params()
    assert params["channel"] == selection.channel
    assert params["direction"] == selection.direction
    assert params["include"] == ",".join(selection.include)
    assert params.get("agent_id", "") == ",".join(map(str, selection.agent_ids))
    assert Selection.parse(
        params["channel"], params["direction"], params.get("agent_id"), params["include"] or "none"
    ) == (selection)


@given(selections, selections)
def test_a_selection_contains_another_exactly_if_it_admits_all_of_it(one: Selection, other: Selection) -> None:
    def admitted(selection: Selection) -> set[tuple[str, str, int | None, str]]:
        return {
            (channel, direction, agent, part)
            for channel in ("whatsapp", "instagram", "messenger", "unheard of")
            for direction in ("incoming", "outgoing", "unheard of")
            for agent in (None, *range(1, 8))
            for part in ("message", *selection.include)
            if selection.channel in ("all", channel)
            and selection.direction in ("all", direction)
            and (not selection.agent_ids or agent in selection.agent_ids)
        }

    assert one.contains(other) == (admitted(other) <= admitted(one))


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=6))
def test_ids_are_read_from_every_spelling(ids: list[int]) -> None:
    expected = list(dict.fromkeys(ids))
    text = ",".join(map(str, ids))
    spellings = [ids, tuple(ids), text, f"[{text}]", text.replace(",", " , "), list(map(str, ids))]
    assert all(parse_ids("x", spelling) == expected for spelling in spellings)


@pytest.mark.parametrize("value", ["0", "-1", "4.2", "a", "4 2", "٤٢", "1e3", True, [None], [[1]], "4;5"])
def test_what_is_no_id_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="company_ids"):
        parse_ids("company_ids", value)


@pytest.mark.parametrize(
    "given_values", [{"channel": "telegram"}, {"direction": "inbound"}, {"include": "texts"}, {"agent_ids": "x"}]
)
def test_a_selection_that_the_contract_does_not_know_is_refused(given_values: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(given_values))):
        Selection.parse(**given_values)
