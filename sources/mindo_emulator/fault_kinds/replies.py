"""Faults that answer something else altogether: an error status, a redirect, a web page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson

from ..answer import JSON, Answer
from ..errors import EXPIRED_CURSOR, EXPIRED_KEY, FOREIGN_KEY
from ..exchange import Exchange
from .registry import kind


def _become(answer: Answer, code: int, body: bytes, content_type: str = JSON, **headers: str) -> None:
    answer.status = code
    answer.headers = {"content-type": content_type} | {k.replace("_", "-"): v for k, v in headers.items()}
    answer.framing, answer.gzip, answer.body = "length", False, body


def _refuse(answer: Answer, code: int, message: str, **headers: str) -> None:
    _become(answer, code, orjson.dumps({"detail": message}), **headers)


@kind()
def status(
    answer: Answer,
    exchange: Exchange,
    *,
    status: int = 500,
    body: str | bytes = '{"detail": "error"}',
    content_type: str = JSON,
    headers: dict[str, str] | None = None,
) -> None:
    """Answer any status with any body."""
    _become(answer, status, body.encode() if isinstance(body, str) else body, content_type)
    answer.headers |= {name.lower(): value for name, value in (headers or {}).items()}


@kind()
def rate_limited(
    answer: Answer, exchange: Exchange, *, retry_after: float | str | None = 1, as_date: bool = False, status: int = 429
) -> None:
    """Answer 429; `retry_after` is seconds, any text, or None for no header; `as_date` prints it as an HTTP date."""
    _refuse(answer, status, "Demasiadas solicitudes")
    if as_date and isinstance(retry_after, int | float):
        answer.headers["retry-after"] = format_datetime(datetime.now(UTC) + timedelta(seconds=retry_after), usegmt=True)
    elif retry_after is not None:
        answer.headers["retry-after"] = str(retry_after)


@kind()
def server_error(
    answer: Answer, exchange: Exchange, *, status: int = 503, retry_after: float | str | None = None
) -> None:
    """Answer 500, 502, 503 or 504, with Retry-After if it is given."""
    _refuse(answer, status, "Error interno")
    if retry_after is not None:
        answer.headers["retry-after"] = str(retry_after)


@kind()
def html_page(answer: Answer, exchange: Exchange, *, status: int = 200) -> None:
    """Answer a web page, as a proxy or a maintenance screen does."""
    page = "<!DOCTYPE html>\n<html><body><h1>Mantenimiento</h1>\n<p>Volvemos pronto</p></body></html>\n"
    _become(answer, status, page.encode(), "text/html; charset=utf-8")


@kind()
def key_revoked(answer: Answer, exchange: Exchange) -> None:
    """Answer 401, as if the key had just been revoked."""
    _refuse(answer, 401, EXPIRED_KEY)


@kind()
def company_lost(answer: Answer, exchange: Exchange) -> None:
    """Answer 403, as if the key had just lost the company."""
    _refuse(answer, 403, FOREIGN_KEY)


@kind(cursor=True)
def expired_cursor(answer: Answer, exchange: Exchange, *, status: int = 410) -> None:
    """Refuse the cursor with 410 or 400."""
    _refuse(answer, status, EXPIRED_CURSOR)


@kind()
def redirect(answer: Answer, exchange: Exchange, *, location: str, status: int = 302) -> None:
    """Send the client to another address."""
    _refuse(answer, status, "Se ha movido", location=location)
