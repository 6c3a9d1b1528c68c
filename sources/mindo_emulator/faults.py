"""Faults on demand: which requests are struck, by what, and how often.

Example:
    emulator.faults.add("server_error", status=503, times=2)
    emulator.faults.add("cut_chunked", company=42, page=2, at=0.3)
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Any

from .answer import Answer
from .exchange import Exchange
from .fault_kinds import KINDS
from .moments import as_moment


class Fault:
    """A fault and the requests it strikes: those that would be answered well and match everything given here.

    Args:
        kind: A name in `fault_kinds.KINDS`.
        company: Only requests that ask for this company.
        path: `messages`, `business-info`, or None for both.
        page: Only this page of a chain of cursors, from 1.
        cursor: Only requests with (True) or without (False) a cursor.
        covering: Only requests whose window holds this moment.
        key: Only requests with this API key.
        after: Let so many matching requests pass first.
        times: How many to strike; None for all.
        when: Any other condition.
        options: The options of the kind.

    Raises:
        ValueError: if there is no such kind.
        TypeError: if the kind has no such option.

    Attributes:
        hits: How many requests it has struck.
        seen: How many requests matched, struck or not.
    """

    def __init__(
        self,
        kind: str,
        *,
        company: int | None = None,
        path: str | None = "messages",
        page: int | None = None,
        cursor: bool | None = None,
        covering: datetime | str | None = None,
        key: str | None = None,
        after: int = 0,
        times: int | None = 1,
        when: Callable[[Exchange], bool] | None = None,
        **options: Any,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; there are: {', '.join(sorted(KINDS))}")
        self._kind = KINDS[kind]
        self._kind.check(options)
        self.kind = kind
        self.options = options
        self.hits = 0
        self.seen = 0
        self._after = after
        self._times = times
        self._conditions: list[Callable[[Exchange], bool]] = []
        self._require(path, lambda e: e.path == path)
        self._require(company, lambda e: e.query is not None and company in e.query.company_ids)
        self._require(page, lambda e: e.page == page)
        self._require(key, lambda e: e.key == key)
        with_cursor = self._kind.cursor if cursor is None else cursor
        self._require(with_cursor, lambda e: (e.cursor is not None) == with_cursor)
        if covering is not None:
            moment = as_moment(covering)
            self._conditions.append(lambda e: e.query is not None and e.query.start <= moment < e.query.end)
        if when is not None:
            self._conditions.append(when)

    def _require(self, wanted: object, condition: Callable[[Exchange], bool]) -> None:
        if wanted is not None:
            self._conditions.append(condition)

    def matches(self, exchange: Exchange) -> bool:
        """Whether the request is one of those it strikes, counts aside."""
        return all(condition(exchange) for condition in self._conditions)

    def due(self) -> bool:
        """Whether a request that matches now is to be struck."""
        return self.seen > self._after and (self._times is None or self.hits < self._times)

    def apply(self, answer: Answer, exchange: Exchange) -> None:
        """Spoil an answer."""
        self._kind.apply(answer, exchange, **self.options)

    def __repr__(self) -> str:
        return f"Fault({self.kind!r}, hits={self.hits}, seen={self.seen}, options={self.options})"


class FaultBook:
    """The faults of an emulator; the first one that is due takes the request."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault | str, **arguments: Any) -> Fault:
        """Add a fault, or make one from the name of a kind and the arguments of `Fault`, and return it."""
        added = Fault(fault, **arguments) if isinstance(fault, str) else fault
        with self._lock:
            self._faults.append(added)
        return added

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def all(self) -> list[Fault]:
        """Return the faults, spent ones included."""
        with self._lock:
            return list(self._faults)

    def take(self, exchange: Exchange) -> Fault | None:
        """Count a request and return the fault that strikes it, if any."""
        with self._lock:
            matching = [fault for fault in self._faults if fault.matches(exchange)]
            for fault in matching:
                fault.seen += 1
            struck = next((fault for fault in matching if fault.due()), None)
            if struck is not None:
                struck.hits += 1
            return struck
