"""Which columns the members of a batch go to, and the SQL of their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from .batch_reading import Layout, top_column
from .column_rules import ColumnRules
from .columns import CHILD_TABLES, DECLARED, LISTS, MESSAGE, MESSAGES, OBJECTS, VALUE, DataType, Site
from .discovery import (
    Member,
    TableColumns,
    choose_type,
    fits_sql,
    kinds_sql,
    plain_text,
    takes_any,
    value_sql,
    variant_name,
)
from .row_hashes import hmac
from .sql import WHOLE, extract, json_text, literal, pointer

_EMPTY = "CAST(NULL AS VARCHAR)"


class MemberColumns:
    """Gives the members of batches their columns. Several may share what is known, if they take turns.

    Args:
        connection: Where the table `batch` is.
        columns: What is known of each table's columns; grows.
        rules: What is kept of which columns.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, columns: Mapping[str, TableColumns], rules: ColumnRules
    ) -> None:
        self._connection = connection
        self._columns = columns
        self._rules = rules

    def of_objects(self, layout: Layout) -> list[Member]:
        """The members that become columns of `messages`."""
        members = []
        known = self._columns[MESSAGES]
        for name, site in OBJECTS.items():
            members += self._site_members(MESSAGES, site, layout.names(name, site), name, name in layout.typed)
            if name not in layout.typed:
                bare = f"CASE WHEN json_type({name}) <> 'OBJECT' THEN {name} END"
                column, rule = known.name_of(MESSAGE, name), known.rule_of(MESSAGE, name)
                members.append(Member(column, bare, f"({bare} ->> '$')", site.bare, rule))
        return members + [
            self._member(MESSAGES, MESSAGE, name, top_column(number))
            for number, name in enumerate(layout.unknown[MESSAGE.name])
        ]

    def of_items(self, name: str, layout: Layout) -> list[Member]:
        """The members that become columns of a child table; they stand in `item`."""
        table, site = CHILD_TABLES[name], LISTS[name]
        names = layout.names(name, site)
        members = dict(zip(names, self._site_members(table, site, names, "item", name in layout.typed), strict=True))
        known = self._columns[table]
        value_rule = known.rule_of(site, VALUE)
        # an item of another shape may hold what a rule keeps out
        takes_bare = value_rule is not None or not self._rules.apply_to(table)
        if name not in layout.typed and takes_bare:
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
            value = f"struct_extract({holder}, {literal(name)})" if is_typed else extract(holder, name)
            if data_type == "text":
                text = value if is_typed else json_text(holder, pointer(name))
                column, rule = known.name_of(site, name), known.rule_of(site, name)
                members.append(Member(column, None if is_typed else value, text, data_type, rule))
            else:
                members.append(self._member(table, site, name, value))
        return members

    def _member(self, table: str, site: Site, name: str, value: str) -> Member:
        """A member whose value is some JSON."""
        known = self._columns[table]
        data_type = site.members.get(name, site.others)
        return Member(known.name_of(site, name), value, f"({value} ->> {WHOLE})", data_type, known.rule_of(site, name))

    def decide(self, table: str, relation: str, members: Sequence[Member]) -> dict[str, str]:
        """The columns that hold the members of a batch, by name, each with the SQL of its values.

        Args:
            table: Whose columns.
            relation: Where the members stand.
            members: The members.
        """
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
                columns[name] = hmac(member.text)
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
