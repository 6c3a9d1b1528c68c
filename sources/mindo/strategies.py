"""How a destination is loaded, by what it declares that it can do: how windows are replaced, in which files, and what text fits.

| the destination merges with | a load |
|---|---|
| `cdc` | deletes what lies in its windows and did not come back, writes what is new or changed |
| `delete-insert` | deletes its windows and the messages that arrive, and inserts what was read |
| nothing, or without SQL (plain files, Delta, Iceberg) | is appended with its markers; `latest_sql` gives what holds |

Only `cdc` leaves a row alone that did not change. Elsewhere unchanged messages are left out of a load, and keepers stand for
them; see `unchanged`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.exceptions import TerminalValueError
from dlt.common.schema.typing import TTableFormat, TTableSchema, TWriteDisposition, TWriteDispositionConfig

from .columns import CHILD_TABLES, MESSAGES, PRIMARY_KEYS

MergeStrategy = Literal["cdc", "upsert", "delete-insert"]

REPLACED_TABLES: Final = (MESSAGES, *CHILD_TABLES.values())
"""The tables whose windows are replaced; rows of all others stay for good, or until the same key comes again."""

# By the hash, not by `_window_end IS NULL`: without statistics of a new staging table databases take a value to be equal to
# another one in few rows, but to be NULL in few as well. PostgreSQL then joined each row with each.
_IS_ROW = "_row_hash <> ''"
_MARKERS = "FROM {staging_table} AS w WHERE w._row_hash = '' AND w._window_end IS NOT NULL"
_IS_MARKED = (
    "w.company_id = {table}.company_id"
    " AND {table}.occurred_at >= w.occurred_at AND {table}.occurred_at < w._window_end"
    " AND (w.channel IS NULL OR w.channel = {table}.channel)"
    " AND (w.direction IS NULL OR w.direction = {table}.direction)"
    " AND (w.author__id IS NULL OR w.author__id = {table}.author__id)"
)
# The bounds let the destination prune: the correlated EXISTS alone would scan all history. The EXISTS keeps several
# companies, windows and filters exact; an empty filter column means "all".
_IN_WINDOW = (
    f"{{table}}.occurred_at >= (SELECT min(w.occurred_at) {_MARKERS})"
    f" AND {{table}}.occurred_at < (SELECT max(w._window_end) {_MARKERS})"
    f" AND EXISTS (SELECT 1 {_MARKERS} AND {_IS_MARKED})"
)
# A list left out of a run must keep its rows, but not those of messages that are gone: a keeper per message that is
# still there (a marker with its id and an empty range) holds its rows back.
_NOT_KEPT = (
    f"NOT EXISTS (SELECT 1 {_MARKERS} AND w.company_id = {{table}}.company_id AND w.message_id = {{table}}.message_id)"
)
# The same where everything in scope is deleted. `_dlt_id` stands for the key: one column, compared once with a set instead
# of row by row, and exactly, whatever a database makes of the case of text. Markers are few: as a table of their own they
# are found without looking through all that is staged.
_FEW_MARKERS = (
    "FROM (SELECT DISTINCT company_id, occurred_at, _window_end, channel, direction, author__id FROM {staging_table}"
    " WHERE _row_hash = '' AND _window_end > occurred_at) AS w"
)
_REPLACED = (
    f"{{table}}.occurred_at >= (SELECT min(w.occurred_at) {_FEW_MARKERS})"
    f" AND {{table}}.occurred_at < (SELECT max(w._window_end) {_FEW_MARKERS})"
    f" AND EXISTS (SELECT 1 {_FEW_MARKERS} WHERE {_IS_MARKED})"
    " AND {table}.{message} NOT IN"
    " (SELECT w.{message} FROM {staging_table} AS w WHERE w._window_end = w.occurred_at)"
)
# a row that was at another time before has to go as well
_ARRIVES = "{table}._dlt_id IN (SELECT w._dlt_id FROM {staging_table} AS w WHERE w._row_hash <> '')"

# The same without a question about each row, and with the table known by an alias: what lies in the windows is found by a
# query of its own.
_FOUND_IN_BOUNDS = (
    f"{{row}}occurred_at >= (SELECT min(w.occurred_at) {_FEW_MARKERS})"
    f" AND {{row}}occurred_at < (SELECT max(w._window_end) {_FEW_MARKERS})"
)
_FOUND_IN_WINDOW = (
    f"SELECT m._dlt_id AS _dlt_id {_FEW_MARKERS} INNER JOIN {{table}} AS m ON m.company_id = w.company_id"
    f" WHERE {_FOUND_IN_BOUNDS.replace('{row}', 'm.')} AND {_IS_MARKED.replace('{table}', 'm')}"
    " AND m.{message} NOT IN (SELECT k.{message} FROM {staging_table} AS k WHERE k._window_end = k.occurred_at)"
)
_FOUND_ARRIVING = "SELECT s._dlt_id AS _dlt_id FROM {staging_table} AS s WHERE s._row_hash <> ''"

# The same as `_IN_WINDOW`, but no join: of a join with ranges PostgreSQL expects a single row, and then compares each row that
# it really is with each that is staged. The markers are collected once.
_AMONG_MARKERS = (
    f"{{table}}.occurred_at >= (SELECT min(w.occurred_at) {_MARKERS})"
    f" AND {{table}}.occurred_at < (SELECT max(w._window_end) {_MARKERS})"
    " AND (EXISTS (SELECT 1 FROM unnest((SELECT array_agg(m) FROM {staging_table} AS m"
    f" WHERE m._row_hash = '' AND m._window_end > m.occurred_at)) AS w WHERE {_IS_MARKED})) IS TRUE"
)

_IN_WINDOW_OF: Final[Mapping[str, str]] = {"postgres": _AMONG_MARKERS}
"""By SQL dialect, where `_IN_WINDOW` is not the quickest."""

_FINDS_FIRST: Final = frozenset(
    {"athena", "bigquery", "clickhouse", "databricks", "dremio", "fabric", "redshift", "snowflake", "tsql"}
)
"""SQL dialects that get the scope as one query. ClickHouse takes no correlated subquery in a DELETE, Redshift some, and BigQuery
no `{table}.column`. Where each row can be asked about, that is quicker: PostgreSQL finds rows by its indexes then."""

_TABLE_FORMATS: Final[Mapping[str, TTableFormat]] = {"athena": "iceberg"}
"""Formats of tables that can be merged, by SQL dialect, where those of the destination's own can't."""

_WITHOUT_NUL: Final = frozenset({"postgres", "redshift"})
"""SQL dialects whose text can't hold U+0000."""


def merge_strategy(table: str, capabilities: DestinationCapabilitiesContext | None) -> MergeStrategy | None:
    """How a table is merged; `None` if the destination can only append.

    Args:
        table: Name of the table.
        capabilities: What the destination can do; `None` (nothing is known) counts as everything.
    """
    wanted: tuple[MergeStrategy, ...] = ("cdc",) if table in REPLACED_TABLES else ("upsert",)
    if capabilities is None:
        return wanted[0]
    offered: Sequence[str] = capabilities.supported_merge_strategies or ()
    if capabilities.merge_strategies_selector is not None:
        schema = cast(TTableSchema, {"name": table, "table_format": mergeable_format(capabilities)})
        offered = capabilities.merge_strategies_selector(offered, table_schema=schema)  # type: ignore[arg-type]
    # what can't run a DELETE merges without SQL, and then a scope can't read the windows from what is staged
    if "delete-insert" not in offered:
        return None
    return next(strategy for strategy in (*wanted, "delete-insert") if strategy in offered)


def write_disposition(
    table: str, capabilities: DestinationCapabilitiesContext | None
) -> TWriteDispositionConfig | TWriteDisposition:
    """The write disposition of a table for dlt, with the scope of what a load replaces."""
    strategy = merge_strategy(table, capabilities)
    if strategy is None:
        return "append"
    options: dict[str, Any] = {"disposition": "merge", "strategy": strategy}
    if strategy == "delete-insert":
        # a load never holds a key twice
        options["deduplicated"] = True
    if table in REPLACED_TABLES:
        options |= {"source_filter": _IS_ROW, "destination_scope": _scope(table, strategy, capabilities)}
    if strategy == "cdc":
        options |= {"skip_unchanged_rows": True, "row_version_column_name": "_row_hash"}
    return cast(TWriteDispositionConfig, options)


def _scope(table: str, strategy: MergeStrategy, capabilities: DestinationCapabilitiesContext | None) -> str:
    message = "_dlt_id" if table == MESSAGES else "_dlt_parent_id"
    dialect = (capabilities.sqlglot_dialect if capabilities else None) or ""
    if dialect in _FINDS_FIRST:
        in_window = _FOUND_IN_WINDOW.replace("{message}", message)
        if strategy == "delete-insert":
            return f"_dlt_id IN (SELECT g._dlt_id FROM ({in_window} UNION ALL {_FOUND_ARRIVING}) AS g)"
        return f"{_FOUND_IN_BOUNDS.replace('{row}', '')} AND _dlt_id IN ({in_window})"
    if strategy == "delete-insert":
        return f"({_REPLACED.replace('{message}', message)}) OR {_ARRIVES}"
    in_window = _IN_WINDOW_OF.get(dialect, _IN_WINDOW)
    return in_window if table == MESSAGES else f"{in_window} AND {_NOT_KEPT}"


def mergeable_format(capabilities: DestinationCapabilitiesContext | None) -> TTableFormat | None:
    """The format of the tables where those of the destination's own can't be merged; else `None`."""
    return _TABLE_FORMATS.get(capabilities.sqlglot_dialect or "") if capabilities else None


def writes_unchanged(capabilities: DestinationCapabilitiesContext | None) -> bool:
    """Whether the destination would write rows again that are as they were; then they have to be left out of a load."""
    return merge_strategy(MESSAGES, capabilities) != "cdc"


def only_appends(capabilities: DestinationCapabilitiesContext | None) -> bool:
    """Whether loads are only appended, so that `latest_sql` has to find the rows that hold."""
    return merge_strategy(MESSAGES, capabilities) is None


def file_format(table: str, capabilities: DestinationCapabilitiesContext | None) -> Literal["parquet", "preferred"]:
    """The format of a table's files: parquet wherever the destination reads it, else what it prefers."""
    if capabilities is None:
        return "parquet"
    offered: Sequence[str] = capabilities.supported_loader_file_formats or ["parquet"]
    if capabilities.loader_file_format_selector is not None:
        schema = cast(TTableSchema, {"name": table})
        _, offered = capabilities.loader_file_format_selector("parquet", offered, table_schema=schema)  # type: ignore[arg-type]
    # without an answer the resource's own format would stay, and dlt would warn of it at every table
    return "parquet" if "parquet" in offered else "preferred"


def reads_json(capabilities: DestinationCapabilitiesContext | None) -> bool:
    """Whether JSON columns can be loaded from parquet; where they can't, JSON has to be text."""
    if capabilities is None or capabilities.type_mapper is None:
        return True
    # dlt's mapper of Databricks looks for that hint
    table = cast(PreparedTableSchema, {"x-insert-api": "copy_into"})
    try:
        capabilities.get_type_mapper().ensure_supported_type({"name": "json", "data_type": "json"}, table, "parquet")
    except TerminalValueError:
        return False
    return True


def prepare_destination(capabilities: DestinationCapabilitiesContext | None) -> None:
    """Sets up what dlt's client of a destination has to know before it makes tables."""
    # while a pipeline extracts, it does not know the database behind its sqlalchemy destination
    if capabilities is not None and "sqlalchemy" in getattr(capabilities.type_mapper, "__module__", ""):
        from .sqlalchemy_types import register_types

        register_types()


def storable(rows: pa.Table, capabilities: DestinationCapabilitiesContext | None) -> pa.Table:
    """Rows as the destination can hold them: U+0000 becomes U+FFFD where no text can have it."""
    if capabilities is None or capabilities.sqlglot_dialect not in _WITHOUT_NUL:
        return rows
    for number, field in enumerate(rows.schema):
        if pa.types.is_string(field.type) and pc.any(pc.match_substring(rows.column(number), "\x00")).as_py():
            rows = rows.set_column(number, field, pc.replace_substring(rows.column(number), "\x00", "\ufffd"))
    return rows


def latest_sql(table: str, qualified: str, loads: str, columns: Iterable[str]) -> str:
    """SQL of the rows of a table that hold, where loads are only appended: what the merge would have left.

    Of the windows that several loads hold, that is what the last of them read; elsewhere the last version of each row. A file
    that was appended twice counts once.

    Args:
        table: Name of the table.
        qualified: Its name in the query, quoted.
        loads: The same of dlt's table of finished loads.
        columns: The columns wanted.
    """
    names = ", ".join(f"r.{column}" for column in columns)
    # what a load left that never ended does not count
    done = f"(SELECT * FROM {qualified} WHERE _dlt_load_id IN (SELECT load_id FROM {loads}))"
    is_replaced = table in REPLACED_TABLES
    key = "_dlt_id" if is_replaced else ", ".join(PRIMARY_KEYS[table])
    rows = f"{done} AS d WHERE _window_end IS NULL" if is_replaced else f"{done} AS d"
    last = f"row_number() OVER (PARTITION BY {key} ORDER BY _dlt_load_id DESC) AS version"
    latest = f"SELECT {names} FROM (SELECT *, {last} FROM {rows}) AS r WHERE r.version = 1"
    if not is_replaced:
        return latest
    kept = (
        f"SELECT 1 FROM {done} AS k WHERE k._window_end = k.occurred_at AND k._dlt_load_id = w._dlt_load_id"
        " AND k.company_id = r.company_id AND k.message_id = r.message_id"
    )
    gone = (
        f"SELECT 1 FROM {done} AS w WHERE w._window_end > w.occurred_at AND w._dlt_load_id > r._dlt_load_id"
        f" AND {_IS_MARKED.format(table='r')} AND NOT EXISTS ({kept})"
    )
    return f"{latest} AND NOT EXISTS ({gone})"
