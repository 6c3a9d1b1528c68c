"""The API itself: the messages endpoint and `business-info`, from request to answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from .access import KeyRing, RateLimiter, ReceivedRequest, RequestLog
from .answer import Answer
from .corpus import business_info
from .cursors import CursorCodec
from .delivery import Delivery
from .errors import FOREIGN_KEY, ApiError
from .exchange import Exchange
from .faults import FaultBook
from .model import ServedWorld
from .moments import print_stamp
from .parameters import parse_limit, parse_query
from .settings import EmulatorSettings

MESSAGES_PATH = "/api/v1/qualitative-export/messages"
BUSINESS_PATH = "/api/v1/business-info/"

Responder = Callable[[Exchange, Request], Answer]


@dataclass(slots=True)
class Service:
    """Everything that answers requests, and the endpoints.

    Attributes:
        world: What is served.
        settings: How.
        faults: What goes wrong.
        requests: What came in.
        keys: Who may read.
        stopping: Set when the server stops.
    """

    world: ServedWorld
    settings: EmulatorSettings
    faults: FaultBook = field(default_factory=FaultBook)
    requests: RequestLog = field(default_factory=RequestLog)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    keys: KeyRing = field(init=False)
    codec: CursorCodec = field(init=False)
    limiter: RateLimiter = field(init=False)

    def __post_init__(self) -> None:
        self.keys = KeyRing(self.settings, self.world.companies)
        self.codec = CursorCodec(self.settings)
        self.limiter = RateLimiter(self.settings)

    def routes(self) -> list[Route]:
        """Return the endpoints of the API."""
        return [Route(MESSAGES_PATH, self.messages), Route(BUSINESS_PATH, self.business)]

    async def messages(self, request: Request) -> Delivery:
        """Answer a request for a page of messages."""
        return self._answer(request, "messages", self._page)

    async def business(self, request: Request) -> Delivery:
        """Answer a request for the key's own company."""
        return self._answer(request, "business-info", self._business)

    def _answer(self, request: Request, path: str, respond: Responder) -> Delivery:
        received = time.monotonic()
        params = dict(request.query_params)
        exchange = Exchange(path, params, request.headers.get("x-api-key"), self.codec)
        fault = None
        try:
            self.limiter.check()
            answer = respond(exchange, request)
        except ApiError as error:
            answer = Answer.of_json(error.status, {"detail": error.message}, error.headers)
        else:
            fault = self.faults.take(exchange)
            if fault is not None:
                fault.apply(answer, exchange)
        answer.wait += self.settings.latency
        self.requests.add(
            ReceivedRequest(
                path=request.url.path,
                params=params,
                headers=dict(request.headers),
                key=exchange.key,
                status=0 if answer.silent else answer.status,
                rows=len(exchange.rows.lines),
                fault=fault.kind if fault else None,
                at=received,
            )
        )
        return Delivery(answer, self.stopping)

    def _page(self, exchange: Exchange, request: Request) -> Answer:
        self.keys.scope(exchange.key)
        query = exchange.query = parse_query(exchange.params)
        limit = min(parse_limit(exchange.params), self.settings.page_cap)
        self.keys.check(exchange.key, query.company_ids)
        for company_id in query.company_ids:
            if company_id not in self.world.companies:
                raise ApiError(404, f"La empresa {company_id} no existe")
        exchange.cursor = exchange.params.get("cursor") or None
        if exchange.cursor is not None:
            cursor = self.codec.decode(query, exchange.cursor)
            exchange.after, exchange.page = cursor.after, cursor.page
        page = exchange.rows = self.world.page(query, exchange.after, limit, self.settings.order)
        lines = [*page.lines, exchange.sentinel(page.keys[-1])] if page.more else page.lines
        gzip = self.settings.gzip and "gzip" in request.headers.get("accept-encoding", "")
        return Answer.of_lines(lines, print_stamp(self.settings.clock()), self.settings, gzip)

    def _business(self, exchange: Exchange, request: Request) -> Answer:
        company_id = self.keys.scope(exchange.key)
        if company_id is None or company_id not in self.world.companies:
            # What a global key gets here is not documented; it has no company of its own.
            raise ApiError(403, FOREIGN_KEY)
        return Answer.of_json(200, business_info(self.world.companies[company_id]))


def build_app(service: Service, extra: list[Route] | None = None) -> Starlette:
    """Return the ASGI application of a service."""
    return Starlette(routes=[*service.routes(), *(extra or [])])
