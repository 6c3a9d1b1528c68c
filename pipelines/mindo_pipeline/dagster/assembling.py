"""The assets, checks, jobs, schedules and sensors, put together by the configuration.

That reads where the history begins, and dbt's manifest. Neither the API nor the warehouse is asked.
"""

from __future__ import annotations

import logging

import dagster as dg

from mindo import ConfigurationError, resolve_options

from ..transforming.profile import adapter_of
from .checks import make_checks
from .failures import told_in_one_line
from .manifest import read_manifest
from .models import make_models
from .nights import AFTER_LOAD_JOB, LOAD_JOB, make_schedules, make_sensors
from .settings import Settings
from .tables import TABLES, make_tables, table_key


def make_definitions() -> dg.Definitions:
    """Everything, by the configuration as it is now.

    Raises:
        dagster.Failure: If the configuration is unusable.
    """
    with told_in_one_line():
        settings = Settings.resolve()
        options = resolve_options()
        warehouse = settings.warehouse()
        try:
            adapter_of(warehouse)
        except ConfigurationError as error:
            logging.getLogger("dagster").info("without the models: %s", error)
            manifest = None
        else:
            manifest = read_manifest(warehouse)
    tables = make_tables(options, settings)
    checks = make_checks(settings)
    models = [] if manifest is None else [make_models(manifest, settings)]
    load = dg.define_asset_job(
        LOAD_JOB,
        dg.AssetSelection.assets(*(table_key(table) for table in TABLES)).without_checks(),
        description="Loads a company's month.",
    )
    after_load = dg.define_asset_job(
        AFTER_LOAD_JOB,
        dg.AssetSelection.checks(checks) | dg.AssetSelection.assets(*models),
        description="Checks the tables, then builds and tests the models.",
    )
    return dg.Definitions(
        assets=[tables, *models],
        asset_checks=[checks],
        jobs=[load, after_load],
        schedules=make_schedules(load, settings),
        sensors=make_sensors(after_load),
        # a process of its own for each step takes three times as long as the load of a small month
        executor=dg.in_process_executor,
    )
