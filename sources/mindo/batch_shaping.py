"""One batch of pages to Arrow tables: lines are read, objects flattened and lists unnested by DuckDB.

Declared members get typed columns; everything else is read as JSON and given a column by `discovery`. Text stays text:
nothing is inferred from what a value looks like.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from .batch_reading import BatchPage, Layout, read_batch
from .column_rules import ColumnRules
from .columns import CHILD_TABLES, LISTS, MESSAGES, PRIMARY_KEYS
from .coverage import Forgotten
from .discovery import Member, TableColumns
from .member_columns import MemberColumns
from .replacing import arrow_schema
from .row_hashes import HASH_PART, digest, is_hmac, item_content, list_digest, row_content, set_hmac_pads
from .selection import Selection
from .sql import identifier
from .stored import LEFT_OUT
from .suppression import Suppression

_LIFTED = ("company_id", "message_id", "conversation_id", "occurred_at", "channel", "direction")


@dataclass(frozen=True)
class ShapedBatch:
    """Some pages of a group of windows.

    Attributes:
        tables: Arrow tables by name; child tables of left-out lists are missing.
        counts: For each of these tables, how many rows belong to which window of the group, by its position.
    """

    tables: dict[str, pa.Table]
    counts: dict[str, dict[int, int]]


@dataclass(frozen=True)
class _List:
    """A list of the messages of a batch.

    Attributes:
        members: Those of its items.
        relation: Its items, a row for each, as `item`.
        columns: The columns that hold their members, by name, each with the SQL of its values.
    """

    members: Sequence[Member]
    relation: str
    columns: Mapping[str, str]


class BatchShaper:
    """Shapes batches on a DuckDB connection of its own. Several may share columns, each on a thread of its own.

    Args:
        connection: The connection.
        columns: What is known of each table's columns; shared, and changed in turn only.
        selection: What was asked for.
        load_id: dlt's id of the load.
        rules: What is kept of which columns.
        forgotten: Whose messages are left out.

    Attributes:
        suppression: Leaves the messages of forgotten people out.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        columns: Mapping[str, TableColumns],
        selection: Selection,
        load_id: str,
        rules: ColumnRules,
        forgotten: Forgotten,
    ) -> None:
        self._connection = connection
        set_hmac_pads(connection, rules)
        self._columns = columns
        self._member_columns = MemberColumns(connection, columns, rules)
        self._rules = rules
        self.suppression = Suppression(connection, forgotten)
        self._lists = [name for name in LISTS if name in selection.include]
        self._reads_trace = "trace_id" in selection.include
        self._load_id = load_id

    def close(self) -> None:
        """Gives the connection back."""
        self._connection.close()

    def shape(
        self, pages: Sequence[BatchPage], stored_rows: pa.Table | None, turn: AbstractContextManager[None]
    ) -> ShapedBatch:
        """Shapes some pages.

        Args:
            pages: The pages.
            stored_rows: For a run that leaves an include out: `company_id`, `message_id`, `trace_id` and `_row_hash` as the
                destination has them.
            turn: Held while columns are decided on: the first values of a member give its column a type, so batches do that
                in their order.
        """
        # `stored` is always there, so that one statement serves runs with and without left-out includes
        self._connection.register("stored", LEFT_OUT.empty_table() if stored_rows is None else stored_rows)
        layout = read_batch(self._connection, pages)
        self.suppression.apply(layout.author("id"), layout.author("type"))
        counts = self._counts()
        with turn:
            members = self._member_columns.of_objects(layout)
            columns = self._member_columns.decide(MESSAGES, "batch", [*members, self._trace])
            lists = {name: self._list(name, layout) for name in self._lists}
        tables = {MESSAGES: self._messages(columns, lists)}
        tables |= {CHILD_TABLES[name]: self._children(name, part) for name, part in lists.items()}
        self._connection.execute("DROP TABLE batch")
        self._connection.unregister("stored")
        return ShapedBatch(tables, counts)

    def _counts(self) -> dict[str, dict[int, int]]:
        sizes = ["count(*)", *(f"sum(len({name}))" for name in self._lists)]
        rows = self._connection.execute(f"SELECT window_no, {', '.join(sizes)} FROM batch GROUP BY ALL").fetchall()
        tables = [MESSAGES, *(CHILD_TABLES[name] for name in self._lists)]
        return {table: {row[0]: int(row[place] or 0) for row in rows} for place, table in enumerate(tables, start=1)}

    @property
    def _trace(self) -> Member:
        holder = "batch" if self._reads_trace else "stored"
        return Member("trace_id", None, f"{holder}.trace_id", "text", self._rules.of(MESSAGES, "trace_id"))

    @property
    def _messages_relation(self) -> str:
        reads_everything = self._reads_trace and len(self._lists) == len(LISTS)
        return "batch" if reads_everything else "batch LEFT JOIN stored USING (company_id, message_id)"

    def _messages(self, columns: dict[str, str], lists: Mapping[str, _List]) -> pa.Table:
        trace = self._trace
        if trace.rule == "hmac" and not self._reads_trace:
            columns["trace_id"] = f"CASE WHEN {is_hmac(trace.text)} THEN {trace.text} ELSE {columns['trace_id']} END"
        selected = {**{name: f"batch.{name}" for name in _LIFTED}, **columns}
        # exported_at differs in every export; a left-out list keeps the part of the hash that it had, dashes if it had none
        parts = [digest(row_content(MESSAGES, selected, but="metadata__exported_at"))]
        for position, name in enumerate(LISTS, start=1):
            kept = f"rpad(coalesce(substr(stored._row_hash, {position * HASH_PART + 1}, {HASH_PART}), ''), {HASH_PART}, '-')"
            parts.append(list_digest(name, lists[name].members) if name in lists else kept)
        selected["_row_hash"] = " || ".join(parts)
        selected["_dlt_id"] = "batch.message_key"
        selected["_dlt_load_id"] = "$load_id"
        return self._arrow(MESSAGES, self._messages_relation, selected)

    def _list(self, name: str, layout: Layout) -> _List:
        lifted = {**{column: column for column in _LIFTED}, "author__id": layout.author("id")}
        own = ", ".join(sql for column, sql in lifted.items() if column not in PRIMARY_KEYS[MESSAGES])
        relation = (
            f"(SELECT message_key, {', '.join(f'{sql} AS {column}' for column, sql in lifted.items())},"
            f" {digest(f'json_array({own})')} AS own_digest,"
            f" generate_subscripts({name}, 1) - 1 AS list_idx, unnest({name}) AS item FROM batch WHERE len({name}) > 0)"
        )
        members = self._member_columns.of_items(name, layout)
        columns = self._member_columns.decide(CHILD_TABLES[name], relation, members)
        return _List(members, relation, {**{column: column for column in lifted}, **columns})

    def _children(self, name: str, part: _List) -> pa.Table:
        selected = {
            "_dlt_list_idx": "list_idx",
            **part.columns,
            "_row_hash": digest(f"own_digest || {item_content(name, part.members)}"),
            "_dlt_id": "message_key || '-' || list_idx",
            "_dlt_load_id": "$load_id",
            "_dlt_parent_id": "message_key",
        }
        return self._arrow(CHILD_TABLES[name], part.relation, selected)

    def _arrow(self, table: str, relation: str, selected: Mapping[str, str]) -> pa.Table:
        columns = [column for column in self._columns[table].all if column.name in selected]
        sql = ", ".join(f"{selected[column.name]} AS {identifier(column.name)}" for column in columns)
        result = self._connection.execute(f"SELECT {sql} FROM {relation}", {"load_id": self._load_id}).to_arrow_table()
        schema = arrow_schema(columns)
        # the cast to a UTC timestamp relabels: DuckDB would take the ICU extension's slow path for it
        return pa.Table.from_arrays(
            [result.column(i).cast(schema.field(i).type) for i in range(len(columns))], schema=schema
        )
