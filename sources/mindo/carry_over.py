"""What a run that leaves an include out must not lose: the parts of stored messages that it did not ask for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.destination.exceptions import SqlClientNotAvailable
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from .columns import MESSAGES
from .shaping import NOTHING_STORED
from .windows import Window


def stored_rows(windows: Iterable[Window]) -> pa.Table:
    """What the destination of the running pipeline holds of the messages of some windows.

    dlt's merge writes every column of a changed row, so a column that was not asked for has to be written as it was.

    Returns:
        An Arrow table of `company_id`, `message_id`, `trace_id` and `_row_hash`; empty where there is no such table yet, or
        no SQL to ask with.
    """
    pipeline = dlt.current.pipeline()
    rows: list[tuple[Any, ...]] = []
    try:
        with pipeline.sql_client() as client:
            query = (
                f"SELECT {', '.join(NOTHING_STORED.column_names)} FROM {client.make_qualified_table_name(MESSAGES)}"
                " WHERE company_id = %s AND occurred_at >= %s AND occurred_at < %s"
            )
            for window in windows:
                with client.execute_query(query, window.company_id, window.start, window.end) as cursor:
                    rows += cursor.fetchall()
    except (DatabaseUndefinedRelation, SqlClientNotAvailable):
        return NOTHING_STORED
    return pa.Table.from_arrays(
        [pa.array([row[i] for row in rows], field.type) for i, field in enumerate(NOTHING_STORED.schema)],
        schema=NOTHING_STORED.schema,
    )
