"""`mindo status`: how far each company is loaded, and what the last runs did. Only reads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa

from mindo import Coverage, Options, Selection, resolve_options
from mindo.columns import COMPANIES, EXPORT_WINDOWS, MESSAGES
from mindo.windows import Range, subtract_ranges

from .console import clean, counted, duration, json_time, make_table, moment
from .exit_codes import ExitCode
from .session import Session, Verdict
from .warehouse import Warehouse

_LAST_RUNS: Final = 5
_MOST_LINES: Final = 10

# a load counts once dlt has finished it; a ledger row can be there a moment earlier
_RUNS = f"""
SELECT w.run_id, min(w.started_at) AS started, max(w.finished_at) AS finished, count(*) AS windows,
    count(DISTINCT w.company_id) AS companies, sum(w.messages) AS messages, sum(w.requests) AS requests,
    sum(w.retries) AS retries, sum(w.bytes) AS bytes
FROM {{{EXPORT_WINDOWS}}} AS w JOIN {{_dlt_loads}} AS l ON l.load_id = w._dlt_load_id
WHERE l.status = 0
GROUP BY w.run_id ORDER BY min(w.started_at) DESC LIMIT {_LAST_RUNS}
"""
_UTC: Final = pa.timestamp("us", "UTC")
_COUNTS: Final = ("windows", "companies", "messages", "requests", "retries", "bytes")
_RUN: Final = pa.schema(
    [("run_id", pa.string()), ("started", _UTC), ("finished", _UTC), *((name, pa.int64()) for name in _COUNTS)]
)


def status_command(session: Session, destination: str | None, dataset: str | None) -> Verdict:
    """Reads state and ledger of the warehouse."""
    options = resolve_options()
    warehouse = Warehouse(destination, dataset)
    warehouse.reading()
    companies = list(_companies(warehouse, options))
    runs = [_run(row) for rows in warehouse.query_arrow(_RUNS, schema=_RUN) for row in rows.to_pylist()]
    unfinished = [
        {"company_id": company_id, "selection": selection.key, "start": json_time(start), "end": json_time(end)}
        for company_id, selection, (start, end) in warehouse.unfinished.all()
    ]
    session.document |= {
        "location": warehouse.location,
        "dataset": warehouse.dataset,
        "companies": companies,
        "unfinished": unfinished,
        "runs": runs,
    }
    session.show(*_unfinished_lines(unfinished))
    if not companies and not runs:
        return Verdict(
            ExitCode.COMPLETE,
            f"{warehouse.location} holds nothing yet; `mindo run` loads it (`mindo demo` to try it out).",
        )
    session.show(f"{clean(warehouse.location)}, dataset {clean(warehouse.dataset)}", _companies_table(companies))
    session.show(*_gap_lines(companies), _runs_table(runs))
    loaded = {company["company_id"]: company["messages"] for company in companies}
    messages, count = counted(sum(loaded.values()), "message"), counted(len(loaded), "company", "companies")
    return Verdict(ExitCode.COMPLETE, f"{messages} of {count}.")


def _companies(warehouse: Warehouse, options: Options) -> Iterator[dict[str, Any]]:
    messages = {
        int(row["company_id"]): int(row["n"])
        for row in warehouse.query(f"SELECT company_id, count(*) AS n FROM {{{MESSAGES}}} GROUP BY company_id")
    }
    known = {int(row["company_id"]): row for row in warehouse.query(f"SELECT * FROM {{{COMPANIES}}}")}
    coverage = warehouse.coverage
    for company_id in sorted({*coverage.company_ids(), *messages}):
        about = known.get(company_id, {})
        for selection in _widest(coverage.selections(company_id)):
            yield {
                "company_id": company_id,
                "name": about.get("name"),
                "timezone": about.get("timezone"),
                "selection": selection.key,
                "messages": messages.get(company_id, 0),
                **_coverage(coverage, company_id, selection, options),
            }


def _widest(selections: list[Selection]) -> list[Selection]:
    """Selections that no other one contains."""
    return [s for s in selections if not any(other != s and other.contains(s) for other in selections)]


def _coverage(coverage: Coverage, company_id: int, selection: Selection, options: Options) -> dict[str, Any]:
    covered = coverage.covered(company_id, selection)
    mark = coverage.watermark(company_id, selection)
    first = covered[0][0] if covered else None
    last = covered[-1][1] if covered else None
    start = min(options.start, first or options.start)
    gaps = subtract_ranges([(start, last)], covered) if last and start < last else []
    whole = [(start, options.now)]
    missing = _length(subtract_ranges(whole, covered))
    return {
        "watermark": json_time(mark),
        "age_seconds": int((datetime.now(UTC) - mark).total_seconds()) if mark else None,
        "first": json_time(first),
        "last": json_time(last),
        "gaps": [{"start": json_time(a), "end": json_time(b), "is_planned": b > options.start} for a, b in gaps],
        "percent_complete": round(100 * (1 - missing / max(_length(whole), timedelta(seconds=1))), 2),
    }


def _length(ranges: list[Range]) -> timedelta:
    return sum((end - start for start, end in ranges), timedelta(0))


def _run(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: json_time(row[name]) for name in ("started", "finished")}
    counts = {name: row[name] or 0 for name in _COUNTS}
    return {"run_id": row["run_id"], "started_at": times["started"], "finished_at": times["finished"], **counts}


def _companies_table(companies: list[dict[str, Any]]) -> Any:
    filtered = any(not c["selection"].startswith("channel=all direction=all agents=all") for c in companies)
    table = make_table(
        "company",
        "name",
        ">messages",
        "complete up to (UTC)",
        ">age",
        "since (UTC)",
        ">complete",
        *(["filter"] * filtered),
    )
    for company in companies:
        age = company["age_seconds"]
        row = [
            str(company["company_id"]),
            clean(company["name"] or "-"),
            f"{company['messages']:,}",
            _time(company["watermark"]),
            duration(timedelta(seconds=age)) if age is not None else "-",
            _time(company["first"]),
            f"{company['percent_complete']:g} %",
        ]
        table.add_row(*row, *([clean(company["selection"])] * filtered))
    return table


def _gap_lines(companies: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"gap: company {company['company_id']} [{gap['start']}, {gap['end']}) was never read whole; "
        + ("the next run reads it" if gap["is_planned"] else "it lies before start_date, so only a backfill reads it")
        for company in companies
        for gap in company["gaps"]
        if company["watermark"]
    ]
    return _shortened(lines, "gaps")


def _unfinished_lines(unfinished: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"unfinished: company {left['company_id']} [{left['start']}, {left['end']}): its load failed;"
        f" the next run of it reads it again{_of_selection(left['selection'])}"
        for left in unfinished
    ]
    return _shortened(lines, "unfinished ranges")


def _of_selection(key: str) -> str:
    return "" if key == Selection().key else f", if it reads {key}"


def _shortened(lines: list[str], what: str) -> list[str]:
    more = len(lines) - _MOST_LINES
    return lines[:_MOST_LINES] + ([f"… and {more} more {what}"] if more > 0 else [])


def _runs_table(runs: list[dict[str, Any]]) -> Any:
    table = make_table("last runs (UTC)", ">took", ">windows", ">messages", ">requests", ">retries")
    for run in runs:
        took = datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["started_at"])
        table.add_row(
            _time(run["started_at"]),
            duration(took),
            f"{run['windows']:,}",
            f"{run['messages']:,}",
            f"{run['requests']:,}",
            f"{run['retries']:,}",
        )
    return table


def _time(text: str | None) -> str:
    return moment(datetime.fromisoformat(text)) if text else "-"
