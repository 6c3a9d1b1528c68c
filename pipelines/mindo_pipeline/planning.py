"""`mindo plan`: what a run would read. Nothing is read, and nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mindo import (
    Company,
    Coverage,
    MindoClient,
    Options,
    Window,
    explicit_interval,
    plan_run,
    resolve_companies,
    resolve_options,
)
from mindo.windows import format_time, ranges_by_company

from .console import clean, counted, json_time, make_table, moment
from .exit_codes import ExitCode
from .report import window_document
from .running import split_by_month, with_unfinished
from .session import Session, Verdict
from .warehouse import Warehouse


def plan_command(
    session: Session, given: dict[str, Any], destination: str | None, dataset: str | None, in_batches: bool
) -> Verdict:
    """Tells the windows that `mindo run` with the same options would read."""
    options = resolve_options(given)
    warehouse = Warehouse(destination, dataset)
    companies = resolve_companies(options, MindoClient(options))
    warehouse.reading()
    windows = with_unfinished(warehouse, options, companies, plan_run(options, companies, warehouse.coverage))
    rows = [_company_plan(company, options, warehouse.coverage, windows) for company in companies]
    session.document |= {
        "location": warehouse.location,
        "dataset": warehouse.dataset,
        "selection": options.selection.key,
        "requests_at_least": len(windows),
        "companies": rows,
        "windows": [window_document(window) | {"status": "planned"} for window in windows],
    }
    if in_batches:
        return _show_batches(session, options, companies, windows)
    table = make_table("company", "name", "kind", "from (UTC)", "to (UTC)", ">windows")
    for company, row in zip(companies, rows, strict=True):
        own = _own(windows, company)
        table.add_row(
            str(company.company_id),
            clean(company.name or "-"),
            row["kind"],
            moment(own[0].start if own else None),
            moment(own[-1].end if own else None),
            f"{len(own):,}",
        )
    session.show(table)
    return Verdict(
        ExitCode.COMPLETE,
        f"a run would read {counted(len(windows), 'window')} with ≥ {counted(len(windows), 'request')}"
        f" (windows of more than {options.limit:,} messages take several); nothing was read or written.",
    )


def _show_batches(
    session: Session, options: Options, companies: Sequence[Company], windows: Sequence[Window]
) -> Verdict:
    ranges = ranges_by_company(windows)
    batches = [batch for company in companies for batch in split_by_month(company, ranges.get(company.company_id, []))]
    counts = [len(batch.windows(options)) for batch in batches]
    session.document["batches"] = [
        {
            "company_id": batch.company.company_id,
            "start": format_time(batch.start),
            "end": format_time(batch.end),
            "windows": count,
        }
        for batch, count in zip(batches, counts, strict=True)
    ]
    table = make_table("company", "from (UTC)", "to (UTC)", ">windows")
    for batch, count in zip(batches, counts, strict=True):
        table.add_row(str(batch.company.company_id), format_time(batch.start), format_time(batch.end), f"{count:,}")
    session.show(table)
    told = f"{counted(len(batches), 'batch', 'batches')} of {counted(sum(counts), 'window')}"
    return Verdict(ExitCode.COMPLETE, f"{told}; load each with `mindo batch`. Nothing was read or written.")


def _own(windows: Sequence[Window], company: Company) -> list[Window]:
    return [window for window in windows if window.company_id == company.company_id]


def _company_plan(company: Company, options: Options, coverage: Coverage, windows: Sequence[Window]) -> dict[str, Any]:
    own = _own(windows, company)
    mark = coverage.watermark(company.company_id, options.selection)
    kind = "first run" if mark is None else "increment + lookback"
    if explicit_interval(options):
        kind = "explicit range"
    return {
        "company_id": company.company_id,
        "name": company.name,
        "kind": kind,
        "watermark": json_time(mark),
        "start": json_time(own[0].start) if own else None,
        "end": json_time(own[-1].end) if own else None,
        "windows": len(own),
        "requests_at_least": len(own),
    }
