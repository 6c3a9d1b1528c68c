"""A world that is quick to make, an emulator over it, and a client that reads as plainly as a first script would."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import requests

from mindo_emulator import GLOBAL_DEMO_KEY, MESSAGES_PATH, Emulator, EmulatorSettings, World

END = "2026-05-01T00:00:00Z"
START = "2026-04-01T00:00:00Z"
ALL = "classifications,extractions,tool_calls,trace_id"


def make_world(messages: int = 600, **arguments: Any) -> World:
    return World.generate(**{"seed": 3, "start": START, "end": END, "messages": messages} | arguments)


@dataclass
class Client:
    """Reads the API without any defence."""

    url: str
    key: str = GLOBAL_DEMO_KEY
    session: requests.Session = field(default_factory=requests.Session)

    def params(self, **changes: Any) -> dict[str, Any]:
        return {"company_id": 42, "from": START, "to": END} | {
            {"start": "from", "end": "to"}.get(name, name): value for name, value in changes.items()
        }

    def get(
        self, path: str = MESSAGES_PATH, *, headers: dict[str, str] | None = None, timeout: float = 10, **changes: Any
    ) -> requests.Response:
        sent = {"X-API-Key": self.key} if headers is None else headers
        params = {name: value for name, value in self.params(**changes).items() if value is not None}
        return self.session.get(self.url + path, params=params, headers=sent, timeout=timeout, allow_redirects=False)

    def pages(self, **changes: Any) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of each page, until there is no sentinel."""
        cursor = None
        while True:
            response = self.get(cursor=cursor, **changes)
            assert response.status_code == 200, response.text
            lines = [json.loads(line) for line in response.content.split(b"\n") if line.strip()]
            cursor = lines.pop()["next_cursor"] if lines and "_truncated" in lines[-1] else None
            yield lines
            if cursor is None:
                return

    def rows(self, **changes: Any) -> list[dict[str, Any]]:
        """Return the rows of all pages, less `exported_at`."""
        rows = [row for page in self.pages(**changes) for row in page]
        for row in rows:
            row["metadata"].pop("exported_at", None)
        return rows

    def raw(self, wait: float = 5.0, **changes: Any) -> tuple[bytes, str]:
        """Return the bytes of an answer as they came, and how the connection ended: `fin`, `reset` or `timeout`."""
        address = urlsplit(self.url)
        query = urlencode({name: value for name, value in self.params(**changes).items() if value is not None})
        request = (
            f"GET {MESSAGES_PATH}?{query} HTTP/1.1\r\nHost: x\r\nX-API-Key: {self.key}\r\nConnection: close\r\n\r\n"
        )
        received = b""
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=wait) as connection:
            connection.sendall(request.encode())
            try:
                while part := connection.recv(1 << 16):
                    received += part
            except ConnectionResetError:
                return received, "reset"
            except TimeoutError:
                return received, "timeout"
        return received, "fin"


def by_id(messages: list[dict[str, Any]]) -> dict[tuple[int, str], dict[str, Any]]:
    """Return messages by key, each of which may come once only."""
    found = {(message["metadata"]["company_id"], message["message_id"]): message for message in messages}
    assert len(found) == len(messages)
    return found


@pytest.fixture(autouse=True)
def quiet_server(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test during which the server met an error of its own."""
    yield
    assert [r.getMessage() for r in caplog.get_records("call") if r.name.startswith("uvicorn")] == []


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator[World]]:
    """An emulator for the tests of one module; what they change they put back."""
    with Emulator(make_world()) as emulator:
        yield emulator


@pytest.fixture
def emulator(shared: Emulator[World]) -> Iterator[Emulator[World]]:
    """The module's emulator, without faults and with an empty log."""
    shared.faults.clear()
    shared.requests.clear()
    yield shared
    shared.faults.clear()


@pytest.fixture
def client(emulator: Emulator[World]) -> Iterator[Client]:
    made = Client(emulator.base_url)
    yield made
    made.session.close()


@pytest.fixture
def start_emulator() -> Iterator[Callable[..., tuple[Emulator[Any], Client]]]:
    """Start an emulator of one's own over any world and settings."""
    started: list[tuple[Emulator[Any], Client]] = []

    def start(world: Any = None, **settings: Any) -> tuple[Emulator[Any], Client]:
        emulator = Emulator(make_world() if world is None else world, EmulatorSettings(**settings)).start()
        started.append((emulator, Client(emulator.base_url)))
        return started[-1]

    yield start
    for emulator, client in started:
        client.session.close()
        emulator.stop()


@pytest.fixture
def compare() -> Callable[[list[dict[str, Any]], list[dict[str, Any]]], None]:
    """Assert that two lists hold the same messages, in any order, none of them twice."""

    def check(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> None:
        assert by_id(left) == by_id(right)

    return check


@pytest.fixture
def new_world() -> Callable[..., World]:
    return make_world
