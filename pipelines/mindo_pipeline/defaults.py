"""Defaults for dlt's configuration that hold wherever the command runs, below every file and environment variable."""

from __future__ import annotations

from typing import Any, Final

import dlt
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import CustomLoaderDocProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

PROVIDER_NAME: Final = "defaults of mindo"

DEFAULTS: Final[dict[str, Any]] = {
    # the file's stem must differ from the dataset's name, or DuckDB calls the name ambiguous
    "destination": {"duckdb": {"credentials": "warehouse.duckdb"}},
    "pipelines_dir": ".dlt/.var/pipelines",
    "runtime": {"dlthub_telemetry": False, "log_level": "ERROR"},
    # messages are personal data: leave none behind in the staging dataset or in load packages
    "load": {"truncate_staging_dataset": True, "delete_completed_jobs": True, "raise_on_failed_jobs": True},
}


def register_defaults() -> None:
    """Adds the defaults behind all other providers of dlt's configuration; once per process is enough."""
    providers = Container()[PluggableRunContext].providers
    if PROVIDER_NAME not in providers:
        dlt.config.register_provider(CustomLoaderDocProvider(PROVIDER_NAME, lambda: DEFAULTS, supports_secrets=True))
