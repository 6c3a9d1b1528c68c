"""An answer as data: what is to be sent, in which framing, and how the connection ends.

The app makes plain answers; a fault is a function that changes one before it is delivered.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from .encode import STAMP
from .settings import EmulatorSettings

Framing = Literal["chunked", "length", "close"]
Ending = Literal["clean", "close", "reset", "hang"]

NDJSON = "application/x-ndjson"
JSON = "application/json"


@dataclass(slots=True)
class Answer:
    """What to send.

    Attributes:
        status: The HTTP status.
        headers: Headers, lower case.
        lines: Lines of the body, without newline; `STAMP` in them becomes `stamp`.
        body: The whole body instead of lines.
        stamp: The time of the export.
        newline: What ends a line.
        trailing_newline: Whether the last line ends so too.
        blank_every: An empty line after this many lines; 0 for none.
        chunk_lines: Lines per chunk.
        gzip: Compress the body.
        framing: How the length of the body is told: `close` tells nothing at all.
        announced: The Content-Length to claim, if it is not that of the body.
        ending: What happens after the body: a clean end, the connection closed or reset, or nothing ever.
        silent: Send nothing, not even a status line, before the ending.
        wait: Seconds before the first byte.
        drip: Number of pieces and the pause between them, in seconds.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    body: bytes | None = None
    stamp: bytes = b""
    newline: bytes = b"\n"
    trailing_newline: bool = True
    blank_every: int = 0
    chunk_lines: int = 128
    gzip: bool = False
    framing: Framing = "chunked"
    announced: int | None = None
    ending: Ending = "clean"
    silent: bool = False
    wait: float = 0.0
    drip: tuple[int, float] | None = None

    @classmethod
    def of_json(cls, status: int, content: Any, headers: dict[str, str] | None = None) -> Answer:
        """Return a short JSON answer with a Content-Length."""
        body = orjson.dumps(content)
        return cls(status, {"content-type": JSON, **(headers or {})}, body=body, framing="length")

    @classmethod
    def of_lines(cls, lines: list[bytes], stamp: str, settings: EmulatorSettings, gzip: bool) -> Answer:
        """Return a stream of lines as the settings want it written."""
        return cls(
            headers={"content-type": NDJSON},
            lines=lines,
            stamp=stamp.encode("ascii"),
            newline=settings.newline,
            trailing_newline=settings.trailing_newline,
            blank_every=settings.blank_lines_every,
            chunk_lines=max(1, settings.chunk_lines),
            gzip=gzip,
        )

    def chunks(self) -> Iterator[bytes]:
        """Yield the body in pieces, as it goes over the wire."""
        pieces = self._plain_chunks() if self.body is None else iter((self.body,))
        if not self.gzip:
            yield from pieces
            return
        packer = zlib.compressobj(1, wbits=31)
        for piece in pieces:
            yield packer.compress(piece)
        yield packer.flush()

    def payload(self) -> bytes:
        """Return the whole body, as it goes over the wire."""
        return b"".join(self.chunks())

    def freeze(self, body: bytes) -> None:
        """Make these bytes the body that goes over the wire, as they are."""
        if self.gzip:
            self.headers["content-encoding"] = "gzip"
        self.body, self.gzip = body, False

    def _plain_chunks(self) -> Iterator[bytes]:
        lines = self.lines
        if self.blank_every:
            lines = []
            for number, line in enumerate(self.lines):
                if number and number % self.blank_every == 0:
                    lines.append(b"")
                lines.append(line)
        last = len(lines)
        for first in range(0, last, self.chunk_lines):
            chunk = self.newline.join(lines[first : first + self.chunk_lines]).replace(STAMP, self.stamp)
            ended = first + self.chunk_lines >= last and not self.trailing_newline
            yield chunk if ended else chunk + self.newline
