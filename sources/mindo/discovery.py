"""Members that nobody declared, and values of unexpected type: which column each of them gets.

A member's column takes the type of its values: text, bigint, double, bool, or JSON for objects and lists. A value that
does not fit the column's type goes to a variant column (`thread_position__v_text`), as dlt does it. Text and JSON columns
take any value, so nothing is ever lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from dlt.common.schema.typing import TColumnSchema

from .column_rules import ColumnRules, Rule
from .columns import DECLARED, Column, DataType, Site
from .sql import utc_timestamp

_LARGEST_WHOLE_DOUBLE = 2**53

_VARIANT_MARK = "__v_"
_TAKES_ANY: frozenset[DataType] = frozenset({"text", "json"})


MEMBER_HINT = "x-mindo-member"
"""Hint of a discovered column in dlt's schema: where in a message its values stand."""

TYPE_HINT = "x-mindo-type"
"""Hint of a column that the destination can hold as text only: the type of its values."""


@dataclass(frozen=True)
class SchemaChange:
    """A column that a load added: a new member of the API, or a variant for values of another type."""

    table: str
    column: str
    data_type: DataType
    is_variant: bool


class TableColumns:
    """The columns of a table as they are known so far, and the names that members have in it.

    Args:
        table: Name of the table.
        stored: dlt's column schemas from earlier loads.
        normalize: dlt's naming convention for one identifier.
        rules: What is kept of which columns.
    """

    def __init__(
        self,
        table: str,
        stored: Mapping[str, TColumnSchema],
        normalize: Callable[[str], str],
        rules: ColumnRules,
    ) -> None:
        self.table = table
        self._rules = rules
        self.changes: list[SchemaChange] = []
        self._normalize = normalize
        self._stored = dict(stored)
        self._columns = {
            column.name: replace(column, data_type=self._stored_type(column.name) or self._type_by_rule(column))
            for column in DECLARED[table]
            if rules.of(table, column.name) != "drop"
        }
        # two members can have one normalised name, so which of them a column belongs to is kept in dlt's schema
        self._names = {str(column[MEMBER_HINT]): name for name, column in stored.items() if MEMBER_HINT in column}  # type: ignore[literal-required]

    @property
    def all(self) -> list[Column]:
        """Declared columns, then those that were discovered in this load."""
        return list(self._columns.values())

    def data_type(self, column: str) -> DataType | None:
        """The type of a column of this or an earlier load; `None` if there is none."""
        known = self._columns.get(column)
        return known.data_type if known else self._stored_type(column)

    def name_of(self, site: Site, member: str) -> str:
        """The column for a member; the same for the same member in every load, and never another column's name."""
        if member in site.members:
            return site.column_name(member)
        path = f"{site.name}/{member}"
        if path not in self._names:
            self._names[path] = self._free_name(site, member)
        return self._names[path]

    def rule_of(self, site: Site, member: str) -> Rule | None:
        """The rule for a member: that of its column, or of the column whose name it would have, were that one free."""
        column = self._rules.of(self.table, self.name_of(site, member))
        return column or self._rules.of(self.table, self._normalized_name(site, member))

    def add(self, name: str, data_type: DataType, is_variant: bool = False) -> None:
        """Makes a column known; reports it if no earlier load had it."""
        if name in self._columns:
            return
        member = next((path for path, column in self._names.items() if column == name), None)
        self._columns[name] = Column(name, data_type, "Sent by the API, not in its documentation.", member=member)
        if name not in self._stored:
            self.changes.append(SchemaChange(self.table, name, data_type, is_variant))

    def _stored_type(self, column: str) -> DataType | None:
        stored = self._stored.get(column, {})
        return cast("DataType | None", stored.get(TYPE_HINT) or stored.get("data_type"))

    def _type_by_rule(self, column: Column) -> DataType:
        return "text" if self._rules.of(self.table, column.name) == "hmac" else column.data_type

    def _normalized_name(self, site: Site, member: str) -> str:
        return site.column_name(self._normalize(member) if member.strip() else "unnamed")

    def _free_name(self, site: Site, member: str) -> str:
        name = self._normalized_name(site, member)
        if name in {column.name for column in DECLARED[self.table]} or name.startswith("_dlt"):
            name = f"api__{name.lstrip('_')}"
        if name in self._names.values():
            name = f"{name}__m{hashlib.md5(member.encode('utf-8', 'replace'), usedforsecurity=False).hexdigest()[:6]}"
        return name


@dataclass(frozen=True)
class Member:
    """A member as it stands in a batch.

    Attributes:
        column: Name of its column.
        json: SQL of its value as JSON, or `None` if only its text is at hand.
        text: SQL of its value as text.
        data_type: Declared type of its column; `None` means: by its values.
        rule: What is kept of its values; `None` means: everything.
    """

    column: str
    json: str | None
    text: str
    data_type: DataType | None
    rule: Rule | None

    @property
    def value(self) -> str:
        """SQL of the value, NULL if there is none."""
        return self.text if self.json is None else f"nullif({self.json}, 'null')"


_USUAL: dict[DataType, str] = {
    "bigint": "0|-?[1-9][0-9]{0,17}",
    "double": "-?[0-9]{1,15}[.][0-9]{1,15}",
    "bool": "true|false",
    "timestamp": '"[0-9T:. Z+-]+"',
}
"""What the JSON of values that need no closer look is like; anything goes into a column of text or JSON."""


def fits_sql(member: Member, data_type: DataType) -> str:
    """SQL of whether a value obviously fits its column's type. Much quicker than `kinds_sql`, which sees more."""
    if member.json is None or takes_any(data_type):
        return "true"
    usual = f"regexp_full_match(CAST({member.value} AS VARCHAR), '{_USUAL[data_type]}')"
    if data_type == "timestamp":
        return f"{usual} AND {utc_timestamp(plain_text(member, data_type).text)} IS NOT NULL"
    return usual


def plain_text(member: Member, data_type: DataType | None) -> Member:
    """A member whose values obviously fit: their text need not be parsed from JSON."""
    if member.json is None or data_type is None or takes_any(data_type):
        return member
    return replace(member, text=f"trim(CAST({member.json} AS VARCHAR), '\"')")


def kinds_sql(member: Member, data_type: DataType | None) -> str:
    """SQL of the type that a value of a member needs, given its column's type; NULL for JSON null."""
    text = member.text
    if member.json is None:
        return "'text'"
    whole = f"CASE WHEN TRY_CAST({text} AS BIGINT) IS NULL THEN 'text'"
    if data_type == "double":
        whole += f" WHEN abs(TRY_CAST({text} AS BIGINT)) <= {_LARGEST_WHOLE_DOUBLE} THEN 'double'"
    string = "'text'"
    if data_type == "timestamp":
        string = f"CASE WHEN {utc_timestamp(text)} IS NULL THEN 'text' ELSE 'timestamp' END"
    return (
        f"CASE json_type({member.json}) WHEN 'VARCHAR' THEN {string} WHEN 'BOOLEAN' THEN 'bool'"
        f" WHEN 'OBJECT' THEN 'json' WHEN 'ARRAY' THEN 'json'"
        f" WHEN 'UBIGINT' THEN {whole} ELSE 'bigint' END WHEN 'BIGINT' THEN {whole} ELSE 'bigint' END"
        # a whole number too long for 64 bits is a DOUBLE to DuckDB, and would lose digits as one; 1e400 would be infinite
        f" WHEN 'DOUBLE' THEN CASE WHEN regexp_full_match({text}, '-?[0-9]+') OR NOT isfinite(TRY_CAST({text} AS DOUBLE))"
        " THEN 'text' ELSE 'double' END END"
    )


def choose_type(kinds: Iterable[DataType]) -> DataType | None:
    """The type for a new column, given the kinds of its first values."""
    found = set(kinds)
    if found == {"bigint", "double"}:
        return "double"
    if len(found) > 1:
        return "text"
    return found.pop() if found else None


def value_sql(member: Member, data_type: DataType, target: DataType, shares: bool) -> str:
    """SQL of a member's value for the column of type `target`: its own column's `data_type`, or a variant.

    Args:
        member: The member.
        data_type: Type of the member's own column.
        target: Type of the column to fill.
        shares: Whether its values are spread over several columns.
    """
    value = {
        "text": member.text,
        "json": f"CASE WHEN json_type({member.json}) <> 'NULL' THEN CAST({member.json} AS VARCHAR) END",
        "bigint": f"TRY_CAST({member.text} AS BIGINT)",
        "double": f"TRY_CAST({member.text} AS DOUBLE)",
        "bool": f"TRY_CAST({member.text} AS BOOLEAN)",
        "timestamp": utc_timestamp(member.text),
    }[target]
    if not shares or data_type in _TAKES_ANY:
        return value
    return f"CASE WHEN ({kinds_sql(member, data_type)}) = '{target}' THEN {value} END"


def takes_any(data_type: DataType | None) -> bool:
    """Whether a column of that type holds values of every type."""
    return data_type in _TAKES_ANY


def variant_name(column: str, data_type: DataType) -> str:
    """The name of a variant column, as dlt forms it."""
    return f"{column}{_VARIANT_MARK}{data_type}"


def is_of(column: str, name: str) -> bool:
    """Whether `name` is a column or one of its variants."""
    return name == column or name.startswith(f"{column}{_VARIANT_MARK}")
