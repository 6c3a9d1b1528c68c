"""The query parameters of the messages endpoint, checked as the contract says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from .errors import ApiError
from .model import CHANNELS, DEFAULT_INCLUDE, DEFAULT_LIMIT, DIRECTIONS, INCLUDES, MAX_DAYS, MAX_LIMIT, Query
from .moments import read_moment


def parse_query(params: Mapping[str, str]) -> Query:
    """Return the query that the parameters describe.

    Raises:
        ApiError: 400, with a text that names the parameter.
    """
    company_ids = _whole_numbers(_required(params, "company_id"), "company_id")
    start = _moment(_required(params, "from"), "from")
    end = _moment(_required(params, "to"), "to")
    if end <= start:
        raise ApiError(400, "El parametro 'to' debe ser mayor que 'from'")
    if end - start > timedelta(days=MAX_DAYS):
        raise ApiError(400, f"El rango de fechas no puede superar {MAX_DAYS} dias")
    agents = params.get("agent_id")
    return Query(
        company_ids=company_ids,
        start=start,
        end=end,
        channel=_one_of(params, "channel", (*CHANNELS, "all")),
        direction=_one_of(params, "direction", (*DIRECTIONS, "all")),
        agent_ids=None if agents is None else frozenset(_whole_numbers(agents, "agent_id")),
        include=_include(params),
    )


def parse_limit(params: Mapping[str, str]) -> int:
    """Return the number of rows that a page may have.

    Raises:
        ApiError: 400, if it is not a whole number from 1 to 10,000.
    """
    text = params.get("limit", str(DEFAULT_LIMIT))
    limit = int(text) if _is_whole(text) else 0
    if not 1 <= limit <= MAX_LIMIT:
        raise ApiError(400, f"El parametro 'limit' debe ser un entero entre 1 y {MAX_LIMIT}")
    return limit


def _required(params: Mapping[str, str], name: str) -> str:
    value = params.get(name, "")
    if not value.strip():
        raise ApiError(400, f"Falta el parametro obligatorio '{name}'")
    return value


def _is_whole(text: str) -> bool:
    # int() alone would also take "+5", "1_000" and digits of other scripts.
    return text.isascii() and text.isdigit() and len(text) <= 18


def _whole_numbers(text: str, name: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(_is_whole(part) for part in parts):
        raise ApiError(400, f"El parametro '{name}' debe ser un entero o una lista de enteros separados por comas")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _moment(text: str, name: str) -> datetime:
    try:
        return read_moment(text.strip())
    except (ValueError, OverflowError):
        raise ApiError(400, f"El parametro '{name}' debe ser una fecha ISO-8601") from None


def _one_of(params: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = params.get(name, "all")
    if value not in allowed:
        raise ApiError(400, f"El parametro '{name}' debe ser uno de: {', '.join(allowed)}")
    return value


def _include(params: Mapping[str, str]) -> frozenset[str]:
    value = params.get("include")
    if value is None:
        return frozenset(DEFAULT_INCLUDE)
    names = frozenset(part.strip() for part in value.split(",") if part.strip())
    if not names <= set(INCLUDES):
        raise ApiError(400, f"El parametro 'include' admite: {', '.join(INCLUDES)}")
    return names
