"""Defaults for dlt's configuration that hold wherever the command runs, below every file and environment variable."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Final

import dlt
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import CustomLoaderDocProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.runtime.telemetry import stop_telemetry
from dlt.version import DLT_PKG_NAME

from mindo.extraction import silence_expected_warnings

PROVIDER_NAME: Final = "defaults of mindo"

DEFAULTS: Final[dict[str, Any]] = {
    # the file's stem must differ from the dataset's name, or DuckDB calls the name ambiguous
    "destination": {
        "duckdb": {"credentials": "warehouse.duckdb"},
        # dlt wants all three, PostgreSQL none: it has peer and trust authentication, PGPASSWORD, password files, and
        # sockets, whose folder as `?host=` goes over this host
        "postgres": {"credentials": {"username": "", "password": "", "host": "localhost"}},
    },
    "pipelines_dir": ".dlt/.var/pipelines",
    # dlt logs the errors of databases, which can quote rows
    "runtime": {"dlthub_telemetry": False, "log_level": "CRITICAL"},
    # messages are personal data: leave none behind in the staging dataset or in load packages
    "load": {
        "truncate_staging_dataset": True,
        "delete_completed_jobs": True,
        "raise_on_failed_jobs": True,
        "workers": 4,
    },
}


DUCKDB_DEFAULTS: Final[dict[str, Any]] = {
    "destination": {
        "duckdb": {
            "credentials": {
                "global_config": {
                    # DuckDB would take 80 % of the machine; beyond the limit it spills to disk beside the database
                    "memory_limit": "150MB",
                    # the order of rows in a table means nothing, and keeping it takes memory
                    "preserve_insertion_order": False,
                    # more threads cost CPU and memory and gained nothing
                    "threads": 1,
                }
            }
        }
    },
}
"""In a document of its own, because `credentials` is a text in the other one."""


class WithoutRows(logging.Filter):
    """Takes the text out of dlt's warnings and errors, at whatever level it logs: it can quote a database that quotes rows."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keeps every record, and of a warning or an error only its place."""
        if record.levelno >= logging.WARNING:
            record.msg = f"{record.module}, line {record.lineno}: text left out, as it can quote messages"
            record.args = record.exc_info = record.exc_text = record.stack_info = None
        return True


def register_defaults() -> None:
    """Adds the defaults behind all other providers of dlt's configuration; once per process is enough."""
    # filters work in the order in which they were added, and this one reads the text
    silence_expected_warnings()
    log = logging.getLogger(DLT_PKG_NAME)
    if not any(isinstance(known, WithoutRows) for known in log.filters):
        log.addFilter(WithoutRows())
    providers = Container()[PluggableRunContext].providers
    if PROVIDER_NAME in providers:
        return
    for name, document in ((PROVIDER_NAME, DEFAULTS), (f"{PROVIDER_NAME} for DuckDB", DUCKDB_DEFAULTS)):
        dlt.config.register_provider(CustomLoaderDocProvider(name, partial(dict, document), locations=()))
    # dlt reads its runtime settings when it is imported, before these defaults are there: its telemetry is on by then
    stop_telemetry()
    Container()[PluggableRunContext].initialize_runtime()
