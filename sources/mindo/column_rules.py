"""Rules that keep personal data out of the warehouse: columns that are dropped, emptied or replaced by a keyed hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast, get_args

from .columns import CHILD_TABLES, DECLARED, MESSAGES, OBJECTS, VALUE, DataType
from .exceptions import ConfigurationError

Rule = Literal["drop", "null", "hmac"]

_STRICTEST_FIRST: Final[tuple[Rule, ...]] = get_args(Rule)
_BLOCK_BYTES: Final = 64
_SHORTEST_KEY: Final = 16
_TABLES: Final = (MESSAGES, *CHILD_TABLES.values())
_COLUMN_NAME: Final = re.compile(r"[a-z0-9_]+")
_VARIANT: Final = re.compile(rf"(.+)__v_(?:{'|'.join(get_args(DataType))})")
# by these rows are found, replaced and joined
_KEPT: Final = frozenset(
    {
        "company_id",
        "message_id",
        "_dlt_list_idx",
        "conversation_id",
        "occurred_at",
        "channel",
        "direction",
        "author__id",
    }
)


@dataclass(frozen=True)
class ColumnRules:
    """What is kept of which columns; everything not named is kept as it is.

    Attributes:
        rules: `drop` (no such column), `null` (an empty column) or `hmac` (HMAC-SHA256 of the value's text, as 64
            hexadecimal digits), by table and column.
        hmac_key: The key; never shown.
    """

    rules: Mapping[str, Mapping[str, Rule]] = field(default_factory=dict)
    hmac_key: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, raw: Any, hmac_key: Any = None) -> ColumnRules:
        """Checks rules as configured: a table of columns for each table.

        Raises:
            ConfigurationError: If a table or rule is unknown, no column can have such a name, a column is needed as it is, or
                the key is missing.
        """
        if raw and not isinstance(raw, Mapping):
            raise ConfigurationError("column_rules: write a table of columns for each table, as docs/privacy.md shows.")
        rules = {str(table): _parse_table(str(table), columns) for table, columns in (raw or {}).items()}
        key = str(hmac_key or "")
        if any("hmac" in columns.values() for columns in rules.values()) and len(key) < _SHORTEST_KEY:
            raise ConfigurationError(
                f"hmac_key: the rule hmac needs a secret key of at least {_SHORTEST_KEY} characters;"
                " set SOURCES__MINDO__HMAC_KEY or write it to .dlt/secrets.toml."
            )
        return cls(rules, key or None)

    def of(self, table: str, column: str) -> Rule | None:
        """The rule that holds for a column: its own, or the strictest of names that differ in underscores only.

        A column that would hold whole what a rule names a part of (`content`, if `content__text` has a rule) is dropped.
        """
        rules = self.rules.get(table, {})
        if column in rules or _is_kept(column):
            return rules.get(column)
        alike = {rule for name, rule in rules.items() if _letters(name) == _letters(column)}
        if not alike and _letters(column) in self._wholes(table):
            return "drop"
        return next((rule for rule in _STRICTEST_FIRST if rule in alike), None)

    def apply_to(self, table: str) -> bool:
        """Whether a table has any rule."""
        return bool(self.rules.get(table))

    def _wholes(self, table: str) -> set[str]:
        """The letters of columns whose parts have a rule in this table, or in the table of a list."""
        parts = [name.split("__") for name in self.rules.get(table, {})]
        wholes = {"".join(_letters(part) for part in name[:end]) for name in parts for end in range(1, len(name))}
        if table == MESSAGES:
            wholes |= {_letters(name) for name, child in CHILD_TABLES.items() if self.apply_to(child)}
        return wholes

    def hmac_pads(self) -> tuple[bytes, bytes]:
        """The key as HMAC-SHA256 uses it (RFC 2104): exclusive-or of the padded key with the inner and the outer pad."""
        key = (self.hmac_key or "").encode()
        key = hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key
        block = key.ljust(_BLOCK_BYTES, b"\0")
        return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


def _parse_table(table: str, columns: Any) -> dict[str, Rule]:
    if table not in _TABLES:
        raise ConfigurationError(f"column_rules: {table!r} is not one of {', '.join(_TABLES)}.")
    if not isinstance(columns, Mapping):
        raise ConfigurationError(f'column_rules.{table}: write a table of columns, like content__text = "drop".')
    rules: dict[str, Rule] = {}
    for column, rule in columns.items():
        _check_name(table, column)
        if rule not in _STRICTEST_FIRST:
            raise ConfigurationError(
                f"column_rules.{table}.{column}: {rule!r} is not one of {', '.join(_STRICTEST_FIRST)}."
            )
        if _is_kept(column):
            raise ConfigurationError(
                f"column_rules.{table}.{column}: rows are found and joined by this column, so it has to stay as it is."
            )
        rules[column] = cast("Rule", rule)
    return rules


def _check_name(table: str, column: Any) -> None:
    if not isinstance(column, str) or not _COLUMN_NAME.fullmatch(column):
        raise ConfigurationError(
            f"column_rules.{table}: {column!r} can't be the name of a column; write it as the warehouse does, in lower-case"
            " letters, digits and underscores, like content__text."
        )
    variant = _VARIANT.fullmatch(column)
    if variant:
        raise ConfigurationError(
            f"column_rules.{table}.{column}: give the rule to {variant[1]}; it holds for values of every type."
        )


def _is_kept(column: str) -> bool:
    return column in _KEPT or column.startswith("_")


def _letters(column: str) -> str:
    """A name without its underscores, because normalising puts them where letter case changes: teXt gives te_xt."""
    return column.replace("_", "")


def is_foreseen(table: str, column: str) -> bool:
    """Whether the column is in the API's documentation, or takes what comes where it has an object; others may not come."""
    instead_of_objects = OBJECTS if table == MESSAGES else (VALUE,)
    return column in instead_of_objects or any(declared.name == column for declared in DECLARED[table])
