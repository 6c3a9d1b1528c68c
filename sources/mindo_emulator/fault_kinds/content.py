"""Faults of the content: lines that are no rows, rows that do not belong here."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson

from ..answer import Answer
from ..encode import STAMP
from ..exchange import Exchange
from ..moments import print_moment
from .registry import kind, place

_TEXT = re.compile(rb'("content":\{"type":"[^"]*","text":")')


def _insert(answer: Answer, exchange: Exchange, where: str | int, line: bytes) -> None:
    lines = list(answer.lines)
    lines.insert(place(len(exchange.rows.lines), where), line)
    answer.lines = lines


def _replace(answer: Answer, exchange: Exchange, where: str | int, change: Callable[[bytes], bytes]) -> None:
    rows = len(exchange.rows.lines)
    if rows:
        index = min(place(rows, where), rows - 1)
        answer.lines = [*answer.lines[:index], change(answer.lines[index]), *answer.lines[index + 1 :]]


def _stray(answer: Answer, exchange: Exchange) -> dict[str, Any]:
    """Return a row like the first of the page (or an empty one) under an id of its own."""
    first = exchange.rows.lines[0].replace(STAMP, answer.stamp) if exchange.rows.lines else b'{"metadata":{}}'
    row: dict[str, Any] = orjson.loads(first)
    return row | {"message_id": f"msg_{secrets.token_hex(12)}"}


@kind()
def error_line(
    answer: Answer,
    exchange: Exchange,
    *,
    where: str | int = "end",
    code: str = "INTERNAL_ERROR",
    message: str = "error interno",
) -> None:
    """Emit an `_error` line: at the end it replaces the sentinel, elsewhere rows follow it."""
    if where == "end":
        answer.lines = answer.lines[: len(exchange.rows.lines)]
    _insert(answer, exchange, where, orjson.dumps({"_error": {"code": code, "message": message}}))


@kind()
def bad_json_line(answer: Answer, exchange: Exchange, *, where: str | int = "middle") -> None:
    """Spoil a row, so that it is no JSON."""
    _replace(answer, exchange, where, lambda line: line[:-1] + b",,}")


@kind()
def bad_utf8_line(answer: Answer, exchange: Exchange, *, where: str | int = "middle") -> None:
    """Put a byte into a row's id that no UTF-8 text can hold."""
    _replace(answer, exchange, where, lambda line: line.replace(b'"msg_', b'"msg_\xff', 1))


@kind()
def foreign_line(answer: Answer, exchange: Exchange, *, where: str | int = "middle", line: str = "[1, 2]") -> None:
    """Insert a line that is JSON but no row: a list, a number, `{}`, an object of another kind."""
    _insert(answer, exchange, where, line.encode())


@kind()
def joined_lines(answer: Answer, exchange: Exchange, *, where: str | int = "middle") -> None:
    """Lose the newline between two rows."""
    rows = len(exchange.rows.lines)
    if rows > 1:
        index = min(place(rows, where), rows - 2)
        joined = answer.lines[index] + answer.lines[index + 1]
        answer.lines = [*answer.lines[:index], joined, *answer.lines[index + 2 :]]


@kind()
def blank_lines(answer: Answer, exchange: Exchange, *, every: int = 1) -> None:
    """Put empty lines among the rows."""
    answer.blank_every = every


@kind()
def crlf(answer: Answer, exchange: Exchange) -> None:
    """End lines with CR LF."""
    answer.newline = b"\r\n"


@kind()
def no_trailing_newline(answer: Answer, exchange: Exchange) -> None:
    """End the last line with the body itself."""
    answer.trailing_newline = False


@kind()
def huge_line(answer: Answer, exchange: Exchange, *, size: int = 10_000_000, where: str | int = "middle") -> None:
    """Pad a row with white space inside the JSON: `size` bytes long, and the same row all the same."""
    _replace(answer, exchange, where, lambda line: line[:1] + b" " * (size - len(line)) + line[1:])


@kind()
def lone_surrogate(answer: Answer, exchange: Exchange, *, where: str | int = "middle") -> None:
    r"""Put half of a surrogate pair, as the escape `\ud83d`, into the text of the first row from there that has one."""
    rows = len(exchange.rows.lines)
    chosen = min(place(rows, where), max(0, rows - 1))
    for index in [*range(chosen, rows), *range(chosen)]:
        changed, count = _TEXT.subn(rb"\1\\ud83d", answer.lines[index], count=1)
        if count:
            answer.lines = [*answer.lines[:index], changed, *answer.lines[index + 1 :]]
            return


@kind()
def out_of_order(answer: Answer, exchange: Exchange) -> None:
    """Send the rows of the page backwards; the sentinel stays last."""
    rows = len(exchange.rows.lines)
    answer.lines = [*answer.lines[:rows][::-1], *answer.lines[rows:]]


@kind()
def doubled_rows(answer: Answer, exchange: Exchange, *, rows: int = 3) -> None:
    """Send the first rows of the page a second time at its end."""
    count = len(exchange.rows.lines)
    answer.lines = [*answer.lines[:count], *answer.lines[:rows], *answer.lines[count:]]


@kind()
def outside_window(answer: Answer, exchange: Exchange, *, where: str | int = "middle", seconds: float = 1.0) -> None:
    """Add a row from so many seconds before the window (negative: after its end)."""
    if exchange.query is not None:
        early = exchange.query.start - timedelta(seconds=seconds)
        moment = early if seconds > 0 else exchange.query.end - timedelta(seconds=seconds)
        stray = _stray(answer, exchange) | {"occurred_at": print_moment(moment)}
        _insert(answer, exchange, where, orjson.dumps(stray))


@kind()
def other_company(answer: Answer, exchange: Exchange, *, where: str | int = "middle", company_id: int = 999) -> None:
    """Add a row of a company that was not asked for."""
    stray = _stray(answer, exchange)
    stray["metadata"]["company_id"] = company_id
    _insert(answer, exchange, where, orjson.dumps(stray))
