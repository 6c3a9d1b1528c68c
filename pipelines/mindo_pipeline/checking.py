"""`mindo check`: everything that a run needs, looked at one by one without changing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich.text import Text

from mindo import Company, MindoClient, Options, resolve_companies, resolve_options
from mindo.column_rules import is_foreseen
from mindo.settings import GLOBAL_KEY_PREFIX

from .console import clean, duration, moment
from .errors import explain
from .exit_codes import ExitCode
from .running import check_access, holds_demo
from .session import Session, Verdict
from .warehouse import Warehouse

_KEY_PREFIX: Final = "mindo_"
_SHOWN_OF_KEY: Final = 9
_SHORTEST_MASKED: Final = 16
_CLOCK_TOLERANCE: Final = timedelta(seconds=60)
_ATTEMPTS: Final = 3
_SIGNS: Final = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "skipped": ("-", "dim")}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `status` is ok, warning, failed or skipped."""

    name: str
    status: str
    line: str
    code: ExitCode = ExitCode.COMPLETE


def check_command(session: Session, given: dict[str, Any], destination: str | None, dataset: str | None) -> Verdict:
    """Looks at configuration, key, companies, clock and destination; the first failure decides the exit code."""
    checks: list[Check] = []
    for check in _checks(given, destination, dataset):
        checks.append(check)
        sign, colour = _SIGNS[check.status]
        session.show(Text.assemble((sign, colour), f" {check.name}: {clean(check.line)}"))
    session.document["checks"] = [vars(check) | {"code": int(check.code)} for check in checks]
    failed = [check for check in checks if check.status == "failed"]
    if failed:
        return Verdict(failed[0].code, f"{len(failed)} of {len(checks)} checks failed: {failed[0].line}")
    return Verdict(ExitCode.COMPLETE, "ready: `mindo run` reads the messages, `mindo plan` tells which.")


def _checks(given: dict[str, Any], destination: str | None, dataset: str | None) -> Iterator[Check]:
    options, failure = _attempt("options", lambda: resolve_options(given))
    if options is None:
        yield failure
    else:
        yield Check("options", "ok", "can be read")
        yield from _key_checks(options)
        yield Check("base URL", "ok", options.base_url)
        yield from _api_checks(replace(options, max_attempts=min(options.max_attempts, _ATTEMPTS)))
        yield _history_check(options)
        yield from _column_rules_checks(options, destination, dataset)
    yield from _destination_checks(destination, dataset)


def _attempt(name: str, action: Callable[[], Any]) -> tuple[Any, Check]:
    """What an action returned, or the failed check."""
    try:
        return action(), Check(name, "ok", "")
    except Exception as error:
        code, line = explain(error)
        return None, Check(name, "failed", line, code)


def _key_checks(options: Options) -> Iterator[Check]:
    keys = {f"key of company {company}": key for company, key in options.api_keys.items()}
    if options.api_key:
        keys = {"key": options.api_key} | keys
    if not keys:
        line = "missing; set SOURCES__MINDO__API_KEY or write it to .dlt/secrets.toml (`mindo init`)."
        yield Check("key", "failed", f"api_key: {line}", ExitCode.CONFIGURATION)
    for name, key in keys.items():
        yield _key_check(name, key)


def _key_check(name: str, key: str) -> Check:
    if not key.startswith(_KEY_PREFIX):
        return Check(name, "warning", f"does not begin with {_KEY_PREFIX}, as the API's keys do")
    shown = f"{key[:_SHOWN_OF_KEY]}…" if len(key) >= _SHORTEST_MASKED else f"{_KEY_PREFIX}…"
    kind = "global, reads every company" if key.startswith(GLOBAL_KEY_PREFIX) else "scoped, reads its own company"
    return Check(name, "ok", f"{shown} ({kind})")


def _api_checks(options: Options) -> Iterator[Check]:
    if not (options.api_key or options.api_keys):
        return
    unreachable = False
    api_time: datetime | None = None
    for company_id in options.company_ids or (None,):
        name = "company" if company_id is None else f"company {company_id}"
        if unreachable:
            yield Check(name, "skipped", "not asked for, as the API can't be read")
            continue
        client = MindoClient(options)
        check = _company_check(name, replace(options, company_ids=(company_id,) if company_id else ()), client)
        unreachable = check.code is ExitCode.API
        api_time = client.last_date or api_time
        yield check
    if api_time is not None:
        yield _clock_check(api_time)


def _company_check(name: str, options: Options, client: MindoClient) -> Check:
    def ask() -> list[Company]:
        companies = resolve_companies(options, client)
        check_access(options, companies, client)
        return companies

    companies, failure = _attempt(name, ask)
    if companies is None:
        return failure
    company = companies[0]
    named = f"visible: {company.name or 'without a name'}, {company.timezone or 'without a time zone'}"
    if not (company.name and company.timezone):
        named += f" (give it them in .dlt/config.toml: [sources.mindo.companies.{company.company_id}])"
    return Check(f"company {company.company_id}", "ok", named)


def _clock_check(api_time: datetime) -> Check:
    offset = datetime.now(UTC) - api_time
    if abs(offset) > _CLOCK_TOLERANCE:
        side = "ahead of" if offset > timedelta(0) else "behind"
        return Check("clock", "warning", f"this machine is {duration(abs(offset))} {side} the API; set its clock")
    return Check("clock", "ok", "agrees with the API's")


def _history_check(options: Options) -> Check:
    lookback = f"each run looks {duration(options.lookback)} back for late and changed messages"
    if options.interval:
        start, end = options.interval
        return Check("range", "ok", f"{moment(start)} to {moment(end)} UTC; it moves no watermark")
    return Check("history", "ok", f"begins {moment(options.start)} UTC; {lookback}")


def _column_rules_checks(options: Options, destination: str | None, dataset: str | None) -> Iterator[Check]:
    rules = {(table, column): rule for table, own in options.column_rules.rules.items() for column, rule in own.items()}
    unforeseen = {place for place in rules if not is_foreseen(*place)}
    # a warehouse that can't be read is told by its own check
    stored, _ = _attempt("column rule", lambda: _stored_columns(destination, dataset)) if unforeseen else (None, None)
    for place, rule in rules.items():
        line = f"{'.'.join(place)}: {rule}"
        if place not in unforeseen or place in (stored or ()):
            yield Check("column rule", "ok", line)
        else:
            note = "neither the API's documentation nor the warehouse has this column; see that it is spelt right"
            yield Check("column rule", "warning", f"{line}; {note}")


def _stored_columns(destination: str | None, dataset: str | None) -> set[tuple[str, str]]:
    warehouse = Warehouse(destination, dataset)
    warehouse.reading()
    return {(table, column) for table, schema in warehouse.schema.tables.items() for column in schema["columns"]}


def _destination_checks(destination: str | None, dataset: str | None) -> Iterator[Check]:
    def look() -> str:
        warehouse = Warehouse(destination, dataset)
        is_there = warehouse.check_writable()
        new = "" if is_there else " (not there yet)"
        if is_there and holds_demo(warehouse):
            new = "; it holds the made-up messages of `mindo demo`, which the first run drops"
        return f"{warehouse.location}, dataset {warehouse.dataset}, can be written{new}"

    line, failure = _attempt("destination", look)
    yield (
        Check("destination", "ok", line) if line else replace(failure, line=failure.line.removeprefix("destination: "))
    )
