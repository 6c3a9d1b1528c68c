"""What a destination lacks before it can be opened at all: packages, or the settings that lead to it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

from dlt.common.configuration.exceptions import ConfigFieldMissingException
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException

from .errors import causes

_OUR_EXTRAS: Final = {
    "dlt[postgres]": "mindo-connector[postgres]",
    "dlt[sqlalchemy]": "mindo-connector[sqlalchemy]",
    "dlt[deltalake]": "mindo-connector[delta]",
    "dlt[pyiceberg]": "mindo-connector[iceberg]",
    "dlt[s3]": "mindo-connector[s3]",
}
"""By what dlt would have installed."""

_MODULES_OF_OUR_EXTRAS: Final = {"alembic", "pymysql", "sqlalchemy"}
_TABLE_FORMATS: Final = {"delta": "dlt.common.libs.deltalake", "iceberg": "dlt.common.libs.pyiceberg"}
_EXAMPLES: Final = {
    "postgres": "postgresql://user:password@host:5432/database",
    "redshift": "redshift://user:password@host:5439/database",
    "sqlalchemy": "mysql+pymysql://user:password@host:3306/database",
    "clickhouse": "clickhouse://user:password@host:9440/database?secure=1",
    "motherduck": "md:database?motherduck_token=token",
}
_ENVIRONMENT: Final = "Environment Variables"


def require_table_format(table_format: str | None) -> None:
    """Finds out whether tables of a format can be written.

    Raises:
        MissingDependencyException: If packages are missing.
    """
    if table_format in _TABLE_FORMATS:
        import_module(_TABLE_FORMATS[table_format])


def unusable_line(destination: str, error: BaseException) -> str:
    """What is missing, and how to get it."""
    chain = list(causes(error))
    missing = [link for link in chain if isinstance(link, MissingDependencyException)]
    if missing:
        # dlt asks for the whole destination's extra, and what led to that for the part that is missing
        return f"destination: {_missing_packages(destination, missing[-1], chain[-1])}"
    if isinstance(error, UnknownDestinationModule):
        return f"destination: {destination!r} is not a destination that dlt knows, such as duckdb or postgres."
    settings = next((link for link in chain if isinstance(link, ConfigFieldMissingException)), None)
    name = f"DESTINATION__{destination.upper()}__CREDENTIALS"
    example = f" to a connection string such as {_EXAMPLES[destination]}" if destination in _EXAMPLES else ""
    advice = f"set {name}{example}, or write [destination.{destination}.credentials] to .dlt/secrets.toml."
    if settings is None:
        return f"destination: credentials of {destination} can't be read; {advice}"
    variables = list(_variables(settings.traces))
    if example and all(variable.startswith(name) for variable in variables):
        return f"destination: credentials of {destination} are missing; {advice}"
    return (
        f"destination: settings of {destination} are missing; set {' and '.join(variables)},"
        " or write them to .dlt/secrets.toml; docs/destinations.md has examples."
    )


def _missing_packages(destination: str, missing: MissingDependencyException, cause: BaseException) -> str:
    wanted = str(next(iter(missing.dependencies), f"dlt[{destination}]"))
    module = cause.name if isinstance(cause, ModuleNotFoundError) and cause.name else None
    if wanted == "dlt[sqlalchemy]" and module and module.partition(".")[0] not in _MODULES_OF_OUR_EXTRAS:
        return f"{destination} needs the driver {module}, which is not installed; pip install its package."
    if wanted in _OUR_EXTRAS:
        wanted = _OUR_EXTRAS[wanted]
    elif wanted.startswith("dlt[") and destination != "filesystem":
        extras = dict.fromkeys((destination, wanted.removeprefix("dlt[").removesuffix("]")))
        wanted = f"dlt[{','.join(extras)}]"
    return f"{destination} needs packages that are not installed; pip install '{wanted}'."


def _variables(traces: Any) -> Iterator[str]:
    """The environment variable of each setting that dlt looked for in vain."""
    for tried in traces.values():
        for trace in tried:
            if hasattr(trace, "traces"):
                # the other kinds of credentials are alternatives
                yield from _variables(trace.traces)
                break
            if trace.provider == _ENVIRONMENT and trace.key.startswith("DESTINATION__"):
                yield trace.key
                break
