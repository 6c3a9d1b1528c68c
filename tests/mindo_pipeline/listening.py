"""A web server that takes what is posted to it: a chat's webhook, or a collector of spans."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

SECRET = "T0000/B0000/verysecretpart"


@dataclass
class Post:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Listener:
    """What a server was told.

    Attributes:
        url: Where it listens.
        posts: What came, in order.
        statuses: What it answers, one after the other; then 200.
    """

    url: str
    posts: list[Post] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    @property
    def webhook(self) -> str:
        """A URL as Slack's: whoever knows it can write."""
        return f"{self.url}/services/{SECRET}"

    @property
    def texts(self) -> list[str]:
        """The messages that a webhook was told."""
        return [json.loads(post.body)["text"] for post in self.posts]

    @property
    def spans(self) -> list[Span]:
        """The spans that a collector was told."""
        requests = [ExportTraceServiceRequest.FromString(post.body) for post in self.posts]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@contextmanager
def listening() -> Iterator[Listener]:
    """Runs such a server."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            listener.posts.append(Post(self.path, dict(self.headers), body))
            status = listener.statuses.pop(0) if listener.statuses else 200
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener = Listener(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield listener
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
