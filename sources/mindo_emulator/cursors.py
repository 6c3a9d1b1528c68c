"""Opaque page cursors: a place in the order of rows, bound to the query and signed.

A cursor holds the key of the last row served, not a count of rows: rows that come or go between two pages neither
repeat nor hide others.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

import orjson

from .errors import BAD_CURSOR, EXPIRED_CURSOR, ApiError
from .model import Key, Query
from .settings import EmulatorSettings

START: Key = (-(2**62), "", -1)
"""The key before every row."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A decoded cursor.

    Attributes:
        after: The key of the last row already served.
        page: The number of the page it leads to; 2 is the first that needs a cursor.
    """

    after: Key
    page: int


class CursorCodec:
    """Writes and reads cursors under the secret and lifetime of the settings."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self._settings = settings

    def encode(self, query: Query, after: Key, page: int) -> str:
        """Return the cursor that leads to page number `page`, starting after the key."""
        body = orjson.dumps([after, page, self._settings.clock().timestamp()])
        return base64.urlsafe_b64encode(self._sign(query, body) + body).decode("ascii")

    def decode(self, query: Query, text: str) -> Cursor:
        """Return what a cursor says.

        Raises:
            ApiError: if it is malformed, belongs to another query or has expired.
        """
        try:
            raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise ApiError(400, BAD_CURSOR) from None
        signature, body = raw[:16], raw[16:]
        if not hmac.compare_digest(signature, self._sign(query, body)):
            raise ApiError(400, BAD_CURSOR)
        after, page, issued = orjson.loads(body)
        ttl = self._settings.cursor_ttl
        if ttl is not None and self._settings.clock().timestamp() - issued > ttl:
            raise ApiError(self._settings.expired_cursor_status, EXPIRED_CURSOR)
        return Cursor((after[0], after[1], after[2]), page)

    def _sign(self, query: Query, body: bytes) -> bytes:
        # The limit is left out on purpose: a client may change the page size on its way.
        bound = repr(
            (
                sorted(query.company_ids),
                query.start,
                query.end,
                query.channel,
                query.direction,
                sorted(query.agent_ids or ()),
                query.agent_ids is None,
                sorted(query.include),
                self._settings.order,
            )
        )
        secret = self._settings.cursor_secret.encode()
        return hmac.new(secret, bound.encode() + b"\0" + body, hashlib.sha256).digest()[:16]
