"""One request on its way to an answer: what the app found out about it, for faults to choose by and to use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from .cursors import START, CursorCodec
from .model import Key, PageSlice, Query


@dataclass(slots=True)
class Exchange:
    """A request that would be answered well.

    Attributes:
        path: `messages` or `business-info`.
        params: The query parameters.
        key: The API key sent.
        codec: Writes cursors.
        query: What it asks for; None for `business-info`.
        cursor: The cursor sent.
        after: The key that the cursor holds.
        page: The number of the page within its chain of cursors, from 1.
        rows: The page.
    """

    path: str
    params: Mapping[str, str]
    key: str | None
    codec: CursorCodec
    query: Query | None = None
    cursor: str | None = None
    after: Key | None = None
    page: int = 1
    rows: PageSlice = field(default_factory=PageSlice)

    def cursor_after(self, key: Key | None) -> str:
        """Return a cursor to the rows after a key; None means from the first row on."""
        if self.query is None:
            return ""
        return self.codec.encode(self.query, START if key is None else key, self.page + 1)

    def sentinel(self, key: Key | None) -> bytes:
        """Return the sentinel line that leads to the rows after a key."""
        return sentinel_line(self.cursor_after(key))


def sentinel_line(cursor: Any) -> bytes:
    """Return the line that says that more rows follow."""
    return orjson.dumps({"_truncated": True, "next_cursor": cursor})
