"""Faults of the connection: bodies that end early, resets, slowness."""

from __future__ import annotations

from ..answer import Answer, Framing
from ..exchange import Exchange
from .registry import kind


def _cut(answer: Answer, at: float) -> None:
    payload = answer.payload()
    if answer.framing == "length":
        answer.announced = len(payload)
    # At least one byte is missing, or it would be no cut.
    answer.freeze(payload[: min(int(len(payload) * at), len(payload) - 1)] if payload else b"")


def _keep_rows(answer: Answer, exchange: Exchange, at: float) -> None:
    rows = len(exchange.rows.lines)
    answer.lines = answer.lines[: min(int(rows * at), rows)]


@kind()
def reset_before(answer: Answer, exchange: Exchange) -> None:
    """Reset the connection (RST) before the status line."""
    answer.silent, answer.ending = True, "reset"


@kind()
def close_before(answer: Answer, exchange: Exchange) -> None:
    """Close the connection (FIN) before the status line."""
    answer.silent, answer.ending = True, "close"


@kind()
def reset_in_body(answer: Answer, exchange: Exchange, *, at: float = 0.5) -> None:
    """Reset the connection (RST) when this share of the body is sent."""
    _cut(answer, at)
    answer.ending = "reset"


@kind()
def cut_chunked(answer: Answer, exchange: Exchange, *, at: float = 0.5) -> None:
    """Close the connection inside a chunked body: the last chunk is missing."""
    answer.framing = "chunked"
    _cut(answer, at)
    answer.ending = "close"


@kind()
def cut_length(answer: Answer, exchange: Exchange, *, at: float = 0.5) -> None:
    """Close the connection before the announced Content-Length is reached."""
    answer.framing = "length"
    _cut(answer, at)
    answer.ending = "close"


@kind()
def close_delimited(answer: Answer, exchange: Exchange) -> None:
    """Send everything, but with neither Content-Length nor chunks: nobody can tell that it is all."""
    answer.framing = "close"


@kind()
def close_early(answer: Answer, exchange: Exchange, *, at: float = 0.5) -> None:
    """End a close-delimited body early, exactly on a line end, and without the sentinel."""
    answer.framing = "close"
    _keep_rows(answer, exchange, at)


@kind()
def half_line(answer: Answer, exchange: Exchange, *, at: float = 0.5, framing: Framing = "chunked") -> None:
    """End the body in the middle of a line, and cleanly as far as the framing goes."""
    answer.framing, answer.trailing_newline = framing, False
    whole = answer.lines
    _keep_rows(answer, exchange, at)
    kept = len(answer.lines)
    if kept < len(whole):
        answer.lines = [*answer.lines, whole[kept][: len(whole[kept]) // 2]]


@kind()
def clean_end_early(answer: Answer, exchange: Exchange, *, at: float = 0.5) -> None:
    """End a chunked body cleanly after this share of its rows, without the sentinel: it looks like the last page."""
    answer.framing = "chunked"
    _keep_rows(answer, exchange, at)


@kind()
def slow_start(answer: Answer, exchange: Exchange, *, seconds: float = 1.0) -> None:
    """Wait before the first byte."""
    answer.wait += seconds


@kind()
def slow_drip(answer: Answer, exchange: Exchange, *, pieces: int = 20, pause: float = 0.1) -> None:
    """Send the body in small pieces with pauses."""
    answer.drip = (pieces, pause)


@kind()
def hang(answer: Answer, exchange: Exchange, *, at: float | None = None) -> None:
    """Send nothing, or (with `at`) this share of the body, and then nothing more until the client leaves."""
    answer.ending = "hang"
    if at is None:
        answer.silent = True
    else:
        _cut(answer, at)
