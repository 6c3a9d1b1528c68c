"""The checks of the tables pass after a backfill, and fail where something is wrong; the dbt models are built after them."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
import duckdb
import pytest

from mindo import Company, resolve_options
from mindo_pipeline.batches import Batch, load_batch
from mindo_pipeline.dagster.checks import FRESH, LEDGER_COMPLETE, NO_DUPLICATE_KEY
from mindo_pipeline.dagster.nights import AFTER_LOAD_JOB
from mindo_pipeline.dagster.tables import TABLES, table_key
from tests.dagster.conftest import COMPANIES, DATABASE, START, Deployment
from tests.mindo_pipeline.harness import count

DAY = START.replace(day=START.day + 1)
MODELS = ("marts", "intermediate")


def test_checks_pass_and_models_are_built_after_a_backfill(loaded: Deployment) -> None:
    result = loaded.execute(AFTER_LOAD_JOB)
    assert result.success
    checked = result.get_asset_check_evaluations()
    assert [check.asset_check_key for check in checked if not check.passed] == []
    of_tables = {
        (check.asset_key.path[-1], check.check_name) for check in checked if check.asset_key.path[0] == "mindo"
    }
    assert of_tables == {
        *((table, NO_DUPLICATE_KEY) for table in TABLES),
        ("export_windows", LEDGER_COMPLETE),
        ("messages", FRESH),
    }
    of_models = [check for check in checked if check.asset_key.path[0] in MODELS]
    assert len(of_models) > 20
    built = {event.asset_key for event in result.get_asset_materialization_events()}
    assert {key.path[0] for key in built} == set(MODELS)
    assert dg.AssetKey(["marts", "mindo__conversations"]) in built
    with duckdb.connect(DATABASE, read_only=True) as connection:
        [(messages,)] = connection.execute("SELECT sum(messages) FROM mindo_marts.mindo__conversations").fetchall()
    assert messages == count()
    loaded.assert_tells_nothing()


def test_the_models_hang_on_the_tables(loaded: Deployment) -> None:
    graph = loaded.definitions.resolve_asset_graph()
    upstream = graph.get(dg.AssetKey(["intermediate", "stg_mindo__messages"])).parent_keys
    assert upstream == {table_key("messages")}
    sources = {key for key in graph.get_all_asset_keys() if key.path[0] == "mindo"}
    assert sources == {table_key(table) for table in TABLES}


def test_a_test_of_dbt_that_fails_shows_as_a_failed_check(loaded: Deployment) -> None:
    with duckdb.connect(DATABASE) as connection:
        connection.execute("INSERT INTO mindo.messages__tool_calls SELECT * FROM mindo.messages__tool_calls LIMIT 2")
    staged = dg.AssetKey(["intermediate", "stg_mindo__tool_calls"])
    result = loaded.execute(AFTER_LOAD_JOB, only=[staged])
    # tests of dbt are blocking checks: what hangs on the model must not go on
    assert not result.success
    failed = {check.check_name: check for check in result.get_asset_check_evaluations() if not check.passed}
    twice = failed["primary_key_stg_mindo__tool_calls_company_id__message_id__tool_call_index"]
    assert twice.asset_key == staged
    assert twice.severity is dg.AssetCheckSeverity.ERROR
    assert twice.metadata["rows_found"].value == 2


def test_a_key_that_is_there_twice_fails_the_check_of_its_table(loaded: Deployment) -> None:
    tables = ("messages", "messages__extractions")
    with duckdb.connect(DATABASE) as connection:
        for table in tables:
            connection.execute(f"INSERT INTO mindo.{table} SELECT * FROM mindo.{table} LIMIT 2")
    failed = _failed(loaded)
    assert set(failed) == {(table, NO_DUPLICATE_KEY) for table in tables}
    assert {check.metadata["duplicate_keys"].value for check in failed.values()} == {2}


def test_a_gap_in_the_ledger_fails_its_check(loaded: Deployment) -> None:
    with duckdb.connect(DATABASE) as connection:
        connection.execute(
            "DELETE FROM mindo.export_windows WHERE company_id = ? AND window_start = ?", [COMPANIES[0], DAY]
        )
    failed = _failed(loaded)
    assert list(failed) == [("export_windows", LEDGER_COMPLETE)]
    told = str(failed["export_windows", LEDGER_COMPLETE].metadata["ranges"].value)
    assert told.startswith(f"{COMPANIES[0]}: [{DAY:%Y-%m-%d}T00:00:00Z, ")


def test_an_earlier_start_of_the_history_is_a_gap(loaded: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__START_DATE", (START.replace(day=1)).isoformat())
    failed = _failed(loaded)
    assert list(failed) == [("export_windows", LEDGER_COMPLETE)]
    assert failed["export_windows", LEDGER_COMPLETE].metadata["gaps"].value == len(COMPANIES)


def test_a_gap_behind_the_watermark_is_one(deployment: Deployment) -> None:
    options = resolve_options({"company_ids": [COMPANIES[0]]})
    for start, end in ((START, DAY), (DAY + timedelta(days=1), DAY + timedelta(days=2))):
        load_batch(Batch(Company(COMPANIES[0]), start, end), options)
    failed = _failed(deployment)["export_windows", LEDGER_COMPLETE]
    assert (
        failed.metadata["ranges"].value
        == f"{COMPANIES[0]}: [{DAY:%Y-%m-%d}T00:00:00Z, {DAY + timedelta(days=1):%Y-%m-%d}T00:00:00Z)"
    )


def test_tables_that_are_too_old_fail_by_the_ledger(loaded: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBT__VARS", "{mindo_freshness_warn_hours: 0}")
    [(place, warned)] = _failed(loaded).items()
    assert place == ("messages", FRESH)
    assert warned.severity is dg.AssetCheckSeverity.WARN


def test_a_company_that_was_never_loaded_is_not_fresh(deployment: Deployment) -> None:
    failed = _failed(deployment)
    assert list(failed) == [("messages", FRESH)]
    assert failed["messages", FRESH].severity is dg.AssetCheckSeverity.ERROR
    assert failed["messages", FRESH].metadata["never_loaded"].value == "42; 57"


def _failed(deployment: Deployment) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """The checks of the tables that fail, by table and name."""
    checks = dg.AssetSelection.all_asset_checks()
    tables = dg.AssetSelection.checks_for_assets(*(table_key(table) for table in TABLES))
    definitions = dg.Definitions.merge(
        deployment.definitions, dg.Definitions(jobs=[dg.define_asset_job("only_checks", checks & tables)])
    )
    result = definitions.resolve_job_def("only_checks").execute_in_process(instance=deployment.instance)
    return {
        (check.asset_key.path[-1], check.check_name): check
        for check in result.get_asset_check_evaluations()
        if not check.passed
    }
