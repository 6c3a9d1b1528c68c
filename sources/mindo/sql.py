"""Pieces of DuckDB's SQL that hold names and texts from outside, quoted so that they are never read as SQL."""

from __future__ import annotations

from typing import Final

WHOLE: Final = "'$'"
"""The JSON path of a value itself."""


def identifier(name: str) -> str:
    """A quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A quoted text."""
    return "'" + text.replace("'", "''") + "'"


def pointer(member: str) -> str:
    """A JSON pointer to a member: unlike a JSON path it has an escape for every character of a name."""
    return literal("/" + member.replace("~", "~0").replace("/", "~1"))


def extract(json: str, member: str) -> str:
    """A member's value as JSON."""
    return f"json_extract({json}, {pointer(member)})"


def json_text(json: str, pointer: str | None = None) -> str:
    """A JSON value, or a member of it, as the text that DuckDB's reader makes of it in a column of type VARCHAR.

    `->>` writes large numbers in another way.
    """
    value = json if pointer is None else f"json_extract({json}, {pointer})"
    return f"json_transform({value}, '\"VARCHAR\"')"


def utc_timestamp(text: str) -> str:
    """SQL of the UTC timestamp that a text holds; without a zone it is UTC, NULL if it is none.

    DuckDB's cast to TIMESTAMP ignores an offset. Its cast to TIMESTAMPTZ honours it but costs ten times as much.
    """
    time = f"substr({text}, 11)"
    has_offset = f"(contains({time}, '+') OR contains({time}, '-'))"
    with_zone = f"timezone('UTC', TRY_CAST({text} AS TIMESTAMPTZ))"
    return f"CASE WHEN {has_offset} THEN {with_zone} ELSE TRY_CAST({text} AS TIMESTAMP) END"
