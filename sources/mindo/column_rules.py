"""Rules that keep personal data out of the warehouse: columns that are dropped, emptied or replaced by a keyed hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast, get_args

from .columns import CHILD_TABLES, DECLARED, MESSAGES
from .exceptions import ConfigurationError

Rule = Literal["drop", "null", "hmac"]

_BLOCK_BYTES: Final = 64
_SHORTEST_KEY: Final = 16
_TABLES: Final = (MESSAGES, *CHILD_TABLES.values())
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
            ConfigurationError: If a table or rule is unknown, a column is needed as it is, or the key is missing.
        """
        rules = {str(table): _parse_table(str(table), columns) for table, columns in (raw or {}).items()}
        key = str(hmac_key or "")
        if any("hmac" in columns.values() for columns in rules.values()) and len(key) < _SHORTEST_KEY:
            raise ConfigurationError(
                f"hmac_key: the rule hmac needs a secret key of at least {_SHORTEST_KEY} characters;"
                " set SOURCES__MINDO__HMAC_KEY or write it to .dlt/secrets.toml."
            )
        return cls(rules, key or None)

    def of(self, table: str, column: str) -> Rule | None:
        """The rule for a column."""
        return self.rules.get(table, {}).get(column)

    def apply_to(self, table: str) -> bool:
        """Whether a table has any rule."""
        return bool(self.rules.get(table))

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
        if rule not in get_args(Rule):
            raise ConfigurationError(
                f"column_rules.{table}.{column}: {rule!r} is not one of {', '.join(get_args(Rule))}."
            )
        if column in _KEPT or column.startswith("_"):
            raise ConfigurationError(
                f"column_rules.{table}.{column}: rows are found and joined by this column, so it has to stay as it is."
            )
        rules[column] = cast("Rule", rule)
    return rules


def is_declared(table: str, column: str) -> bool:
    """Whether the API's documentation names the column; any other may or may not come."""
    return any(declared.name == column for declared in DECLARED[table])
