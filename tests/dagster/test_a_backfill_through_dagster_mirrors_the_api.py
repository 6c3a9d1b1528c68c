"""Partitions of Dagster's end in the same tables as a run of the command, and its log holds nothing of their content."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from mindo_pipeline.dagster.partitions import month_of
from mindo_pipeline.dagster.tables import TABLES, table_key
from tests.dagster.conftest import COMPANIES, DATABASE, START, THIS_MONTH, Deployment
from tests.support import query, read_tables


def test_a_backfill_of_companies_by_months_mirrors_the_api(loaded: Deployment) -> None:
    loaded.assert_mirrors()
    loaded.assert_tells_nothing()


def test_the_same_partition_again_changes_nothing(loaded: Deployment) -> None:
    before = read_tables(DATABASE)
    again = loaded.load(COMPANIES[0], THIS_MONTH)
    assert again.success
    assert read_tables(DATABASE) == before
    assert _metadata(again, "messages")["messages_written"].value == 0


def test_a_partition_tells_rows_windows_and_watermark(loaded: Deployment) -> None:
    month = month_of(START)
    result = loaded.load(COMPANIES[0], month)
    [(rows,)] = query(
        DATABASE,
        "SELECT count(*) FROM messages WHERE company_id = ? AND occurred_at < ?",
        COMPANIES[0],
        THIS_MONTH,
    )
    told = _metadata(result, "messages")
    assert told["dagster/partition_row_count"].value == told["rows_read"].value == rows
    ledger = _metadata(result, "export_windows")
    assert (ledger["windows"].value, ledger["windows_incomplete"].value) == ((THIS_MONTH - START).days, 0)
    assert ledger["requests"].value >= ledger["windows"].value
    assert ledger["bytes"].value > 0
    watermark = datetime.fromtimestamp(ledger["watermark"].value, UTC)
    assert THIS_MONTH <= watermark <= datetime.now(UTC)
    materialized = {event.asset_key for event in result.get_asset_materialization_events()}
    assert materialized == {table_key(table) for table in TABLES}


def test_only_new_reads_what_mindo_run_would_read(loaded: Deployment) -> None:
    result = loaded.load(COMPANIES[1], month_of(START), only_new=True)
    told = _metadata(result, "messages")
    lookback_reaches = (datetime.now(UTC) - THIS_MONTH).days < 3
    assert lookback_reaches or told["windows"].value == 0
    assert "dagster/partition_row_count" not in told


def test_since_reads_a_part_of_the_month(loaded: Deployment) -> None:
    loaded.emulator.requests.clear()
    since = month_of(START).replace(day=27)
    assert loaded.load(COMPANIES[0], month_of(START), since=since.isoformat()).success
    asked = [
        datetime.fromisoformat(request.params["from"])
        for request in loaded.emulator.requests
        if datetime.fromisoformat(request.params["to"]) <= THIS_MONTH
    ]
    assert min(asked) == max(since, START)


def _metadata(result: dg.ExecuteInProcessResult, table: str) -> dict[str, dg.MetadataValue]:
    [found] = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key == table_key(table)
    ]
    return dict(found.metadata)
