"""What happens by itself: loads at night and once a week, the models after them, and partitions for new companies.

Each run of a night has the night's name in its tags, and how many there are. So a sensor can tell when the last of them has
ended, retries included, and builds the models once.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg
from dagster import DagsterRun, DagsterRunStatus, RunsFilter

from mindo import Options, resolve_options
from mindo.columns import MESSAGES
from mindo.windows import floor_to_step, format_time

from ..console import counted
from .failures import told_in_one_line
from .partitions import (
    Partition,
    company_partitions,
    configured_company_ids,
    month_of,
    months_between,
    nightly_partitions,
)
from .settings import Settings, read_configuration_again
from .tables import load_config, table_key

LOAD_JOB: Final = "mindo_load"
AFTER_LOAD_JOB: Final = "mindo_checks_and_models"
NIGHT: Final = "mindo/night"
NIGHT_RUNS: Final = "mindo/night_runs"
NIGHTLY: Final = "mindo_nightly"
RECONCILE: Final = "mindo_reconcile"

_RECONCILED: Final = timedelta(days=31)
_DAY: Final = timedelta(days=1)
_SECONDS_BETWEEN_LOOKS: Final = 30
_SECONDS_BETWEEN_COMPANIES: Final = 300
_SCHEDULE_TAG: Final = "dagster/schedule_name"
_PARENT_TAG: Final = "dagster/parent_run_id"
UNFINISHED: Final = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]

Target = Any
"""A job of Dagster's, resolved or not."""


def make_schedules(load: Target, settings: Settings) -> list[dg.ScheduleDefinition]:
    """The nightly increment, and a look at the last 31 days again once a week."""

    @dg.schedule(
        name=NIGHTLY,
        job=load,
        cron_schedule=settings.nightly,
        execution_timezone="UTC",
        description="Loads what is new, and the lookback again.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> Sequence[dg.RunRequest]:
        now = context.scheduled_execution_time
        options, company_ids = register_companies(context.instance)
        loaded = [Partition.of(key) for key in context.instance.get_materialized_partitions(table_key(MESSAGES))]
        return list(_requests(NIGHTLY, now, nightly_partitions(company_ids, options, now, loaded), only_new=True))

    @dg.schedule(
        name=RECONCILE,
        job=load,
        cron_schedule=settings.reconcile,
        execution_timezone="UTC",
        description="Reads the last 31 days again, for changes and deletions that came after the lookback.",
    )
    def reconcile(context: dg.ScheduleEvaluationContext) -> Sequence[dg.RunRequest]:
        now = context.scheduled_execution_time
        options, company_ids = register_companies(context.instance)
        since = max(floor_to_step(now - _RECONCILED, _DAY), month_of(options.start))
        months = months_between(month_of(since), month_of(now))
        partitions = [Partition(company_id, month) for company_id in company_ids for month in months]
        return list(_requests(RECONCILE, now, partitions, since=format_time(since)))

    return [nightly, reconcile]


def make_sensors(after_load: Target) -> list[dg.SensorDefinition]:
    """Partitions for the companies of the configuration, and the models after a night."""

    @dg.sensor(
        name="mindo_companies",
        minimum_interval_seconds=_SECONDS_BETWEEN_COMPANIES,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Makes a partition for each company of the configuration.",
    )
    def companies(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        with told_in_one_line():
            read_configuration_again()
            wanted = configured_company_ids(resolve_options())
        known = context.instance.get_dynamic_partitions(company_partitions.name or "")
        new = [str(company_id) for company_id in wanted if str(company_id) not in known]
        if not new:
            return dg.SkipReason(f"{counted(len(wanted), 'company', 'companies')}, none of them new.")
        return dg.SensorResult(dynamic_partitions_requests=[company_partitions.build_add_request(new)])

    @dg.sensor(
        name="mindo_after_night",
        job=after_load,
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Checks the tables and builds the models once the last load of a night has ended.",
    )
    def after_night(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        night, reason = ended_night(context.instance, context.cursor)
        if night is None:
            return dg.SkipReason(reason)
        return dg.SensorResult([dg.RunRequest(run_key=night, tags={NIGHT: night})], cursor=night)

    return [companies, after_night]


def register_companies(instance: dg.DagsterInstance) -> tuple[Options, list[int]]:
    """Makes partitions for companies that have none yet, by the configuration as it is now.

    Raises:
        dagster.Failure: If the configuration is unusable, or a key's company can't be asked for.
    """
    with told_in_one_line():
        read_configuration_again()
        options = resolve_options()
        company_ids = configured_company_ids(options)
    instance.add_dynamic_partitions(company_partitions.name or "", [str(company_id) for company_id in company_ids])
    return options, company_ids


def ended_night(instance: dg.DagsterInstance, built: str | None) -> tuple[str | None, str]:
    """The last night, if all its loads have ended, one of them well, and the models were not built after it yet.

    Args:
        instance: Where runs are kept.
        built: The night after which the models were built last.

    Returns:
        The night's name, or nothing and the reason.
    """
    newest = instance.get_runs(RunsFilter(job_name=LOAD_JOB, tags={_SCHEDULE_TAG: [NIGHTLY, RECONCILE]}), limit=1)
    night = newest[0].tags.get(NIGHT) if newest else None
    if night is None:
        return None, "there was no night yet."
    if night == built:
        return None, f"the models were built after {night}."
    # of any night: one may have begun before the last had ended
    loading = RunsFilter(job_name=LOAD_JOB, statuses=UNFINISHED, tags={_SCHEDULE_TAG: [NIGHTLY, RECONCILE]})
    if unfinished := instance.get_runs_count(loading):
        return None, f"{counted(unfinished, 'load')} of {night} to go."
    runs = list(instance.get_runs(RunsFilter(job_name=LOAD_JOB, tags={NIGHT: night})))
    if any(run.is_complete_and_waiting_to_retry for run in runs):
        return None, f"a load of {night} is about to be tried again."
    if sum(_PARENT_TAG not in run.tags for run in runs) < _expected(newest[0]):
        return None, f"the loads of {night} are being queued."
    if not any(run.status is DagsterRunStatus.SUCCESS for run in runs):
        return None, f"no load of {night} ended well."
    return night, ""


def _expected(run: DagsterRun) -> int:
    return int(run.tags.get(NIGHT_RUNS, "0"))


def _requests(schedule: str, now: datetime, partitions: Sequence[Partition], **config: Any) -> Iterator[dg.RunRequest]:
    night = f"{schedule} {format_time(now)}"
    for partition in partitions:
        yield dg.RunRequest(
            run_key=f"{night} {partition.key}",
            run_config=load_config(**config),
            tags={NIGHT: night, NIGHT_RUNS: str(len(partitions))},
            partition_key=partition.key,
        )
