"""Tells a Slack-compatible webhook how a command ended: numbers and names of windows, never text, keys or the webhook's URL."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.configuration.specs.runtime_configuration import RuntimeConfiguration
from dlt.common.typing import TSecretStrValue
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from mindo import ConfigurationError

from ..console import counted, duration, moment
from ..exit_codes import ExitCode
from ..report import ranges_not_loaded
from ..session import Session
from .figures import Figures
from .observer import Observer
from .redacting import without_keys, without_typed_values

_SECTION: Final = "notify"
_NOT_GIVEN: Final = ""
_TRIES: Final = 3
_TIMEOUTS: Final = (3.0, 5.0)
_LONGEST_WAIT_SECONDS: Final = 2.0
_MOST_RANGES: Final = 10
_MOST_COMPANIES: Final = 10
_SLACK_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


@configspec
class NotifyConfiguration(BaseConfiguration):
    """What can be set under `[notify]`, in its raw form.

    `exit_codes` takes a list or a comma-separated text. Without a `webhook_url` dlt's own `runtime.slack_incoming_hook` is
    taken.
    """

    webhook_url: TSecretStrValue | None = None
    exit_codes: Any = _NOT_GIVEN


class _Undelivered(Exception):
    """The webhook did not take a message; says why, without its URL."""

    def __init__(self, reason: str, may_pass: bool) -> None:
        super().__init__(reason)
        self.may_pass = may_pass


class Notification(Observer):
    """Tells the configured webhook of the end of a command.

    Args:
        session: Warns if the webhook could not be told; nothing else comes of that.

    Raises:
        ConfigurationError: If there is no webhook, or a value is unusable.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        raw = _resolve()
        self._url = _check_url(raw.webhook_url or _hook_of_dlt())
        self._codes = _check_codes(raw.exit_codes)

    def ended(self, document: dict[str, Any]) -> None:
        """Posts the message, if the exit code is one that is told, and adds `notified`: whether it arrived, or `None`."""
        document["notified"] = None
        if document["exit_code"] not in self._codes:
            return
        document["notified"] = False
        try:
            self._post({"text": message(document, socket.gethostname())})
        except _Undelivered as error:
            self._session.warn(f"notify: the webhook could not be told ({error}); the exit code stays as it is.")
        else:
            document["notified"] = True

    def _post(self, payload: Mapping[str, Any]) -> None:
        Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, _Undelivered) and error.may_pass),
            stop=stop_after_attempt(_TRIES),
            wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_WAIT_SECONDS),
            reraise=True,
        )(self._post_once, payload)

    def _post_once(self, payload: Mapping[str, Any]) -> None:
        try:
            # of the answer only the status counts: its body is never waited for
            with requests.post(
                self._url, json=payload, timeout=_TIMEOUTS, stream=True, allow_redirects=False, auth=_as_it_is
            ) as response:
                status = response.status_code
        except requests.exceptions.SSLError:
            raise _Undelivered("its TLS certificate can't be verified", may_pass=False) from None
        except requests.Timeout:
            raise _Undelivered("no answer in time", may_pass=True) from None
        except requests.RequestException:
            raise _Undelivered("it can't be reached", may_pass=True) from None
        if not 200 <= status < 300:
            raise _Undelivered(f"HTTP {status}", may_pass=status == 429 or status >= 500)


def message(document: Mapping[str, Any], host: str) -> str:
    """What is told, in Slack's markup.

    Args:
        document: The object that `--json` prints.
        host: Where the command ran.
    """
    lines = [
        f"*mindo {document['command']}: {document['status']}* (exit code {document['exit_code']}) on {_escaped(host)}",
        _escaped(_line_of(document)),
    ]
    if document.get("windows"):
        lines.append(_figures_line(document))
    missing = ranges_not_loaded(document.get("windows", []))
    lines += [f"• {_escaped(without_keys(told.line))}" for told in missing[:_MOST_RANGES]]
    if len(missing) > _MOST_RANGES:
        lines.append(f"• … and {len(missing) - _MOST_RANGES:,} more")
    lines += _watermark_lines(Figures.of(document).watermarks, datetime.fromisoformat(document["finished_at"]))
    if "run_id" in document:
        lines.append(f"run {document['run_id']}")
    return "\n".join(lines)


def _line_of(document: Mapping[str, Any]) -> str:
    line: str = document["message"]
    return without_typed_values(line) if document["exit_code"] == ExitCode.CONFIGURATION else without_keys(line)


def _figures_line(document: Mapping[str, Any]) -> str:
    figures = Figures.of(document)
    written = "" if figures.written is None else f", {figures.written:,} of them new or changed"
    return (
        f"{counted(figures.companies, 'company', 'companies')},"
        f" {figures.windows['complete']:,} of {counted(figures.windows.total(), 'window')} loaded,"
        f" {counted(figures.messages, 'message')} read{written}"
    )


def _watermark_lines(watermarks: Mapping[str, datetime | None], now: datetime) -> list[str]:
    known = sorted((mark, company) for company, mark in watermarks.items() if mark)
    unknown = [company for company, mark in watermarks.items() if not mark]
    if not known:
        # a backfill moves none
        return []
    mark, company = known[0]
    lines = [f"furthest behind: company {company}, complete up to {moment(mark)} UTC ({duration(now - mark)} ago)"]
    if unknown:
        more = f" and {len(unknown) - _MOST_COMPANIES:,} more" if len(unknown) > _MOST_COMPANIES else ""
        lines.append(f"without a watermark: {', '.join(unknown[:_MOST_COMPANIES])}{more}")
    return lines


def _escaped(text: str) -> str:
    return "".join(_SLACK_ENTITIES.get(character, character) for character in text)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # otherwise a .netrc entry would put a password beside the message
    return request


def _resolve() -> NotifyConfiguration:
    try:
        return resolve_configuration(NotifyConfiguration(), sections=(_SECTION,))
    except ConfigurationException:
        raise ConfigurationError("notify: the section [notify] can't be read; see `mindo init`.") from None


def _hook_of_dlt() -> str | None:
    try:
        return resolve_configuration(RuntimeConfiguration()).slack_incoming_hook
    except ConfigurationException:
        return None


def _check_url(value: str | None) -> str:
    """A URL that may be posted to; it is a secret, so no line shows it."""
    text = (value or "").strip()
    if not text:
        raise ConfigurationError(
            "notify: there is no webhook to tell; set webhook_url in [notify] of .dlt/secrets.toml, or NOTIFY__WEBHOOK_URL."
        )
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    if not host or url.scheme not in ("http", "https") or not text.isprintable() or " " in text:
        raise ConfigurationError("webhook_url: it is not a URL like https://hooks.slack.com/services/…; copy it again.")
    if url.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(
            "webhook_url: plain http would send the URL, which is a secret, in clear text; use https."
        )
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_codes(value: Any) -> frozenset[int]:
    if value in (None, _NOT_GIVEN):
        return frozenset(ExitCode) - {ExitCode.COMPLETE}
    parts: Sequence[Any] = re.findall(r"[^\s,\[\]]+", value) if isinstance(value, str) else value
    try:
        return frozenset(ExitCode(int(part)) for part in parts)
    except (TypeError, ValueError):
        known = ", ".join(str(int(code)) for code in ExitCode)
        raise ConfigurationError(f"exit_codes: {value!r} is not a list of exit codes; they are {known}.") from None
