"""`mindo copy`: carries the tables and the state to another destination, where the next run goes on.

First a mark is committed that tells the copy is not whole, then rows, then dlt's list of the loads that they came with. When the
rows were counted on both sides, the state takes the place of the mark. So a copy that broke off is known for what it is: no run
adds to it, and the same command empties it and begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, cast

import dlt
import pyarrow as pa
import sqlglot.expressions as sge
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.runtime import signals
from dlt.common.schema.typing import TTableFormat
from dlt.extract import DltResource

from mindo import ConfigurationError, Window
from mindo.columns import DECLARED, EXPORT_WINDOWS, Column
from mindo.discovery import MEMBER_HINT, TYPE_HINT
from mindo.layout import has_indexes
from mindo.queries import Queries, open_queries
from mindo.replacing import arrow_schema, make_table_hints
from mindo.settings import SOURCE_NAME
from mindo.strategies import REPLACED_TABLES, only_appends, storable

from .console import clean, counted, duration, make_table
from .errors import DestinationError, causes, destination_line, explain
from .exit_codes import ExitCode
from .session import CommandFailed, Session, Verdict
from .warehouse import DEFAULT_DATASET, UNFINISHED_COPY, Warehouse

_ROWS_AT_ONCE: Final = 25_000
_ROWS_OF_A_LOAD: Final = 100_000
_LOADS_AT_ONCE: Final = 100
_INSTANT: Final = timedelta(microseconds=1)
_UTC: Final = pa.timestamp("us", "UTC")
_SPAN: Final = pa.schema([("first", _UTC), ("last", _UTC)])
_LOADS: Final = pa.schema(
    [
        ("load_id", pa.string()),
        ("schema_name", pa.string()),
        ("status", pa.int64()),
        ("inserted_at", _UTC),
        ("schema_version_hash", pa.string()),
    ]
)
"""dlt's table of finished loads."""

_TIMES: Final = {**dict.fromkeys(REPLACED_TABLES, "occurred_at"), EXPORT_WINDOWS: "window_start"}
"""By which column a table is divided into parts; the others are small."""


def copy_command(
    session: Session, to: str | None, to_dataset: str | None, destination: str | None, dataset: str | None
) -> Verdict:
    """Copies a warehouse into a dataset that has none of its tables yet."""
    if to is None:
        raise ConfigurationError("to: missing; name a destination that dlt knows: --to postgres.")
    source = Warehouse(destination, dataset)
    target = Warehouse(to, to_dataset or source.dataset)
    source.reading()
    _check(source, target)
    session.document |= {
        "location": source.location,
        "dataset": source.dataset,
        "to": {"location": target.location, "dataset": target.dataset},
        "tables": {},
    }
    try:
        with source.writing(), target.writing(completes_copy=True), signals.intercepted_signals():
            _empty(target)
            rows = _copy(session, source, target)
    except BaseException as error:
        if any(isinstance(link, ConfigurationError | DestinationError) for link in causes(error)):
            raise
        if explain(error)[0] is ExitCode.INTERRUPTED:
            raise CommandFailed(ExitCode.INTERRUPTED, "stopped; the same command begins anew.") from error
        line = destination_line(error, "the copy failed, and the same command begins anew")
        raise DestinationError(f"{target.location}: {line}.") from error
    told = f"copied: {counted(rows, 'row')} in {duration(session.elapsed)}, and the state. From now on: {_next(target)}"
    return Verdict(ExitCode.COMPLETE, told)


def _check(source: Warehouse, target: Warehouse) -> None:
    for option, warehouse in (("destination", source), ("to", target)):
        if only_appends(warehouse.pipeline.destination_client().capabilities):
            raise ConfigurationError(
                f"{option}: to {warehouse.destination} loads are only appended, and `mindo copy` needs one that merges;"
                " load it with `mindo backfill` instead."
            )
    if (source.location, source.dataset) == (target.location, target.dataset):
        raise ConfigurationError(f"to: {target.location}, dataset {target.dataset}, is the warehouse itself.")
    if not _tables(source):
        raise ConfigurationError(f"destination: {source.location}: there is nothing to copy yet.")


def _empty(target: Warehouse) -> None:
    """Empties the tables of a copy that broke off; whatever else is there is left alone.

    Raises:
        ConfigurationError: If the tables or the state are not such a copy's.
    """
    state = target.pipeline.state.get("sources", {}).get(SOURCE_NAME, {})
    with target.pipeline.destination_client() as client:
        tables = []
        if client.is_storage_initialized():
            tables = [name for name, columns in client.get_storage_tables(DECLARED) if columns]  # type: ignore[attr-defined]
        # nothing else was ever noted
        if state.keys() == {UNFINISHED_COPY}:
            if tables:
                client.sql_client.truncate_tables(*tables)  # type: ignore[attr-defined]
        elif state or tables:
            raise ConfigurationError(
                f"to: {target.location}, dataset {target.dataset}, holds messages of Mindo already; name another dataset"
                " with --to-dataset, or drop that one."
            )


def _copy(session: Session, source: Warehouse, target: Warehouse) -> int:
    """Copies everything and compares it. Returns how many rows there were."""
    tables = _tables(source)
    # Arrow's own allocator keeps what it freed
    pa.set_memory_pool(pa.system_memory_pool())
    # without a table, so that its mark is there before any row is
    begin = partial(_write_state, {UNFINISHED_COPY: {"begun_at": session.started.isoformat()}})
    target.pipeline.run(_source(begin))
    with open_queries(source.pipeline, source.schema) as queries:
        held = _count(queries, tables)
        plan = [part for table in tables for part in _plan(queries, table, held[table])]
    copied, total = 0, sum(held.values())
    selects = _Selects.of(source)
    with target.loading():
        for parts in _loads(plan):
            items = partial(_read, source, selects, tables, parts)
            target.pipeline.run(_source(items), table_format=target.table_format)
            signals.raise_if_signalled()
            copied += sum(part.rows for part in parts)
            session.note(f"{copied:,} of {counted(total, 'row')} copied")
    _copy_loads(source, target)
    _analyze(target, tables)
    for company_id, selection, (start, end) in source.unfinished.all():
        target.unfinished.add([Window(start, end, company_id)], selection)
    with open_queries(target.pipeline, target.schema) as queries:
        arrived = _count(queries, tables)
    _report(session, held, arrived)
    _compare(target, held, arrived)
    state = source.pipeline.state.get("sources", {}).get(SOURCE_NAME, {})
    target.pipeline.run(_source(partial(_write_state, state)))
    return total


def _count(queries: Queries, tables: Iterable[str]) -> dict[str, int]:
    return {name: int(queries.rows(f"SELECT count(*) AS n FROM {{{name}}} AS copied")[0]["n"]) for name in tables}


@dataclass(frozen=True)
class _Part:
    """Rows of a table that fit into memory: how many, and the condition with its values by which they are found."""

    table: str
    rows: int
    condition: str = ""
    values: Sequence[Any] = ()


def _tables(warehouse: Warehouse) -> dict[str, list[Column]]:
    """The tables that there are and their columns, by dlt's schema."""
    known = warehouse.schema.tables
    return {name: _columns(known[name]["columns"].values()) for name in DECLARED if name in known}


def _columns(stored: Iterable[Mapping[str, Any]]) -> list[Column]:
    return [
        Column(
            column["name"],
            column.get(TYPE_HINT) or column["data_type"],
            column.get("description", ""),
            column.get("nullable", True),
            column.get(MEMBER_HINT),
        )
        for column in stored
        if "data_type" in column
    ]


@dataclass(frozen=True)
class _Selects:
    """How columns are read, so that they arrive as they are stored.

    Attributes:
        dialect: The SQL dialect.
        quote: Quotes the name of a column.
        json: The JSON columns of each table: clients parse JSON, and what they make of it is not what was stored.
    """

    dialect: str | None
    quote: Callable[[str], str]
    json: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, warehouse: Warehouse) -> _Selects:
        """How those of a warehouse are read."""
        client = warehouse.pipeline.sql_client()
        json = {
            table: [name for name, column in known["columns"].items() if column.get("data_type") == "json"]
            for table, known in warehouse.schema.tables.items()
        }
        return cls(client.capabilities.sqlglot_dialect, client.escape_column_name, json)

    def of_table(self, table: str, columns: Sequence[Column]) -> str:
        """The query of a table's columns, without a condition."""
        names = [self._column(column.name, column.name in self.json[table]) for column in columns]
        return f"SELECT {', '.join(names)} FROM {{{table}}} AS copied"

    def _column(self, name: str, is_json: bool) -> str:
        quoted = self.quote(name)
        if not is_json:
            return quoted
        return sge.cast(quoted, "text", dialect=self.dialect).sql(self.dialect)


def _plan(queries: Queries, table: str, total: int) -> Iterator[_Part]:
    """Divides a table, in the order of time, so that what is ordered by time at the target is filled in order."""
    time = _TIMES.get(table)
    if time is None or total <= _ROWS_AT_ONCE:
        yield _Part(table, total, f" ORDER BY {time}" if time else "")
        return
    # indexes begin with the company
    rows = queries.rows(f"SELECT DISTINCT company_id AS company_id FROM {{{table}}} AS copied")
    companies = sorted(int(row["company_id"]) for row in rows)
    condition = f" WHERE company_id IN ({', '.join(['%s'] * len(companies))}) AND {time} >= %s AND {time} < %s"
    select = f"SELECT count(*) AS n FROM {{{table}}} AS copied{condition}"

    def count(start: datetime, end: datetime) -> int:
        return int(queries.rows(select, *companies, start, end)[0]["n"])

    span = pa.concat_tables(
        queries.tables(f"SELECT min({time}), max({time}) FROM {{{table}}} AS copied", schema=_SPAN)
    ).to_pylist()[0]
    for start, end, found in divide(span["first"], span["last"] + _INSTANT, total, count):
        yield _Part(table, found, f"{condition} ORDER BY {time}", [*companies, start, end])


def _loads(plan: Iterable[_Part]) -> Iterator[list[_Part]]:
    """Parts that are loaded together."""
    load: list[_Part] = []
    for part in plan:
        load.append(part)
        if sum(each.rows for each in load) >= _ROWS_OF_A_LOAD:
            yield load
            load = []
    if load:
        yield load


def _read(
    source: Warehouse, selects: _Selects, tables: Mapping[str, Sequence[Column]], parts: Iterable[_Part]
) -> Iterator[Any]:
    """The items of a load. It has a connection of its own: DuckDB gives back what it keeps of a file when it is closed."""
    with open_queries(source.pipeline, source.schema) as queries:
        for part in parts:
            columns = tables[part.table]
            schema = arrow_schema(columns)
            # a table without rows has to be there as well
            yield _item(part.table, columns, schema.empty_table())
            select = selects.of_table(part.table, columns)
            for rows in queries.tables(select + part.condition, *part.values, schema=schema):
                yield _item(part.table, columns, rows)


def divide(
    start: datetime, end: datetime, total: int, count: Callable[[datetime, datetime], int], most: int = _ROWS_AT_ONCE
) -> Iterator[tuple[datetime, datetime, int]]:
    """Divides a time into half-open pieces of at most `most` rows, or of one microsecond; leaves out those without any.

    Args:
        start: First moment.
        end: Moment after the last.
        total: Rows of all of it.
        count: Counts the rows of a piece.
        most: Rows of a piece.

    Yields:
        Start, end and rows of each piece.
    """
    width = (end - start) * min(1.0, most / total)
    while start < end:
        width = max(width, _INSTANT)
        until = min(end, start + width)
        rows = count(start, until)
        if rows > most and width > _INSTANT:
            width /= 2
            continue
        if rows:
            yield start, until, rows
        start = until
        if rows < most / 2:
            width = min(width * 2, end - start)


def _item(table: str, columns: Sequence[Column], rows: pa.Table) -> Any:
    capabilities = Container().get(DestinationCapabilitiesContext)
    table_format = cast("TTableFormat | None", dlt.current.resource().table_format)
    hints = make_table_hints(table, columns, capabilities, table_format)
    # there is nothing to merge with, and no window to replace
    hints["write_disposition"] = "append"
    return dlt.mark.with_hints(storable(rows, capabilities), hints, create_table_variant=True)


def _write_state(state: Mapping[str, Any]) -> Iterator[Any]:
    written = dlt.current.source_state()
    written.clear()
    written.update(deepcopy(dict(state)))
    yield from ()


@dlt.source(name=SOURCE_NAME)
def _source(items: Callable[[], Iterator[Any]]) -> Iterable[DltResource]:
    # by that name runs load the same tables
    @dlt.resource(name=REPLACED_TABLES[0], file_format="parquet")
    def messages() -> Iterator[Any]:
        yield from items()

    return messages()


def _copy_loads(source: Warehouse, target: Warehouse) -> None:
    """Copies dlt's list of finished loads: what it does not name counts as never loaded."""
    listed = ", ".join(_LOADS.names)
    known = {row["load_id"] for row in target.query("SELECT load_id AS load_id FROM {_dlt_loads}")}
    select = f"SELECT {listed} FROM {{_dlt_loads}} WHERE status = 0 AND schema_name = %s"
    loads = [
        load
        for rows in source.query_arrow(select, SOURCE_NAME, schema=_LOADS)
        for load in rows.to_pylist()
        if load["load_id"] not in known
    ]
    with target.pipeline.sql_client() as client:
        table = client.make_qualified_table_name("_dlt_loads")
        for number in range(0, len(loads), _LOADS_AT_ONCE):
            some = loads[number : number + _LOADS_AT_ONCE]
            if not client.capabilities.supports_tz_aware_datetime:
                some = [
                    load | {"inserted_at": load["inserted_at"].astimezone(UTC).replace(tzinfo=None)} for load in some
                ]
            marks = ", ".join([f"({', '.join(['%s'] * len(_LOADS))})"] * len(some))
            client.execute_sql(
                f"INSERT INTO {table} ({listed}) VALUES {marks}", *(value for load in some for value in load.values())
            )


def _analyze(target: Warehouse, tables: Iterable[str]) -> None:
    """Has the target count what its tables hold: until it did so by itself, it would look in every one of their rows."""
    with target.pipeline.sql_client() as client:
        if has_indexes(client.capabilities):
            for table in tables:
                client.execute_sql(f"ANALYZE {client.make_qualified_table_name(table)}")


def _report(session: Session, held: Mapping[str, int], arrived: Mapping[str, int]) -> None:
    session.document["tables"] = {name: {"rows": rows, "copied": arrived[name]} for name, rows in held.items()}
    table = make_table("table", ">rows", ">copied")
    for name, rows in held.items():
        table.add_row(name, f"{rows:,}", f"{arrived[name]:,}")
    session.show(table)


def _compare(target: Warehouse, held: Mapping[str, int], arrived: Mapping[str, int]) -> None:
    different = [
        f"{arrived[name]:,} of {counted(rows, 'row')} of {name}" for name, rows in held.items() if arrived[name] != rows
    ]
    if different:
        raise DestinationError(
            f"{target.location}: there are {' and '.join(different)}, so the copy does not count; give the same command"
            " once more."
        )


def _next(target: Warehouse) -> str:
    dataset = f" --dataset {clean(target.dataset)}" if target.dataset != DEFAULT_DATASET else ""
    return f"mindo run --destination {clean(target.destination)}{dataset}"
