"""What is asked of a running emulator besides messages."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

_SECONDS: Final = 30.0


def requests_asked(url: str) -> int:
    """How many requests it had, of whatever kind."""
    return int(_stats(url)["requests"])


def requests_struck(url: str) -> int:
    """How many requests were struck by the faults that there are."""
    return sum(fault["hits"] for fault in _stats(url)["faults"])


def _stats(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/_emulator/stats", timeout=_SECONDS) as answer:
        return json.load(answer)


def add_faults(url: str, faults: Mapping[str, Mapping[str, Any]]) -> None:
    """Lets requests be struck by faults, of a kind with its arguments each, and by no others."""
    _act(url, "clear_faults", {})
    for kind, arguments in faults.items():
        _act(url, "add_fault", {"kind": kind, **arguments})


def set_latency(url: str, seconds: float) -> None:
    """Lets each answer take so long."""
    _act(url, "settings", {"latency": seconds})


def _act(url: str, action: str, arguments: Mapping[str, Any]) -> None:
    request = urllib.request.Request(
        f"{url}/_emulator/{action}", json.dumps(arguments).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=_SECONDS).close()
