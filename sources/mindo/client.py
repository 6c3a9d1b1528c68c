"""HTTP to the API: authentication, retries, and bodies streamed to disk whole or not at all."""

from __future__ import annotations

import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import requests
import urllib3
from dlt.sources.helpers.requests import Session
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from .configuration import Options
from .exceptions import AccessError, ApiError, ConfigurationError, CursorRefused, PageBroken
from .settings import BUSINESS_INFO_PATH, MESSAGES_PATH
from .spool import Spool, open_private
from .windows import Window, format_time

T = TypeVar("T")

_CHUNK_BYTES = 256 * 1024
_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 30.0
_RETRIED_STATUS = frozenset({408, 425, 429, *range(500, 600)})


class _Transient(Exception):
    """A failure that another attempt may cure; `retry_after` is what the API asked for, in seconds."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass
class Attempts:
    """Counts what a window cost: requests sent, and how many of them were repeats."""

    requests: int = 0
    retries: int = 0


class MindoClient:
    """The API as Python methods. Safe to use from many threads; a `Retry-After` holds all of them back.

    Args:
        options: Where the API is, the keys, and how patient to be.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._local = threading.local()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._not_before = 0.0
        self.last_date: datetime | None = None

    def stop(self) -> None:
        """Ends every wait now; requests not yet sent fail."""
        self._stop.set()

    def pause(self, attempt: int) -> None:
        """Waits before something is asked for anew, a little longer with each attempt."""
        self._sleep(_backoff(attempt))

    def business_info(self, api_key: str, company_id: int | None = None) -> dict[str, Any]:
        """Reads `business-info`, the company of a company-scoped key.

        Args:
            api_key: The key.
            company_id: The company that it is configured for, to name in an error.

        Raises:
            AccessError: If the key is refused.
            ApiError: If the API can't be reached or answers with something else.
        """
        whose = "for its own company" if company_id is None else f"of company {company_id}"

        def read() -> dict[str, Any]:
            with self._get(BUSINESS_INFO_PATH, {}, api_key, f"{whose} ({BUSINESS_INFO_PATH})") as response:
                try:
                    with self._in_time(response):
                        info = response.json()
                except (ValueError, requests.RequestException, urllib3.exceptions.HTTPError):
                    info = None
            if not isinstance(info, dict) or not isinstance(info.get("id"), int):
                raise _Transient(
                    f"{BUSINESS_INFO_PATH} did not answer with a company: is this the URL of a Mindo server?"
                )
            return info

        return self._retrying(read, Attempts())

    def spool_page(
        self,
        window: Window,
        params: dict[str, str],
        cursor: str | None,
        path: Path,
        prove: Callable[[Path], T],
        attempts: Attempts,
        limit: int | None = None,
    ) -> T:
        """Requests one page until it arrives whole and `prove` accepts it.

        Args:
            window: Company and range.
            params: Filters and includes as query parameters.
            cursor: The previous page's `next_cursor`.
            path: Where the body is written; overwritten by each attempt.
            prove: Checks the spooled body; raises `PageBroken` if it can't be trusted.
            attempts: Counts requests and retries.
            limit: Most messages to ask for; by default the configured page size.

        Returns:
            What `prove` returned.

        Raises:
            AccessError: The key is refused, or may not read the company.
            ConfigurationError: The API refuses the request itself.
            CursorRefused: The API no longer knows the cursor.
            ApiError: No attempt gave a page that could be proven.
            SpoolError: The body can't be written.
        """
        query = self._query(window, params, limit or self._options.limit)
        if cursor is not None:
            query["cursor"] = cursor

        def read() -> T:
            api_key = self._options.key_of(window.company_id)
            with self._get(MESSAGES_PATH, query, api_key, f"for company {window.company_id}") as response:
                self._write_body(response, path)
            try:
                return prove(path)
            except PageBroken as error:
                raise _Transient(str(error)) from None

        return self._retrying(read, attempts)

    def probe(self, window: Window, params: dict[str, str]) -> None:
        """Asks for one row of a window and looks only at how the API answers.

        Raises:
            AccessError: The key is refused, or may not read the company.
            ConfigurationError: The API refuses the request itself.
            ApiError: The API can't be reached, or the answer is not NDJSON.
        """
        query = self._query(window, params, limit=1)

        def read() -> None:
            api_key = self._options.key_of(window.company_id)
            with self._get(MESSAGES_PATH, query, api_key, f"for company {window.company_id}") as response:
                try:
                    with self._in_time(response):
                        body = response.content.lstrip()
                except (requests.RequestException, urllib3.exceptions.HTTPError):
                    raise _Transient("the answer broke off") from None
            if body and not body.startswith(b"{"):
                raise ApiError(
                    f"{self._options.base_url} answers, but not as a Mindo server (no NDJSON); check base_url."
                )

        self._retrying(read, Attempts())

    @staticmethod
    def _query(window: Window, params: dict[str, str], limit: int) -> dict[str, str]:
        return {
            "company_id": str(window.company_id),
            "from": format_time(window.start),
            "to": format_time(window.end),
            **params,
            "limit": str(limit),
        }

    def _get(self, path: str, params: dict[str, str], api_key: str | None, what: str) -> requests.Response:
        if not api_key:
            raise ConfigurationError(
                f"api_key: there is no key {what}; set SOURCES__MINDO__API_KEY or .dlt/secrets.toml."
            )
        self._wait_for_turn()
        try:
            response = self._session().get(
                self._options.base_url + path,
                params=params,
                headers={
                    "X-API-Key": api_key,
                    "Accept": "application/x-ndjson, application/json",
                    "Accept-Encoding": "gzip",
                },
                timeout=self._options.timeouts,
                stream=True,
                # requests would send X-API-Key along to whatever host the redirect names
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise _Transient(self._unreachable(error)) from None
        try:
            self._check_status(response, "cursor" in params, what)
        except BaseException:
            response.close()
            raise
        self.last_date = _http_date(response.headers.get("Date")) or self.last_date
        return response

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = Session(raise_for_status=False)
            # a .netrc entry would put an Authorization header beside the key
            self._local.session.auth = lambda request: request
        session: requests.Session = self._local.session
        return session

    def _unreachable(self, error: requests.RequestException) -> str:
        reason = "no answer in time" if isinstance(error, requests.Timeout) else "the connection failed"
        if isinstance(error, requests.exceptions.SSLError):
            reason = "its TLS certificate can't be verified"
        return f"{self._options.base_url} can't be reached: {reason}"

    def _check_status(self, response: requests.Response, has_cursor: bool, what: str) -> None:
        # bodies of errors are not documented and could quote anything, so they are never shown
        status = response.status_code
        if status == 200:
            return
        if status in _RETRIED_STATUS:
            reason = "limits the rate" if status == 429 else "fails"
            raise _Transient(f"the API {reason} (HTTP {status})", _retry_after(response.headers.get("Retry-After")))
        if status == 401:
            raise AccessError(
                f"api_key: the API refused the key {what} (HTTP 401): it is wrong, expired or revoked.", status
            )
        if status == 403:
            raise AccessError(f"api_key: the key has no access {what} (HTTP 403).", status)
        if 300 <= status < 400:
            raise ConfigurationError(
                f"base_url: {self._options.base_url} redirects elsewhere (HTTP {status}), which is not followed; set the final URL."
            )
        if has_cursor and status in (400, 404, 410, 422):
            raise CursorRefused(f"the API refused its own cursor {what} (HTTP {status})")
        if status == 404 and "json" not in response.headers.get("Content-Type", ""):
            raise ApiError(
                f"{self._options.base_url} answers, but not as a Mindo server (HTTP 404 {what}); check base_url."
            )
        if status in (400, 404, 422):
            raise ConfigurationError(
                f"company_ids: the API does not accept the request {what} (HTTP {status}): unknown company or parameter."
            )
        raise ApiError(f"the API answered HTTP {status} {what}")

    def _write_body(self, response: requests.Response, path: Path) -> None:
        headers = response.raw.headers
        if headers.get("Transfer-Encoding", "").lower() != "chunked" and "Content-Length" not in headers:
            # such a body ends where the connection does, so a cut can't be told from the end
            raise _Transient("the answer has neither a length nor chunks, so its end can't be proven")
        encoding = headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("identity", "gzip", ""):
            raise _Transient("the answer is compressed in a way that was not asked for")
        chunks = response.raw.stream(_CHUNK_BYTES, decode_content=False)
        if encoding == "gzip":
            chunks = _gunzip(chunks)
        try:
            with self._in_time(response), open_private(path) as body:
                while True:
                    try:
                        chunk = next(chunks, None)
                    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, zlib.error):
                        raise _Transient("the answer broke off") from None
                    if chunk is None:
                        return
                    if self._stop.is_set():
                        raise ApiError("stopped")
                    body.write(chunk)
        except OSError as error:
            raise Spool.error(error, path.parent) from None

    @contextmanager
    def _in_time(self, response: requests.Response) -> Iterator[None]:
        """Breaks an answer off that takes longer than a page may; one that drips never runs into the read timeout."""
        late = threading.Event()

        def break_off() -> None:
            late.set()
            # it may have ended in the same moment
            with suppress(OSError, RuntimeError, ValueError):
                response.raw.shutdown()

        timer = threading.Timer(self._options.page_timeout, break_off)
        timer.daemon = True
        timer.start()
        try:
            try:
                yield
            finally:
                timer.cancel()
                # nothing may be broken off once the connection serves another request
                timer.join()
        except Exception:
            if not late.is_set():
                raise
        if late.is_set():
            response.close()
            raise _Transient("the answer took longer than page_timeout_seconds")

    def _retrying(self, read: Callable[[], T], attempts: Attempts) -> T:
        waited = 0.0

        def wait(state: RetryCallState) -> float:
            nonlocal waited
            assert state.outcome is not None
            error = state.outcome.exception()
            asked = error.retry_after if isinstance(error, _Transient) else None
            # an asked-for wait is never shortened
            seconds = _backoff(state.attempt_number) if asked is None else asked + random.uniform(0.0, 0.25)
            if waited + seconds > self._options.max_wait_seconds:
                raise ApiError(
                    f"{error}; the next attempt would wait {seconds:.0f} s more, beyond max_wait_seconds"
                    f" ({self._options.max_wait_seconds:g})"
                )
            waited += seconds
            if asked is not None:
                self._hold_back(seconds)
            return seconds

        def count(state: RetryCallState) -> None:
            attempts.requests += 1
            attempts.retries += state.attempt_number > 1

        def give_up(state: RetryCallState) -> NoReturn:
            assert state.outcome is not None
            raise ApiError(f"{state.outcome.exception()} (after {state.attempt_number} attempts)")

        return Retrying(
            retry=retry_if_exception_type(_Transient),
            stop=stop_after_attempt(self._options.max_attempts),
            wait=wait,
            before=count,
            sleep=self._sleep,
            retry_error_callback=give_up,
        )(read)

    def _hold_back(self, seconds: float) -> None:
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _wait_for_turn(self) -> None:
        while (left := self._not_before - time.monotonic()) > 0:
            self._sleep(left)
        self._sleep(0)

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds) if seconds > 0 else self._stop.is_set():
            raise ApiError("stopped")


def _backoff(attempt: int) -> float:
    longest: float = min(_FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1), _LONGEST_BACKOFF_SECONDS)
    # jitter keeps the workers from coming back all at once
    return longest * random.uniform(0.5, 1.0)


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    # urllib3's own decoder takes a gzip body that ends early for a whole one
    decoder = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    for chunk in chunks:
        while chunk:
            if decoder.eof:
                decoder = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            yield decoder.decompress(chunk)
            chunk = decoder.unused_data
    if not decoder.eof:
        raise zlib.error("incomplete")


def _http_date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _retry_after(header: str | None) -> float | None:
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    moment = _http_date(text)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds()) if moment else None
