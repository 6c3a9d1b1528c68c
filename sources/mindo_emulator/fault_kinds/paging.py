"""Faults of paging: sentinels and cursors that mislead."""

from __future__ import annotations

from ..answer import Answer
from ..exchange import Exchange, sentinel_line
from .registry import kind, place


def _end_with(answer: Answer, exchange: Exchange, sentinel: bytes) -> None:
    answer.lines = [*answer.lines[: len(exchange.rows.lines)], sentinel]


@kind()
def empty_page(answer: Answer, exchange: Exchange) -> None:
    """Send no rows, but a cursor; it leads to the rows that belonged here."""
    answer.lines = [exchange.sentinel(exchange.after)]


@kind()
def repeated_cursor(answer: Answer, exchange: Exchange) -> None:
    """Send the page with the cursor that led to it; on the first page, with one that leads back to it."""
    _end_with(answer, exchange, sentinel_line(exchange.cursor or exchange.cursor_after(None)))


@kind()
def rows_repeated(answer: Answer, exchange: Exchange, *, rows: int = 3) -> None:
    """Let the next page begin with the last rows of this one."""
    keys = exchange.rows.keys
    if keys:
        _end_with(answer, exchange, exchange.sentinel(keys[-1 - rows] if rows < len(keys) else exchange.after))


@kind()
def lost_sentinel(answer: Answer, exchange: Exchange) -> None:
    """Send all rows of the page, but not the sentinel."""
    answer.lines = answer.lines[: len(exchange.rows.lines)]


@kind()
def sentinel_without_cursor(answer: Answer, exchange: Exchange) -> None:
    """Say that more follows, but not where."""
    _end_with(answer, exchange, sentinel_line(None))


@kind()
def misplaced_sentinel(answer: Answer, exchange: Exchange, *, where: str | int = "middle") -> None:
    """Put the sentinel among the rows instead of at the end."""
    rows = list(answer.lines[: len(exchange.rows.lines)])
    rows.insert(place(len(rows), where), exchange.sentinel(exchange.rows.keys[-1] if exchange.rows.keys else None))
    answer.lines = rows
