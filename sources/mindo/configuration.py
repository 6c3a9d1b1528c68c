"""The source's options: resolved by dlt from arguments, environment and `.dlt/*.toml`, then checked."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from dlt.common.configuration import configspec, known_sections, resolve_configuration
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.typing import TSecretStrValue

from .column_rules import ColumnRules
from .exceptions import ConfigurationError
from .selection import Selection, parse_ids
from .settings import (
    DEFAULT_BASE_URL,
    DEFAULT_LOOKBACK_DAYS,
    DEFAULT_START_DAYS_AGO,
    DEFAULT_WINDOW_HOURS,
    DEFAULT_WORKERS,
    GLOBAL_KEY_PREFIX,
    MAX_LIMIT,
    MAX_WINDOW,
    SOURCE_NAME,
)
from .shrink_guard import ShrinkGuard
from .windows import floor_to_step

# dlt takes `None` for "has to be configured", whatever the type
NOT_GIVEN = ""


@configspec
class MindoConfiguration(BaseConfiguration):
    """Everything that can be set under `[sources.mindo]`, in its raw form.

    `company_ids`, `agent_ids` and `include` take a list or a comma-separated text; dates take a TOML date, ISO-8601 text
    or a `datetime`. `checked()` gives the parsed form.
    """

    base_url: str = DEFAULT_BASE_URL
    api_key: TSecretStrValue | None = None
    api_keys: dict[str, Any] | None = None
    company_ids: Any = NOT_GIVEN
    companies: dict[str, Any] | None = None
    start_date: Any = NOT_GIVEN
    lookback_days: float = DEFAULT_LOOKBACK_DAYS
    from_date: Any = NOT_GIVEN
    to_date: Any = NOT_GIVEN
    channel: str | None = None
    direction: str | None = None
    agent_ids: Any = NOT_GIVEN
    include: Any = NOT_GIVEN
    window_hours: float = DEFAULT_WINDOW_HOURS
    limit: int = MAX_LIMIT
    workers: int = DEFAULT_WORKERS
    max_attempts: int = 6
    max_wait_seconds: float = 300.0
    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 120.0
    page_timeout_seconds: float = 900.0
    confirm_windows: bool = True
    shrink_guard_percent: float = 20.0
    shrink_guard_messages: int = 50
    accept_deletions: bool = False
    column_rules: dict[str, Any] | None = None
    hmac_key: TSecretStrValue | None = None
    spool_dir: str | None = None


@dataclass(frozen=True)
class Options:
    """Checked options of the source. Every datetime is zone-aware UTC.

    Attributes:
        base_url: Scheme and host of the API, without a trailing slash.
        api_key: The one key, if there is one.
        api_keys: A key of its own per company.
        company_ids: Companies named by configuration, in its order.
        companies: Names and time zones from configuration, by company.
        start: Where a company's history begins.
        start_is_given: Whether that was configured; the default moves on from day to day.
        interval: An explicit `[from, to)`, which moves no watermark; `None` for an incremental run.
        now: End of an incremental run's range, whole seconds.
        page_timeout: The longest that one page may take to arrive, in seconds.
        confirm_windows: Whether the end of a window is asked for once more.
        shrink_guard: How much a window may lose; `None` for any number.
        column_rules: What is kept of which columns.
    """

    base_url: str
    api_key: str | None
    api_keys: dict[int, str]
    company_ids: tuple[int, ...]
    companies: dict[int, dict[str, Any]]
    start: datetime
    start_is_given: bool
    interval: tuple[datetime, datetime] | None
    now: datetime
    lookback: timedelta
    selection: Selection
    window: timedelta
    limit: int
    workers: int
    max_attempts: int
    max_wait_seconds: float
    timeouts: tuple[float, float]
    page_timeout: float
    confirm_windows: bool
    shrink_guard: ShrinkGuard | None
    column_rules: ColumnRules
    spool_dir: str | None

    def __repr__(self) -> str:
        """Never shows a key."""
        return f"Options({self.base_url!r}, companies={self.company_ids}, {self.selection.key!r})"

    def key_of(self, company_id: int | None) -> str | None:
        """The key that reads a company: its own, or else the one key."""
        return self.api_keys.get(company_id or 0, self.api_key)

    @property
    def has_global_key(self) -> bool:
        """Whether the one key is a cross-company key."""
        return bool(self.api_key and self.api_key.startswith(GLOBAL_KEY_PREFIX))


def resolve_options(explicit: dict[str, Any] | None = None, now: datetime | None = None) -> Options:
    """Resolves `[sources.mindo]` through dlt, explicit values first, and checks every value.

    Args:
        explicit: Values that win over configuration; `None` values are ignored.
        now: The clock of the run; the default is the current time.

    Raises:
        ConfigurationError: If a value is missing, malformed or out of range; the message names it.
    """
    given = {name: value for name, value in (explicit or {}).items() if value is not None}
    try:
        raw = resolve_configuration(
            MindoConfiguration(), sections=(known_sections.SOURCES, SOURCE_NAME), explicit_value=given
        )
    except ConfigurationException as error:
        field = getattr(error, "field_name", None) or getattr(error, "field", None)
        raise ConfigurationError(f"{field or 'configuration'}: the value can't be read; see `mindo init`.") from None
    return check_options(raw, now or datetime.now(UTC))


def check_options(raw: MindoConfiguration, now: datetime) -> Options:
    """Parses and checks raw values; see `resolve_options`."""
    now = now.astimezone(UTC).replace(microsecond=0)
    companies = {_company_id(key): dict(value or {}) for key, value in (raw.companies or {}).items()}
    api_keys = {_company_id(key): _check_key(value, key) for key, value in (raw.api_keys or {}).items()}
    named = parse_ids("company_ids", raw.company_ids)
    window = timedelta(hours=_number("window_hours", raw.window_hours, 1 / 3600, MAX_WINDOW / timedelta(hours=1)))
    return Options(
        base_url=_check_base_url(raw.base_url),
        api_key=_check_key(raw.api_key, None) if raw.api_key else None,
        api_keys=api_keys,
        company_ids=tuple(named or api_keys or companies),
        companies=companies,
        start=_start(raw.start_date, now),
        start_is_given=raw.start_date not in (None, NOT_GIVEN),
        interval=_interval(raw.from_date, raw.to_date, now),
        now=now,
        lookback=timedelta(days=_number("lookback_days", raw.lookback_days, 0, 36_500)),
        selection=Selection.parse(raw.channel, raw.direction, raw.agent_ids, raw.include),
        window=window,
        limit=int(_number("limit", raw.limit, 1, MAX_LIMIT)),
        workers=int(_number("workers", raw.workers, 1, 64)),
        max_attempts=int(_number("max_attempts", raw.max_attempts, 1, 100)),
        max_wait_seconds=_number("max_wait_seconds", raw.max_wait_seconds, 0, 86_400),
        timeouts=(
            _number("connect_timeout_seconds", raw.connect_timeout_seconds, 0.001, 3_600),
            _number("read_timeout_seconds", raw.read_timeout_seconds, 0.001, 3_600),
        ),
        page_timeout=_number("page_timeout_seconds", raw.page_timeout_seconds, 0.001, 86_400),
        confirm_windows=raw.confirm_windows,
        shrink_guard=None
        if raw.accept_deletions
        else ShrinkGuard(
            percent=_number("shrink_guard_percent", raw.shrink_guard_percent, 0, 100),
            messages=int(_number("shrink_guard_messages", raw.shrink_guard_messages, 1, 1_000_000_000)),
        ),
        column_rules=ColumnRules.parse(raw.column_rules, raw.hmac_key),
        spool_dir=raw.spool_dir or None,
    )


def parse_moment(name: str, value: Any) -> datetime:
    """Reads a date or an ISO-8601 moment; without a zone it is UTC.

    Raises:
        ConfigurationError: If it is neither.
    """
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ConfigurationError(f"{name}: {str(value)!r} is not a date; write it like 2026-04-01 or 2026-04-01T12:00:00Z.")


def _start(value: Any, now: datetime) -> datetime:
    if value in (None, NOT_GIVEN):
        return floor_to_step(now - timedelta(days=DEFAULT_START_DAYS_AGO), timedelta(days=1))
    start = parse_moment("start_date", value)
    if start >= now:
        raise ConfigurationError(f"start_date: {value} is in the future; nothing could be read.")
    return start


def _interval(from_value: Any, to_value: Any, now: datetime) -> tuple[datetime, datetime] | None:
    if from_value in (None, NOT_GIVEN) and to_value in (None, NOT_GIVEN):
        return None
    if from_value in (None, NOT_GIVEN):
        raise ConfigurationError("from: missing; an explicit range needs --from (and --to, by default now).")
    start = parse_moment("from", from_value)
    end = now if to_value in (None, NOT_GIVEN) else parse_moment("to", to_value)
    if start > now:
        raise ConfigurationError(f"from: {from_value} is in the future; nothing could be read.")
    if end > now + timedelta(days=1):
        raise ConfigurationError(f"to: {to_value} is in the future; a range can reach up to now.")
    if start >= end:
        raise ConfigurationError(
            f"from {from_value} is not before to {to_value or 'now'}; the range [from, to) is empty."
        )
    return start, min(end, now)


def _company_id(key: str) -> int:
    ids = parse_ids("companies", key)
    if len(ids) != 1:
        raise ConfigurationError(f"companies: {key!r} is not a company id.")
    return ids[0]


def _check_key(value: Any, company: str | None) -> str:
    name = "api_key" if company is None else f"api_keys.{company}"
    key = str(value or "").strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError(f"{name}: empty, or holds characters that no API key has; copy it again.")
    return key


def _check_base_url(value: str) -> str:
    url = urlsplit(str(value).strip())
    try:
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    if url.scheme not in ("http", "https") or not host:
        raise ConfigurationError(f"base_url: {value!r} is not a URL like {DEFAULT_BASE_URL}.")
    if url.username or url.password or url.query or url.fragment:
        raise ConfigurationError("base_url: give scheme, host and path only, without credentials or parameters.")
    if url.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(f"base_url: plain http would send the API key in clear text to {host}; use https.")
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _number(name: str, value: Any, lowest: float, highest: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not lowest <= number <= highest:
        raise ConfigurationError(f"{name}: {value!r} is not a number from {lowest:g} to {highest:g}.")
    return number
