"""The tools that agents call in the demo world: arguments and results with many shapes, and failures."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .corpus import AWKWARD_ARGUMENTS
from .moments import print_moment

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: how it is called, what it returns, how long it takes and how often it fails."""

    arguments: Callable[[Facts, random.Random], dict[str, Any]]
    result: Callable[[Facts, random.Random], Any]
    typical_ms: int
    error_rate: float
    errors: tuple[str, ...]


def _order(facts: Facts, rng: random.Random) -> dict[str, Any]:
    arguments: dict[str, Any] = {"pedido": facts["order"]}
    if rng.random() < 0.5:
        arguments["cliente"] = {"nombre": facts["name"], "email": facts["email"]}
    if rng.random() < 0.2:
        # The model sometimes passes a number as text and sometimes not: types differ from call to call.
        arguments["pedido"] = int(facts["order"].split("-")[1])
    return arguments


def _order_result(facts: Facts, rng: random.Random) -> dict[str, Any]:
    return {
        "estado": rng.choice(("en_camino", "entregado", "preparando", "demorado")),
        "items": [{"sku": f"SKU{rng.randrange(900):03d}", "nombre": facts["product"], "cantidad": facts["quantity"]}],
        "total": facts["amount"],
        "entrega": {"ciudad": facts["city"], "fecha": facts["date"], "codigo_postal": None},
    }


def _stock(facts: Facts, rng: random.Random) -> dict[str, Any]:
    filters = {"color": rng.choice(("negro", "roble", "blanco"))} if rng.random() < 0.4 else None
    return {
        "producto": facts["product"],
        "sucursales": [facts["city"], "Online"][: rng.randint(1, 2)],
        "filtros": filters,
    }


def _slots(facts: Facts, rng: random.Random) -> list[dict[str, Any]]:
    return [{"fecha": facts["date"], "hora": f"{hour:02d}:30"} for hour in range(9, 9 + rng.randint(0, 4))]


TOOLS: dict[str, Tool] = {
    "buscar_pedido": Tool(_order, _order_result, 420, 0.03, ("Pedido no encontrado", "timeout after 10000 ms")),
    "consultar_stock": Tool(
        _stock,
        lambda f, r: [{"sucursal": f["city"], "unidades": r.randrange(12)}, {"sucursal": "Online", "unidades": None}],
        260,
        0.02,
        ("ERP no disponible",),
    ),
    "crear_devolucion": Tool(
        lambda f, r: {"pedido": f["order"], "motivo": r.choice(("fallado", "talle", "arrepentimiento")), "fotos": []},
        lambda f, r: f"DEV-{r.randrange(10_000, 99_999)}",
        900,
        0.09,
        ("Fuera del plazo de 30 días", 'HTTP 500: {"error": "internal"}'),
    ),
    "verificar_pago": Tool(
        lambda f, r: {
            "monto": f["amount"],
            "moneda": "ARS",
            "medio": {"tipo": "tarjeta", "cuotas": r.choice((1, 3, "6"))},
        },
        lambda f, r: {"acreditado": r.random() < 0.7, "intentos": r.randrange(4), "detalle": None},
        1_300,
        0.12,
        ("Gateway timeout", "invalid_token: el token venció"),
    ),
    "consultar_agenda": Tool(
        lambda f, r: {"prestacion": f["product"], "desde": f["date"], "profesional": r.choice((None, "Dra. Peña", 17))},
        _slots,
        350,
        0.03,
        ("Agenda bloqueada",),
    ),
    "reservar_turno": Tool(
        lambda f, r: {
            "paciente": {"nombre": f["name"], "documento": f["document"]},
            "fecha": f["date"],
            "recordatorio": True,
        },
        lambda f, r: {"turno_id": r.randrange(100_000), "confirmado": True},
        700,
        0.07,
        ("El horario ya no está disponible", "Paciente duplicado"),
    ),
    "cancelar_turno": Tool(
        lambda f, r: {"turno_id": r.randrange(100_000)}, lambda f, r: None, 300, 0.02, ("No existe",)
    ),
    "consultar_arancel": Tool(
        lambda f, r: {"prestacion": f["product"]}, lambda f, r: f["amount"], 180, 0.01, ("Sin arancel",)
    ),
    "consultar_cobertura": Tool(
        lambda f, r: {"plan": r.choice(("210", 310, "Sanitas Más")), "prestacion": f["product"]},
        lambda f, r: {
            "cobertura": r.choice((0.8, 1, 0)),
            "requiere": r.sample(["orden", "autorización"], r.randrange(3)),
        },
        1_100,
        0.15,
        ("Servicio de la obra social caído",),
    ),
}


@dataclass(frozen=True, slots=True)
class Incident:
    """A stretch of time in which one tool of one company fails a lot: something for an analyst to find."""

    tool: str
    start: datetime
    end: datetime

    def hits(self, tool: str, moment: datetime) -> bool:
        """Whether a call of the tool at this moment is affected."""
        return tool == self.tool and self.start <= moment < self.end


def call(
    name: str, facts: Facts, moment: datetime, rng: random.Random, incident: Incident, awkward: float
) -> dict[str, Any]:
    """Return one item of `tool_calls`, started at `moment`."""
    tool = TOOLS[name]
    struck = incident.hits(name, moment)
    failed = rng.random() < (0.45 if struck else tool.error_rate)
    duration = int(rng.lognormvariate(0, 0.5) * tool.typical_ms * (6 if struck else 1))
    arguments = rng.choice(AWKWARD_ARGUMENTS) if rng.random() < awkward else tool.arguments(facts, rng)
    item = {
        "name": name,
        "status": "error" if failed else "ok",
        "duration_ms": duration,
        "started_at": print_moment(moment - timedelta(milliseconds=duration)),
        "arguments": arguments,
        "result": None if failed else tool.result(facts, rng),
    }
    if failed:
        item["error"] = rng.choice(tool.errors)
    return item
