"""`mindo state`: what counts as read, shown and changed by hand. Every change is one load with its audit rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from mindo import ConfigurationError, Coverage, Selection
from mindo.auditing import Action, AuditEntry, audit_source
from mindo.configuration import parse_moment
from mindo.selection import parse_ids
from mindo.windows import Range, format_time, subtract_ranges

from .confirming import confirm
from .console import clean, counted, json_time, make_table, moment
from .exit_codes import ExitCode
from .session import Session, Verdict
from .warehouse import Warehouse

_MOST_RANGES = 5


def show_command(session: Session, companies: str | None, destination: str | None, dataset: str | None) -> Verdict:
    """Shows what the next run goes by."""
    warehouse = Warehouse(destination, dataset)
    warehouse.reading()
    coverage = warehouse.coverage
    chosen = _chosen(warehouse, companies) if companies is not None else coverage.company_ids()
    forgotten = coverage.forgotten()
    conversations = forgotten.conversations | forgotten.derived
    document = [_company(coverage, company_id) for company_id in chosen]
    session.document |= {
        "location": warehouse.location,
        "dataset": warehouse.dataset,
        "companies": document,
        "forgotten": {"contacts": sorted(forgotten.contacts), "conversations": sorted(conversations)},
    }
    people = (
        f"{counted(len(forgotten.contacts), 'contact')} and {counted(len(conversations), 'conversation')}"
        " are forgotten."
    )
    if not document:
        return Verdict(ExitCode.COMPLETE, f"{warehouse.location}: nothing counts as read yet. {people}")
    session.show(f"{clean(warehouse.location)}, dataset {clean(warehouse.dataset)}", _table(document))
    session.show(*_backfill_lines(document))
    return Verdict(ExitCode.COMPLETE, f"The state of {counted(len(document), 'company', 'companies')}. {people}")


def rewind_command(
    session: Session,
    companies: str | None,
    to: str | None,
    is_confirmed: bool,
    destination: str | None,
    dataset: str | None,
) -> Verdict:
    """Takes everything from a time on out of what counts as read."""
    if to is None:
        raise ConfigurationError("to: missing; say from when on to read again: --to 2026-04-01.")
    time = parse_moment("to", to)
    if time > datetime.now(UTC):
        raise ConfigurationError(f"to: {to} is in the future; nothing of it was read yet.")
    warehouse = Warehouse(destination, dataset)
    warehouse.reading()
    named = _chosen(warehouse, companies)
    chosen = [company_id for company_id in named if _reaches_beyond(warehouse.coverage, company_id, time)]
    if not chosen:
        return Verdict(
            ExitCode.COMPLETE, f"nothing of {_list(named)} from {format_time(time)} on counts as read; nothing changed."
        )

    def change(coverage: Coverage) -> None:
        for company_id in chosen:
            coverage.rewind(company_id, time)

    confirm(session, f"Read {_list(chosen)} again from {format_time(time)} on", is_confirmed)
    _commit(session, warehouse, "rewind_state", f"to {format_time(time)}", chosen, change)
    session.document["to"] = json_time(time)
    done = f"rewound: the next run reads {_list(chosen)} again from {format_time(time)} on, and the lookback before it."
    return Verdict(ExitCode.COMPLETE, done)


def forget_state_command(
    session: Session,
    companies: str | None,
    all_companies: bool,
    is_confirmed: bool,
    destination: str | None,
    dataset: str | None,
) -> Verdict:
    """Drops the state of companies."""
    if all_companies and companies is not None:
        raise ConfigurationError("companies: --all and --companies exclude each other.")
    warehouse = Warehouse(destination, dataset)
    warehouse.reading()
    chosen = warehouse.coverage.company_ids() if all_companies else _chosen(warehouse, companies, " or say --all")
    if not chosen:
        return Verdict(ExitCode.COMPLETE, f"{warehouse.location}: nothing counts as read yet; nothing changed.")

    def change(coverage: Coverage) -> None:
        for company_id in chosen:
            coverage.drop_company(company_id)

    confirm(session, f"Read {_list(chosen)} again from the start date on", is_confirmed)
    _commit(session, warehouse, "forget_state", "positions", chosen, change)
    return Verdict(ExitCode.COMPLETE, f"dropped: the next run reads {_list(chosen)} again from the start date on.")


def _commit(
    session: Session,
    warehouse: Warehouse,
    action: Action,
    subject: str,
    companies: Iterable[int],
    change: Callable[[Coverage], None],
) -> None:
    now = datetime.now(UTC)
    entries = [AuditEntry(action, subject, company_id, session.started, finished_at=now) for company_id in companies]
    with warehouse.writing():
        warehouse.pipeline.run(audit_source(entries, change))
        coverage = warehouse.coverage
    session.document |= {
        "location": warehouse.location,
        "dataset": warehouse.dataset,
        "companies": [_company(coverage, company_id) for company_id in companies],
    }


def _chosen(warehouse: Warehouse, companies: str | None, otherwise: str = "") -> list[int]:
    chosen = parse_ids("companies", companies)
    if not chosen:
        raise ConfigurationError(f"companies: missing; name them like --companies 42,57{otherwise}.")
    known = warehouse.coverage.company_ids()
    if unknown := [company_id for company_id in chosen if company_id not in known]:
        held = ", ".join(map(str, known)) or "none"
        raise ConfigurationError(
            f"companies: nothing of {_list(unknown)} was read into {warehouse.location}; known there: {held}."
        )
    return chosen


def _reaches_beyond(coverage: Coverage, company_id: int, time: datetime) -> bool:
    """Whether anything from a time on counts as read."""
    marks = [coverage.watermark(company_id, selection) for selection in coverage.selections(company_id)]
    read = [coverage.covered(company_id, selection) for selection in coverage.selections(company_id)]
    read += coverage.unfinished_backfills(company_id).values()
    return any(mark > time for mark in marks if mark) or any(end > time for ranges in read for _, end in ranges)


def _company(coverage: Coverage, company_id: int) -> dict[str, Any]:
    return {
        "company_id": company_id,
        "selections": [_selection(coverage, company_id, selection) for selection in coverage.selections(company_id)],
        "backfills": [
            {"backfill": name, "done": _written(ranges)}
            for name, ranges in sorted(coverage.unfinished_backfills(company_id).items())
        ],
        "known_agents": coverage.known_agents(company_id),
    }


def _selection(coverage: Coverage, company_id: int, selection: Selection) -> dict[str, Any]:
    covered = coverage.covered(company_id, selection)
    gaps = subtract_ranges([(covered[0][0], covered[-1][1])], covered) if covered else []
    return {
        "selection": selection.key,
        "watermark": json_time(coverage.watermark(company_id, selection)),
        "covered": _written(covered),
        "gaps": _written(gaps),
    }


def _written(ranges: Iterable[Range]) -> list[dict[str, str]]:
    return [{"start": format_time(start), "end": format_time(end)} for start, end in ranges]


def _table(companies: list[dict[str, Any]]) -> Table:
    table = make_table("company", "watermark (UTC)", "counts as read (UTC)", "gaps (UTC)", ">agents", "selection")
    for company in companies:
        for selection in company["selections"]:
            mark = selection["watermark"]
            table.add_row(
                str(company["company_id"]),
                moment(datetime.fromisoformat(mark)) if mark else "-",
                _lines(selection["covered"]),
                _lines(selection["gaps"]),
                str(company["known_agents"]),
                clean(selection["selection"]).replace(" ", "\n"),
            )
    return table


def _lines(ranges: list[dict[str, str]]) -> str:
    lines = [" to ".join(moment(datetime.fromisoformat(piece[end])) for end in ("start", "end")) for piece in ranges]
    more = len(lines) - _MOST_RANGES
    return "\n".join(lines[:_MOST_RANGES] + ([f"… and {more:,} more"] if more > 0 else [])) or "-"


def _backfill_lines(companies: list[dict[str, Any]]) -> list[str]:
    return [
        f"unfinished backfill of company {company['company_id']}: {clean(backfill['backfill'])};"
        f" {counted(len(backfill['done']), 'range')} read"
        for company in companies
        for backfill in company["backfills"]
    ]


def _list(companies: Iterable[int]) -> str:
    numbers = [str(company_id) for company_id in companies]
    return f"{'company' if len(numbers) == 1 else 'companies'} {', '.join(numbers)}"
