"""Servers that answer as a test says, over real sockets: for what the emulator can't say, or says in one way only."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from tests.support import DAY, NOW, Laboratory, Message, micros


@dataclass(frozen=True)
class Asked:
    """A request as the scripted server got it."""

    path: str
    params: dict[str, str]
    headers: dict[str, str]
    number: int
    """How many requests for this path came before."""


@dataclass(frozen=True)
class Reply:
    """What to answer.

    Attributes:
        body: The body, whole.
        status: HTTP status.
        headers: More headers.
        framing: How the end of the body is told.
        sent: How many bytes of the body are sent before the connection is closed; `None` for all.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    framing: Literal["chunked", "length", "close"] = "chunked"
    sent: int | None = None


def ndjson(*lines: Any, end: bytes = b"\n") -> bytes:
    """Lines as a body; bytes as they are, everything else as JSON."""
    return b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + end for line in lines)


def sentinel(cursor: Any, **others: Any) -> Message:
    """The line that says that more follows."""
    return {"_truncated": True, "next_cursor": cursor, **others}


def a_message(
    number: int = 1, occurred_at: str = "2026-04-25T12:00:00", company_id: int = 42, **members: Any
) -> Message:
    """A message as the contract shows it; members replace its own."""
    return {
        "message_id": f"msg_{number:024x}",
        "conversation_id": f"conv_{number // 4:024x}",
        "occurred_at": occurred_at,
        "channel": "META_WHATSAPP",
        "direction": "inbound",
        "author": {"type": "contact", "id": f"ctc_{number % 5:024x}", "display_name": None},
        "agent": None,
        "content": {"type": "text", "text": f"hola {number}", "media_url": None, "media_mime": None},
        "context": {"reply_to_message_id": None, "thread_position": None},
        "metadata": {
            "client_id": f"cmp_{company_id:024x}",
            "company_id": company_id,
            "exported_at": "2026-04-30T03:00:00.000001Z",
            "schema_version": "1.0",
        },
        "classifications": [],
        "extractions": [],
        "tool_calls": [],
        "trace_id": None,
        **members,
    }


class ScriptedApi:
    """A server that answers as a function says, over real sockets.

    Args:
        answer: Called with each request for messages; its bytes are a whole chunked NDJSON body.
        business: Called with each request for `business-info`.
    """

    def __init__(
        self, answer: Callable[[Asked], Reply | bytes], business: Callable[[Asked], Reply | bytes] | None = None
    ) -> None:
        self.requests: list[Asked] = []
        self._answers = {"messages": answer, "business-info": business or (lambda _: Reply(b"{}", 403))}
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ScriptedApi:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                name = url.path.strip("/").rpartition("/")[2]
                with api._lock:
                    asked = Asked(
                        url.path,
                        dict(parse_qsl(url.query, keep_blank_values=True)),
                        {header.lower(): value for header, value in self.headers.items()},
                        api._counts[name],
                    )
                    api._counts[name] += 1
                    api.requests.append(asked)
                reply = api._answers.get(name, lambda _: Reply(b"no", 404))(asked)
                _send(self, Reply(reply) if isinstance(reply, bytes) else reply)

            def log_message(self, *_: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                # a client that has seen enough of a broken answer leaves
                ...

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    handler.send_response(reply.status)
    for name, value in {"Content-Type": "application/x-ndjson", **reply.headers}.items():
        handler.send_header(name, value)
    if reply.framing == "chunked":
        handler.send_header("Transfer-Encoding", "chunked")
    elif reply.framing == "length":
        handler.send_header("Content-Length", str(len(reply.body)))
    else:
        handler.send_header("Connection", "close")
    handler.end_headers()
    body = reply.body if reply.sent is None else reply.body[: reply.sent]
    if reply.framing != "chunked":
        handler.wfile.write(body)
    elif body:
        # a cut body is announced whole and breaks off within its last chunk
        announced = body if reply.sent is None else reply.body
        handler.wfile.write(b"%x\r\n" % len(announced) + body + (b"\r\n" if reply.sent is None else b""))
    if reply.framing == "chunked" and reply.sent is None:
        handler.wfile.write(b"0\r\n\r\n")
    handler.close_connection = reply.sent is not None or reply.framing == "close"


class PlainApi(ScriptedApi):
    """A server that keeps the contract in its own way: it pages through lines that the test wrote.

    Args:
        rows: Messages, or lines as bytes together with (company, time).
        name_cursor: Turns a position into a cursor.
        order: Order in which rows are served; by default their own.
        extra: Members of every sentinel.
        framing: Framing of the bodies.
        end: End of every line.
        trim: Takes the last line end away.
        business: As in `ScriptedApi`.
        decorate: Changes a finished reply.
    """

    def __init__(
        self,
        rows: Iterable[Message | tuple[int, str, bytes]],
        *,
        name_cursor: Callable[[int], str] = str,
        order: Callable[[int], Any] = lambda place: place,
        extra: Mapping[str, Any] | None = None,
        framing: Literal["chunked", "length", "close"] = "chunked",
        end: bytes = b"\n",
        trim: bool = False,
        business: Callable[[Asked], Reply | bytes] | None = None,
        decorate: Callable[[Asked, Reply], Reply] = lambda _, reply: reply,
    ) -> None:
        super().__init__(self.answer, business)
        self.rows = list(rows)
        self._name_cursor = name_cursor
        self._order = order
        self._extra = extra or {}
        self._framing = framing
        self._end = end
        self._trim = trim
        self._decorate = decorate

    def answer(self, asked: Asked) -> Reply:
        """The page that was asked for."""
        company, start, end = int(asked.params["company_id"]), asked.params["from"], asked.params["to"]
        found = []
        for row in self.rows:
            owner, time, line = (
                row
                if isinstance(row, tuple)
                else (row["metadata"]["company_id"], row["occurred_at"], json.dumps(row, ensure_ascii=False).encode())
            )
            if owner == company and micros(start) <= micros(time) < micros(end):
                found.append(line)
        found = [found[place] for place in sorted(range(len(found)), key=self._order)]
        limit = int(asked.params["limit"])
        cursors = {self._name_cursor(place): place for place in range(0, len(found) + 1, limit)}
        first = cursors[asked.params["cursor"]] if "cursor" in asked.params else 0
        lines: list[Any] = found[first : first + limit]
        if first + limit < len(found):
            lines.append(sentinel(self._name_cursor(first + limit), **self._extra))
        body = ndjson(*lines, end=self._end)
        if self._trim:
            body = body[: -len(self._end)]
        return self._decorate(asked, Reply(body, framing=self._framing))


@contextmanager
def laboratory_at(api: ScriptedApi, **given: Any) -> Iterator[Laboratory]:
    """A laboratory of company 42 over a scripted server."""
    with api:
        laboratory = Laboratory(api)
        laboratory.given |= {
            "company_ids": [42],
            "start_date": NOW - 6 * DAY,
            "window_hours": 744,
            "confirm_windows": True,
        }
        laboratory.given |= given
        yield laboratory
