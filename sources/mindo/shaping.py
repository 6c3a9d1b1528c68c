"""From proven pages to Arrow tables: DuckDB reads the lines, flattens objects and unnests lists.

Declared members are read into typed columns; everything else is read as JSON and given a column by `discovery`. Text stays
text: nothing is inferred from what a value looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
from dlt.common.schema.typing import TColumnSchema

from .column_rules import ColumnRules
from .columns import CHILD_TABLES, DECLARED, LISTS, MESSAGE, MESSAGES, OBJECTS, TOP_MEMBERS, VALUE, DataType, Site
from .coverage import Forgotten
from .discovery import (
    Member,
    SchemaChange,
    TableColumns,
    choose_type,
    is_of,
    kinds_sql,
    takes_any,
    value_sql,
    variant_name,
)
from .engine import LINES, line_limit
from .pages import Page
from .reader import WindowRead, message_ids
from .replacing import arrow_schema
from .selection import Selection
from .sql import WHOLE, extract, identifier, literal, pointer, utc_timestamp
from .stored import LEFT_OUT
from .suppression import Suppression

BATCH_ROWS = 30_000
_BATCH_BYTES = 32 * 1024 * 1024

HASH_PART = 12
"""Hexadecimal digits of each part of `_row_hash`: the message itself, then one part for each list."""

_ID_DIGITS = 20
"""Hexadecimal digits of `_dlt_id`: 80 bits, as many as dlt's own ids have."""

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


class Shaper:
    """Shapes the windows of one load. The columns of a table only ever grow while it lives.

    Args:
        engine: The DuckDB of the reader.
        selection: What was asked for.
        stored: dlt's column schemas of earlier loads, by table.
        normalize: dlt's naming convention for one identifier.
        load_id: dlt's id of the load.
        rules: What is kept of which columns.
        forgotten: Whose messages are left out.

    Attributes:
        columns: What is known of each table's columns.
        suppression: Leaves the messages of forgotten people out.
    """

    def __init__(
        self,
        engine: duckdb.DuckDBPyConnection,
        selection: Selection,
        stored: Mapping[str, Mapping[str, TColumnSchema]],
        normalize: Callable[[str], str],
        load_id: str,
        rules: ColumnRules,
        forgotten: Forgotten,
    ) -> None:
        self._connection = engine.cursor()
        for name, pad in zip((_INNER_PAD, _OUTER_PAD), rules.hmac_pads(), strict=True):
            # a variable keeps the key out of every statement, and so out of every error
            self._connection.execute(f"SET VARIABLE {name} = ?", [pad])
        self._rules = rules
        self.suppression = Suppression(self._connection, forgotten)
        self._connection.execute("CREATE TEMP TABLE claimed (company_id BIGINT, message_id VARCHAR)")
        self._lists = [name for name in LISTS if name in selection.include]
        self._reads_trace = "trace_id" in selection.include
        self._load_id = load_id
        self.columns = {
            table: TableColumns(table, stored.get(table, {}), normalize, rules)
            for table in (MESSAGES, *CHILD_TABLES.values())
        }

    @property
    def changes(self) -> list[SchemaChange]:
        """Columns that this load adds."""
        return [change for columns in self.columns.values() for change in columns.changes]

    def close(self) -> None:
        """Gives the connection back."""
        self._connection.close()

    def claim(self, reads: Sequence[WindowRead]) -> set[int]:
        """Notes the ids of windows as part of the load.

        Returns:
            Positions of windows that hold an id which an earlier window of the load has as well: its message moved from
            one window to the other between two requests. dlt's merge does not deduplicate what it loads at once, so such
            a window has to wait for the next load. Its ids are not noted.
        """
        self._connection.register("claims", message_ids(reads))
        late = self._connection.execute(
            "SELECT DISTINCT window_no FROM claims SEMI JOIN claimed USING (company_id, message_id) UNION"
            " SELECT DISTINCT c.window_no FROM claims c JOIN (SELECT company_id, message_id, min(window_no) AS first"
            " FROM claims GROUP BY ALL HAVING count(*) > 1) USING (company_id, message_id) WHERE c.window_no > first"
        ).fetchall()
        postponed = {number for (number,) in late}
        self._connection.execute(
            "INSERT INTO claimed SELECT company_id, message_id FROM claims WHERE NOT list_contains($late, window_no)",
            {"late": sorted(postponed)},
        )
        self._connection.unregister("claims")
        return postponed

    def shape(self, reads: Sequence[WindowRead], stored_rows: pa.Table | None = None) -> Iterator[ShapedBatch]:
        """Shapes a group of complete windows, some ten thousand rows at a time.

        Args:
            reads: The windows. Small ones are shaped faster together.
            stored_rows: For a run that leaves an include out: `company_id`, `message_id`, `trace_id` and `_row_hash` as the
                destination has them, so that what was not asked for stays as it is.
        """
        # `stored` is always there, so that one statement serves runs with and without left-out includes
        self._connection.register("stored", LEFT_OUT.empty_table() if stored_rows is None else stored_rows)
        for pages in _batches(reads):
            yield self._shape_pages(pages)
        self._connection.unregister("stored")

    def _shape_pages(self, pages: Sequence[_Source]) -> ShapedBatch:
        self._connection.register("sources", _sources_table(pages))
        members = self._read_batch(pages)
        children: dict[str, pa.Table] = {}
        counts = {MESSAGES: self._count("batch")}
        for name in self._lists:
            children[name] = self._children(name)
            counts[CHILD_TABLES[name]] = self._count("items")
        tables = {MESSAGES: self._messages(members, children)}
        tables |= {CHILD_TABLES[name]: table for name, table in children.items()}
        self._connection.execute("DROP TABLE batch")
        self._connection.unregister("sources")
        return ShapedBatch(tables, counts)

    def _count(self, relation: str) -> dict[int, int]:
        return dict(self._connection.execute(f"SELECT window_no, count(*) FROM {relation} GROUP BY ALL").fetchall())

    def _read_batch(self, pages: Sequence[_Source]) -> list[Member]:
        """Reads pages into the table `batch`; returns the members that become columns of `messages`."""
        longest = max(source.page.longest_line for source in pages)
        source = {"paths": [str(s.page.path) for s in pages], "line_limit": line_limit(longest)}
        unknown = _unknown_members([s.page for s in pages])
        try:
            members = self._create_batch(source, unknown, general=False)
        except duckdb.Error:
            # a member that should be an object is something else, or names differ in letter case only
            members = self._create_batch(source, unknown, general=True)
        self.suppression.apply(self._author("id"), self._author("type"))
        return members

    def _create_batch(self, source: dict[str, Any], unknown: dict[str, list[str]], general: bool) -> list[Member]:
        """Reads pages by declared columns, or in `general` line by line as JSON, which takes whatever a line holds."""
        top = {identifier(f"top_{number}"): name for number, name in enumerate(unknown[MESSAGE.name])}
        typed = {name: self._is_typed(site, unknown, general) for name, site in OBJECTS.items()}
        if general:
            relation, columns = "read_ndjson_objects($paths, maximum_object_size = $line_limit, filename = true)", {}
            texts = {name: f"(json ->> {pointer(name)})" for name in TOP_MEMBERS}
            parts = {name: extract("json", name) for name in (*OBJECTS, *LISTS)}
            parts |= {alias: extract("json", name) for alias, name in top.items()}
        else:
            relation = f"read_ndjson($paths, {LINES}, columns = $columns, filename = true)"
            columns = {
                **dict.fromkeys(TOP_MEMBERS, "VARCHAR"),
                **{name: _struct_type(OBJECTS[name]) if is_typed else "JSON" for name, is_typed in typed.items()},
                **dict.fromkeys((*LISTS, *unknown[MESSAGE.name]), "JSON"),
            }
            texts = {name: f"lines.{name}" for name in TOP_MEMBERS}
            parts = {name: f"lines.{name}" for name in (*OBJECTS, *LISTS)}
            parts |= {alias: f"lines.{identifier(name)}" for alias, name in top.items()}
        key = f"substr(md5(company_id || ':' || {texts['message_id']}), 1, {_ID_DIGITS})"
        texts["occurred_at"] = utc_timestamp(texts["occurred_at"])
        selected = ", ".join(f"{sql} AS {name}" for name, sql in (texts | parts).items())
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE batch AS SELECT window_no, company_id, {key} AS message_key, {selected}"
            f" FROM {relation} AS lines JOIN sources ON sources.path = lines.filename",
            source | ({"columns": columns} if columns else {}),
        )
        return self._object_members(unknown, typed) + [
            self._member(MESSAGES, MESSAGE, name, alias) for alias, name in top.items()
        ]

    @staticmethod
    def _is_typed(site: Site, unknown: dict[str, list[str]], general: bool) -> bool:
        return bool(site.members) and not unknown[site.name] and not general

    def _object_members(self, unknown: dict[str, list[str]], typed: dict[str, bool]) -> list[Member]:
        members = []
        known = self.columns[MESSAGES]
        for name, site in OBJECTS.items():
            for member, data_type in site.members.items():
                value = f"{name}.{identifier(member)}"
                if not typed[name]:
                    members.append(self._member(MESSAGES, site, member, name, pointer(member)))
                elif data_type == "text":
                    rule = known.rule_of(site, member)
                    members.append(Member(site.column_name(member), None, value, data_type, rule))
                else:
                    members.append(self._member(MESSAGES, site, member, value))
            members += [self._member(MESSAGES, site, member, name, pointer(member)) for member in unknown[name]]
            if not typed[name]:
                bare = f"CASE WHEN json_type({name}) <> 'OBJECT' THEN {name} END"
                column, rule = known.name_of(MESSAGE, name), known.rule_of(MESSAGE, name)
                members.append(Member(column, bare, f"({bare} ->> '$')", site.bare, rule))
        return members

    def _member(self, table: str, site: Site, name: str, json: str, pointer: str | None = None) -> Member:
        """A member that stands in `json`: is it, or is where the pointer shows."""
        data_type = site.members.get(name, site.others)
        value = json if pointer is None else f"json_extract({json}, {pointer})"
        known = self.columns[table]
        text = f"({json} ->> {pointer or WHOLE})"
        return Member(known.name_of(site, name), value, text, data_type, known.rule_of(site, name))

    def _member_columns(self, table: str, relation: str, members: Sequence[Member]) -> dict[str, str]:
        """The columns that hold the members of a batch: name to SQL."""
        known = self.columns[table]
        declared = {column.name for column in DECLARED[table]}
        columns = self._ruled_columns(table, members)
        members = [member for member in members if member.rule is None]
        types = {member.column: known.data_type(member.column) or member.data_type for member in members}
        open_members = [m for m in members if m.json and not (takes_any(types[m.column]) and m.column in declared)]
        kinds = self._kinds(relation, open_members, types)
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
        known = self.columns[table]
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

    def _messages(self, members: Sequence[Member], children: Mapping[str, pa.Table]) -> pa.Table:
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
            parts.append(_digest(self._list_content(name, children[name])) if name in self._lists else kept)
        selected["_row_hash"] = " || ".join(parts)
        selected["_dlt_id"] = "batch.message_key"
        selected["_dlt_load_id"] = "$load_id"
        relation = "batch" if self._reads_everything else "batch LEFT JOIN stored USING (company_id, message_id)"
        return self._arrow(MESSAGES, relation, selected)

    def _list_content(self, name: str, items: pa.Table) -> str:
        """SQL of one text that is equal just for equal lists."""
        if not self._rules.apply_to(CHILD_TABLES[name]):
            return f"coalesce(CAST({name} AS VARCHAR), '')"
        # what a rule keeps out of the warehouse must not be guessed from a hash either
        digests = identifier(f"digests_of_{name}")
        self._connection.register("ruled_items", items)
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {digests} AS SELECT _dlt_parent_id AS message_key,"
            " string_agg(_row_hash, ' ' ORDER BY _dlt_list_idx) AS content FROM ruled_items GROUP BY ALL"
        )
        self._connection.unregister("ruled_items")
        return f"coalesce((SELECT content FROM {digests} AS d WHERE d.message_key = batch.message_key), '')"

    @property
    def _reads_everything(self) -> bool:
        return self._reads_trace and len(self._lists) == len(LISTS)

    def _children(self, name: str) -> pa.Table:
        table, site = CHILD_TABLES[name], LISTS[name]
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE items AS"
            f" SELECT window_no, message_key, {', '.join(_LIFTED)}, author_id, generate_subscripts(items, 1) - 1 AS list_idx, unnest(items) AS item"
            f" FROM (SELECT window_no, message_key, {', '.join(_LIFTED)}, {self._author('id')} AS author_id,"
            # a single item where a list should be is read as a list of one
            f" CASE json_type({name}) WHEN 'ARRAY' THEN json_extract({name}, '$[*]') WHEN 'NULL' THEN [] ELSE [{name}] END"
            f" AS items FROM batch WHERE {name} IS NOT NULL)"
        )
        rows = self._connection.execute("SELECT DISTINCT json_keys(item), json_type(item) FROM items").fetchall()
        found = {key for keys, _ in rows for key in keys or ()}
        names = [*site.members, *sorted(found - site.members.keys())]
        members = {member: self._member(table, site, member, "item", pointer(member)) for member in names}
        known = self.columns[table]
        value_rule = known.rule_of(site, VALUE)
        # an item of another shape may hold what a rule keeps out
        takes_bare = value_rule is not None or not self._rules.apply_to(table)
        if takes_bare and any(kind not in ("OBJECT", "NULL") for _, kind in rows):
            bare = f"CASE WHEN json_type(item) = 'OBJECT' THEN {extract('item', VALUE)} ELSE item END"
            data_type = site.members.get(VALUE, site.bare)
            members[VALUE] = Member(known.name_of(site, VALUE), bare, f"({bare} ->> '$')", data_type, value_rule)
        columns = self._member_columns(table, "items", list(members.values()))
        lifted = {**{column: column for column in _LIFTED}, "author__id": "author_id"}
        selected = {
            **lifted,
            "_dlt_list_idx": "list_idx",
            **columns,
            "_row_hash": _digest(
                self._content(table, {**lifted, **(columns if self._rules.apply_to(table) else {"item": "item"})})
            ),
            "_dlt_id": "message_key || '-' || list_idx",
            "_dlt_load_id": "$load_id",
            "_dlt_parent_id": "message_key",
        }
        return self._arrow(table, "items", selected)

    @staticmethod
    def _content(table: str, selected: Mapping[str, str], but: str | None = None) -> str:
        """SQL of one text that is equal just for equal rows, whatever is in them.

        A column that some later load discovers must not change the text of rows that have no value in it.
        """
        selected = {name: sql for name, sql in selected.items() if but is None or not is_of(but, name)}
        declared = {column.name for column in DECLARED[table]} | {"item"}
        fixed = [sql for name, sql in selected.items() if name in declared]
        others = [f"{literal(name)} || to_json({sql})" for name, sql in selected.items() if name not in declared]
        # JSON frames its values, so no two different rows look alike
        return f"concat_ws(' ', to_json(row({', '.join(fixed)})){''.join(f', {sql}' for sql in others)})"

    def _author(self, member: str) -> str:
        row = self._connection.execute("SELECT typeof(author) FROM batch LIMIT 1").fetchone()
        return f"(author ->> {pointer(member)})" if row and row[0] == "JSON" else f"author.{member}"

    def _arrow(self, table: str, relation: str, selected: Mapping[str, str]) -> pa.Table:
        columns = [column for column in self.columns[table].all if column.name in selected]
        sql = ", ".join(f"{selected[column.name]} AS {identifier(column.name)}" for column in columns)
        result = self._connection.execute(f"SELECT {sql} FROM {relation}", {"load_id": self._load_id}).to_arrow_table()
        schema = arrow_schema(columns)
        # the cast to a UTC timestamp relabels: DuckDB would take the ICU extension's slow path for it
        return pa.Table.from_arrays(
            [result.column(i).cast(schema.field(i).type) for i in range(len(columns))], schema=schema
        )


@dataclass(frozen=True)
class _Source:
    """A page, and the window of the group that it belongs to."""

    window_no: int
    company_id: int
    page: Page


def _batches(reads: Sequence[WindowRead]) -> Iterator[list[_Source]]:
    batch: list[_Source] = []
    rows = size = 0
    for number, read in enumerate(reads):
        for page in read.pages:
            if batch and (rows >= BATCH_ROWS or size + page.bytes > _BATCH_BYTES):
                yield batch
                batch, rows, size = [], 0, 0
            if page.rows:
                batch.append(_Source(number, read.window.company_id, page))
                rows, size = rows + page.rows, size + page.bytes
    if batch:
        yield batch


def _sources_table(pages: Sequence[_Source]) -> pa.Table:
    return pa.table(
        {
            "path": pa.array([str(source.page.path) for source in pages], pa.string()),
            "window_no": pa.array([source.window_no for source in pages], pa.int64()),
            "company_id": pa.array([source.company_id for source in pages], pa.int64()),
        }
    )


def _unknown_members(pages: Sequence[Page]) -> dict[str, list[str]]:
    """Members nobody declared, by the object they stand in, in a stable order."""
    unknown = {}
    for site in (MESSAGE, *OBJECTS.values()):
        found = frozenset[str]().union(*(page.members.get(site.name, ()) for page in pages))
        unknown[site.name] = sorted(found - site.members.keys() - set(site.lifted))
    return unknown


def _struct_type(site: Site) -> str:
    fields = (f"{identifier(name)} {'VARCHAR' if kind == 'text' else 'JSON'}" for name, kind in site.members.items())
    return f"STRUCT({', '.join(fields)})"


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
