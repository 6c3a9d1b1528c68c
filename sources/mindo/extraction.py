"""One load: complete windows become Arrow tables with hints, then markers, ledger rows and state."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import dlt
import pyarrow as pa
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.schema.typing import TTableFormat
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.version import DLT_PKG_NAME

from .columns import CHILD_TABLES, DECLARED, EXPORT_WINDOWS, LISTS, MESSAGES
from .companies import Company
from .coverage import Coverage
from .discovery import SchemaChange
from .reader import WindowRead, WindowReader, message_ids
from .replacing import arrow_schema, make_table_hints, marker_table, window_markers
from .selection import Selection
from .settings import ALL, INCLUDES
from .shaping import BATCH_ROWS, Group, Shaper
from .sightings import Sightings
from .stored import HELD, LEFT_OUT, StoredMessages
from .strategies import storable, writes_unchanged
from .unchanged import STORED, keepers, part_unchanged
from .windows import Window

_GROUP_WINDOWS = 256
"""Bounds a group of windows that hold little or nothing: what the destination holds of them is looked at together."""


@dataclass
class LoadedWindow:
    """A complete window of a load and the rows it has in each table; tables of left-out lists are missing."""

    read: WindowRead
    rows: dict[str, int]


@dataclass
class Load:
    """What one load holds; filled while it is extracted, true of the destination once the load has succeeded.

    Attributes:
        run_id: Names the run in `export_windows`; several loads can belong to one run.
        complete: Windows in this load.
        incomplete: Windows that could not be proven complete; nothing of them is in the load.
        postponed: Windows to be read again for the next load: a message moved into them from a window of this load.
        changes: Columns that the load adds.
    """

    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    complete: list[LoadedWindow] = field(default_factory=list)
    incomplete: list[WindowRead] = field(default_factory=list)
    postponed: list[Window] = field(default_factory=list)
    changes: list[SchemaChange] = field(default_factory=list)

    @property
    def messages(self) -> int:
        """Messages in this load."""
        return sum(window.read.rows for window in self.complete)


@dataclass
class _LoadedGroup(Group):
    windows: list[LoadedWindow] = field(default_factory=list)
    unchanged_rows: pa.Table | None = None

    def release(self) -> None:
        for read in self.reads:
            read.release()


class Extraction:
    """Turns a reader's windows into the items that dlt loads.

    Args:
        reader: Gives windows in the order of the plan.
        load: Filled with what was done.
        max_messages: No further window is taken once that many messages are in the load; bounds what a crash can cost.
    """

    def __init__(self, reader: WindowReader, load: Load, max_messages: int | None = None) -> None:
        self._reader = reader
        self._selection = reader.selection
        self._load = load
        self._max_messages = max_messages
        self._sightings = Sightings()

    def items(self, record: Callable[[Coverage, Load], None]) -> Iterator[Any]:
        """Yields everything that belongs into the load.

        Args:
            record: Writes what was read into the state; called last, so a broken extraction leaves the state alone.
        """
        coverage = Coverage(dlt.current.resource_state())
        load_id = _load_id()
        schema = dlt.current.source_schema()
        tables = (MESSAGES, *CHILD_TABLES.values())
        stored = {table: schema.tables[table]["columns"] for table in tables if table in schema.tables}
        shaper = Shaper(
            self._reader.engine,
            self._selection,
            stored,
            schema.naming.normalize_identifier,
            load_id,
            self._reader.options.column_rules,
            coverage.forgotten(),
        )
        try:
            with StoredMessages(stored.get(MESSAGES, ())) as destination:
                yield from self._shaped_items(shaper, destination, coverage)
            forgotten = shaper.forgotten
        finally:
            shaper.close()
        self._load.changes += shaper.changes
        yield from self._closing_items(shaper, coverage, load_id)
        for company_id, agents in self._sightings.agents.items():
            coverage.record_agents(company_id, agents)
        if forgotten != coverage.forgotten():
            coverage.record_forgotten(forgotten)
        record(coverage, self._load)
        # what shaping took and no longer needs goes back to the system before the load takes its own
        pa.default_memory_pool().release_unused()

    def _groups(self) -> Iterator[list[WindowRead]]:
        """Complete windows in the order of the plan, small ones together; ends when the load is full."""
        group: list[WindowRead] = []
        rows = total = 0
        for read in self._reader:
            if read.error is not None:
                self._load.incomplete.append(read)
                continue
            group.append(read)
            rows, total = rows + read.rows, total + read.rows
            is_full = self._max_messages is not None and total >= self._max_messages
            if rows >= BATCH_ROWS or len(group) >= _GROUP_WINDOWS or is_full:
                yield group
                group, rows = [], 0
            if is_full:
                return
        if group:
            yield group

    def _accepted(self, group: list[WindowRead], destination: StoredMessages, coverage: Coverage) -> list[WindowRead]:
        """The windows that the shrink guard lets through; the others become incomplete."""
        guard = self._reader.options.shrink_guard
        if guard is None:
            return group
        windows = [read.window for read in group]
        authors = coverage.authors_by_company(windows, self._selection)
        held = destination.rows(windows, HELD, self._selection, sorted(frozenset().union(*authors.values())))
        with self._reader.engine.cursor() as connection:
            refused = guard.refused(windows, message_ids(group), held, connection)
        for number, error in refused.items():
            group[number].error = error
        self._load.incomplete += [read for read in group if read.error]
        return [read for read in group if not read.error]

    def _shaped_items(self, shaper: Shaper, destination: StoredMessages, coverage: Coverage) -> Iterator[Any]:
        left_out = set(LISTS) - set(self._selection.include)
        current = None
        for group, batch in shaper.shape(self._accepted_groups(shaper, destination, coverage)):
            if current is not None and current is not group:
                current.release()
            current = group
            kept = {CHILD_TABLES[name]: batch.tables[MESSAGES] for name in left_out}
            tables: Mapping[str, pa.Table] = batch.tables
            if group.unchanged_rows is not None:
                tables, unchanged = part_unchanged(tables, group.unchanged_rows)
                kept = dict.fromkeys(tables, unchanged) | kept
            for table, counts in batch.counts.items():
                for number, rows in counts.items():
                    group.windows[number].rows[table] += rows
                if tables[table].num_rows:
                    yield _item(table, tables[table], shaper)
            self._sightings.note(batch.tables[MESSAGES])
            for table, messages in kept.items():
                yield _item(table, keepers(table, messages), shaper)
        if current is not None:
            current.release()

    def _accepted_groups(
        self, shaper: Shaper, destination: StoredMessages, coverage: Coverage
    ) -> Iterator[_LoadedGroup]:
        counted = [MESSAGES, *(CHILD_TABLES[name] for name in LISTS if name in self._selection.include)]
        for group in self._groups():
            accepted = self._accepted(group, destination, coverage)
            postponed = shaper.claim(accepted)
            self._load.postponed += [accepted[number].window for number in sorted(postponed)]
            accepted = [read for number, read in enumerate(accepted) if number not in postponed]
            shaped = {id(read) for read in accepted if read.rows}
            for read in group:
                if id(read) not in shaped:
                    read.release()
            stored = None
            if set(self._selection.include) != set(INCLUDES):
                stored = destination.rows([read.window for read in accepted], LEFT_OUT, Selection())
            unchanged = None
            if writes_unchanged(Container().get(DestinationCapabilitiesContext)):
                unchanged = destination.rows([read.window for read in accepted], STORED, Selection())
            windows = [LoadedWindow(read, dict.fromkeys(counted, 0)) for read in accepted]
            self._load.complete += windows
            yield _LoadedGroup(accepted, stored, windows, unchanged)

    def _closing_items(self, shaper: Shaper, coverage: Coverage, load_id: str) -> Iterator[Any]:
        windows = [window.read.window for window in self._load.complete]
        authors = coverage.authors_by_company(windows, self._selection)
        markers = window_markers(windows, self._selection, self._sightings.channels, authors)
        for table in (MESSAGES, *CHILD_TABLES.values()):
            yield _item(table, marker_table(table, markers, load_id), shaper)
        ledger = pa.Table.from_pylist(
            [
                _ledger_row(self._load.run_id, window, self._selection) | {"_dlt_load_id": load_id}
                for window in self._load.complete
            ],
            arrow_schema(DECLARED[EXPORT_WINDOWS]),
        )
        yield _item(EXPORT_WINDOWS, ledger, None)


def company_items(companies: Iterable[Company]) -> Iterator[Any]:
    """The rows of `companies`."""
    load_id = _load_id()
    rows = [
        {"company_id": c.company_id, "name": c.name, "timezone": c.timezone, "_dlt_load_id": load_id} for c in companies
    ]
    yield _item("companies", pa.Table.from_pylist(rows, arrow_schema(DECLARED["companies"])), None)


def record_increment(start_by_company: Mapping[int, Any], selection: Selection) -> Callable[[Coverage, Load], None]:
    """State of an incremental run: watermarks move over complete windows."""

    def record(coverage: Coverage, load: Load) -> None:
        complete = [window.read.window for window in load.complete]
        holes = [read.window for read in load.incomplete] + load.postponed
        for company_id, start in start_by_company.items():
            coverage.record_increment(
                start,
                selection,
                [w for w in complete if w.company_id == company_id],
                [w for w in holes if w.company_id == company_id],
            )

    return record


def record_nothing(_: Coverage, __: Load) -> None:
    """State of an explicit range: left alone."""


def _item(table: str, arrow: pa.Table, shaper: Shaper | None) -> Any:
    columns = shaper.columns[table].all if shaper else DECLARED[table]
    capabilities = Container().get(DestinationCapabilitiesContext)
    table_format = cast("TTableFormat | None", dlt.current.resource().table_format)
    hints = make_table_hints(table, columns, capabilities, table_format)
    return dlt.mark.with_hints(storable(arrow, capabilities), hints, create_table_variant=True)


def _ledger_row(run_id: str, window: LoadedWindow, selection: Selection) -> dict[str, Any]:
    read = window.read
    return {
        "run_id": run_id,
        "company_id": read.window.company_id,
        "window_start": read.window.start,
        "window_end": read.window.end,
        "channel": selection.channel,
        "direction": selection.direction,
        "agent_ids": ",".join(map(str, selection.agent_ids)) or ALL,
        "include": ",".join(selection.include),
        "pages": read.page_count,
        "requests": read.requests,
        "retries": read.retries,
        "messages": window.rows[MESSAGES],
        **{name: window.rows.get(table) for name, table in CHILD_TABLES.items()},
        "bytes": read.bytes,
        "started_at": read.started,
        "finished_at": read.finished,
        "ids_digest": read.ids_digest,
    }


def _load_id() -> str:
    try:
        return str(dlt.current.load_package_state()["load_id"])
    except CurrentLoadPackageStateNotAvailable:
        # the resource is iterated without a pipeline, to look at its rows
        return ""


class ExpectedHintsFilter(logging.Filter):
    """Drops dlt's warning that a JSON column's hint differs from the Arrow type text: Arrow has no other type for it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is kept."""
        return "merging arrow schema with dlt schema" not in record.getMessage()


def silence_expected_warnings() -> None:
    """Keeps dlt from warning at every Arrow batch about the hints of JSON columns."""
    target = logging.getLogger(DLT_PKG_NAME)
    if not any(isinstance(f, ExpectedHintsFilter) for f in target.filters):
        target.addFilter(ExpectedHintsFilter())
