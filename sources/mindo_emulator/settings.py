"""How the emulator behaves: keys, speed, limits and the way lines are written."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .model import MAX_LIMIT, Order


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


@dataclass(slots=True)
class EmulatorSettings:
    """Settings of an emulator; they may be changed while it runs.

    Attributes:
        keys: More keys: key to company id, or to None for a global key.
        demo_keys: Accept `GLOBAL_DEMO_KEY` and, for each company, `demo_key(company_id)`.
        latency: Seconds to wait before each answer.
        rate_limit: Requests per second, over all keys; more get 429 with Retry-After. None: no limit.
        page_cap: The most rows in a page, whatever `limit` asks for.
        order: `time` serves rows by (occurred_at, message_id), `shuffled` in a random but constant order.
        gzip: Compress for clients that accept it.
        trailing_newline: End the last line with a newline.
        newline: What ends a line.
        blank_lines_every: Put an empty line after this many lines; 0 for none.
        cursor_secret: Signs cursors; the random default makes cursors of another process invalid.
        cursor_ttl: Seconds that a cursor lives; None for ever.
        expired_cursor_status: The answer to an expired cursor.
        control: Offer the `/_emulator/` endpoints.
        clock: Tells the time that `exported_at` shows and that cursors age by.
        chunk_lines: Lines per write to the socket.
    """

    keys: dict[str, int | None] = field(default_factory=dict)
    demo_keys: bool = True
    latency: float = 0.0
    rate_limit: float | None = None
    page_cap: int = MAX_LIMIT
    order: Order = "time"
    gzip: bool = False
    trailing_newline: bool = True
    newline: bytes = b"\n"
    blank_lines_every: int = 0
    cursor_secret: str = field(default_factory=secrets.token_hex)
    cursor_ttl: float | None = None
    expired_cursor_status: int = 400
    control: bool = False
    clock: Callable[[], datetime] = utc_now
    chunk_lines: int = 128
