"""The texts that `_row_hash` is made of, as SQL: equal just for equal rows, and without what a rule keeps out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import duckdb

from .column_rules import ColumnRules
from .columns import DECLARED, LISTS, PRIMARY_KEYS
from .discovery import Member, is_of
from .sql import literal

HASH_PART = 12
"""Hexadecimal digits of each part of `_row_hash`: the message itself, then one part for each list. A child row has one part."""

_NO_ITEMS = "0" * HASH_PART
"""The part of a list that is known to be empty; that of one that was never read has dashes."""

_INNER_PAD, _OUTER_PAD = "mindo_hmac_inner_pad", "mindo_hmac_outer_pad"


def set_hmac_pads(connection: duckdb.DuckDBPyConnection, rules: ColumnRules) -> None:
    """Tells a connection the key of `hmac`. A variable keeps it out of every statement, and so out of every error."""
    for name, pad in zip((_INNER_PAD, _OUTER_PAD), rules.hmac_pads(), strict=True):
        connection.execute(f"SET VARIABLE {name} = ?", [pad])


def hmac(text: str) -> str:
    """SQL of the HMAC-SHA256 of a text in UTF-8, as hexadecimal digits (RFC 2104; DuckDB has only the plain hash)."""
    inner = f"unhex(sha256(getvariable('{_INNER_PAD}') || encode({text})))"
    return f"sha256(getvariable('{_OUTER_PAD}') || {inner})"


def is_hmac(text: str) -> str:
    """SQL of whether a text looks as `hmac` makes it."""
    return f"coalesce(regexp_full_match({text}, '[0-9a-f]{{64}}'), false)"


def digest(text: str) -> str:
    """SQL of a part of `_row_hash`."""
    return f"substr(md5({text}), 1, {HASH_PART})"


def row_content(table: str, selected: Mapping[str, str], but: str | None = None) -> str:
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


def item_content(name: str, members: Sequence[Member]) -> str:
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


def list_digest(name: str, members: Sequence[Member]) -> str:
    """SQL of the part of `_row_hash` for a list of the message."""
    # no line of JSON has a line end in it, and each item adds at least one
    contents = f"array_to_string(list_transform({name}, lambda item: chr(10) || {item_content(name, members)}), '')"
    return f"CASE WHEN len({name}) > 0 THEN {digest(contents)} ELSE '{_NO_ITEMS}' END"


def _kept_content(member: Member) -> str:
    """SQL of what is kept of a member, the same whatever the type of its column is."""
    if member.rule is None:
        return f"nullif({member.json}, 'null')" if member.json and member.data_type != "text" else member.text
    return hmac(member.text) if member.rule == "hmac" else "NULL"
