"""What Dagster does when a load fails, by the exit code that the command would have."""

from __future__ import annotations

from typing import NamedTuple

import dagster as dg
import duckdb
import pytest

from mindo_emulator import GLOBAL_DEMO_KEY
from mindo_pipeline.dagster.partitions import month_of
from mindo_pipeline.exit_codes import ExitCode
from tests.dagster.conftest import COMPANIES, DATABASE, START, THIS_MONTH, Deployment
from tests.support import assert_mirrors, read_tables

_OF_DAGSTER = {"DagsterExecutionStepExecutionError", "RetryRequestedFromPolicy", "Failure"}


def test_a_window_that_the_api_breaks_off_is_read_by_the_retry(deployment: Deployment) -> None:
    fault = deployment.emulator.faults.add("server_error", status=503, company=COMPANIES[0], after=2)
    result = deployment.load(COMPANIES[0], month_of(START))
    assert fault.hits == 1
    assert result.success
    assert _retries(result) == 1
    assert_mirrors(DATABASE, deployment.emulator.world, COMPANIES[:1], START, THIS_MONTH)
    deployment.assert_tells_nothing()


def test_what_was_whole_is_loaded_even_if_no_retry_helps(deployment: Deployment) -> None:
    broken = START.replace(hour=12)
    deployment.emulator.faults.add("server_error", status=503, covering=broken, times=None)
    result = deployment.load(COMPANIES[0], month_of(START))
    assert not result.success
    assert _retries(result) == 2
    assert "1 of 6 windows could not be read whole; the rest is loaded." in _failure(result).text
    assert f"incomplete: company {COMPANIES[0]} [{START:%Y-%m-%d}T00:00:00Z" in deployment.events()
    assert result.get_asset_materialization_events() == []
    assert_mirrors(DATABASE, deployment.emulator.world, COMPANIES[:1], START.replace(day=START.day + 1), THIS_MONTH)


def test_a_refused_key_is_not_tried_again(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = GLOBAL_DEMO_KEY + "x"
    monkeypatch.setenv("SOURCES__MINDO__API_KEY", wrong)
    result = deployment.load(COMPANIES[0], THIS_MONTH)
    told = _failure(result)
    assert _retries(result) == 0
    assert told.code == ExitCode.CONFIGURATION
    assert "Failure: api_key" in told.text
    assert wrong not in deployment.events()


def test_a_window_that_would_lose_many_messages_is_refused_and_not_tried_again(
    loaded: Deployment,
) -> None:
    before = read_tables(DATABASE)
    # as if the API had lost what nobody has
    with duckdb.connect(DATABASE) as connection:
        connection.execute(
            """INSERT INTO mindo.messages SELECT known.* REPLACE (
                message_id || '_' || n AS message_id, _dlt_id || '_' || n AS _dlt_id)
            FROM mindo.messages AS known, range(100) AS numbers(n) WHERE company_id = ?""",
            [COMPANIES[0]],
        )
        [(filled,)] = connection.execute("SELECT count(*) FROM mindo.messages").fetchall()
    result = loaded.load(COMPANIES[0], month_of(START))
    told = _failure(result)
    assert _retries(result) == 0
    assert told.code == ExitCode.GUARD
    assert "--accept-deletions" in told.text
    assert len(read_tables(DATABASE)["messages"].rows) == filled > len(before["messages"].rows)


def test_a_destination_that_fails_is_tried_again(loaded: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "/no/such/folder/warehouse.duckdb")
    result = loaded.load(COMPANIES[0], THIS_MONTH)
    assert "the database file can't be opened" in _failure(result).text
    assert _retries(result) == 2


def test_a_destination_without_locks_is_refused_unless_the_pool_has_one_slot(
    loaded: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER__DESTINATION", "sqlalchemy")
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", "sqlite:///lockless.db")
    result = loaded.load(COMPANIES[0], THIS_MONTH)
    told = _failure(result)
    assert _retries(result) == 0
    assert told.code == ExitCode.CONFIGURATION
    assert "dagster instance concurrency set mindo_api 1" in told.text


def test_a_setting_that_cannot_be_used_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from mindo_pipeline.dagster.assembling import make_definitions

    monkeypatch.setenv("DAGSTER__NIGHTLY", "every night")
    with pytest.raises(dg.Failure) as raised:
        make_definitions()
    assert raised.value.description == "dagster.nightly: 'every night' is not a cron expression like '0 3 * * *'."


class Told(NamedTuple):
    text: str
    code: int | None
    """Dagster keeps it only if it does not try again."""


def _retries(result: dg.ExecuteInProcessResult) -> int:
    return sum(event.event_type_value == "STEP_UP_FOR_RETRY" for event in result.all_events)


def _failure(result: dg.ExecuteInProcessResult) -> Told:
    """The last failure, of whose text nothing may lead on to the exception that it stands for."""
    failed = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"][-1]
    data = failed.step_failure_data
    links = [data.error]
    while links[-1].cause or links[-1].context:
        assert links[-1].context is None
        links.append(links[-1].cause)
    assert {link.cls_name for link in links} <= _OF_DAGSTER
    told = " ".join(link.message for link in links)
    code = data.user_failure_data.metadata["exit_code"].value if data.user_failure_data else None
    return Told(told, code)
