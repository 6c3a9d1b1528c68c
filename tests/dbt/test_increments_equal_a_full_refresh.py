"""Increments: whatever happened between them, the tables are those of a full refresh, and nothing else was touched."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.dbt.building import VERSIONED, build, dbt, tables_of
from tests.support import DAY, TABLES, Laboratory

Change = Callable[[duckdb.DuckDBPyConnection], None]


def assert_as_after_a_full_refresh(database: Path, variables: dict[str, Any] | None = None) -> None:
    """Compares all tables with those that a copy of the warehouse has after a full refresh."""
    fresh = database.parent / "fresh" / database.name
    fresh.parent.mkdir()
    shutil.copy(database, fresh)
    dbt(fresh, "run", "--full-refresh", variables=variables)
    built, refreshed = tables_of(database), tables_of(fresh)
    assert built.keys() == refreshed.keys()
    for table, rows in built.items():
        assert rows == refreshed[table], table


def change_everything(laboratory: Laboratory) -> None:
    """A night: new, late, edited, reclassified, moved and deleted messages, whole conversations among them."""
    world = laboratory.world
    laboratory.now += DAY
    recent = [m for m in world.messages() if m["occurred_at"] >= "2026-04-28"]
    conversations = sorted({m["conversation_id"] for m in recent})
    by_conversation = {c: [m for m in recent if m["conversation_id"] == c] for c in conversations}

    def of(position: int) -> tuple[int, str, Any]:
        message = by_conversation[conversations[position]][0]
        return message["metadata"]["company_id"], message["message_id"], message

    company, _, found = of(0)
    world.add_message(company, "2026-04-28T11:00:00", conversation_id=found["conversation_id"], direction="inbound")
    world.add_message(company, "2026-04-30T10:00:00", direction="inbound")
    company, edited, _ = of(1)
    world.edit_text(edited, "edited", company)
    company, classified, _ = of(2)
    world.reclassify(classified, [{"label": "Intent", "value": "another"}], company)
    company, moved, _ = of(3)
    world.move(moved, "2026-04-29T23:59:59.999999", company)
    company, deleted, _ = of(4)
    world.delete(deleted, company)
    for message in by_conversation[conversations[5]]:
        world.delete(message["message_id"], message["metadata"]["company_id"])
    company, redirected, _ = of(6)
    _, _, target = of(0)
    world.set_member(redirected, ("conversation_id",), target["conversation_id"], company)


def test_any_sequence_of_increments_ends_in_the_tables_of_a_full_refresh(laboratory: Laboratory) -> None:
    laboratory.complete_run()
    dbt(laboratory.database, "run")
    before = tables_of(laboratory.database)
    change_everything(laboratory)
    laboratory.complete_run(lookback_days=5)
    # a run of some models only: those downstream see versions that their own source has not yet
    some = "int_mindo__conversation_versions mindo__conversation_metrics"
    assert dbt(laboratory.database, "run", "--select", some).failures == {}
    assert dbt(laboratory.database, "run", "--exclude", "int_mindo__hand_offs mindo__extraction_values").failures == {}
    build(laboratory.database)
    after = tables_of(laboratory.database)
    for table in ("int_mindo__messages", "mindo__conversations", "mindo__companies_by_day"):
        assert before[table] != after[table]
    assert_as_after_a_full_refresh(laboratory.database)


def lists_merged_late(connection: duckdb.DuckDBPyConnection) -> None:
    """A load that broke off between its tables: labels follow in the next one, the messages are there already."""
    connection.execute(
        "UPDATE mindo.messages__classifications SET value = 'late', _dlt_load_id = '99' WHERE _dlt_list_idx = 0"
    )


def lists_deleted_late(connection: duckdb.DuckDBPyConnection) -> None:
    """The same for deletions."""
    connection.execute("DELETE FROM mindo.messages__tool_calls WHERE message_id < 'msg_8'")
    connection.execute("DELETE FROM mindo.messages__extractions")


def load_of_an_earlier_number(connection: duckdb.DuckDBPyConnection) -> None:
    """A load that began before the last one and ended after it."""
    connection.execute("UPDATE mindo.messages SET author__id = 'op_1', _dlt_load_id = '1' WHERE message_id < 'msg_4'")


def zone_changed(connection: duckdb.DuckDBPyConnection) -> None:
    """A company that moves, and one whose zone no database knows."""
    connection.execute("UPDATE mindo.companies SET timezone = 'Asia/Tokyo' WHERE company_id = 42")
    connection.execute("UPDATE mindo.companies SET timezone = 'Mars/Base' WHERE company_id = 57")


def tables_missing(connection: duckdb.DuckDBPyConnection) -> None:
    """Tables and columns that `include` left out."""
    connection.execute("DROP TABLE mindo.messages__extractions CASCADE")
    connection.execute("DROP TABLE mindo.messages__tool_calls CASCADE")
    connection.execute("ALTER TABLE mindo.messages__classifications DROP COLUMN value")
    connection.execute("UPDATE mindo.messages__classifications SET _dlt_load_id = '99'")


@pytest.mark.parametrize(
    "changes",
    [
        [lists_merged_late, lists_deleted_late, load_of_an_earlier_number],
        [zone_changed],
        [tables_missing],
    ],
)
def test_what_no_high_water_mark_would_see_is_seen(copy_of_built: Path, changes: list[Change]) -> None:
    before = tables_of(copy_of_built)
    with duckdb.connect(str(copy_of_built)) as connection:
        for change in changes:
            change(connection)
    build(copy_of_built)
    assert tables_of(copy_of_built)["mindo__conversations"] != before["mindo__conversations"]
    assert_as_after_a_full_refresh(copy_of_built)


def test_of_what_is_gone_nothing_stays(copy_of_built: Path) -> None:
    with duckdb.connect(str(copy_of_built)) as connection:
        for table in TABLES:
            connection.execute(f"DELETE FROM mindo.{table}")
    build(copy_of_built)
    tables = tables_of(copy_of_built)
    assert {table: tables[table] for table in VERSIONED} == {table: [] for table in VERSIONED}
    assert {row[5] for row in tables["mindo__companies_by_day"]} == {0}


def test_other_variables_make_everything_anew(copy_of_built: Path) -> None:
    variables = {
        "mindo_session_gap_minutes": 1,
        "mindo_business_days": [1, 6, 7],
        "mindo_business_start": "00:00",
        "mindo_business_end": "24:00",
        "mindo_excluded_channels": ["messenger", "INSTAGRAM"],
        "mindo_langfuse_project": "it's",
        "mindo_tool_error_statuses": [],
    }
    before = tables_of(copy_of_built)
    build(copy_of_built, variables=variables)
    after = tables_of(copy_of_built)
    assert all(
        before[table] != after[table] for table in (*VERSIONED, "mindo__companies_by_day", "mindo__message_traces")
    )
    assert_as_after_a_full_refresh(copy_of_built, variables)


def test_some_models_alone_can_not_have_other_variables(copy_of_built: Path) -> None:
    before = tables_of(copy_of_built)
    told = dbt(
        copy_of_built, "run", "--select", "mindo__conversation_metrics", variables={"mindo_business_end": "20:00"}
    )
    assert "the variables are not those" in told.failures["mindo__conversation_metrics"]
    assert tables_of(copy_of_built) == before


def test_parts_can_be_turned_off_and_on_again(copy_of_built: Path) -> None:
    off = {f"mindo_using_{part}": False for part in ("classifications", "extractions", "tool_calls", "traces")}
    before = tables_of(copy_of_built)
    build(copy_of_built, variables=off)
    assert tables_of(copy_of_built)["mindo__conversations"] != before["mindo__conversations"]
    build(copy_of_built)
    assert tables_of(copy_of_built) == before


def test_only_what_changed_is_made_anew(copy_of_built: Path) -> None:
    with duckdb.connect(str(copy_of_built)) as connection:
        changed, other = (
            connection.execute(
                "SELECT company_id, conversation_id, started_on FROM mindo_marts.mindo__conversations"
                " WHERE company_id = 57 AND messages > 2 ORDER BY started_at LIMIT 1"
            ).fetchone(),
            42,
        )
        assert changed
        connection.execute("UPDATE mindo.messages SET _dlt_load_id = '99' WHERE conversation_id = ?", [changed[1]])
        # a mark on every row, which only rows that are made anew lose
        for table, column in (
            ("mindo_intermediate.int_mindo__messages", "channel"),
            ("mindo_marts.mindo__conversations", "labels"),
            ("mindo_marts.mindo__agents_by_day", "agent_name"),
        ):
            connection.execute(f"UPDATE {table} SET {column} = 'untouched'")
    dbt(copy_of_built, "run")
    with duckdb.connect(str(copy_of_built)) as connection:
        assert connection.execute(
            "SELECT DISTINCT conversation_id FROM mindo_intermediate.int_mindo__messages WHERE channel <> 'untouched'"
        ).fetchall() == [(changed[1],)]
        assert connection.execute(
            "SELECT conversation_id FROM mindo_marts.mindo__conversations WHERE labels IS DISTINCT FROM 'untouched'"
        ).fetchall() == [(changed[1],)]
        days = connection.execute(
            "SELECT DISTINCT company_id FROM mindo_marts.mindo__agents_by_day WHERE agent_name IS DISTINCT FROM 'untouched'"
        ).fetchall()
        assert (other,) not in days
        assert connection.execute(
            "SELECT count(*) FROM mindo_marts.mindo__agents_by_day WHERE company_id = 57 AND agent_name = 'untouched'"
        ).fetchone() > (0,)
