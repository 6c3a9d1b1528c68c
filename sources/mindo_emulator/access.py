"""Who may read what: keys, the log of requests, and the rate limit. All of it may be used from any thread."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import Lock

from .errors import EXPIRED_KEY, FOREIGN_KEY, MISSING_KEY, ApiError
from .model import GLOBAL_DEMO_KEY, Company, demo_company
from .settings import EmulatorSettings


class KeyRing:
    """The API keys: those of the settings and, if wanted, the demo keys of every company there is."""

    def __init__(self, settings: EmulatorSettings, companies: Mapping[int, Company]) -> None:
        self._settings = settings
        self._companies = companies
        self._revoked: set[str] = set()
        self._withdrawn: set[tuple[str, int]] = set()

    def revoke(self, key: str) -> None:
        """Make a key answer 401 from now on."""
        self._revoked.add(key)

    def withdraw(self, key: str, company_id: int) -> None:
        """Take one company away from a key: 403 from now on."""
        self._withdrawn.add((key, company_id))

    def restore(self, key: str) -> None:
        """Undo `revoke` and `withdraw` for a key."""
        self._revoked.discard(key)
        self._withdrawn = {pair for pair in self._withdrawn if pair[0] != key}

    def scope(self, key: str | None) -> int | None:
        """Return the company a key is limited to, or None for a global key.

        Raises:
            ApiError: 401, if there is no key, or it is unknown or revoked.
        """
        if not key:
            raise ApiError(401, MISSING_KEY)
        if key in self._revoked:
            raise ApiError(401, EXPIRED_KEY)
        if key in self._settings.keys:
            return self._settings.keys[key]
        if self._settings.demo_keys:
            if key == GLOBAL_DEMO_KEY:
                return None
            company_id = demo_company(key)
            if company_id in self._companies:
                return company_id
        raise ApiError(401, EXPIRED_KEY)

    def check(self, key: str | None, company_ids: tuple[int, ...]) -> None:
        """Let a key read these companies, or not.

        Raises:
            ApiError: 401 for the key, 403 for a company out of its scope.
        """
        scope = self.scope(key)
        for company_id in company_ids:
            if scope not in (None, company_id) or (key, company_id) in self._withdrawn:
                raise ApiError(403, FOREIGN_KEY)


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request as it came in, and what it got.

    Attributes:
        path: The path.
        params: The query parameters.
        headers: The headers, lower case.
        key: The API key sent.
        status: The status answered; 0 if no status line was sent.
        rows: Rows of the page, before any fault.
        fault: The kind of the fault that struck it.
        at: `time.monotonic()` when it came in.
    """

    path: str
    params: dict[str, str]
    headers: dict[str, str]
    key: str | None
    status: int
    rows: int
    fault: str | None
    at: float


class RequestLog:
    """The requests received so far, oldest first; keeps the last 100,000."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: deque[ReceivedRequest] = deque(maxlen=100_000)

    def add(self, entry: ReceivedRequest) -> None:
        """Append a request."""
        with self._lock:
            self._entries.append(entry)

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._entries.clear()

    def all(self) -> list[ReceivedRequest]:
        """Return a copy of the log."""
        with self._lock:
            return list(self._entries)

    def __iter__(self) -> Iterator[ReceivedRequest]:
        return iter(self.all())

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, place: int) -> ReceivedRequest:
        with self._lock:
            return self._entries[place]


class RateLimiter:
    """A bucket of one second's worth of requests."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self._settings = settings
        self._tokens = math.inf
        self._seen = time.monotonic()

    def check(self) -> None:
        """Count a request.

        Raises:
            ApiError: 429 with Retry-After, if there were too many.
        """
        rate = self._settings.rate_limit
        if rate is None:
            return
        now = time.monotonic()
        self._tokens = min(max(1.0, rate), self._tokens + (now - self._seen) * rate)
        self._seen = now
        if self._tokens < 1:
            wait = math.ceil((1 - self._tokens) / rate)
            raise ApiError(429, "Demasiadas solicitudes", {"retry-after": str(wait)})
        self._tokens -= 1
