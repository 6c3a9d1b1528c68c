"""dlt source for Mindo's Qualitative Export API: chat messages as tables that mirror the API.

The flow, one module a step: plan `windows` → `reader` gets a window into proven `pages` → `shaping` makes Arrow tables →
`replacing` tells dlt how to load them → `coverage` and the ledger record what was read. `extraction` ties them together.

Example::

    import dlt
    from mindo import mindo_source

    pipeline = dlt.pipeline("mindo", destination=dlt.destinations.duckdb("warehouse.duckdb"), dataset_name="mindo")
    pipeline.run(mindo_source(company_ids=[42, 57]))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import dlt
from dlt.extract import DltResource

from .client import MindoClient
from .companies import Company, resolve_companies
from .configuration import MindoConfiguration, Options, resolve_options
from .coverage import Coverage
from .exceptions import (
    AccessError,
    ApiError,
    ConfigurationError,
    MindoError,
    SpoolError,
    WindowShrunk,
    WindowsIncomplete,
)
from .extraction import (
    Extraction,
    Load,
    company_items,
    record_increment,
    record_nothing,
    silence_expected_warnings,
)
from .reader import WindowReader, raise_incomplete
from .selection import Selection
from .settings import SOURCE_NAME
from .windows import Window, floor_to_step, increment_ranges, plan_windows

__all__ = [
    "AccessError",
    "ApiError",
    "Company",
    "ConfigurationError",
    "Coverage",
    "Load",
    "MindoClient",
    "MindoConfiguration",
    "MindoError",
    "Options",
    "Selection",
    "SpoolError",
    "Window",
    "WindowReader",
    "WindowShrunk",
    "WindowsIncomplete",
    "explicit_interval",
    "history_starts",
    "load_source",
    "mindo_source",
    "plan_run",
    "resolve_companies",
    "resolve_options",
    "unread_ranges",
]


@dlt.source(name=SOURCE_NAME)
def mindo_source(
    company_ids: Any = None,
    from_date: Any = None,
    to_date: Any = None,
    start_date: Any = None,
    channel: str | None = None,
    direction: str | None = None,
    agent_ids: Any = None,
    include: Any = None,
    lookback_days: float | None = None,
    accept_deletions: bool | None = None,
    options: Options | None = None,
) -> Iterable[DltResource]:
    """Messages of companies, with classifications, extractions and tool calls, as tables that mirror the API.

    Without an explicit range the run is incremental: per company it reads what was never read since `start_date`, and the
    lookback behind the company's watermark again. Every window that is loaded replaces what the tables hold for it.
    Anything not given here comes from `[sources.mindo]` in dlt's configuration, the API key always does.

    Args:
        company_ids: Companies to read, `[42, 57]` or `"42,57"`. A company-scoped key finds its own.
        from_date: Start of an explicit range, inclusive; UTC if it has no zone. Moves no watermark.
        to_date: End of an explicit range, exclusive; by default now.
        start_date: Where an incremental run's history begins; by default 30 days ago.
        channel: `whatsapp`, `instagram`, `messenger` or `all`.
        direction: `incoming`, `outgoing` or `all`.
        agent_ids: AI agents to read; by default all.
        include: Parts to read besides the message: `classifications`, `extractions`, `tool_calls`, `trace_id`; by default all.
            What is left out stays in the tables as it is.
        lookback_days: How far behind the watermark changes are looked for.
        accept_deletions: Whether windows are loaded that lose more messages than the shrink guard allows.
        options: All options at once, already checked; everything else is ignored then.

    Returns:
        The resources `messages` (which also fills the child tables and `export_windows`) and `companies`.

    Raises:
        ConfigurationError: If an option is unusable, a key refused or a company not visible.
        WindowsIncomplete: While extracting, if a window could not be read whole, or would lose more messages than the
            shrink guard allows. Nothing is loaded then.
    """
    checked = options or resolve_options(
        {
            "company_ids": company_ids,
            "from_date": from_date,
            "to_date": to_date,
            "start_date": start_date,
            "channel": channel,
            "direction": direction,
            "agent_ids": agent_ids,
            "include": include,
            "lookback_days": lookback_days,
            "accept_deletions": accept_deletions,
        }
    )
    client = MindoClient(checked)
    companies = resolve_companies(checked, client)
    return _messages_resource(lambda coverage: _read_plan(checked, companies, coverage)), _companies_resource(companies)


@dlt.source(name=SOURCE_NAME)
def load_source(
    reader: WindowReader,
    load: Load,
    record: Callable[[Coverage, Load], None],
    companies: list[Company],
    max_messages: int | None = None,
) -> Iterable[DltResource]:
    """One bounded load of a longer run: takes windows from a reader until `max_messages` is reached.

    Unlike `mindo_source` it loads what is complete and leaves incomplete windows to the caller, in `load.incomplete`.

    Args:
        reader: Gives the windows of the run; what this load does not take stays for the next one.
        load: Filled while extracting.
        record: Writes what was read into the source's state.
        companies: Rows for `companies`.
        max_messages: Ends the load at the first window edge beyond it.
    """
    extraction = Extraction(reader, load, max_messages)
    return _messages_resource(lambda _: extraction.items(record)), _companies_resource(companies)


def plan_run(options: Options, companies: Iterable[Company], coverage: Coverage) -> list[Window]:
    """The windows that a run reads, oldest first and companies side by side, so that the windows of a load are adjacent.

    Args:
        options: With an explicit interval just that is planned, else the increment.
        companies: Whose messages are read.
        coverage: What earlier runs read.
    """
    interval = explicit_interval(options)
    windows: list[Window] = []
    for company in companies:
        ranges = [interval] if interval else unread_ranges(options, company, coverage)
        windows += plan_windows(company.company_id, ranges, options.window)
    return sorted(windows)


def unread_ranges(options: Options, company: Company, coverage: Coverage) -> list[tuple[datetime, datetime]]:
    """What an increment reads of a company: what was never read since the start of its history, and the lookback again."""
    company_id = company.company_id
    return increment_ranges(
        history_starts(options, [company], coverage)[company_id],
        options.now,
        coverage.covered(company_id, options.selection),
        coverage.watermark(company_id, options.selection),
        options.lookback,
        options.window,
    )


def history_starts(options: Options, companies: Iterable[Company], coverage: Coverage) -> dict[int, datetime]:
    """Where each company's history begins for an increment.

    Without a configured start that is 30 days ago on the first run. Later the default has moved on, but the next increment
    still has to begin behind the watermark, or a pause of more than 30 days would leave a gap.
    """
    starts = {}
    for company in companies:
        watermark = coverage.watermark(company.company_id, options.selection)
        behind = options.start if watermark is None else floor_to_step(watermark - options.lookback, options.window)
        starts[company.company_id] = options.start if options.start_is_given else min(options.start, behind)
    return starts


def _messages_resource(items: Callable[[Coverage], Iterator[Any]]) -> DltResource:
    silence_expected_warnings()

    @dlt.resource(name="messages", file_format="parquet")
    def messages() -> Iterator[Any]:
        yield from items(Coverage(dlt.current.resource_state()))

    return messages()


def _companies_resource(companies: list[Company]) -> DltResource:
    @dlt.resource(name="companies", file_format="parquet")
    def companies_resource() -> Iterator[Any]:
        yield from company_items(companies)

    return companies_resource()


def _read_plan(options: Options, companies: list[Company], coverage: Coverage) -> Iterator[Any]:
    """Reads a whole plan as one load, all or nothing."""
    load = Load()
    is_incremental = explicit_interval(options) is None
    record = (
        record_increment(history_starts(options, companies, coverage), options.selection)
        if is_incremental
        else record_nothing
    )
    with WindowReader(options, plan_run(options, companies, coverage)) as reader:
        yield from Extraction(reader, load).items(record)
    if load.incomplete or load.postponed:
        raise_incomplete(load.incomplete, load.postponed)


def explicit_interval(options: Options) -> tuple[datetime, datetime] | None:
    """The range that a run was told to read, which moves no watermark; `None` for an increment.

    Told by options, or by a scheduler through DLT_INTERVAL_START and DLT_INTERVAL_END (or Airflow's data interval); of
    these only what lies in the past, because a window that has not ended can't be complete.
    """
    if options.interval:
        return options.interval
    interval = dlt.current.interval()
    return (
        None if interval is None else (interval.start.astimezone(UTC), min(interval.end.astimezone(UTC), options.now))
    )
