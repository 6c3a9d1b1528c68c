"""What the API holds, counted by the harness itself, page by page."""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

LISTS = ("classifications", "extractions", "tool_calls")
TABLES = ("messages", *(f"messages__{name}" for name in LISTS))
_INCLUDE = ",".join([*LISTS, "trace_id"])
_LONGEST_RANGE = timedelta(days=31)


@dataclass(frozen=True)
class Api:
    """An API and what is read of it.

    Attributes:
        companies: Like `42,57`.
        start: First day.
        end: Day after the last.
        is_made_up: Whether its messages are nobody's; else no error that could quote one is kept.
    """

    url: str
    key: str
    companies: str
    start: str
    end: str
    is_made_up: bool = True


def count_rows(api: Api) -> dict[str, int]:
    """Rows that each of the four tables has to hold."""
    counts: Counter[str] = Counter(dict.fromkeys(TABLES, 0))
    for row in read_rows(api):
        counts["messages"] += 1
        for name in LISTS:
            counts[f"messages__{name}"] += len(row.get(name) or ())
    return dict(counts)


def read_rows(api: Api) -> Iterator[dict[str, Any]]:
    """All messages, as the API sends them."""
    for company in api.companies.split(","):
        for start, end in _ranges(api):
            yield from _rows(api, company, start, end)


def _ranges(api: Api) -> Iterator[tuple[str, str]]:
    start, last = datetime.fromisoformat(api.start), datetime.fromisoformat(api.end)
    while start < last:
        end = min(start + _LONGEST_RANGE, last)
        yield f"{start.isoformat()}Z", f"{end.isoformat()}Z"
        start = end


def _rows(api: Api, company: str, start: str, end: str) -> Iterator[dict[str, Any]]:
    params = {"company_id": company, "from": start, "to": end, "include": _INCLUDE, "limit": "10000"}
    while True:
        query = urllib.parse.urlencode(params)
        request = urllib.request.Request(
            f"{api.url}/api/v1/qualitative-export/messages?{query}", headers={"X-API-Key": api.key}
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            lines = response.read().splitlines()
        last = orjson.loads(lines[-1]) if lines else {}
        if "_error" in last:
            raise SystemExit("the API ended a page with an error; nothing can be compared with it")
        yield from (orjson.loads(line) for line in (lines[:-1] if "_truncated" in last else lines))
        if "_truncated" not in last:
            return
        params["cursor"] = last["next_cursor"]
