"""Runs the emulator: in a background thread for tests and demos, or in the foreground for the command line."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Generic, Self, TypeVar

import uvicorn

from .access import KeyRing, RequestLog
from .app import Service, build_app
from .bulk import BulkWorld
from .control import control_routes
from .delivery import ExposingProtocol
from .faults import FaultBook
from .model import GLOBAL_DEMO_KEY, ServedWorld, demo_key
from .settings import EmulatorSettings
from .world import World

WorldT = TypeVar("WorldT", bound=ServedWorld)

LOOPBACK = "127.0.0.1"


class Emulator(Generic[WorldT]):
    """An emulator on its own thread, from `with Emulator(world) as emulator:` to the end of the block.

    Args:
        world: What to serve.
        settings: How to serve it.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.

    Attributes:
        world: The world; change it at any time.
        settings: The settings; change them at any time.
    """

    def __init__(
        self, world: WorldT, settings: EmulatorSettings | None = None, *, host: str = LOOPBACK, port: int = 0
    ) -> None:
        self.world = world
        self.settings = settings or EmulatorSettings()
        self._service = Service(world, self.settings)
        self._host = host
        self._port = port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """The address of the server, without a slash at the end. The port stays the same over `refused`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def faults(self) -> FaultBook:
        """The faults."""
        return self._service.faults

    @property
    def requests(self) -> RequestLog:
        """The requests received so far."""
        return self._service.requests

    @property
    def keys(self) -> KeyRing:
        """The API keys: revoke them, or take companies away from them."""
        return self._service.keys

    def start(self) -> Self:
        """Start to serve and return when connections are accepted."""
        if self._thread is not None:
            raise RuntimeError("the emulator is running")
        listener = _listen(self._host, self._port)
        self._port = listener.getsockname()[1]
        self._server = make_server(self._service)
        self._thread = threading.Thread(target=self._run, args=(self._server, listener), name="mindo-emulator")
        self._thread.daemon = True
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the emulator did not start")
            time.sleep(0.002)
        return self

    def stop(self) -> None:
        """Stop to serve; hanging and slow answers end at once. Does nothing if it is stopped."""
        if self._thread is None or self._server is None:
            return
        self._server.should_exit = True
        self._thread.join()
        self._thread = self._server = None

    @contextlib.contextmanager
    def refused(self) -> Iterator[None]:
        """Refuse connections within the block: nothing listens on the port."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, server: uvicorn.Server, listener: socket.socket) -> None:
        server.run(sockets=[listener])


class _PatientServer(uvicorn.Server):
    """A server that tells its service when it stops, so that answers that wait do not hold it up."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Each run has a loop of its own, and an event belongs to one loop.
        self._service.stopping = asyncio.Event()
        await super().startup(sockets=sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.stopping.set()
        await super().shutdown(sockets=sockets)


def make_server(service: Service) -> uvicorn.Server:
    """Return a uvicorn server for a service; it listens on the sockets given to `run`."""
    extra = control_routes(service) if service.settings.control else []
    config = uvicorn.Config(
        build_app(service, extra),
        http=ExposingProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    return _PatientServer(config, service)


def serve(
    *,
    host: str = LOOPBACK,
    port: int = 8765,
    seed: int = 1,
    companies: tuple[int, ...] = (42, 57, 63),
    messages: int = 8_000,
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    bulk: bool = False,
    latency: float = 0.0,
    rate_limit: float | None = None,
    settings: EmulatorSettings | None = None,
    announce: bool = True,
) -> None:
    """Serve a generated world until interrupted; this is what `mindo emulator` calls.

    Args:
        host: Address to listen on; anything but loopback lets other machines in.
        port: Port to listen on; 0 takes a free one.
        seed: Seed of the world.
        companies: Company ids.
        messages: How many messages.
        start: First moment of the world; default 60 days before `end`.
        end: Moment after its last; default now.
        bulk: Serve a `BulkWorld`, for millions of messages.
        latency: Seconds to wait before each answer; goes over the settings if given.
        rate_limit: Requests per second before 429; goes over the settings if given.
        settings: How else to serve; the default offers the control endpoints and is otherwise plain.
        announce: Print the address and the keys on standard error.
    """
    make: type[World] | type[BulkWorld] = BulkWorld if bulk else World
    world = make.generate(seed=seed, companies=companies, start=start, end=end, messages=messages)
    # The world is there to stay; without this the garbage collector walks all over it, again and again.
    gc.freeze()
    chosen = settings or EmulatorSettings(control=True)
    chosen = replace(chosen, latency=latency or chosen.latency, rate_limit=rate_limit or chosen.rate_limit)
    service = Service(world, chosen)
    listener = _listen(host, port)
    if announce:
        _announce(world, f"http://{host}:{listener.getsockname()[1]}", messages)
    with contextlib.suppress(KeyboardInterrupt):
        make_server(service).run(sockets=[listener])


def _announce(world: ServedWorld, url: str, messages: int) -> None:
    lines = [
        f"Mindo emulator on {url} with {messages:,} messages. Ctrl-C stops it.",
        f"  {GLOBAL_DEMO_KEY}  all companies",
    ]
    lines += [f"  {demo_key(company.id)}  {company.id} {company.name}" for company in world.companies.values()]
    print("\n".join(lines), file=sys.stderr, flush=True)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Listening from here on, a client may connect before the loop runs: the kernel queues it.
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener
