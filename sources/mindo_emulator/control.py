"""Endpoints under `/_emulator/` that change the world and the faults of a server that runs as its own process.

`POST /_emulator/<action>` takes a JSON object of arguments; the actions and their arguments are those of `World`,
`FaultBook` and `KeyRing`. `GET /_emulator/stats` tells what is there, `GET /_emulator/truth` what a window has to hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .answer import JSON, NDJSON
from .app import Service
from .encode import encode
from .errors import ApiError
from .model import Company
from .moments import to_utc
from .parameters import parse_query
from .world import World

ADJUSTABLE = ("latency", "rate_limit", "page_cap", "gzip", "cursor_ttl", "blank_lines_every", "trailing_newline")
"""Settings that `POST /_emulator/settings` changes."""

Action = Callable[..., Any]


def control_routes(service: Service) -> list[Route]:
    """Return the control endpoints of a service."""
    actions = _actions(service)

    async def act(request: Request) -> Response:
        # A web page may post forms to loopback, but not JSON: the content type keeps such posts out.
        if request.headers.get("content-type", "").partition(";")[0].strip() != JSON:
            return _reply(415, {"detail": f"send {JSON}"})
        action = actions.get(request.path_params["action"])
        if action is None:
            return _reply(404, {"detail": f"no such action; there are: {', '.join(sorted(actions))}"})
        try:
            arguments = orjson.loads(await request.body() or b"{}")
            result = action(**arguments)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            return _reply(400, {"detail": f"{type(error).__name__}: {error}"})
        return _reply(200, {"result": result})

    async def stats(request: Request) -> Response:
        return _reply(200, _stats(service))

    async def truth(request: Request) -> Response:
        try:
            query = parse_query(request.query_params)
            world = _changeable(service)
        except (ApiError, TypeError) as error:
            return _reply(400, {"detail": str(error)})
        rows = world.truth(
            query.company_ids,
            query.start,
            query.end,
            channel=query.channel,
            agent_ids=query.agent_ids,
            direction=query.direction,
            include=query.include,
        )
        return Response(b"".join(encode(row) + b"\n" for row in rows), media_type=NDJSON)

    return [
        Route("/_emulator/stats", stats, methods=["GET"]),
        Route("/_emulator/truth", truth, methods=["GET"]),
        Route("/_emulator/{action}", act, methods=["POST"]),
    ]


def _changeable(service: Service) -> World:
    if not isinstance(service.world, World):
        raise TypeError("this world cannot be changed")
    return service.world


def _actions(service: Service) -> dict[str, Action]:
    def of_world(name: str) -> Action:
        return lambda **arguments: getattr(_changeable(service), name)(**arguments)

    def add_company(company_id: int, **members: Any) -> int:
        world = _changeable(service)
        return world.add_company(Company(company_id, **members) if members else company_id).id

    def add_fault(kind: str, **arguments: Any) -> str:
        return repr(service.faults.add(kind, **arguments))

    def settings(**values: Any) -> dict[str, Any]:
        unknown = sorted(set(values) - set(ADJUSTABLE))
        if unknown:
            raise ValueError(f"not adjustable: {', '.join(unknown)}")
        for name, value in values.items():
            setattr(service.settings, name, value)
        return {name: getattr(service.settings, name) for name in ADJUSTABLE}

    names = ("add_message", "edit_text", "reclassify", "set_member", "remove_member", "move", "delete")
    return {name: of_world(name) for name in names} | {
        "add_company": add_company,
        "add_fault": add_fault,
        "clear_faults": service.faults.clear,
        "revoke_key": service.keys.revoke,
        "withdraw_company": service.keys.withdraw,
        "restore_key": service.keys.restore,
        "settings": settings,
    }


def _stats(service: Service) -> dict[str, Any]:
    world = service.world
    span = world.span if isinstance(world, World) else None
    return {
        "companies": {
            str(company.id): {"name": company.name, "messages": world.count(company.id)}
            for company in list(world.companies.values())
        },
        "span": [to_utc(moment).isoformat() for moment in span] if span else None,
        "requests": len(service.requests),
        "faults": [{"kind": f.kind, "hits": f.hits, "seen": f.seen} for f in service.faults.all()],
    }


def _reply(status: int, content: Any) -> Response:
    return Response(encode(content), status, media_type=JSON)
