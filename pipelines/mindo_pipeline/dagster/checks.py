"""Checks of the tables. In a run of one partition they look at its company only, in any other run at everything."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg

from mindo import Options, resolve_options
from mindo.columns import EXPORT_WINDOWS, MESSAGES, PRIMARY_KEYS
from mindo.settings import INCLUDES
from mindo.windows import Range, format_time, subtract_ranges

from ..console import counted, duration
from ..transforming.project import resolve_vars
from ..warehouse import Warehouse
from .failures import retry_policy, told_in_one_line
from .partitions import Partition, company_partitions
from .settings import Settings
from .tables import TABLES, table_key

NO_DUPLICATE_KEY: Final = "no_duplicate_key"
LEDGER_COMPLETE: Final = "ledger_complete"
FRESH: Final = "fresh"

_PARTITION_TAGS: Final = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)
_MOST_TOLD: Final = 10
_WARN_HOURS: Final = 36
_ERROR_HOURS: Final = 72
_DESCRIPTIONS: Final = {
    NO_DUPLICATE_KEY: "No primary key is there twice.",
    LEDGER_COMPLETE: "No range between the start of a company's history and what was read last was never read whole.",
    FRESH: "Every company is loaded far enough up to now. By the ledger, never by traffic: a quiet company is not a stale one.",
}
# what a ledger row says that it read has to be at least what is asked for now
_LEDGER: Final = """
    SELECT company_id, window_start, window_end FROM {{{ledger}}}
    WHERE channel IN ('all', %s) AND direction IN ('all', %s) AND agent_ids IN ('all', %s) AND include IN (%s, %s){scope}"""
_GAPS: Final = """
SELECT company_id, reached AS gap_start, window_start AS gap_end FROM (
    SELECT company_id, window_start, max(window_end) OVER (
        PARTITION BY company_id ORDER BY window_start, window_end ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS reached FROM ({ledger}) AS windows
) AS reaching WHERE window_start > reached ORDER BY company_id, window_start
"""
_SPANS: Final = """
SELECT company_id, min(window_start) AS first, max(window_end) AS last FROM ({ledger}) AS windows GROUP BY company_id
"""
_DUPLICATES: Final = """
SELECT count(*) AS n FROM (SELECT 1 AS one FROM {{{table}}}{scope} GROUP BY {keys} HAVING count(*) > 1) AS twice
"""


@dataclass(frozen=True)
class _Subject:
    """What is looked at.

    Attributes:
        warehouse: Where.
        options: What is read by now, and since when.
        company_id: The company of the run's partition; `None` for all.
        company_ids: The companies that there are to read.
    """

    warehouse: Warehouse
    options: Options
    company_id: int | None
    company_ids: Collection[int]

    def scope(self, word: str) -> str:
        """The company as a condition of SQL."""
        return "" if self.company_id is None else f" {word} company_id = {int(self.company_id)}"


def make_checks(settings: Settings) -> dg.AssetChecksDefinition:
    """The checks of all tables, as one step."""

    @dg.multi_asset_check(
        name="mindo_checks",
        specs=[
            *(_spec(NO_DUPLICATE_KEY, table) for table in TABLES),
            _spec(LEDGER_COMPLETE, EXPORT_WINDOWS),
            _spec(FRESH, MESSAGES),
        ],
        can_subset=True,
        retry_policy=retry_policy(settings),
    )
    def mindo_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        selected = context.op_execution_context.selected_asset_check_keys
        results = []
        with told_in_one_line():
            warehouse = Settings.resolve().warehouse()
            companies = {int(key) for key in context.instance.get_dynamic_partitions(company_partitions.name or "")}
            options = resolve_options()
            subject = _Subject(
                warehouse,
                options,
                _company_of(context),
                companies & set(options.company_ids) if options.company_ids else companies,
            )
            with _read(warehouse):
                for key in selected:
                    table = key.asset_key.path[-1]
                    passed, severity, metadata = _LOOK[key.name](subject, table)
                    results.append(
                        dg.AssetCheckResult(
                            passed=passed,
                            asset_key=key.asset_key,
                            check_name=key.name,
                            severity=severity,
                            metadata={"companies": str(subject.company_id or "all"), **metadata},
                        )
                    )
        yield from results

    return mindo_checks


def _spec(name: str, table: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=table_key(table), description=_DESCRIPTIONS[name])


def _company_of(context: dg.AssetCheckExecutionContext) -> int | None:
    # a backfill's run has a range of partitions, which is one of them
    keys = {context.run.tags[tag] for tag in _PARTITION_TAGS if tag in context.run.tags}
    companies = {Partition.of(key).company_id for key in keys}
    return companies.pop() if len(companies) == 1 else None


@contextmanager
def _read(warehouse: Warehouse) -> Iterator[None]:
    """Gets the warehouse's state; a DuckDB file is held, as nobody can read one that somebody writes."""
    if warehouse.file is None:
        warehouse.reading()
        yield
    elif warehouse.file.exists():
        with warehouse.modelling():
            yield
    else:
        yield


_Found = tuple[bool, dg.AssetCheckSeverity, dict[str, Any]]


def _no_duplicate_key(subject: _Subject, table: str) -> _Found:
    sql = _DUPLICATES.format(table=table, scope=subject.scope("WHERE"), keys=", ".join(PRIMARY_KEYS[table]))
    rows = subject.warehouse.query(sql)
    twice = int(rows[0]["n"]) if rows else 0
    return not twice, dg.AssetCheckSeverity.ERROR, {"duplicate_keys": twice}


def _ledger_complete(subject: _Subject, table: str) -> _Found:
    """By the state and by the ledger: each of them has to tell of every window."""
    options, coverage = subject.options, subject.warehouse.coverage
    selection = options.selection
    agents = ",".join(map(str, selection.agent_ids)) or "all"
    parameters = (selection.channel, selection.direction, agents, ",".join(selection.include), ",".join(INCLUDES))
    ledger = _LEDGER.format(ledger=table, scope=subject.scope("AND"))
    gaps: dict[int, list[Range]] = {}
    for row in subject.warehouse.query(_GAPS.format(ledger=ledger), *parameters):
        gaps.setdefault(int(row["company_id"]), []).append((_utc(row["gap_start"]), _utc(row["gap_end"])))
    spans = {
        int(row["company_id"]): (_utc(row["first"]), _utc(row["last"]))
        for row in subject.warehouse.query(_SPANS.format(ledger=ledger), *parameters)
    }
    told: dict[int, list[Range]] = {}
    for company_id in coverage.company_ids() if subject.company_id is None else [subject.company_id]:
        covered = coverage.covered(company_id, selection)
        mark = coverage.watermark(company_id, selection)
        reached = [end for end in (mark, covered[-1][1] if covered else None) if end is not None]
        if not reached:
            continue
        start = options.start if options.start_is_given or not covered else covered[0][0]
        read = subtract_ranges([spans[company_id]], gaps.get(company_id, [])) if company_id in spans else []
        # beyond the watermark as well: months can be loaded in any order
        whole = [(start, max(reached))] if start < max(reached) else []
        if missing := subtract_ranges(whole, covered) + subtract_ranges(whole, read):
            told[company_id] = sorted(set(missing))
    lines = [f"{company}: [{format_time(a)}, {format_time(b)})" for company, found in told.items() for a, b in found]
    metadata = {"gaps": len(lines)} | ({"ranges": dg.MetadataValue.text(_shortened(lines))} if lines else {})
    return not lines, dg.AssetCheckSeverity.ERROR, metadata


def _fresh(subject: _Subject, _: str) -> _Found:
    variables = resolve_vars(None)
    now = datetime.now(UTC)
    coverage, retired = subject.warehouse.coverage, set(variables.get("mindo_retired_companies") or ())
    companies = subject.company_ids if subject.company_id is None else [subject.company_id]
    marks = {
        company_id: coverage.watermark(company_id, subject.options.selection)
        for company_id in sorted(set(companies) - retired)
    }
    never = [company_id for company_id, mark in marks.items() if mark is None]
    ages = {company_id: now - mark for company_id, mark in marks.items() if mark is not None}
    oldest = max(ages.values(), default=timedelta(0))
    warn, error = (
        timedelta(hours=float(variables.get(f"mindo_freshness_{name}_hours", default)))
        for name, default in (("warn", _WARN_HOURS), ("error", _ERROR_HOURS))
    )
    old = [f"{company_id}: {duration(age)}" for company_id, age in ages.items() if age > warn]
    metadata: dict[str, Any] = {
        "oldest": duration(oldest),
        "companies_read": counted(len(ages), "company", "companies"),
    }
    if old:
        metadata["too_old"] = dg.MetadataValue.text(_shortened(old))
    if never:
        metadata["never_loaded"] = dg.MetadataValue.text(_shortened([str(company_id) for company_id in never]))
    is_error = oldest > error or bool(never)
    severity = dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN
    return not old and not never, severity, metadata


_LOOK: Final[dict[str, Callable[[_Subject, str], _Found]]] = {
    NO_DUPLICATE_KEY: _no_duplicate_key,
    LEDGER_COMPLETE: _ledger_complete,
    FRESH: _fresh,
}


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _shortened(lines: list[str]) -> str:
    more = len(lines) - _MOST_TOLD
    return "; ".join(lines[:_MOST_TOLD] + ([f"and {more:,} more"] if more > 0 else []))
