"""How the tables of messages lie in a destination: what they are partitioned, clustered and indexed by, where it pays.

Windows are replaced by company and time, and asked for by company and time. DuckDB needs no help with that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any, Final

import dlt
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.pipeline import PipelineContext
from dlt.common.schema.typing import TColumnSchema
from dlt.destinations.sql_client import SqlClientBase
from dlt.extract import DltResource
from dlt.extract.hints import TResourceHints

from .columns import MESSAGES, PRIMARY_KEYS
from .strategies import REPLACED_TABLES

_COLUMN_HINTS: Final[Mapping[str, Mapping[str, Mapping[str, bool]]]] = {
    "snowflake": {"company_id": {"cluster": True}, "occurred_at": {"cluster": True}},
    # a message and its lists on one node, rows by time
    "redshift": {"message_id": {"cluster": True}, "occurred_at": {"sort": True}},
    "delta": {"company_id": {"partition": True}},
}

# Destinations limit the partitions of one load (ClickHouse and Athena to 100, BigQuery to 4,000), and a load of a small
# company can hold many years. So they are as fine as any history allows.
_ADAPTERS: Final[Mapping[str, Callable[[ModuleType, DltResource], DltResource]]] = {
    "bigquery": lambda dlt_adapters, table: dlt_adapters.bigquery_adapter(
        table, partition="occurred_at", cluster=["company_id", "message_id"]
    ),
    # it sorts by the primary key, and a sort order of one's own has to begin with it
    "clickhouse": lambda dlt_adapters, table: dlt_adapters.clickhouse_adapter(
        table, partition="toStartOfQuarter(occurred_at)"
    ),
    "databricks": lambda dlt_adapters, table: dlt_adapters.databricks_adapter(
        table, cluster=["company_id", "occurred_at"]
    ),
    "athena": lambda dlt_adapters, table: dlt_adapters.athena_adapter(
        table, partition=dlt_adapters.athena_partition.year("occurred_at")
    ),
    "iceberg": lambda dlt_adapters, table: dlt_adapters.iceberg_adapter(
        table,
        partition=[
            dlt_adapters.iceberg_partition.identity("company_id"),
            dlt_adapters.iceberg_partition.month("occurred_at"),
        ],
    ),
}

_INDEXED: Final = frozenset({"postgres"})
"""SQL dialects."""


@dataclass(frozen=True)
class Layout:
    """Hints of a destination, as dlt keeps them in its schema.

    Attributes:
        table: Hints of a table.
        columns: Hints of columns, by name.
    """

    table: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def with_layout(hints: TResourceHints, table: str) -> TResourceHints:
    """Adds the layout that pays in the running pipeline's destination to the hints of a table.

    Args:
        hints: The hints of the table; those of its columns are replaced, not changed.
        table: Name of the table. Only messages and their lists have a layout.
    """
    destination = _destination_type()
    # in a folder it is the format of the tables that matters
    layout = layout_of(str(hints.get("table_format") if destination == "filesystem" else destination))
    if table not in REPLACED_TABLES or layout is _NONE:
        return hints
    columns: dict[str, TColumnSchema] = {**hints["columns"]}  # type: ignore[dict-item]  # never a function here
    for name, column_hints in layout.columns.items():
        columns[name] = {**columns[name], **column_hints}  # type: ignore[typeddict-item]  # destinations have hints of their own
    # dlt builds the table from one, and remembers the other
    hints["columns"] = hints["original_columns"] = columns
    hints["additional_table_hints"] = {**(hints.get("additional_table_hints") or {}), **layout.table}
    return hints


@cache
def layout_of(destination: str) -> Layout:
    """The layout that pays in a destination, by its type or, in a folder, by the format of its tables."""
    if destination in _COLUMN_HINTS:
        return Layout(columns=_COLUMN_HINTS[destination])
    if destination not in _ADAPTERS:
        return _NONE
    # costs time to import, and few need it
    from dlt.destinations import adapters

    bare = dlt.resource([], name=MESSAGES).compute_table_schema()
    adapted = _ADAPTERS[destination](adapters, dlt.resource([], name=MESSAGES)).compute_table_schema()
    columns = {
        name: {hint: value for hint, value in column.items() if hint != "name"}
        for name, column in adapted["columns"].items()
    }
    return Layout({hint: value for hint, value in adapted.items() if hint not in bare}, columns)


_NONE: Final = Layout()


def has_indexes(capabilities: DestinationCapabilitiesContext) -> bool:
    """Whether a merge is slow without indexes for which dlt has no hint."""
    return capabilities.sqlglot_dialect in _INDEXED


def create_indexes(client: SqlClientBase[Any]) -> list[str]:
    """Indexes the primary keys and the times.

    Args:
        client: Connected to the dataset of a destination that `has_indexes`; its tables have to exist.

    Returns:
        The indexes that were created; none if all exist.
    """
    found = client.execute_sql("SELECT indexname FROM pg_indexes WHERE schemaname = %s", client.dataset_name)
    existing = {name for (name,) in found or ()}
    created = []
    for name, statement in _index_statements(client).items():
        # asked before, as even IF NOT EXISTS waits for whoever writes
        if name not in existing:
            client.execute_sql(statement)
            created.append(name)
    return created


def _index_statements(client: SqlClientBase[Any]) -> dict[str, str]:
    statements = {}
    for table in REPLACED_TABLES:
        indexes = {f"{table}__key": ("UNIQUE INDEX", PRIMARY_KEYS[table])}
        indexes[f"{table}__time"] = ("INDEX", ("company_id", "occurred_at"))
        for name, (kind, columns) in indexes.items():
            listed = ", ".join(client.escape_column_name(column) for column in columns)
            statements[name] = (
                f"CREATE {kind} IF NOT EXISTS {client.escape_column_name(name)}"
                f" ON {client.make_qualified_table_name(table)} ({listed})"
            )
    return statements


def _destination_type() -> str | None:
    context = Container()[PipelineContext]
    destination = context.pipeline().destination if context.is_active() else None
    return destination.destination_type.rpartition(".")[2] if destination else None
