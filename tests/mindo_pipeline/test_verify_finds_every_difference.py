"""`verify`: whatever differs between the API and the warehouse is found, nothing else is, and `--repair` heals it."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mindo.windows import plan_windows
from mindo_emulator import Emulator, World
from mindo_pipeline.comparing import compare_windows
from tests.mindo_pipeline.harness import (
    COMPANIES,
    DAY,
    TABLES,
    Result,
    count,
    finish,
    left_behind,
    midnight,
    mindo,
    spawn,
)
from tests.support import EVERYTHING, NOW, START, Laboratory, small_world

CHILDREN = TABLES[1:]
KINDS = ("missing", "extra", "changed")
Change = Callable[[str], Any]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backs off for a millisecond, not for half a second."""
    monkeypatch.setattr("mindo.client._FIRST_BACKOFF_SECONDS", 0.001)


def execute(*statements: str) -> None:
    """Tampers with the warehouse."""
    with duckdb.connect("warehouse.duckdb") as connection:
        connection.execute("SET TimeZone = 'UTC'; USE mindo")
        for statement in statements:
            connection.execute(statement)


def found(result: Result) -> tuple[int, ...]:
    """How many messages are missing, extra and changed."""
    return tuple(result.document["totals"][kind] for kind in KINDS)


def differing(result: Result) -> list[dict[str, Any]]:
    return [window for window in result.document["windows"] if window["status"] != "equal"]


def examples(result: Result) -> dict[str, str]:
    """What is the matter with which message."""
    return {
        message_id: kind
        for window in result.document["windows"]
        for kind, ids in window["examples"].items()
        for message_id in ids
    }


def files() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def pick(where: str = "true", table: str = "messages") -> str:
    """The id of a message that has what a test needs."""
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        connection.execute("USE mindo")
        return first_id(connection, table, where)


def first_id(connection: duckdb.DuckDBPyConnection, table: str, where: str) -> str:
    row = connection.execute(
        f"SELECT message_id FROM {table} WHERE company_id = 42 AND {where} ORDER BY ALL LIMIT 1"
    ).fetchone()
    assert row is not None
    return str(row[0])


def window_of(message_id: str, world: World) -> str:
    """Where the window of a message begins, as the document names it."""
    moment = datetime.fromisoformat(world.message(message_id)["occurred_at"])
    return moment.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None).isoformat() + "Z"


# --- equal ---------------------------------------------------------------------------------------------------------


def test_a_warehouse_is_equal_after_a_run(loaded: Emulator[World]) -> None:
    result = mindo("verify", "--json")
    assert result.code == 0
    assert result.document["status"] == "complete"
    assert found(result) == (0, 0, 0)
    assert result.document["totals"]["in_api"] == result.document["totals"]["in_warehouse"] == loaded.world.count()
    assert {window["company_id"] for window in result.document["windows"]} == set(COMPANIES)
    assert {window["status"] for window in result.document["windows"]} == {"equal"}
    shown = mindo("verify")
    assert (shown.code, shown.out.count("\n")) == (0, 1)
    assert shown.out.startswith(
        f"equal: {len(result.document['windows'])} windows with {loaded.world.count()} messages"
    )
    assert mindo("verify", "--quiet") == Result(0, "", "")


def test_a_look_leaves_no_trace(loaded: Emulator[World], tmp_path_factory: pytest.TempPathFactory) -> None:
    scratch = tmp_path_factory.mktemp("scratch")
    loaded.world.delete(pick())
    before = files()
    assert finish(spawn("verify", TMPDIR=str(scratch))).code == 6
    assert files() == before
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(("read_only", "expected"), [(True, 0), (False, 5)], ids=["reading", "writing"])
def test_other_programs_may_have_the_file_open_for_reading(
    loaded: Emulator[World], read_only: bool, expected: int
) -> None:
    code = f"import duckdb; c = duckdb.connect('warehouse.duckdb', read_only={read_only}); print(flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        result = mindo("verify", "--quiet")
        assert result.code == expected
        if expected:
            assert "another process has the database open" in result.error
    finally:
        other.communicate("\n")


# --- differences in the warehouse ----------------------------------------------------------------------------------


TAMPERINGS = [
    ("missing", "messages", "DELETE FROM messages WHERE message_id = '{id}'"),
    (
        "extra",
        "messages",
        "INSERT INTO messages SELECT * REPLACE ('{new}' AS message_id, '{new}' AS _dlt_id) FROM messages"
        " WHERE message_id = '{id}'",
    ),
    ("changed", "messages", "UPDATE messages SET _row_hash = reverse(_row_hash) WHERE message_id = '{id}'"),
    *(
        (kind, table, statement.format(table=table, id="{id}", new="{new}"))
        for table in CHILDREN
        for kind, statement in (
            ("changed", "DELETE FROM {table} WHERE message_id = '{id}' AND _dlt_list_idx = 0"),
            ("changed", "UPDATE {table} SET _row_hash = reverse(_row_hash) WHERE message_id = '{id}'"),
            (
                "changed",
                "INSERT INTO {table} SELECT * REPLACE (99 AS _dlt_list_idx, '{new}' AS _dlt_id) FROM {table}"
                " WHERE message_id = '{id}' LIMIT 1",
            ),
            (
                "extra",
                "INSERT INTO {table} SELECT * REPLACE ('{new}' AS message_id, '{new}' AS _dlt_id) FROM {table}"
                " WHERE message_id = '{id}' LIMIT 1",
            ),
        )
    ),
]


def test_whatever_was_done_to_the_warehouse_is_found_and_healed(loaded: Emulator[World]) -> None:
    rows = {name: count(name) for name in TABLES}
    expected: dict[str, str] = {}
    used = [""]
    with duckdb.connect("warehouse.duckdb") as connection:
        connection.execute("USE mindo")
        for number, (kind, table, statement) in enumerate(TAMPERINGS):
            message_id, new = first_id(connection, table, f"message_id NOT IN {(*used, '')}"), f"msg_more_{number}"
            used.append(message_id)
            expected[new if kind == "extra" else message_id] = kind
            connection.execute(statement.format(id=message_id, new=new))
    given = ("--companies", "42", "--window-hours", "2", "--json")
    result = mindo("verify", *given)
    assert (result.code, result.document["status"]) == (6, "different")
    assert examples(result) == expected
    assert found(result) == tuple(list(expected.values()).count(kind) for kind in KINDS)
    healed = mindo("verify", *given, "--repair")
    assert (healed.code, examples(healed)) == (0, expected)
    assert {window["status"] for window in differing(healed)} == {"repaired"}
    assert {name: count(name) for name in TABLES} == rows
    assert mindo("verify").code == 0


def test_a_repair_that_does_not_heal_says_so(loaded: Emulator[World]) -> None:
    execute(f"INSERT INTO messages FROM messages WHERE message_id = '{pick()}'")
    result = mindo("verify", "--companies", "42", "--repair", "--json")
    assert (result.code, found(result)) == (6, (0, 0, 1))
    assert [window["status"] for window in differing(result)] == ["different"]
    assert result.document["message"].startswith("1 of 1 window loaded again and still not equal.")
    execute(f"DELETE FROM messages WHERE message_id = '{pick()}'")
    assert mindo("verify", "--companies", "42", "--repair").code == 0


def test_many_differences_are_told_in_few_lines(loaded: Emulator[World]) -> None:
    execute("DELETE FROM messages WHERE company_id = 42", "UPDATE messages SET _row_hash = 'x' WHERE company_id = 57")
    result = mindo("verify", "--window-hours", "1", "--json")
    missing, changed = loaded.world.count(42), loaded.world.count(57)
    assert (result.code, found(result)) == (6, (missing, 0, changed))
    assert len(differing(result)) > 25
    assert all(len(ids) <= 5 for window in differing(result) for ids in window["examples"].values())
    shown = mindo("verify", "--window-hours", "1")
    assert len(shown.out.splitlines()) < 30
    assert "more ranges that differ; --json names every window" in shown.out
    assert f"of their messages {missing} missing, 0 extra, {changed} changed" in shown.err
    assert len(shown.err.splitlines()) == 2  # the progress, and the one line


def test_no_text_of_a_message_is_ever_shown(loaded: Emulator[World]) -> None:
    loaded.world.edit_text(pick("content__text IS NOT NULL"), "un secreto nuevo")
    execute("UPDATE messages SET content__text = 'un secreto viejo', _row_hash = 'x'")
    for arguments in ((), ("--json", "--repair")):
        result = mindo("verify", *arguments)
        assert "secreto" not in result.out + result.err


# --- differences in the API ----------------------------------------------------------------------------------------


def test_whatever_changed_in_the_api_is_found_and_healed(loaded: Emulator[World]) -> None:
    world = loaded.world
    late = world.add_message(57, midnight() - 2 * DAY, "tarde")
    ids = [message["message_id"] for message in world.messages(57)]
    changes: list[Change] = [
        lambda message: world.reclassify(message, [{"label": "n", "value": "v"}] * 9),
        lambda message: world.set_member(message, "tool_calls", [{"name": "n"}] * 9),
        lambda message: world.set_member(message, "extractions", [{"n": 1}] * 9),
        lambda message: world.set_member(message, "content.text", "editado"),
        lambda message: world.set_member(message, "trace_id", "trace-new"),
        lambda message: world.set_member(message, "author.new", {"a": 1}),
        lambda message: world.set_member(message, "new", 1),
    ]
    expected = {late: "missing"}
    for change in changes:
        change(ids[0])
        expected[ids.pop(0)] = "changed"
    world.delete(ids[0])
    expected[ids.pop(0)] = "extra"
    result = mindo("verify", "--companies", "57", "--window-hours", "2", "--json")
    assert (result.code, examples(result)) == (6, expected)
    world.move(ids[0], midnight() - DAY / 2)
    healed = mindo("verify", "--companies", "57", "--repair", "--json")
    assert (healed.code, found(healed)) == (0, (2, 2, len(changes)))
    assert mindo("verify").code == 0


def test_a_repair_reads_and_loads_just_what_differs(loaded: Emulator[World]) -> None:
    deleted = pick()
    start = window_of(deleted, loaded.world)
    loaded.world.delete(deleted)
    before = {row["company_id"]: row["watermark"] for row in mindo("status", "--json").document["companies"]}
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        loads = connection.execute("SELECT count(*) FROM mindo.export_windows").fetchall()
    assert mindo("verify", "--repair").code == 0
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        ledger = connection.execute(
            "SELECT company_id, epoch_ms(window_start) FROM mindo.export_windows ORDER BY started_at DESC"
        ).fetchall()
    assert len(ledger) == loads[0][0] + 1
    assert ledger[0] == (42, int(datetime.fromisoformat(start).timestamp() * 1000))
    after = {row["company_id"]: row["watermark"] for row in mindo("status", "--json").document["companies"]}
    assert after == before


# --- what is compared ----------------------------------------------------------------------------------------------


def test_a_sample_is_told_and_can_be_taken_again(loaded: Emulator[World]) -> None:
    execute("DELETE FROM messages")
    first = mindo("verify", "--sample", "3", "--json")
    assert (first.code, len(first.document["windows"])) == (6, 3)
    seed = str(first.document["sample"]["seed"])
    again = mindo("verify", "--sample", "3", "--seed", seed, "--json")
    assert again.document["windows"] == first.document["windows"]
    shown = mindo("verify", "--sample", "3", "--seed", seed).out
    assert f"taken at random (--seed {seed})" in shown
    for window in first.document["windows"]:
        assert window["start"] in shown
    assert len(mindo("verify", "--sample", "1000", "--json").document["windows"]) == first.document["sample"]["of"]
    loaded.requests.clear()
    (window,) = mindo("verify", "--sample", "1", "--json").document["windows"]
    pages = [request.params for request in loaded.requests if request.params["limit"] != "1"]
    assert {params["company_id"] for params in pages} == {str(window["company_id"])}
    assert min(params["from"] for params in pages) == window["start"]


def test_a_repair_of_a_sample_heals_the_sample_only(loaded: Emulator[World]) -> None:
    execute("DELETE FROM messages")
    result = mindo("verify", "--sample", "2", "--repair", "--json")
    assert result.code == 0
    assert count() == sum(window["in_api"] for window in result.document["windows"]) < loaded.world.count()


def test_a_range_that_was_never_loaded_is_told_and_can_be_repaired(api: Emulator[World]) -> None:
    assert mindo("run", "--companies", "42", "--start-date", str((midnight() - DAY).date())).code == 0
    start = midnight() - 3 * DAY
    given = ("--companies", "42", "--from", start.isoformat(), "--to", midnight().isoformat())
    result = mindo("verify", *given, "--json")
    assert (result.code, found(result)) == (6, (api.world.count(42, start, midnight() - DAY), 0, 0))
    assert "nothing tells that this was ever loaded" in mindo("verify", *given).err
    assert mindo("verify", *given, "--repair").code == 0
    assert count(where="company_id = 42") == api.world.count(42, start)
    # from now on it counts as loaded
    assert len(mindo("verify", "--companies", "42", "--json").document["windows"]) == 4
    assert "nothing tells" not in mindo("verify", *given).err


def test_a_company_of_which_nothing_is_known_is_told(api: Emulator[World]) -> None:
    assert mindo("run", "--companies", "42").code == 0
    result = mindo("verify", "--json")
    assert result.code == 0
    assert {window["company_id"] for window in result.document["windows"]} == {42}
    assert "company 57: no range of it was read with" in result.err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "nothing to verify: "),
        (("--sample", "0"), "sample: '0' is not a whole number above 0."),
        (("--sample", "many"), "sample: 'many' is not a whole number above 0."),
        (("--seed", "1"), "seed: it tells which windows --sample takes; give --sample as well."),
        (("--sample", "2", "--seed", "x"), "seed: 'x' is not a whole number above 0."),
    ],
)
def test_what_can_not_be_verified_is_one_line(api: Emulator[World], arguments: tuple[str, ...], line: str) -> None:
    result = mindo("verify", *arguments)
    assert (result.code, result.out) == (2, "")
    assert result.error.startswith(f"error: {line}")
    assert left_behind() == []


def test_made_up_messages_are_not_compared_with_real_ones(api: Emulator[World], after_demo: None) -> None:
    before = files()
    result = mindo("verify", "--repair", "--from", str((midnight() - DAY).date()))
    assert result.code == 2
    assert "made-up messages of `mindo demo`" in result.error
    assert files() == before


def test_a_part_is_compared_without_the_rest(loaded: Emulator[World]) -> None:
    execute(
        "DELETE FROM messages__tool_calls",
        "DELETE FROM messages WHERE direction = 'inbound' OR channel NOT IN ('INSTAGRAM', 'MANYCHAT_INSTAGRAM')",
    )
    part = ("--direction", "outgoing", "--channel", "instagram", "--include", "classifications,extractions")
    result = mindo("verify", *part, "--json")
    expected = loaded.world.count(direction="outgoing", channel="instagram")
    assert expected > 0
    assert (result.code, result.document["totals"]["in_warehouse"]) == (0, expected)
    assert mindo("verify", "--direction", "outgoing", "--channel", "instagram").code == 6
    execute("DELETE FROM messages__classifications")
    assert mindo("verify", *part).code == 6


def test_what_a_filtered_run_would_leave_alone_is_not_extra(loaded: Emulator[World]) -> None:
    (agent,) = {m["agent"]["id"] for m in loaded.world.truth(42) if m["agent"]} & {421}
    gone = loaded.world.truth(42, agent_ids=[agent])[0]["message_id"]
    loaded.world.delete(gone)
    given = ("--companies", "42", "--agents")
    result = mindo("verify", *given, str(agent), "--json")
    assert (result.code, found(result)) == (6, (0, 1, 0))
    assert differing(result)[0]["examples"] == {"extra": [gone]}
    nobody = mindo("verify", *given, "999", "--json")
    assert (nobody.code, nobody.document["totals"]["in_warehouse"]) == (0, 0)
    assert mindo("verify", *given, str(agent), "--repair").code == 0
    assert mindo("verify").code == 0


# --- windows that can't be read ------------------------------------------------------------------------------------


def test_a_window_that_can_not_be_read_is_incomplete(loaded: Emulator[World], patience: None) -> None:
    loaded.faults.add("server_error", company=57, covering=midnight() - 2 * DAY, times=None)
    result = mindo("verify", "--json")
    assert (result.code, result.document["status"]) == (3, "incomplete")
    (window,) = differing(result)
    assert (window["company_id"], window["status"]) == (57, "incomplete")
    assert window["error"]
    assert "1 of " in result.document["message"]
    assert "incomplete: company 57" in result.err


def test_a_difference_wins_over_a_window_that_can_not_be_read(loaded: Emulator[World], patience: None) -> None:
    loaded.faults.add("server_error", company=57, covering=midnight() - 2 * DAY, times=None)
    execute(f"DELETE FROM messages WHERE message_id = '{pick()}'")
    result = mindo("verify", "--json")
    assert (result.code, found(result)) == (6, (1, 0, 0))
    assert "1 could not be read whole" in result.document["message"]
    repaired = mindo("verify", "--repair", "--json")
    assert repaired.code == 3
    assert sorted(window["status"] for window in differing(repaired)) == ["incomplete", "repaired"]


def test_a_repair_that_can_not_read_leaves_the_window_as_it_was(loaded: Emulator[World], patience: None) -> None:
    deleted = pick()
    start = window_of(deleted, loaded.world)
    day = datetime.fromisoformat(start)
    loaded.world.delete(deleted)
    mindo("verify", "--companies", "42")
    # it can be read once more, to be compared, and then no longer
    reads = sum(
        datetime.fromisoformat(r.params["from"]) <= day < datetime.fromisoformat(r.params["to"])
        for r in loaded.requests
    )
    loaded.faults.add("server_error", company=42, covering=day, after=reads, times=None)
    result = mindo("verify", "--companies", "42", "--repair", "--json")
    assert (result.code, result.document["status"]) == (3, "incomplete")
    assert count(where=f"message_id = '{deleted}'") == 1


def test_many_deletions_are_repaired_only_if_they_are_accepted(loaded: Emulator[World]) -> None:
    given = ("--companies", "42", "--window-hours", "744")
    gone = [message["message_id"] for message in loaded.world.truth(42)]
    assert len(gone) >= 50
    for message_id in gone:
        loaded.world.delete(message_id)
    refused = mindo("verify", *given, "--repair", "--json")
    assert (refused.code, refused.document["status"]) == (4, "refused")
    assert "refused" in {window["status"] for window in differing(refused)}
    assert "--accept-deletions" in refused.document["message"]
    assert count(where="company_id = 42") == len(gone)
    assert mindo("verify", *given, "--repair", "--accept-deletions").code == 0
    assert count(where="company_id = 42") == 0


def test_a_stopped_verification_tells_how_far_it_came(loaded: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mindo_pipeline.comparing._Comparer.compare", stop)
    result = mindo("verify", "--json")
    assert (result.code, result.document["status"]) == (130, "interrupted")
    assert {window["status"] for window in result.document["windows"]} == {"not_reached"}
    assert "0 of " in result.document["message"]


# --- no false alarm ------------------------------------------------------------------------------------------------

STEPS: list[dict[str, Any]] = [
    {},
    {"channel": "whatsapp"},
    {"agent_ids": (421,), "include": ("classifications", "extractions", "tool_calls")},
    {"direction": "incoming", "include": ("tool_calls",)},
    {"include": ()},
    {},
]


def disturb(world: World, rng: random.Random) -> None:
    """Late, edited and deleted messages, members that nobody declared, and values of another type than before."""
    values: list[Any] = [1, 2.5, 2**63, "texto", True, {"a": [1]}, [1, "a"], None, "2026-01-01", 1e300]
    for company in COMPANIES:
        for message in rng.sample(world.truth(company, START, NOW, include=EVERYTHING), 10):
            message_id = message["message_id"]
            match rng.randrange(6):
                case 0:
                    world.delete(message_id)
                case 1:
                    path = rng.choice(["author.mood", "agent_note", "metadata.size", "context.thread_position"])
                    world.set_member(message_id, path, rng.choice(values))
                case 2:
                    world.set_member(message_id, rng.choice(["extractions", "tool_calls"]), rng.sample(values, 3))
                case 3:
                    world.reclassify(message_id, [{"label": rng.choice(values), "value": rng.choice(values)}])
                case 4:
                    world.set_member(message_id, "content", rng.choice(values))
                case _:
                    world.add_message(company, START + (NOW - START) * rng.random(), members={"n": rng.choice(values)})


def test_no_false_alarm_after_any_load_of_an_awkward_changing_world(isolated: Path) -> None:
    rng = random.Random(1)
    with Emulator(small_world(90, awkward=1.0)) as emulator:
        laboratory = Laboratory(emulator)
        for step in STEPS:
            include = step.get("include", EVERYTHING)
            given = {**step, "agent_ids": list(step.get("agent_ids", ())), "include": ",".join(include) or "none"}
            given |= {"from_date": START, "to_date": NOW, "accept_deletions": True}
            laboratory.complete_run(window_hours=rng.choice([744, 120]), **given)
            options = laboratory.options(window_hours=rng.choice([744, 100]), **given)
            warehouse = laboratory.warehouse()
            warehouse.reading()
            plan = [w for company in COMPANIES for w in plan_windows(company, [(START, NOW)], options.window)]
            compared = [window for group in compare_windows(warehouse, options, sorted(plan)) for window in group]
            assert len(compared) == len(plan)
            assert [window for window in compared if window.status != "equal"] == [], f"after {step}"
            assert sum(window.in_api for window in compared) > 0
            disturb(emulator.world, rng)


def test_what_was_never_asked_for_is_no_difference(api: Emulator[World]) -> None:
    assert mindo("run", "--include", "tool_calls").code == 0
    assert mindo("verify", "--include", "tool_calls").code == 0


def test_forgotten_people_are_not_missing(loaded: Emulator[World]) -> None:
    contact = loaded.world.message(pick("author__type = 'contact'"))["author"]["id"]
    assert mindo("forget", "--contact", contact, "--yes").code == 0
    assert count(where=f"author__id = '{contact}'") == 0
    result = mindo("verify", "--json")
    assert (result.code, found(result)) == (0, (0, 0, 0))
    assert result.document["totals"]["in_api"] < loaded.world.count()
