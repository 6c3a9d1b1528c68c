"""Which partitions the schedules ask for, and when the models are built after them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from mindo import Company, resolve_options
from mindo_pipeline.dagster.nights import (
    AFTER_LOAD_JOB,
    LOAD_JOB,
    NIGHT,
    NIGHT_RUNS,
    NIGHTLY,
    RECONCILE,
    ended_night,
)
from mindo_pipeline.dagster.partitions import Partition, company_partitions, month_of, nightly_partitions
from tests.dagster.conftest import COMPANIES, START, THIS_MONTH, Deployment
from tests.mindo_pipeline.harness import midnight

NOW = datetime(2026, 5, 2, 3, tzinfo=UTC)
RUNNING, FAILED, DONE = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


def month(number: int, year: int = 2026) -> datetime:
    return datetime(year, number, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("loaded", "expected"),
    [
        pytest.param([], [1, 2, 3, 4, 5], id="never loaded: the whole history"),
        pytest.param([1, 2, 3, 4, 5], [4, 5], id="the lookback reaches into the last month"),
        pytest.param([1, 2, 3], [3, 4, 5], id="after a pause: from the month on that was not over yet"),
        pytest.param([5], [4, 5], id="the newest only: the history is left to a backfill"),
    ],
)
def test_a_night_loads_the_lookback_and_what_came_since_the_last(
    loaded: Sequence[int], expected: Sequence[int]
) -> None:
    options = resolve_options({"start_date": "2026-01-15", "company_ids": [42]}, now=NOW)
    done = [Partition(42, month(number)) for number in loaded] + [Partition(57, month(5))]
    found = nightly_partitions([42], options, NOW, done)
    assert found == [Partition(42, month(number)) for number in expected]


def test_a_partition_key_means_the_same_to_dagster() -> None:
    partition = Partition(42, month(12, 2025))
    assert partition.key == "42|2025-12"
    assert Partition.of(partition.key) == partition
    batch = partition.batch(Company(42), resolve_options({"start_date": "2025-12-24"}, now=NOW), False, None)
    assert (batch.start, batch.end) == (datetime(2025, 12, 24, tzinfo=UTC), month(1))
    whole = partition.batch(Company(42), resolve_options(now=NOW), True, None)
    assert (whole.start, whole.end, whole.only_new) == (month(12, 2025), month(1), True)


def test_the_nightly_schedule_asks_for_its_partitions_once_each(loaded: Deployment) -> None:
    requests = _tick(loaded, NIGHTLY)
    options = resolve_options()
    first = max(month_of(START), min(month_of(midnight() - options.lookback), THIS_MONTH))
    months = {first, THIS_MONTH}
    wanted = {str(Partition(company, found).key) for company in COMPANIES for found in months}
    assert {request.partition_key for request in requests} == wanted
    assert len({request.run_key for request in requests}) == len(requests) == len(wanted)
    for request in requests:
        assert request.run_config == {"ops": {"mindo_tables": {"config": {"only_new": True}}}}
        assert request.tags[NIGHT_RUNS] == str(len(wanted))
    assert len({request.tags[NIGHT] for request in requests}) == 1


def test_the_weekly_schedule_reads_31_days_again(loaded: Deployment) -> None:
    requests = _tick(loaded, RECONCILE)
    assert {Partition.of(request.partition_key).month for request in requests} == {month_of(START), THIS_MONTH}
    [since] = {request.run_config["ops"]["mindo_tables"]["config"]["since"] for request in requests}
    assert datetime.fromisoformat(since) == max(midnight() - timedelta(days=31), month_of(START))


def test_a_new_company_gets_its_partitions_without_a_new_deployment(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCES__MINDO__COMPANY_IDS")
    Path(".dlt").mkdir()
    Path(".dlt/config.toml").write_text("[sources.mindo]\ncompany_ids = [42, 57, 63]\n")
    sensor = deployment.definitions.get_repository_def().get_sensor_def("mindo_companies")
    with dg.build_sensor_context(deployment.instance) as context:
        [request] = sensor.evaluate_tick(context).dynamic_partitions_requests
    assert request.partition_keys == ["63"]
    asked = _tick(deployment, NIGHTLY)
    assert {Partition.of(request.partition_key).company_id for request in asked} == {42, 57, 63}
    assert deployment.instance.has_dynamic_partition(company_partitions.name or "", "63")


def test_the_models_are_built_once_after_the_last_load_of_a_night() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert ended_night(instance, None)[0] is None
        first = _run(instance, RUNNING, "42|2026-05")
        assert "1 load of" in ended_night(instance, None)[1]
        instance.delete_run(first)
        _run(instance, FAILED, "42|2026-05")
        assert "being queued" in ended_night(instance, None)[1]
        waiting = _run(instance, FAILED, "57|2026-05", {"dagster/will_retry": "true"})
        assert "tried again" in ended_night(instance, None)[1]
        retried = {"dagster/parent_run_id": waiting, "dagster/root_run_id": waiting}
        instance.add_run_tags(waiting, {"dagster/auto_retry_run_id": _run(instance, FAILED, "57|2026-05", retried)})
        assert "ended well" in ended_night(instance, None)[1]
        _run(instance, DONE, "42|2026-05", {"dagster/parent_run_id": waiting})
        assert ended_night(instance, None) == ("tonight", "")
        assert ended_night(instance, "tonight")[0] is None


def test_the_sensor_asks_for_the_models_of_a_night_once(deployment: Deployment) -> None:
    _run(deployment.instance, DONE, "42|2026-05")
    _run(deployment.instance, DONE, "57|2026-05")
    sensor = deployment.definitions.get_repository_def().get_sensor_def("mindo_after_night")
    with dg.build_sensor_context(deployment.instance) as context:
        ended = sensor.evaluate_tick(context)
    assert [request.run_key for request in ended.run_requests] == ["tonight"]
    assert sensor.job_name == AFTER_LOAD_JOB
    with dg.build_sensor_context(deployment.instance, cursor=ended.cursor) as context:
        assert sensor.evaluate_tick(context).run_requests == []


def _tick(deployment: Deployment, name: str) -> Sequence[dg.RunRequest]:
    repository = deployment.definitions.get_repository_def()
    schedule = repository.get_schedule_def(name)
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    with dg.build_schedule_context(
        deployment.instance, scheduled_execution_time=midnight(), repository_def=repository
    ) as context:
        return schedule.evaluate_tick(context).run_requests or []


def _run(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, partition: str, tags: dict[str, str] | None = None
) -> str:
    night = {"dagster/schedule_name": NIGHTLY, NIGHT: "tonight", NIGHT_RUNS: "2", "dagster/partition": partition}
    return create_run_for_test(instance, job_name=LOAD_JOB, status=status, tags=night | (tags or {})).run_id
