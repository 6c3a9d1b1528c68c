"""The proof of a page: what a spooled answer must be before a single row of it counts.

A page is an NDJSON body: message lines and, if there are more, a sentinel as its last line. It is proven when every line
is a JSON object, no line reports an error, every message has an id and lies in the window and company that was asked for.
"""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from .engine import LINES, MAX_LINE_BYTES, line_limit
from .exceptions import PageBroken
from .members import NO_MEMBERS, KnownMembers, Members, UsualPage, look_for_members
from .spool import open_private
from .sql import utc_timestamp
from .windows import Window

_TAIL_BYTES = 64 * 1024
_USUAL_TIME = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?Z?$"
"""What Arrow and DuckDB read alike."""
_NO_IDS = pa.array([], pa.string())
_NO_TIMES = pa.array([], pa.timestamp("us", "UTC"))


@dataclass(frozen=True)
class Page:
    """A proven page in the spool: message lines only, the sentinel is cut off.

    Attributes:
        path: The file; deleted when its window was shaped.
        ids: The message ids in it, in the order of its lines.
        times: When each of them occurred, UTC, in the same order.
        bytes: Its size as received, decompressed.
        next_cursor: The sentinel's cursor, or `None` on the last page.
        longest_line: An upper bound for the length of a line in bytes.
        newline_missing: Whether the body ended without a line end after its last, complete line.
        members: What stands in its messages.
    """

    path: Path
    ids: pa.Array
    times: pa.Array
    bytes: int
    next_cursor: str | None
    longest_line: int
    newline_missing: bool
    members: Members = NO_MEMBERS

    @property
    def rows(self) -> int:
        """Messages in it."""
        return len(self.ids)


def prove_page(path: Path, window: Window, connection: duckdb.DuckDBPyConnection, known: KnownMembers) -> Page:
    """Checks a spooled body and cuts its sentinel off.

    Args:
        path: The body as it arrived.
        window: What was asked for.
        connection: A DuckDB connection of the calling thread.
        known: The members that pages before had.

    Raises:
        PageBroken: If anything is wrong; names line and byte offset, never text.
    """
    size = path.stat().st_size
    last_line, offset = _last_line(path, size)
    sentinel = _parse_sentinel(last_line)
    newline_missing = bool(last_line) and not last_line.endswith(b"\n")
    next_cursor = None
    if sentinel is not None:
        next_cursor = _next_cursor(sentinel)
        os.truncate(path, offset)
    with path.open("rb") as body:
        head = body.read(_TAIL_BYTES).lstrip()
    if head and not head.startswith(b"{"):
        raise PageBroken("the answer is not NDJSON: is this the URL of a Mindo server?")
    if not head:
        return Page(path, _NO_IDS, _NO_TIMES, size, next_cursor, 0, newline_missing)
    usual = known.read(path)
    times = _times(usual, window) if usual is not None else None
    if usual is not None and times is not None:
        ids = pa.array(usual.message_ids, pa.string())
        return Page(path, ids, times, size, next_cursor, 0, newline_missing, usual.members)
    ids, times, longest = _check_lines(path, window, connection)
    _check_strictness(path)
    members = look_for_members(path, longest, connection)
    known.learn(members)
    return Page(path, ids, times, size, next_cursor, longest, newline_missing, members)


def _times(usual: UsualPage, window: Window) -> pa.Array | None:
    """When each message of a page occurred; `None` if that or another fact of it is wrong, or not plain to see."""
    company_id = str(window.company_id).encode()
    if not usual.company_ids <= {company_id, b'"%s"' % company_id} or "" in usual.message_ids:
        return None
    texts = pa.array(usual.times, pa.string())
    has_zone = usual.times[0].endswith("Z")
    if not pc.all(pc.match_substring_regex(texts, _USUAL_TIME)).as_py():
        return None
    try:
        times = texts.cast(_NO_TIMES.type if has_zone else pa.timestamp("us")).cast(_NO_TIMES.type)
    except pa.ArrowInvalid:
        return None
    first, last = pc.min_max(times).as_py().values()
    return times if window.start <= first and last < window.end else None


@dataclass(frozen=True)
class Ids:
    """The message ids of an answer that is only looked at; `next_cursor` is that of its sentinel, `None` without one."""

    ids: list[str]
    next_cursor: str | None


def read_ids(path: Path) -> Ids:
    """Reads the message ids of a spooled body. For a few lines that is much quicker than `prove_page`.

    Raises:
        PageBroken: If a line is neither a message nor the sentinel; names line and byte offset, never text.
    """
    ids: list[str] = []
    for number, offset, line in _lines(path):
        sentinel = _parse_sentinel(line)
        if sentinel is not None:
            return Ids(ids, _next_cursor(sentinel))
        try:
            ids.append(_message_id(line))
        except (ValueError, TypeError, KeyError):
            raise PageBroken(f"a line is no message (line {number}, byte {offset})") from None
    return Ids(ids, None)


# Plain columns: counting in SQL as well takes DuckDB longer to plan than a small page takes to be read.
_FACTS = f"""
SELECT message_id, {utc_timestamp("occurred_at")} AS time, metadata ->> '$.company_id' AS company_id,
    _error IS NOT NULL AS is_error, _truncated IS NOT NULL AS is_sentinel
FROM read_ndjson($path, {LINES}, columns = {{
    message_id: 'VARCHAR', occurred_at: 'VARCHAR', metadata: 'JSON', _error: 'JSON', _truncated: 'JSON'}})
"""


# DuckDB's reader lets these pass, though they are not JSON
_SUSPICIOUS = re.compile(rb"NaN|Infinity|,\s*[}\]]")


def _check_strictness(path: Path) -> None:
    if path.stat().st_size == 0:
        return
    with path.open("rb") as body, mmap.mmap(body.fileno(), 0, access=mmap.ACCESS_READ) as data:
        checked = 0
        for match in _SUSPICIOUS.finditer(data):
            if match.start() < checked:
                continue
            start, end = data.rfind(b"\n", 0, match.start()) + 1, data.find(b"\n", match.end())
            checked = end if end >= 0 else len(data)
            try:
                _readable(data[start:checked].decode("utf-8"))
            except (ValueError, RecursionError):
                number = data[:start].count(b"\n") + 1
                raise PageBroken(f"a line is not JSON (line {number}, byte {start})") from None


def _check_lines(path: Path, window: Window, connection: duckdb.DuckDBPyConnection) -> tuple[pa.Array, pa.Array, int]:
    """Ids and times of a page in which every line is right, and the length of its longest line if that is unusual."""
    longest = 0
    try:
        facts = _page_facts(path, connection, longest)
    except duckdb.Error:
        # DuckDB's message can quote the line; and it refuses some JSON that is legal (a lone surrogate escape, a name
        # given twice, a very long line). Python says where the line is, or writes it anew in a form DuckDB reads.
        longest = rewrite_lines(path)
        try:
            facts = _page_facts(path, connection, longest)
        except duckdb.Error:
            raise PageBroken(f"a line can't be read as JSON{_unreadable_line(path, connection)}") from None
    for (message, is_wrong), in_facts in zip(_WRONG_LINES, _wrong_facts(facts, window), strict=True):
        if pc.any(in_facts).as_py():
            raise PageBroken(f"{message}{_where(path, window, is_wrong)}")
    ids, times = (facts[name].combine_chunks() for name in ("message_id", "time"))
    return ids, times.cast(_NO_TIMES.type), longest


def _page_facts(path: Path, connection: duckdb.DuckDBPyConnection, longest_line: int) -> pa.Table:
    return connection.execute(_FACTS, {"path": str(path), "line_limit": line_limit(longest_line)}).to_arrow_table()


def _wrong_facts(facts: pa.Table, window: Window) -> Iterator[pa.ChunkedArray]:
    """Which lines are wrong, for each of `_WRONG_LINES`."""
    start, end = (pa.scalar(moment.replace(tzinfo=None), pa.timestamp("us")) for moment in (window.start, window.end))
    yield facts["is_error"]
    yield facts["is_sentinel"]
    yield pc.fill_null(pc.equal(facts["message_id"], ""), True)
    yield pc.is_null(facts["time"])
    yield pc.or_(pc.less(facts["time"], start), pc.greater_equal(facts["time"], end))
    yield pc.not_equal(facts["company_id"], str(window.company_id))


def _is_outside(line: dict[str, Any], window: Window) -> bool:
    try:
        moment = datetime.fromisoformat(str(line["occurred_at"]))
    except ValueError:
        return True
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return not window.start <= moment < window.end


def _has_no_time(line: dict[str, Any], _: Window) -> bool:
    try:
        datetime.fromisoformat(str(line.get("occurred_at")))
    except ValueError:
        return True
    return False


def _is_foreign(line: dict[str, Any], window: Window) -> bool:
    company = (line.get("metadata") or {}).get("company_id")
    return company is not None and str(company) != str(window.company_id)


# the order matters: an error line has no id either, and should be named for what it is
_WRONG_LINES: tuple[tuple[str, Callable[[dict[str, Any], Window], bool]], ...] = (
    ("the API reported an error in the stream", lambda line, _: "_error" in line),
    ("a sentinel stands before the last line", lambda line, _: "_truncated" in line),
    ("a message without message_id", lambda line, _: not line.get("message_id")),
    ("a message whose occurred_at is not a time", _has_no_time),
    ("a message outside of the requested window", _is_outside),
    ("a message of another company", _is_foreign),
)


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Number (from 1), byte offset and content of every line that is not blank."""
    offset = 0
    with path.open("rb") as body:
        for number, line in enumerate(body, start=1):
            if line.strip():
                yield number, offset, line
            offset += len(line)


def _where(path: Path, window: Window, is_wrong: Callable[[dict[str, Any], Window], bool]) -> str:
    for number, offset, line in _lines(path):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        # DuckDB reads a line that is just `null` as a message without any member
        if not isinstance(value, dict) or is_wrong(value, window):
            return f" (line {number}, byte {offset})"
    return ""


def _unreadable_line(path: Path, connection: duckdb.DuckDBPyConnection) -> str:
    for number, offset, line in _lines(path):
        try:
            connection.execute("SELECT CAST(? AS JSON)", [line.decode("utf-8")])
        except (duckdb.Error, ValueError):
            return f" (line {number}, byte {offset})"
    return ""


def rewrite_lines(path: Path) -> int:
    """Rewrites what DuckDB can't read though it is JSON; returns the length of the longest line.

    A lone surrogate escape, which no UTF-8 database can hold, becomes U+FFFD; of a name given twice the later value stays
    (in a page that needs no rewriting DuckDB decides which one does).
    """
    rewritten = path.with_suffix(".rewritten")
    longest = 0
    where = ""
    with open_private(rewritten) as target:
        for number, offset, line in _lines(path):
            try:
                text = _readable(line.decode("utf-8").strip())
            except (ValueError, RecursionError):
                raise PageBroken(f"a line is not a JSON object (line {number}, byte {offset})") from None
            data = text.encode("utf-8") + b"\n"
            if len(data) > longest:
                longest, where = len(data), f" (line {number}, byte {offset})"
            target.write(data)
    if longest > MAX_LINE_BYTES:
        raise PageBroken(f"a line is longer than {MAX_LINE_BYTES // 2**20} MB{where}")
    rewritten.replace(path)
    return longest


def _readable(text: str) -> str:
    names_repeat = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal names_repeat
        names_repeat |= len(dict(pairs)) < len(pairs)
        return dict(pairs)

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    value = json.loads(text, object_pairs_hook=members, parse_constant=refuse)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False)
    has_surrogate = any("\ud800" <= character <= "\udfff" for character in plain)
    if not names_repeat and not has_surrogate:
        return text
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _last_line(path: Path, size: int) -> tuple[bytes, int]:
    """The last line that is not blank, with its line end, and its byte offset."""
    tail_bytes = _TAIL_BYTES
    while True:
        with path.open("rb") as body:
            start = max(0, size - tail_bytes)
            body.seek(start)
            tail = body.read()
        content = tail.rstrip()
        cut = content.rfind(b"\n")
        if cut >= 0 or start == 0:
            line_start = cut + 1
            line_end = tail.find(b"\n", len(content))
            return tail[line_start : line_end + 1 if line_end >= 0 else len(tail)], start + line_start
        tail_bytes *= 8


def _parse_sentinel(line: bytes) -> dict[str, Any] | None:
    # the member must stand at the top level: a message's free text and arguments can hold the same characters
    if b'"_truncated"' not in line:
        return None
    try:
        value = orjson.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "_truncated" in value and "message_id" not in value else None


def _next_cursor(sentinel: dict[str, Any]) -> str | None:
    cursor = sentinel.get("next_cursor")
    if not sentinel["_truncated"]:
        return None
    if not isinstance(cursor, str) or not cursor:
        raise PageBroken("the sentinel has no next_cursor")
    return cursor


def _message_id(line: bytes) -> str:
    try:
        return str(json.loads(line)["message_id"])
    except RecursionError:
        raise PageBroken("a message that came twice is nested too deeply to be told from its repetition") from None


def drop_superseded_lines(pages: list[Page]) -> list[Page]:
    """Removes all lines but the last of each message id, over all pages of a window.

    A page edge can shift between two requests, so a message may come twice; the later line is the newer one.
    """
    last: dict[str, tuple[int, int]] = {}
    for index, page in enumerate(pages):
        for _, offset, line in _lines(page.path):
            last[_message_id(line)] = (index, offset)
    kept = []
    for index, page in enumerate(pages):
        reduced = page.path.with_suffix(".reduced")
        ids, places = [], []
        with open_private(reduced) as target:
            for place, (_, offset, line) in enumerate(_lines(page.path)):
                message_id = _message_id(line)
                if last[message_id] == (index, offset):
                    target.write(line.rstrip() + b"\n")
                    ids.append(message_id)
                    places.append(place)
        reduced.replace(page.path)
        kept.append(replace(page, ids=pa.array(ids, pa.string()), times=page.times.take(places)))
    return kept
