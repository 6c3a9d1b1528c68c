"""Messages to JSON lines, fast, with a place held open for the time of the export.

A line is encoded once and served many times, but `metadata.exported_at` differs in every export. `STAMP` holds its
place: a raw control character, which JSON text never contains, so that one `bytes.replace` over a chunk fills it in.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from typing import Any

import orjson

from .model import INCLUDES, Message

STAMP = b"\x01"
_STAMP_FRAGMENT = orjson.Fragment(b'"' + STAMP + b'"')


def shown(message: Message, include: Collection[str]) -> Message:
    """Return the members of a message that are visible with `include` (a shallow copy)."""
    line = message.copy()
    for name in INCLUDES:
        if name not in include:
            line.pop(name, None)
    return line


def encode_line(message: Message, include: Collection[str]) -> bytes:
    """Return the JSON text of a message, with `STAMP` for `metadata.exported_at`."""
    line = shown(message, include)
    try:
        return orjson.dumps(_stamped(line, _STAMP_FRAGMENT))
    except TypeError:
        token = secrets.token_hex(16)
        return encode(_stamped(line, token)).replace(token.encode("ascii"), STAMP)


def encode(value: Any) -> bytes:
    """Return the JSON text of any JSON value."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # Lone surrogates and integers beyond 64 bits are JSON all the same; only orjson refuses them.
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def _stamped(line: Message, stamp: Any) -> Message:
    metadata = line.get("metadata")
    if not isinstance(metadata, dict):
        return line
    stamped: dict[str, Any] = {}
    for name, value in metadata.items():
        if name == "schema_version":
            stamped["exported_at"] = stamp  # where the contract prints it
        stamped[name] = value
    stamped.setdefault("exported_at", stamp)
    return line | {"metadata": stamped}
