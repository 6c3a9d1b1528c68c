"""Sends an answer: the plain ones through ASGI, broken ones with the help of the raw connection."""

from __future__ import annotations

import asyncio
import http
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from email.utils import formatdate
from typing import cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .answer import Answer

TRANSPORT = "mindo_emulator.transport"
"""Extension of the ASGI scope that holds the connection's transport."""

_SETTLE = 0.05  # seconds; lets bytes already written reach the client before a reset throws the rest away


class ExposingProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with the transport in the scope, so that an app can break a connection."""

    def on_message_begin(self) -> None:
        """Start a request's scope."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


class Delivery(Response):
    """An ASGI response that sends an `Answer`.

    Args:
        answer: What to send.
        stopping: Set when the server stops: ends waits and hangs at once.
    """

    def __init__(self, answer: Answer, stopping: asyncio.Event) -> None:
        self.answer = answer
        self.stopping = stopping
        self.status_code = answer.status
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer and end the connection as it says."""
        answer = self.answer
        await self._pause(answer.wait)
        transport = cast(asyncio.Transport, scope["extensions"][TRANSPORT]["transport"])
        write = _RawWriter(transport) if answer.framing == "close" else _AsgiWriter(send)
        if not answer.silent:
            await write.head(answer)
            for number, piece in enumerate(_pieces(answer)):
                if number and answer.drip:
                    await self._pause(answer.drip[1])
                if transport.is_closing():
                    await _gone(receive)
                    return
                await write.body(piece)
        await _ENDINGS[answer.ending](self, write, transport, receive)

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            try:
                await asyncio.wait_for(self.stopping.wait(), seconds)
            except TimeoutError:
                return

    async def _end_clean(self, write: _Writer, transport: asyncio.Transport, receive: Receive) -> None:
        await write.end()
        if transport.is_closing():
            await _gone(receive)

    async def _end_close(self, write: _Writer, transport: asyncio.Transport, receive: Receive) -> None:
        transport.close()
        await _gone(receive)

    async def _end_reset(self, write: _Writer, transport: asyncio.Transport, receive: Receive) -> None:
        await self._pause(_SETTLE)
        if not transport.is_closing():  # the client may have left meanwhile
            # Zero linger makes the kernel send RST instead of FIN.
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        await _gone(receive)

    async def _end_hang(self, write: _Writer, transport: asyncio.Transport, receive: Receive) -> None:
        client = asyncio.ensure_future(_gone(receive))
        server = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({client, server}, return_when=asyncio.FIRST_COMPLETED)
        client.cancel()
        server.cancel()
        await self._end_close(write, transport, receive)


class _AsgiWriter:
    """Writes through uvicorn, which does the framing by chunks or by length."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def head(self, answer: Answer) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in _headers(answer).items()]
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})

    async def body(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class _RawWriter:
    """Writes to the connection itself, without any framing: the body ends where the connection does."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    async def head(self, answer: Answer) -> None:
        reason = http.HTTPStatus(answer.status).phrase if answer.status in set(http.HTTPStatus) else ""
        headers = {"date": formatdate(usegmt=True), **_headers(answer), "connection": "close"}
        text = f"HTTP/1.1 {answer.status} {reason}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items())
        self._transport.write(text.encode("latin-1") + b"\r\n")

    async def body(self, piece: bytes) -> None:
        self._transport.write(piece)

    async def end(self) -> None:
        self._transport.close()


_Writer = _AsgiWriter | _RawWriter
_ENDINGS: dict[str, Callable[[Delivery, _Writer, asyncio.Transport, Receive], Awaitable[None]]] = {
    "clean": Delivery._end_clean,
    "close": Delivery._end_close,
    "reset": Delivery._end_reset,
    "hang": Delivery._end_hang,
}


def _headers(answer: Answer) -> dict[str, str]:
    headers = dict(answer.headers)
    if answer.gzip:
        headers["content-encoding"] = "gzip"
    if answer.framing == "length":
        length = answer.announced if answer.announced is not None else len(answer.payload())
        headers["content-length"] = str(length)
    return headers


def _pieces(answer: Answer) -> Iterator[bytes]:
    if answer.drip is None:
        yield from answer.chunks()
        return
    body = answer.payload()
    size = max(1, -(-len(body) // max(1, answer.drip[0])))
    yield from (body[first : first + size] for first in range(0, len(body), size))


async def _gone(receive: Receive) -> None:
    # uvicorn takes an unfinished response for a bug unless it has seen the connection go.
    while (await receive())["type"] != "http.disconnect":
        pass
