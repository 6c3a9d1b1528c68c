"""How loading a window replaces it: dlt hints, and the marker rows that carry a load's windows to the destination.

The scope of a replacement must not be written into the hints, or every run would make a new version of the schema. So it
travels with the data: a marker row (`_window_end` is set) stands in the staged table for each range that was read, holding
its company, its bounds and its filters in the columns of that name. Markers never reach the table itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.schema.typing import TColumnSchema, TTableReference, TWriteDispositionConfig
from dlt.extract.hints import TResourceHints, make_hints

from .columns import AUDIT_LOG, CHILD_TABLES, COMPANIES, DECLARED, EXPORT_WINDOWS, MESSAGES, PRIMARY_KEYS, Column
from .discovery import MEMBER_HINT
from .selection import Selection
from .settings import ALL, CHANNELS, DIRECTIONS
from .windows import Window, ranges_by_company

_IS_ROW = "_window_end IS NULL"
_MARKERS = "FROM {staging_table} AS w WHERE w._window_end IS NOT NULL"
# The bounds let the destination prune: the correlated EXISTS alone would scan all history. The EXISTS keeps several
# companies, windows and filters exact; an empty filter column means "all".
_IN_WINDOW = (
    f"{{table}}.occurred_at >= (SELECT min(w.occurred_at) {_MARKERS})"
    f" AND {{table}}.occurred_at < (SELECT max(w._window_end) {_MARKERS})"
    f" AND EXISTS (SELECT 1 {_MARKERS} AND w.company_id = {{table}}.company_id"
    " AND {table}.occurred_at >= w.occurred_at AND {table}.occurred_at < w._window_end"
    " AND (w.channel IS NULL OR w.channel = {table}.channel)"
    " AND (w.direction IS NULL OR w.direction = {table}.direction)"
    " AND (w.author__id IS NULL OR w.author__id = {table}.author__id))"
)
# A list left out of a run must keep its rows, but not those of messages that are gone: a keeper per message that is
# still there (a marker with its id and an empty range) holds its rows back.
_NOT_KEPT = (
    f"NOT EXISTS (SELECT 1 {_MARKERS} AND w.company_id = {{table}}.company_id AND w.message_id = {{table}}.message_id)"
)


def make_table_hints(
    table: str, columns: Iterable[Column], capabilities: DestinationCapabilitiesContext | None
) -> TResourceHints:
    """The dlt hints of a table: how it is replaced, its keys, its columns and its parent.

    Args:
        table: Name of the table.
        columns: Its columns as far as they are known.
        capabilities: What the destination can do; decides the merge strategy.
    """
    references: Sequence[TTableReference] = []
    if table in CHILD_TABLES.values():
        key = list(PRIMARY_KEYS[MESSAGES])
        references = [{"referenced_table": MESSAGES, "columns": key, "referenced_columns": key}]
    return make_hints(
        table_name=table,
        write_disposition=_write_disposition(table, capabilities),
        primary_key=list(PRIMARY_KEYS[table]),
        columns={column.name: _column_hint(column) for column in columns},
        references=references,
        file_format="parquet" if _reads_parquet(capabilities) else None,
    )


def _reads_parquet(capabilities: DestinationCapabilitiesContext | None) -> bool:
    return capabilities is None or "parquet" in (capabilities.supported_loader_file_formats or ["parquet"])


def _column_hint(column: Column) -> TColumnSchema:
    hint: TColumnSchema = {
        "name": column.name,
        "data_type": column.data_type,
        "nullable": column.nullable,
        "description": column.description,
    }
    if column.member is not None:
        hint[MEMBER_HINT] = column.member  # type: ignore[literal-required]  # dlt keeps every hint that begins with x-
    return hint


def _write_disposition(table: str, capabilities: DestinationCapabilitiesContext | None) -> TWriteDispositionConfig:
    strategies: Sequence[str] = (
        ["cdc", "upsert"] if capabilities is None else capabilities.supported_merge_strategies or []
    )
    if table in (EXPORT_WINDOWS, COMPANIES, AUDIT_LOG):
        return {"disposition": "merge", "strategy": "upsert" if "upsert" in strategies else "delete-insert"}
    scope = {
        "source_filter": _IS_ROW,
        "destination_scope": _IN_WINDOW if table == MESSAGES else f"{_IN_WINDOW} AND {_NOT_KEPT}",
    }
    if "cdc" in strategies:
        return {  # type: ignore[return-value]  # TypedDict of dlt doesn't know the options as one type
            "disposition": "merge",
            "strategy": "cdc",
            "skip_unchanged_rows": True,
            "row_version_column_name": "_row_hash",
            **scope,
        }
    return {"disposition": "merge", "strategy": "delete-insert", **scope}  # type: ignore[return-value]


def window_markers(
    windows: Iterable[Window],
    selection: Selection,
    channels_seen: Iterable[str],
    agent_authors: dict[int, set[str]],
) -> list[dict[str, Any]]:
    """The marker rows of a load: adjacent windows as one range, a row for each combination of filters.

    Args:
        windows: The complete windows.
        selection: What they were read with.
        channels_seen: Channels that came back; one that the contract doesn't name belongs to the channel asked for.
        agent_authors: Author ids of the filtered agents, by company. Where none is known nothing can be told to be
            gone, so such a company gets no marker.
    """
    channels: list[str | None] = [None]
    if selection.channel != ALL:
        named = {channel for values in CHANNELS.values() for channel in values}
        channels = [*CHANNELS[selection.channel], *sorted(set(channels_seen) - named)]
    direction = DIRECTIONS.get(selection.direction)
    markers = []
    for company_id, ranges in ranges_by_company(windows).items():
        authors: list[str | None] = sorted(agent_authors.get(company_id, ())) if selection.agent_ids else [None]  # type: ignore[assignment]
        for start, end in ranges:
            for channel in channels:
                for author in authors:
                    markers.append(
                        {
                            "company_id": company_id,
                            "message_id": "",
                            "occurred_at": start,
                            "_window_end": end,
                            "channel": channel,
                            "direction": direction,
                            "author__id": author,
                        }
                    )
    return markers


_ARROW_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "json": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", "UTC"),
}


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of a table with these columns."""
    return pa.schema([pa.field(column.name, _ARROW_TYPES[column.data_type], column.nullable) for column in columns])


def marker_table(table: str, markers: Iterable[dict[str, Any]], load_id: str) -> pa.Table:
    """Marker rows as Arrow, with what a table's mandatory columns ask for."""
    filled = {"_row_hash": "", "_dlt_id": "", "_dlt_load_id": load_id, "_dlt_parent_id": "", "_dlt_list_idx": -1}
    names = {"channel", "direction", "author__id", "_window_end"}
    columns = [c for c in DECLARED[table] if not c.nullable or c.name in names]
    rows = [{**filled, **marker} for marker in markers]
    return pa.Table.from_pylist(rows, arrow_schema(columns))
