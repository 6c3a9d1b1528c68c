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
from dlt.common.schema.typing import TColumnSchema, TTableFormat, TTableReference
from dlt.extract.hints import TResourceHints, make_hints

from .columns import CHILD_TABLES, DECLARED, MESSAGES, PRIMARY_KEYS, Column
from .discovery import MEMBER_HINT, TYPE_HINT
from .layout import with_layout
from .selection import Selection
from .settings import ALL, CHANNELS, DIRECTIONS
from .strategies import file_format, mergeable_format, prepare_destination, reads_json, write_disposition
from .windows import Window, ranges_by_company


def make_table_hints(
    table: str,
    columns: Iterable[Column],
    capabilities: DestinationCapabilitiesContext | None,
    table_format: TTableFormat | None = None,
) -> TResourceHints:
    """The dlt hints of a table: how it is replaced, its keys, its columns and its parent.

    Args:
        table: Name of the table.
        columns: Its columns as far as they are known.
        capabilities: What the destination can do; decides how the table is written.
        table_format: Such as `delta` or `iceberg`; by default that of the destination.
    """
    prepare_destination(capabilities)
    references: Sequence[TTableReference] = []
    if table in CHILD_TABLES.values():
        key = list(PRIMARY_KEYS[MESSAGES])
        references = [{"referenced_table": MESSAGES, "columns": key, "referenced_columns": key}]
    stores_json = reads_json(capabilities)
    hints = make_hints(
        table_name=table,
        write_disposition=write_disposition(table, capabilities),
        primary_key=list(PRIMARY_KEYS[table]),
        columns={column.name: _column_hint(column, stores_json) for column in columns},
        references=references,
        file_format=file_format(table, capabilities),
        table_format=table_format or mergeable_format(capabilities),
    )
    return with_layout(hints, table)


def _column_hint(column: Column, stores_json: bool) -> TColumnSchema:
    hint: TColumnSchema = {
        "name": column.name,
        "data_type": column.data_type,
        "nullable": column.nullable,
        "description": column.description,
    }
    if column.member is not None:
        hint[MEMBER_HINT] = column.member  # type: ignore[literal-required]  # dlt keeps every hint that begins with x-
    if column.data_type == "json" and not stores_json:
        hint["data_type"] = "text"
        hint[TYPE_HINT] = column.data_type  # type: ignore[literal-required]
    return hint


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
        authors: Sequence[str | None] = sorted(agent_authors.get(company_id, ())) if selection.agent_ids else (None,)
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
