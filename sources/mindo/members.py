"""Which members the messages of a page have: a quick look at pages like those before, a thorough one at any other."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import GenericAlias
from typing import Any, Final

import duckdb
import msgspec
import pyarrow as pa

from .columns import LISTS, MESSAGE, OBJECTS
from .engine import USUAL_LINE_BYTES, line_limit

_SITES: Final = {MESSAGE.name: MESSAGE, **OBJECTS, **LISTS}
_MOST_NAMES: Final = 100
"""A place with more names than this is looked at thoroughly each time: every message would cost memory for all of them."""
_CHUNK_BYTES: Final = 64 * 1024
"""Larger ones are slower: the garbage collector runs while their lists are there, and they no longer fit the processor's cache."""


_MOST_BYTES_OF_LINES: Final = USUAL_LINE_BYTES // 2
_COMPANY_ID: Final = "company_id"
_REQUIRED: Final = ("message_id", "occurred_at")
_READ: Final = (*_REQUIRED, "metadata", _COMPANY_ID)


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


@dataclass(frozen=True)
class UsualPage:
    """A page that msgspec could read: strict JSON, and no member that was not known before.

    Attributes:
        members: What stands in its messages.
        message_ids: Of each message.
        times: `occurred_at` of each message, as it was sent.
        company_ids: The JSON of all company ids in it.
    """

    members: Members
    message_ids: list[str]
    times: list[str]
    company_ids: set[bytes]


class KnownMembers:
    """The members that messages have had so far. May be used by several threads.

    msgspec reads a page several times faster than DuckDB, but has to be told the names of all members before.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._members = Members({place: frozenset(site.members) for place, site in _SITES.items()})
        self._decoder = _decoder(self._members.names)

    def read(self, path: Path) -> UsualPage | None:
        """Reads a page; `None` if it takes a closer look: another member, another type, or JSON that DuckDB reads otherwise."""
        with self._lock:
            members, decoder = self._members, self._decoder
        if decoder is None:
            return None
        page = UsualPage(members, [], [], set())
        decode = decoder.decode
        try:
            # msgspec doesn't look at the bytes of a text that it only passes over
            _check_utf8(path)
            for lines in _chunks(path):
                if len(lines) > _MOST_BYTES_OF_LINES:
                    return None
                # msgspec would take several objects on one line, or one on several, as well
                messages = [decode(line) for line in lines.splitlines()]
                page.message_ids.extend([message.message_id for message in messages])
                page.times.extend([message.occurred_at for message in messages])
                page.company_ids.update([bytes(message.metadata.company_id) for message in messages])
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, AttributeError, pa.ArrowInvalid):
            return None
        return page

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


def _check_utf8(path: Path) -> None:
    with pa.memory_map(str(path)) as body:
        text = body.read_buffer()
        ends = pa.py_buffer(array("q", (0, text.size)))
        pa.LargeStringArray.from_buffers(1, ends, text).validate(full=True)


def _decoder(names: dict[str, frozenset[str]]) -> msgspec.json.Decoder[Any] | None:
    """Reads lines that have just these members; `None` if there are too many, or names that msgspec can't be told."""
    if any(len(found) > _MOST_NAMES for found in names.values()):
        return None
    try:
        types = {place: _struct(place, dict.fromkeys(names[place], msgspec.Raw)) for place in LISTS}
        types |= {place: _struct(place, dict.fromkeys({*names[place], _COMPANY_ID}, msgspec.Raw)) for place in OBJECTS}
        parts: dict[str, Any] = {name: types[name] | None for name in OBJECTS}
        parts |= {name: GenericAlias(list, (types[name] | None,)) | None for name in LISTS}
        parts |= dict.fromkeys(_REQUIRED, str)
        message = _struct("message", dict.fromkeys(names[MESSAGE.name], msgspec.Raw) | parts)
    except ValueError:
        return None
    return msgspec.json.Decoder(message)


def _struct(name: str, members: Mapping[str, Any]) -> Any:
    """A type with these members; the ones that are read have their own names in Python, too."""
    fields: list[Any] = []
    rename = {}
    for number, (member, kind) in enumerate(members.items()):
        field = member if member in _READ else f"member_{number}"
        rename[field] = member
        if member in _REQUIRED:
            fields.append((field, kind))
        else:
            fields.append((field, kind, msgspec.Raw() if kind is msgspec.Raw else None))
    return msgspec.defstruct(name, fields, rename=rename, forbid_unknown_fields=True, gc=False, kw_only=True)
