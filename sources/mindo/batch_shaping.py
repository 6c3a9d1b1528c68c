"""One batch of pages to Arrow tables: DuckDB reads the lines, flattens objects and unnests lists.

Declared members are read into typed columns; everything else is read as JSON and given a column by `discovery`. Text stays
text: nothing is inferred from what a value looks like.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import Any

import duckdb
import pyarrow as pa

from .column_rules import ColumnRules
from .columns import (
    CHILD_TABLES,
    DECLARED,
    LISTS,
    MESSAGE,
    MESSAGES,
    OBJECTS,
    PRIMARY_KEYS,
    TOP_MEMBERS,
    VALUE,
    DataType,
    Site,
)
from .coverage import Forgotten
from .discovery import (
    Member,
    TableColumns,
    choose_type,
    fits_sql,
    is_of,
    kinds_sql,
    plain_text,
    takes_any,
    value_sql,
    variant_name,
)
from .engine import LINES, line_limit
from .exceptions import SpoolError
from .members import Members
from .pages import Page, rewrite_lines
from .replacing import arrow_schema
from .selection import Selection
from .sql import WHOLE, extract, identifier, json_text, literal, pointer, utc_timestamp
from .stored import LEFT_OUT
from .suppression import Suppression

HASH_PART = 12
"""Hexadecimal digits of each part of `_row_hash`: the message itself, then one part for each list. A child row has one part."""

_NO_ITEMS = "0" * HASH_PART
"""The part of a list that is known to be empty; that of one that was never read has dashes."""

_ID_DIGITS = 20
"""Hexadecimal digits of `_dlt_id`: 80 bits, as many as dlt's own ids have."""

_LIFTED = ("company_id", "message_id", "conversation_id", "occurred_at", "channel", "direction")


@dataclass(frozen=True)
class BatchPage:
    """A page, and the window of the group that it belongs to."""

    window_no: int
    company_id: int
    page: Page


@dataclass(frozen=True)
class ShapedBatch:
    """Some pages of a group of windows.

    Attributes:
        tables: Arrow tables by name; child tables of left-out lists are missing.
        counts: For each of these tables, how many rows belong to which window of the group, by its position.
    """

    tables: dict[str, pa.Table]
    counts: dict[str, dict[int, int]]


class BatchShaper:
    """Shapes batches on a DuckDB connection of its own. Several may share columns, each on a thread of its own.

    Args:
        connection: The connection.
        columns: What is known of each table's columns; shared, and changed under `lock` only.
        lock: Taken while columns are decided on.
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
        lock: RLock,
        selection: Selection,
        load_id: str,
        rules: ColumnRules,
        forgotten: Forgotten,
    ) -> None:
        self._connection = connection
        for name, pad in zip((_INNER_PAD, _OUTER_PAD), rules.hmac_pads(), strict=True):
            # a variable keeps the key out of every statement, and so out of every error
            connection.execute(f"SET VARIABLE {name} = ?", [pad])
        self._columns = columns
        self._lock = lock
        self._rules = rules
        self.suppression = Suppression(connection, forgotten)
        self._lists = [name for name in LISTS if name in selection.include]
        self._reads_trace = "trace_id" in selection.include
        self._load_id = load_id

    def close(self) -> None:
        """Gives the connection back."""
        self._connection.close()

    def shape(self, pages: Sequence[BatchPage], stored_rows: pa.Table | None) -> ShapedBatch:
        """Shapes some pages.

        Args:
            pages: The pages.
            stored_rows: As in `Group`.
        """
        self._connection.register("sources", _sources_table(pages))
        # `stored` is always there, so that one statement serves runs with and without left-out includes
        self._connection.register("stored", LEFT_OUT.empty_table() if stored_rows is None else stored_rows)
        batch = self._read_batch(pages)
        self.suppression.apply(batch.author("id"), batch.author("type"))
        counts = self._counts()
        with self._lock:
            members = self._object_members(batch)
            items = {name: self._item_members(name, batch) for name in self._lists}
        tables = {MESSAGES: self._messages(members, items)}
        tables |= {CHILD_TABLES[name]: self._children(name, members, batch) for name, members in items.items()}
        self._connection.execute("DROP TABLE batch")
        self._connection.unregister("sources")
        self._connection.unregister("stored")
        return ShapedBatch(tables, counts)

    def _counts(self) -> dict[str, dict[int, int]]:
        sizes = ["count(*)", *(f"sum(len({name}))" for name in self._lists)]
        rows = self._connection.execute(f"SELECT window_no, {', '.join(sizes)} FROM batch GROUP BY ALL").fetchall()
        tables = [MESSAGES, *(CHILD_TABLES[name] for name in self._lists)]
        return {table: {row[0]: int(row[place] or 0) for row in rows} for place, table in enumerate(tables, start=1)}

    def _read_batch(self, pages: Sequence[BatchPage]) -> _Batch:
        """Reads pages into the table `batch`.

        Raises:
            SpoolError: If it is not what was proven.
        """
        paths = [source.page.path for source in pages]
        longest = max(source.page.longest_line for source in pages)
        layout = _Batch.of([source.page.members for source in pages])
        try:
            self._create_batch(_source(paths, longest), layout)
        except duckdb.Error:
            # names given twice, or names that differ in letter case only
            longest = max(longest, *(rewrite_lines(path) for path in paths))
            layout = replace(layout, typed=frozenset(), by_line=True)
            self._create_batch(_source(paths, longest), layout)
        self._connection.register("proven", _proven_ids(pages))
        digest = "SELECT count(*) || ' ' || bit_xor(hash(message_id)) FROM"
        row = self._connection.execute(f"SELECT ({digest} batch) = ({digest} proven)").fetchone()
        self._connection.unregister("proven")
        if row != (True,):
            raise SpoolError(
                "spool_dir: pages there are no longer what they were when they were proven; use a folder that nothing else"
                " writes to, and run again."
            )
        return layout

    def _create_batch(self, source: dict[str, Any], batch: _Batch) -> None:
        """Reads pages by columns; or, in general, line by line as JSON, which takes whatever a line holds."""
        top = {_top(number): name for number, name in enumerate(batch.unknown[MESSAGE.name])}
        if batch.by_line:
            relation, columns = "read_ndjson_objects($paths, maximum_object_size = $line_limit, filename = true)", {}
            texts = {name: json_text("json", pointer(name)) for name in TOP_MEMBERS}
            parts = {name: extract("json", name) for name in OBJECTS}
            lists = {name: extract("json", name) for name in LISTS}
            parts |= {alias: extract("json", name) for alias, name in top.items()}
        else:
            relation = f"read_ndjson($paths, {LINES}, columns = $columns, filename = true)"
            columns = {
                **dict.fromkeys(TOP_MEMBERS, "VARCHAR"),
                **{name: batch.column_type(name, site) for name, site in (OBJECTS | LISTS).items()},
                **dict.fromkeys(batch.unknown[MESSAGE.name], "JSON"),
            }
            texts = {name: f"lines.{name}" for name in TOP_MEMBERS}
            parts = {name: f"lines.{name}" for name in OBJECTS}
            lists = {name: f"lines.{name}" for name in LISTS}
            parts |= {alias: f"lines.{identifier(name)}" for alias, name in top.items()}
        key = f"substr(md5(company_id || ':' || {texts['message_id']}), 1, {_ID_DIGITS})"
        texts["occurred_at"] = utc_timestamp(texts["occurred_at"])
        for name, items in lists.items():
            if name not in batch.typed:
                # a single item where a list should be is read as a list of one
                items = (
                    f"CASE coalesce(json_type({items}), 'NULL') WHEN 'ARRAY' THEN json_extract({items}, '$[*]')"
                    f" WHEN 'NULL' THEN [] ELSE [{items}] END"
                )
            parts[name] = items
        selected = ", ".join(f"{sql} AS {name}" for name, sql in (texts | parts).items())
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE batch AS SELECT window_no, company_id, {key} AS message_key, {selected}"
            f" FROM {relation} AS lines JOIN sources ON sources.path = lines.filename",
            source | ({"columns": columns} if columns else {}),
        )

    def _object_members(self, batch: _Batch) -> list[Member]:
        """The members that become columns of `messages`."""
        members = []
        known = self._columns[MESSAGES]
        for name, site in OBJECTS.items():
            members += self._site_members(MESSAGES, site, batch.names(name, site), name, name in batch.typed)
            if name not in batch.typed:
                bare = f"CASE WHEN json_type({name}) <> 'OBJECT' THEN {name} END"
                column, rule = known.name_of(MESSAGE, name), known.rule_of(MESSAGE, name)
                members.append(Member(column, bare, f"({bare} ->> '$')", site.bare, rule))
        return members + [
            self._member(MESSAGES, MESSAGE, name, _top(number))
            for number, name in enumerate(batch.unknown[MESSAGE.name])
        ]

    def _item_members(self, name: str, batch: _Batch) -> list[Member]:
        """The members that become columns of a child table; they stand in `item`."""
        table, site = CHILD_TABLES[name], LISTS[name]
        names = batch.names(name, site)
        members = dict(zip(names, self._site_members(table, site, names, "item", name in batch.typed), strict=True))
        known = self._columns[table]
        value_rule = known.rule_of(site, VALUE)
        # an item of another shape may hold what a rule keeps out
        takes_bare = value_rule is not None or not self._rules.apply_to(table)
        if name not in batch.typed and takes_bare:
            bare = f"CASE WHEN json_type(item) = 'OBJECT' THEN {extract('item', VALUE)} ELSE item END"
            data_type = site.members.get(VALUE, site.bare)
            members[VALUE] = Member(known.name_of(site, VALUE), bare, json_text(bare), data_type, value_rule)
        return list(members.values())

    def _site_members(self, table: str, site: Site, names: Sequence[str], holder: str, is_typed: bool) -> list[Member]:
        """The members of what stands in `holder`: a struct if typed, else JSON."""
        known = self._columns[table]
        members = []
        for name in names:
            data_type = site.members.get(name, site.others)
            json: str | None = f"struct_extract({holder}, {literal(name)})" if is_typed else extract(holder, name)
            if data_type == "text":
                text = str(json) if is_typed else json_text(holder, pointer(name))
                json = None if is_typed else json
                members.append(Member(known.name_of(site, name), json, text, data_type, known.rule_of(site, name)))
            else:
                members.append(self._member(table, site, name, str(json)))
        return members

    def _member(self, table: str, site: Site, name: str, json: str) -> Member:
        """A member whose value is `json`."""
        known = self._columns[table]
        data_type = site.members.get(name, site.others)
        return Member(known.name_of(site, name), json, f"({json} ->> {WHOLE})", data_type, known.rule_of(site, name))

    def _member_columns(self, table: str, relation: str, members: Sequence[Member]) -> dict[str, str]:
        """The columns that hold the members of a batch: name to SQL."""
        with self._lock:
            return self._decide_columns(table, relation, members)

    def _decide_columns(self, table: str, relation: str, members: Sequence[Member]) -> dict[str, str]:
        known = self._columns[table]
        declared = {column.name for column in DECLARED[table]}
        columns = self._ruled_columns(table, members)
        members = [member for member in members if member.rule is None]
        types = {member.column: known.data_type(member.column) or member.data_type for member in members}
        open_members = [m for m in members if not (takes_any(types[m.column]) and m.column in declared)]
        kinds = self._kinds_where_all_fit(relation, open_members, types)
        members = [plain_text(m, types[m.column]) if kinds.get(m.column) else m for m in members]
        kinds |= self._kinds(relation, [m for m in open_members if m.column not in kinds], types)
        for member in members:
            found = kinds.get(member.column)
            data_type = types[member.column] or choose_type(found or ())
            if data_type is None or (found == [] and member.column not in declared):
                continue
            variants = [] if takes_any(data_type) else [kind for kind in found or () if kind != data_type]
            known.add(member.column, data_type)
            columns[member.column] = value_sql(member, data_type, data_type, bool(variants))
            for variant in variants:
                name = variant_name(member.column, variant)
                known.add(name, variant, is_variant=True)
                columns[name] = value_sql(member, data_type, variant, shares=True)
        return columns

    def _ruled_columns(self, table: str, members: Sequence[Member]) -> dict[str, str]:
        """The columns of the members that have a rule: name to SQL."""
        known = self._columns[table]
        columns = {}
        for member in members:
            data_type = known.data_type(member.column)
            if member.rule == "null":
                known.add(member.column, data_type or member.data_type or "text")
                columns[member.column] = _EMPTY
            elif member.rule == "hmac":
                # a column that earlier loads made for another type can't hold it
                is_variant = data_type not in (None, "text")
                name = variant_name(member.column, "text") if is_variant else member.column
                known.add(name, "text", is_variant)
                columns[name] = _hmac(member.text)
        return columns

    def _kinds_where_all_fit(
        self, relation: str, members: Sequence[Member], types: Mapping[str, DataType | None]
    ) -> dict[str, list[DataType]]:
        """The kinds of the members that have no values, or only such as obviously fit the type of their column."""
        known = [(member, data_type) for member in members if (data_type := types[member.column])]
        if not known:
            return {}
        facts = [f"count({m.value}), coalesce(bool_and({fits_sql(m, data_type)}), true)" for m, data_type in known]
        row = self._connection.execute(f"SELECT {', '.join(facts)} FROM {relation}").fetchone()
        assert row is not None
        return {
            member.column: [data_type] if count else []
            for (member, data_type), count, all_fit in zip(known, row[::2], row[1::2], strict=True)
            if all_fit
        }

    def _kinds(
        self, relation: str, members: Sequence[Member], types: Mapping[str, DataType | None]
    ) -> dict[str, list[DataType]]:
        if not members:
            return {}
        lists = [
            f"list_sort(list(DISTINCT {kinds_sql(m, types[m.column])}) FILTER ({m.text} IS NOT NULL))" for m in members
        ]
        row = self._connection.execute(f"SELECT {', '.join(lists)} FROM {relation}").fetchone()
        assert row is not None
        return {member.column: kinds or [] for member, kinds in zip(members, row, strict=True)}

    def _messages(self, members: Sequence[Member], items: Mapping[str, Sequence[Member]]) -> pa.Table:
        holder, rule = "batch" if self._reads_trace else "stored", self._rules.of(MESSAGES, "trace_id")
        trace = Member("trace_id", None, f"{holder}.trace_id", "text", rule)
        columns = self._member_columns(MESSAGES, "batch", [*members, trace])
        if rule == "hmac" and not self._reads_trace:
            columns["trace_id"] = f"CASE WHEN {_is_hmac(trace.text)} THEN {trace.text} ELSE {columns['trace_id']} END"
        selected = {**{name: f"batch.{name}" for name in _LIFTED}, **columns}
        # exported_at differs in every export; a left-out list keeps the part of the hash that it had, dashes if it had none
        parts = [_digest(self._content(MESSAGES, selected, but="metadata__exported_at"))]
        for position, name in enumerate(LISTS, start=1):
            kept = f"rpad(coalesce(substr(stored._row_hash, {position * HASH_PART + 1}, {HASH_PART}), ''), {HASH_PART}, '-')"
            parts.append(self._list_digest(name, items[name]) if name in items else kept)
        selected["_row_hash"] = " || ".join(parts)
        selected["_dlt_id"] = "batch.message_key"
        selected["_dlt_load_id"] = "$load_id"
        relation = "batch" if self._reads_everything else "batch LEFT JOIN stored USING (company_id, message_id)"
        return self._arrow(MESSAGES, relation, selected)

    @property
    def _reads_everything(self) -> bool:
        return self._reads_trace and len(self._lists) == len(LISTS)

    def _children(self, name: str, members: Sequence[Member], batch: _Batch) -> pa.Table:
        table = CHILD_TABLES[name]
        lifted = {**{column: column for column in _LIFTED}, "author__id": batch.author("id")}
        own = ", ".join(sql for column, sql in lifted.items() if column not in PRIMARY_KEYS[MESSAGES])
        items = (
            f"(SELECT message_key, {', '.join(f'{sql} AS {column}' for column, sql in lifted.items())},"
            f" {_digest(f'json_array({own})')} AS own_digest,"
            f" generate_subscripts({name}, 1) - 1 AS list_idx, unnest({name}) AS item FROM batch WHERE len({name}) > 0)"
        )
        selected = {
            **{column: column for column in lifted},
            "_dlt_list_idx": "list_idx",
            **self._member_columns(table, items, members),
            "_row_hash": _digest(f"own_digest || {self._item_content(name, members)}"),
            "_dlt_id": "message_key || '-' || list_idx",
            "_dlt_load_id": "$load_id",
            "_dlt_parent_id": "message_key",
        }
        return self._arrow(table, items, selected)

    def _list_digest(self, name: str, members: Sequence[Member]) -> str:
        # no line of JSON has a line end in it, and each item adds at least one
        contents = (
            f"array_to_string(list_transform({name}, lambda item: chr(10) || {self._item_content(name, members)}), '')"
        )
        return f"CASE WHEN len({name}) > 0 THEN {_digest(contents)} ELSE '{_NO_ITEMS}' END"

    @staticmethod
    def _item_content(name: str, members: Sequence[Member]) -> str:
        """SQL of one text that is equal just for equal items of a list, however they were read.

        Made of the members, because the item itself may hold what a rule keeps out of the warehouse, which must not be guessed
        from a hash either. A member that the item doesn't have adds nothing to it.
        """
        declared = {LISTS[name].column_name(member) for member in LISTS[name].members}
        parts = []
        fixed = [_kept_content(member) for member in members if member.column in declared]
        if fixed:
            parts.append(f"json_array({', '.join(fixed)})")
        for member in members:
            if member.column not in declared and member.rule in (None, "hmac"):
                parts.append(f"{literal(json.dumps(member.column))} || to_json({_kept_content(member)})")
        return f"concat_ws(' ', '', {', '.join(parts)})" if parts else "''"

    @staticmethod
    def _content(table: str, selected: Mapping[str, str], but: str | None = None) -> str:
        """SQL of one text that is equal just for equal rows of the same key, whatever is in them.

        A column that some later load discovers must not change the text of rows that have no value in it.
        """
        key = PRIMARY_KEYS[table]
        selected = {n: sql for n, sql in selected.items() if n not in key and (but is None or not is_of(but, n))}
        declared = {column.name for column in DECLARED[table]}
        fixed = [sql for name, sql in selected.items() if name in declared]
        others = [f"{literal(name)} || to_json({sql})" for name, sql in selected.items() if name not in declared]
        # JSON frames its values, so no two different rows look alike
        return f"concat_ws(' ', json_array({', '.join(fixed)}){''.join(f', {sql}' for sql in others)})"

    def _arrow(self, table: str, relation: str, selected: Mapping[str, str]) -> pa.Table:
        columns = [column for column in self._columns[table].all if column.name in selected]
        sql = ", ".join(f"{selected[column.name]} AS {identifier(column.name)}" for column in columns)
        result = self._connection.execute(f"SELECT {sql} FROM {relation}", {"load_id": self._load_id}).to_arrow_table()
        schema = arrow_schema(columns)
        # the cast to a UTC timestamp relabels: DuckDB would take the ICU extension's slow path for it
        return pa.Table.from_arrays(
            [result.column(i).cast(schema.field(i).type) for i in range(len(columns))], schema=schema
        )


def _source(paths: Sequence[Path], longest_line: int) -> dict[str, Any]:
    return {"paths": [str(path) for path in paths], "line_limit": line_limit(longest_line)}


def _proven_ids(pages: Sequence[BatchPage]) -> pa.Table:
    return pa.table({"message_id": pa.chunked_array([source.page.ids for source in pages], pa.string())})


def _sources_table(pages: Sequence[BatchPage]) -> pa.Table:
    return pa.table(
        {
            "path": pa.array([str(source.page.path) for source in pages], pa.string()),
            "window_no": pa.array([source.window_no for source in pages], pa.int64()),
            "company_id": pa.array([source.company_id for source in pages], pa.int64()),
        }
    )


@dataclass(frozen=True)
class _Batch:
    """How the messages of a batch are read.

    Attributes:
        unknown: Members nobody declared, by place, in a stable order.
        typed: Objects and lists that are read as structs; the others are JSON.
        by_line: Whether every line is read as JSON as a whole.
    """

    unknown: Mapping[str, Sequence[str]]
    typed: frozenset[str]
    by_line: bool = False

    @classmethod
    def of(cls, pages: Sequence[Members]) -> _Batch:
        """The quickest way to read these pages."""
        sites = {MESSAGE.name: MESSAGE, **OBJECTS, **LISTS}
        unknown = {}
        for place, site in sites.items():
            found = frozenset[str]().union(*(page.names.get(place, ()) for page in pages))
            unknown[place] = sorted(found - site.members.keys() - set(site.lifted))
        irregular = frozenset[str]().union(*(page.irregular for page in pages))
        has_members = {place for place, site in sites.items() if place and (site.members or unknown[place])}
        return cls(unknown, frozenset(has_members - irregular))

    def names(self, place: str, site: Site) -> list[str]:
        """The members of a place."""
        return [*site.members, *self.unknown[place]]

    def author(self, member: str) -> str:
        """SQL of a member of the author, as text."""
        return f"author.{member}" if "author" in self.typed else json_text("author", pointer(member))

    def column_type(self, place: str, site: Site) -> str:
        """The type that the JSON reader is told for an object or a list."""
        if place not in self.typed:
            return "JSON"
        kinds = {name: site.members.get(name, site.others) for name in self.names(place, site)}
        fields = (f"{identifier(name)} {'VARCHAR' if kind == 'text' else 'JSON'}" for name, kind in kinds.items())
        return f"STRUCT({', '.join(fields)}){'[]' if place in LISTS else ''}"


def _top(number: int) -> str:
    """The column of the batch that holds a member of the message itself that nobody declared."""
    return f"top_{number}"


def _kept_content(member: Member) -> str:
    """SQL of what is kept of a member, the same whatever the type of its column is."""
    if member.rule is None:
        return f"nullif({member.json}, 'null')" if member.json and member.data_type != "text" else member.text
    return _hmac(member.text) if member.rule == "hmac" else "NULL"


_INNER_PAD, _OUTER_PAD = "mindo_hmac_inner_pad", "mindo_hmac_outer_pad"
_EMPTY = "CAST(NULL AS VARCHAR)"


def _hmac(text: str) -> str:
    """SQL of the HMAC-SHA256 of a text in UTF-8, as hexadecimal digits (RFC 2104; DuckDB has only the plain hash)."""
    inner = f"unhex(sha256(getvariable('{_INNER_PAD}') || encode({text})))"
    return f"sha256(getvariable('{_OUTER_PAD}') || {inner})"


def _is_hmac(text: str) -> str:
    """SQL of whether a text looks as `_hmac` makes it."""
    return f"coalesce(regexp_full_match({text}, '[0-9a-f]{{64}}'), false)"


def _digest(sql: str) -> str:
    return f"substr(md5({sql}), 1, {HASH_PART})"
