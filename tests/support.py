"""What tests share: a strict comparison of a warehouse with a world, and a laboratory to run in.

The comparison knows the tables from their documentation only and uses none of the connector's code: it reads the tables
back as they are, and works out from each message, in plain Python, what every cell has to hold.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from mindo import Options, resolve_companies, resolve_options
from mindo.client import MindoClient
from mindo_emulator import GLOBAL_DEMO_KEY, Emulator, World
from mindo_pipeline.running import Backfill, Outcome, plan_backfill, run_backfill, run_increment
from mindo_pipeline.warehouse import Warehouse

Message = dict[str, Any]
Row = dict[str, Any]

START = datetime(2026, 4, 20, tzinfo=UTC)
NOW = datetime(2026, 4, 30, 3, 0, tzinfo=UTC)
"""The clock of a laboratory's first run; its world ends here."""

DAY = timedelta(days=1)
THOROUGH = bool(os.environ.get("MINDO_TORTURE"))
"""Whether tests that can go on for hours may do so; set by MINDO_TORTURE."""

COMPANIES = (42, 57, 63)
EVERYTHING = ("classifications", "extractions", "tool_calls", "trace_id")
LISTS = ("classifications", "extractions", "tool_calls")
OBJECTS = ("author", "agent", "content", "context", "metadata")
TABLES = ("messages", *(f"messages__{name}" for name in LISTS))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VARIANT = re.compile(r"__v_(text|bigint|double|bool|timestamp|json)$")
_MACHINERY = {"_row_hash", "_dlt_id", "_dlt_load_id", "_window_end"}
_OWN_COLUMNS = {table: _MACHINERY | {"_dlt_parent_id", "_dlt_list_idx"} for table in TABLES} | {"messages": _MACHINERY}
_TEXT, _TIME, _JSON, _WHOLE = "VARCHAR", "TIMESTAMP WITH TIME ZONE", "JSON", "BIGINT"
_SHARED_TYPES = {
    "company_id": _WHOLE,
    "message_id": _TEXT,
    "conversation_id": _TEXT,
    "occurred_at": _TIME,
    "channel": _TEXT,
    "direction": _TEXT,
    "author__id": _TEXT,
    "_window_end": _TIME,
    "_row_hash": _TEXT,
    "_dlt_id": _TEXT,
    "_dlt_load_id": _TEXT,
}
_LIST_TYPES = {**_SHARED_TYPES, "_dlt_list_idx": _WHOLE, "_dlt_parent_id": _TEXT}
_DECLARED_TYPES = {
    "messages": {
        **_SHARED_TYPES,
        "author__type": _TEXT,
        "author__display_name": _TEXT,
        "content__type": _TEXT,
        "content__text": _TEXT,
        "content__media_url": _TEXT,
        "content__media_mime": _TEXT,
        "context__reply_to_message_id": _TEXT,
        "context__thread_position": _WHOLE,
        "metadata__client_id": _TEXT,
        "metadata__exported_at": _TIME,
        "metadata__schema_version": _TEXT,
        "trace_id": _TEXT,
    },
    "messages__classifications": {**_LIST_TYPES, "label": _TEXT, "value": _TEXT},
    "messages__extractions": _LIST_TYPES,
    "messages__tool_calls": {**_LIST_TYPES, "name": _TEXT, "status": _TEXT, "arguments": _JSON, "result": _JSON},
}


def small_world(messages: int = 300, **arguments: Any) -> World:
    """Three companies and some hundred messages between `START` and `NOW`, many of them awkward."""
    return World.generate(**{"seed": 7, "start": START, "end": NOW, "messages": messages, "awkward": 0.2} | arguments)


# --- reading tables back -------------------------------------------------------------------------------------------


@dataclass
class Table:
    """A table as it is: its columns with their types, and its rows with times as microseconds since 1970."""

    types: dict[str, str]
    rows: list[Row]


def read_tables(database: Path | str, dataset: str = "mindo", tables: Sequence[str] = TABLES) -> dict[str, Table]:
    """Reads tables of a DuckDB file, hidden nothing; by default the four of messages."""
    with duckdb.connect(str(database), read_only=True) as connection:
        return {table: _read_table(connection, f'"{dataset}"."{table}"') for table in tables}


def _read_table(connection: duckdb.DuckDBPyConnection, name: str) -> Table:
    described = connection.execute(f"DESCRIBE {name}").fetchall()
    types = {column: kind for column, kind, *_ in described}
    cells = [f"epoch_us({_quoted(c)})" if k.startswith("TIMESTAMP") else _quoted(c) for c, k in types.items()]
    rows = connection.execute(f"SELECT {', '.join(cells)} FROM {name}").fetchall()
    return Table(types, [dict(zip(types, row, strict=True)) for row in rows])


def query(database: Path | str, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Runs SQL on a DuckDB file, with `mindo` as the current schema."""
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'; USE mindo")
        return connection.execute(sql, list(parameters)).fetchall()


def micros(moment: datetime | str) -> int:
    """Microseconds since 1970; a time without a zone is UTC."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# --- the comparison ------------------------------------------------------------------------------------------------


def assert_mirrors(
    database: Path | str,
    world: World,
    companies: Iterable[int] = COMPANIES,
    start: datetime = START,
    end: datetime = NOW,
    *,
    include: Collection[str] = EVERYTHING,
    names: Mapping[str, str] | None = None,
) -> None:
    """The tables hold exactly what the world has for these companies in [start, end): every cell of every row.

    Args:
        database: The DuckDB file.
        world: The world that was served.
        companies: Companies to compare; others are looked at for integrity only.
        start: First moment.
        end: Moment after the last.
        include: Lists that are compared, and `trace_id`.
        names: Columns of members whose name gives another column than dlt's naming would, as `agent.ID` to column.
    """
    messages = [message for company in companies for message in world.truth(company, start, end, include=EVERYTHING)]
    assert_tables_hold(
        read_tables(database), messages, companies, start, end, include=include, names=names, stamped=True
    )


def assert_tables_hold(
    tables: Mapping[str, Table],
    messages: Iterable[Message],
    companies: Iterable[int],
    start: datetime,
    end: datetime,
    *,
    include: Collection[str] = EVERYTHING,
    names: Mapping[str, str] | None = None,
    stamped: bool = False,
) -> None:
    """The tables hold exactly these messages for the companies in [start, end), and are sound as a whole.

    Args:
        tables: As of `read_tables`.
        messages: As the API sends them, with `metadata.company_id`.
        companies: Companies to compare.
        start: First moment.
        end: Moment after the last.
        include: As in `assert_mirrors`.
        names: As in `assert_mirrors`.
        stamped: Whether the messages lack the `metadata.exported_at` that the tables must have.
    """
    assert_sound(tables)
    expected = {(m["metadata"]["company_id"], m["message_id"]): m for m in messages}
    scope = (set(companies), micros(start), micros(end))
    actual = {(row["company_id"], row["message_id"]): row for row in tables["messages"].rows if _in_scope(row, scope)}
    missing, surplus = expected.keys() - actual.keys(), actual.keys() - expected.keys()
    assert not missing, f"{len(missing)} messages are missing, such as {min(missing)}"
    assert not surplus, f"{len(surplus)} messages are too many, such as {min(surplus)}"
    for key, message in expected.items():
        values = message_values(message, names or {})
        if "trace_id" not in include:
            values["trace_id"] = actual[key]["trace_id"]
        exported_at = values.pop("metadata__exported_at", None)
        _compare_row("messages", tables["messages"].types, actual[key], values, skipped={"metadata__exported_at"})
        if stamped and isinstance(message.get("metadata"), dict):
            assert actual[key]["metadata__exported_at"] is not None
        elif exported_at is not None:
            assert actual[key]["metadata__exported_at"] == micros(exported_at)
    for name in LISTS:
        if name in include:
            _compare_list(name, tables, expected, actual, scope, names or {})


def assert_sound(tables: Mapping[str, Table]) -> None:
    """What holds whatever was loaded: types, keys, parents, and no trace of the machinery."""
    ids: dict[tuple[int, str], Row] = {}
    for table, content in tables.items():
        found = {column: content.types.get(column) for column in _DECLARED_TYPES[table]}
        assert found == _DECLARED_TYPES[table], f"{table} has other columns than it is documented to have"
        if table == "messages__extractions":
            assert {kind for column, kind in content.types.items() if column not in found} <= {_TEXT}
        for row in content.rows:
            assert row["_window_end"] is None, f"a marker stayed in {table}"
            empty = [name for name in ("message_id", "_row_hash", "_dlt_id", "_dlt_load_id") if not row[name]]
            empty += [name for name in ("company_id", "occurred_at") if row[name] is None]
            assert empty == [], f"{table} has a row without {empty}"
        if table == "messages":
            ids = {(row["company_id"], row["message_id"]): row for row in content.rows}
            assert len(ids) == len(content.rows), "a message is there twice"
        else:
            _assert_sound_list(table, content.rows, ids)
        assert _all_different(row["_dlt_id"] for row in content.rows), f"{table} has a _dlt_id twice"


def _assert_sound_list(table: str, rows: Sequence[Row], messages: Mapping[tuple[int, str], Row]) -> None:
    places: dict[tuple[int, str], list[int]] = {}
    for row in rows:
        key = (row["company_id"], row["message_id"])
        assert key in messages, f"{table} has a row of a message that is not there: {key}"
        parent = messages[key]
        assert row["_dlt_parent_id"] == parent["_dlt_id"], f"{table}: {key} points to another parent"
        for column in ("conversation_id", "occurred_at", "channel", "direction", "author__id"):
            assert row[column] == parent[column], f"{table}.{column} of {key} differs from its message"
        places.setdefault(key, []).append(row["_dlt_list_idx"])
    for key, found in places.items():
        assert sorted(found) == list(range(len(found))), f"{table}: places of {key} are {sorted(found)}"


def message_values(message: Message, names: Mapping[str, str]) -> dict[str, Any]:
    """The columns of `messages` with the JSON value that each has to hold, by the documented rules."""
    values: dict[str, Any] = {"company_id": message["metadata"]["company_id"]}
    for member, value in message.items():
        if member == "occurred_at":
            values[member] = datetime.fromisoformat(value)
        elif member in OBJECTS and isinstance(value, dict):
            for inner, part in value.items():
                if (member, inner) != ("metadata", "company_id"):
                    _put(values, names.get(f"{member}.{inner}") or f"{member}__{column_name(inner)}", part)
        elif member not in LISTS:
            _put(values, names.get(member) or column_name(member), value)
    return values


def item_values(name: str, item: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """The columns of a list's table with the JSON value that each has to hold."""
    if not isinstance(item, dict):
        return {"value": item}
    values: dict[str, Any] = {}
    for member, value in item.items():
        _put(values, names.get(f"{name}.{member}") or column_name(member), value)
    return values


def column_name(member: str) -> str:
    """dlt's snake_case, for names of ASCII letters and the like."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", member)
    name = re.sub(r"([^_])([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"_+", "_", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower())


def _put(values: dict[str, Any], column: str, value: Any) -> None:
    assert column not in values, f"two members of a message have the column {column}; tell them apart with names="
    values[column] = value


def _compare_list(
    name: str,
    tables: Mapping[str, Table],
    expected: Mapping[tuple[int, str], Message],
    messages: Mapping[tuple[int, str], Row],
    scope: tuple[set[int], int, int],
    names: Mapping[str, str],
) -> None:
    table = tables[f"messages__{name}"]
    found: dict[tuple[int, str], list[Row]] = {}
    for row in table.rows:
        if _in_scope(row, scope):
            found.setdefault((row["company_id"], row["message_id"]), []).append(row)
    for key, message in expected.items():
        items = message.get(name)
        items = [] if items is None else items if isinstance(items, list) else [items]
        rows = sorted(found.pop(key, []), key=lambda row: row["_dlt_list_idx"])
        assert len(rows) == len(items), f"{name} of {key}: {len(rows)} rows for {len(items)} items"
        own = messages[key]
        lifted = {"company_id": key[0], "message_id": key[1]}
        lifted |= {column: own[column] for column in ("conversation_id", "channel", "direction", "author__id")}
        for row, item in zip(rows, items, strict=True):
            values = {"occurred_at": datetime.fromisoformat(message["occurred_at"])} | lifted
            for column, value in item_values(name, item, names).items():
                _put(values, column, value)
            _compare_row(f"messages__{name}", table.types, row, values)
    assert not found, f"{name} of messages that have none: {min(found)}"


def _compare_row(
    table: str, types: Mapping[str, str], row: Row, values: Mapping[str, Any], skipped: Collection[str] = ()
) -> None:
    cells: dict[str, list[str]] = {}
    for column in types:
        if column not in _OWN_COLUMNS[table] and column not in skipped:
            base = _VARIANT.sub("", column)
            cells.setdefault(base if base in types else column, []).append(column)
    where = f"{table} {row['company_id']}/{row['message_id']}"
    for base in values.keys() - cells.keys():
        assert values[base] is None, f"{where}: there is no column {base!r} for {values[base]!r:.200}"
    for base, columns in cells.items():
        wanted = values.get(base)
        filled = [column for column in columns if row[column] is not None]
        if wanted is None:
            assert not filled, f"{where}: {filled[0]} should be empty but is {row[filled[0]]!r:.200}"
            continue
        assert len(filled) == 1, f"{where}: {base} is in {filled} instead of one column; wanted {wanted!r:.200}"
        cell = row[filled[0]]
        assert _holds(types[filled[0]], cell, wanted), (
            f"{where}: {filled[0]} is {cell!r:.300} instead of {wanted!r:.300}"
        )


def _holds(kind: str, cell: Any, wanted: Any) -> bool:
    """Whether a cell of a column of that type is the JSON value; text byte for byte, times to the microsecond."""
    if isinstance(wanted, datetime):
        return kind == "TIMESTAMP WITH TIME ZONE" and bool(cell == micros(wanted))
    if kind == "VARCHAR":
        return cell == wanted if isinstance(wanted, str) else same_json(json.loads(cell), wanted)
    if kind == "JSON":
        return same_json(json.loads(cell), wanted)
    if kind == "BIGINT":
        return type(wanted) is int and bool(cell == wanted)
    if kind == "DOUBLE":
        return type(wanted) in (int, float) and cell == wanted and repr(cell) == repr(float(wanted))
    if kind == "BOOLEAN":
        return cell is wanted
    if kind.startswith("TIMESTAMP"):
        return isinstance(wanted, str) and bool(cell == micros(wanted))
    raise AssertionError(f"a column of type {kind}")


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: unlike in Python 1, 1.0 and true differ, and so do 0.0 and -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_json(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return repr(one) == repr(other) if isinstance(one, float) else bool(one == other)


def _in_scope(row: Row, scope: tuple[set[int], int, int]) -> bool:
    companies, start, end = scope
    return row["company_id"] in companies and start <= row["occurred_at"] < end


def _all_different(values: Iterable[Any]) -> bool:
    return all(count == 1 for count in Counter(values).values())


# --- what changed between two runs ---------------------------------------------------------------------------------


def snapshot(database: Path | str) -> dict[str, dict[tuple[Any, ...], Row]]:
    """All rows of the four tables by their keys, to be compared with a later snapshot."""
    keyed: dict[str, dict[tuple[Any, ...], Row]] = {}
    for table, content in read_tables(database).items():
        key = ["company_id", "message_id", *(["_dlt_list_idx"] if table != "messages" else [])]
        keyed[table] = {tuple(row[name] for name in key): row for row in content.rows}
    return keyed


def changed_keys(before: Mapping[Any, Row], after: Mapping[Any, Row]) -> set[Any]:
    """Keys of rows that are new or were written again."""
    return {
        key for key, row in after.items() if key not in before or before[key]["_dlt_load_id"] != row["_dlt_load_id"]
    }


# --- a laboratory --------------------------------------------------------------------------------------------------


class Silence:
    """Progress that nobody looks at."""

    def planned(self, windows: Any) -> None: ...

    def page_read(self, window: Any, page: Any) -> None: ...

    def windows_ended(self, complete: Any, incomplete: Any) -> None: ...


class Laboratory:
    """A server to read from, a warehouse to load into, and a clock that only moves when told.

    Args:
        server: An emulator, or anything else with a `base_url`.
        database: Name of the DuckDB file in the current folder.
    """

    def __init__(self, server: Any, database: str = "warehouse.duckdb") -> None:
        self.server = server
        self.database = Path(database).absolute()
        self.now = NOW
        self.given: dict[str, Any] = {
            "base_url": server.base_url,
            "api_key": GLOBAL_DEMO_KEY,
            "company_ids": list(COMPANIES),
            "start_date": START,
            "workers": 2,
            # most of a laboratory's windows are small, so asking for their ends would be most of a test's time;
            # `laboratory_at` and the tests of whole windows do ask
            "confirm_windows": False,
        }

    @property
    def emulator(self) -> Emulator[World]:
        """The server, where it is an emulator."""
        assert isinstance(self.server, Emulator)
        return self.server

    @property
    def world(self) -> World:
        """The emulator's world."""
        return self.emulator.world

    def warehouse(self) -> Warehouse:
        """The warehouse, opened anew as by another process."""
        return Warehouse(database=self.database)

    def options(self, **changes: Any) -> Options:
        """The laboratory's options, changed; `None` takes one away."""
        return resolve_options(self.given | changes, now=self.now)

    def run(self, load_messages: int = 1_000_000, **changes: Any) -> Outcome:
        """A nightly run, or one with other options."""
        options = self.options(**changes)
        outcome = Outcome()
        warehouse = self.warehouse()
        companies = resolve_companies(options, MindoClient(options))
        with warehouse.writing():
            run_increment(warehouse, options, companies, Silence(), outcome, load_messages)
        return outcome

    def complete_run(self, **changes: Any) -> Outcome:
        """A run in which every window has to be complete."""
        outcome = self.run(**changes)
        assert [str(read.error) for read in outcome.incomplete] == []
        assert len(outcome.complete) == len(outcome.planned)
        return outcome

    def backfill(
        self, newest_first: bool = False, load_messages: int = 1_000_000, progress: Any = None, **changes: Any
    ) -> tuple[Backfill, Outcome]:
        """A backfill of `from_date` to `to_date`."""
        options = self.options(**changes)
        outcome = Outcome()
        warehouse = self.warehouse()
        companies = resolve_companies(options, MindoClient(options))
        with warehouse.writing():
            plan = plan_backfill(options, companies, warehouse.coverage, newest_first)
            run_backfill(warehouse, options, companies, plan, progress or Silence(), outcome, load_messages)
        return plan, outcome

    def watermark(self, company_id: int, **selection: Any) -> datetime | None:
        """A company's watermark, as another process would see it."""
        warehouse = self.warehouse()
        warehouse.reading()
        return warehouse.coverage.watermark(company_id, self.options(**selection).selection)

    def asked(self, company_id: int | None = None) -> list[tuple[datetime, datetime]]:
        """The ranges that were asked of the emulator since the log was cleared, in order, first pages only."""
        return sorted(
            (datetime.fromisoformat(r.params["from"]), datetime.fromisoformat(r.params["to"]))
            for r in self.emulator.requests
            if "cursor" not in r.params
            and r.path.endswith("/messages")
            and company_id in (None, int(r.params["company_id"]))
        )

    def mirrors(self, *companies: int, start: datetime = START, end: datetime | None = None, **others: Any) -> None:
        """Compares the warehouse with the world; by default all companies up to the clock."""
        assert_mirrors(self.database, self.world, companies or COMPANIES, start, end or self.now, **others)


def union(ranges: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Ranges joined where they touch; a plain reading of what a log of requests covers."""
    joined: list[tuple[datetime, datetime]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
