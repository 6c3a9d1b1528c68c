"""Which members the messages of a page have: a quick look for pages like those before, a thorough one for any other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import GenericAlias
from typing import Any, Final

import duckdb
import msgspec

from .columns import LISTS, MESSAGE, OBJECTS
from .engine import line_limit

_SITES: Final = {MESSAGE.name: MESSAGE, **OBJECTS, **LISTS}
_MOST_NAMES: Final = 100
"""A place with more names than this is looked at thoroughly each time: every message would cost memory for all of them."""
_CHUNK_BYTES: Final = 64 * 1024
"""Larger ones are slower: the garbage collector runs while their lists are there, and they no longer fit the processor's cache."""


@dataclass(frozen=True)
class Members:
    """What stands in the messages of a page.

    Attributes:
        names: The members that may be there, by place: an object or list of the message, "" for the message itself.
        irregular: Objects and lists that are something else in some message, or lists with items that are no objects.
    """

    names: dict[str, frozenset[str]]
    irregular: frozenset[str] = frozenset()


NO_MEMBERS: Final = Members({})


class KnownMembers:
    """The members that messages have had so far. May be used by several threads.

    msgspec reads a page several times faster than a query can list its members, but has to be told their names before.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._members = Members({place: frozenset(site.members) for place, site in _SITES.items()})
        self._decoder = _decoder(self._members.names)

    def in_page(self, path: Path) -> Members | None:
        """The known members, if a page has no others, all places are as they should be, and every line is strict JSON."""
        with self._lock:
            members, decoder = self._members, self._decoder
        if decoder is None:
            return None
        try:
            for lines in _chunks(path):
                decoder.decode_lines(lines)
        except (msgspec.DecodeError, RecursionError):
            return None
        return members

    def learn(self, found: Members) -> None:
        """Takes note of what a thorough look has found."""
        with self._lock:
            names = {place: known | found.names[place] for place, known in self._members.names.items()}
            if names != self._members.names:
                self._members, self._decoder = Members(names), _decoder(names)


def look_for_members(path: Path, longest_line: int, connection: duckdb.DuckDBPyConnection) -> Members:
    """Looks at every message of a page, whatever stands in it."""
    source = {"path": str(path), "line_limit": line_limit(longest_line)}
    lines = "FROM read_ndjson_objects($path, maximum_object_size = $line_limit)"
    paths = ["$", *(f"$.{name}" for name in (*OBJECTS, *LISTS))]
    rows = connection.execute(
        f"SELECT DISTINCT json_keys(json, $paths), json_type(json, $paths) {lines}", source | {"paths": paths}
    ).fetchall()
    names: dict[str, frozenset[str]] = {}
    irregular = set()
    for number, place in enumerate((MESSAGE.name, *OBJECTS, *LISTS)):
        names[place] = frozenset(name for keys, _ in rows for name in keys[number] or ())
        usual = "ARRAY" if place in LISTS else "OBJECT"
        if not {types[number] for _, types in rows} <= {usual, "NULL", None}:
            irregular.add(place)
    for place in LISTS:
        items = connection.execute(
            f"SELECT DISTINCT unnest(json_keys(json, $items)), unnest(json_type(json, $items)) {lines}",
            source | {"items": f"$.{place}[*]"},
        ).fetchall()
        names[place] = frozenset(name for keys, _ in items for name in keys or ())
        if not {kind for _, kind in items} <= {"OBJECT", "NULL"}:
            irregular.add(place)
    return Members(names, frozenset(irregular))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as body:
        while chunk := body.read(_CHUNK_BYTES):
            yield chunk if chunk.endswith(b"\n") else chunk + body.readline()


def _decoder(names: dict[str, frozenset[str]]) -> msgspec.json.Decoder[Any] | None:
    """Reads lines that have just these members; `None` if there are too many, or names that msgspec can't be told."""
    if any(len(found) > _MOST_NAMES for found in names.values()):
        return None
    try:
        types = {place: _struct(place, dict.fromkeys(names[place], msgspec.Raw)) for place in (*OBJECTS, *LISTS)}
        parts = {name: types[name] | None for name in OBJECTS}
        parts |= {name: GenericAlias(list, (types[name] | None,)) | None for name in LISTS}
        message = _struct("message", dict.fromkeys(names[MESSAGE.name], msgspec.Raw) | parts)
    except ValueError:
        return None
    return msgspec.json.Decoder(message)


def _struct(name: str, members: dict[str, Any]) -> Any:
    fields = [
        (f"member_{number}", kind, msgspec.Raw() if kind is msgspec.Raw else None)
        for number, kind in enumerate(members.values())
    ]
    rename = dict(zip((field for field, _, _ in fields), members, strict=True))
    return msgspec.defstruct(name or "message", fields, rename=rename, forbid_unknown_fields=True, gc=False)
