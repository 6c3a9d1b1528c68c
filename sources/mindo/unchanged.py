"""Leaves messages out of a load that are in the destination as they are, and puts keepers in their place.

A keeper is a marker with the id of a message and an empty range: it holds the rows of its message back when the window is
replaced. So a destination that deletes a window and inserts it again writes, and says that it wrote, only what changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from .columns import MESSAGES
from .replacing import marker_table

STORED: Final = pa.schema([("_dlt_id", pa.string()), ("_row_hash", pa.string())])
"""What has to be known of the messages that are stored: the hash of a message covers its lists."""


def part_unchanged(tables: Mapping[str, pa.Table], stored: pa.Table) -> tuple[dict[str, pa.Table], pa.Table]:
    """Divides what was read.

    Args:
        tables: Rows of messages and of their lists.
        stored: What the destination holds in the same windows, as `STORED`.

    Returns:
        The rows of the messages that are new or changed, and the rows in `messages` of the others.
    """
    messages = tables[MESSAGES]
    is_stored = pc.is_in(_versions(messages), value_set=_versions(stored).combine_chunks())
    unchanged = messages.filter(is_stored)
    ids = unchanged.column("_dlt_id").combine_chunks()
    others = {
        table: rows.filter(pc.invert(pc.is_in(rows.column("_dlt_id" if table == MESSAGES else "_dlt_parent_id"), ids)))
        for table, rows in tables.items()
    }
    return others, unchanged


def keepers(table: str, messages: pa.Table) -> pa.Table:
    """Keepers for a table, one for each row of `messages`."""
    message = "_dlt_id" if table == MESSAGES else "_dlt_parent_id"
    rows = messages.select(["company_id", "message_id", "occurred_at", "_dlt_load_id", "_dlt_id"])
    rows = rows.rename_columns([*rows.column_names[:-1], message]).to_pylist()
    load_id = rows[0]["_dlt_load_id"] if rows else ""
    return marker_table(table, [row | {"_window_end": row["occurred_at"]} for row in rows], load_id)


def _versions(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows.column("_dlt_id"), rows.column("_row_hash"), " ")
