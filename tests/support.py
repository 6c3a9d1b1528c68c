"""What tests share: a strict comparison of a warehouse with a world, a laboratory to run in, and a scripted HTTP server.

The comparison knows the tables from their documentation only and uses none of the connector's code: it reads the tables
back as they are, and works out from each message, in plain Python, what every cell has to hold.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

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


# --- a scripted server ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A request as the scripted server got it."""

    path: str
    params: dict[str, str]
    headers: dict[str, str]
    number: int
    """How many requests for this path came before."""


@dataclass(frozen=True)
class Reply:
    """What to answer.

    Attributes:
        body: The body, whole.
        status: HTTP status.
        headers: More headers.
        framing: How the end of the body is told.
        sent: How many bytes of the body are sent before the connection is closed; `None` for all.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    framing: Literal["chunked", "length", "close"] = "chunked"
    sent: int | None = None


def ndjson(*lines: Any, end: bytes = b"\n") -> bytes:
    """Lines as a body; bytes as they are, everything else as JSON."""
    return b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + end for line in lines)


def sentinel(cursor: Any, **others: Any) -> Message:
    """The line that says that more follows."""
    return {"_truncated": True, "next_cursor": cursor, **others}


def a_message(
    number: int = 1, occurred_at: str = "2026-04-25T12:00:00", company_id: int = 42, **members: Any
) -> Message:
    """A message as the contract shows it; members replace its own."""
    return {
        "message_id": f"msg_{number:024x}",
        "conversation_id": f"conv_{number // 4:024x}",
        "occurred_at": occurred_at,
        "channel": "META_WHATSAPP",
        "direction": "inbound",
        "author": {"type": "contact", "id": f"ctc_{number % 5:024x}", "display_name": None},
        "agent": None,
        "content": {"type": "text", "text": f"hola {number}", "media_url": None, "media_mime": None},
        "context": {"reply_to_message_id": None, "thread_position": None},
        "metadata": {
            "client_id": f"cmp_{company_id:024x}",
            "company_id": company_id,
            "exported_at": "2026-04-30T03:00:00.000001Z",
            "schema_version": "1.0",
        },
        "classifications": [],
        "extractions": [],
        "tool_calls": [],
        "trace_id": None,
        **members,
    }


class ScriptedApi:
    """A server that answers as a function says, over real sockets.

    Args:
        answer: Called with each request for messages; its bytes are a whole chunked NDJSON body.
        business: Called with each request for `business-info`.
    """

    def __init__(
        self, answer: Callable[[Asked], Reply | bytes], business: Callable[[Asked], Reply | bytes] | None = None
    ) -> None:
        self.requests: list[Asked] = []
        self._answers = {"messages": answer, "business-info": business or (lambda _: Reply(b"{}", 403))}
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ScriptedApi:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                name = url.path.strip("/").rpartition("/")[2]
                with api._lock:
                    asked = Asked(
                        url.path,
                        dict(parse_qsl(url.query, keep_blank_values=True)),
                        {header.lower(): value for header, value in self.headers.items()},
                        api._counts[name],
                    )
                    api._counts[name] += 1
                    api.requests.append(asked)
                reply = api._answers.get(name, lambda _: Reply(b"no", 404))(asked)
                _send(self, Reply(reply) if isinstance(reply, bytes) else reply)

            def log_message(self, *_: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                # a client that has seen enough of a broken answer leaves
                ...

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    handler.send_response(reply.status)
    for name, value in {"Content-Type": "application/x-ndjson", **reply.headers}.items():
        handler.send_header(name, value)
    if reply.framing == "chunked":
        handler.send_header("Transfer-Encoding", "chunked")
    elif reply.framing == "length":
        handler.send_header("Content-Length", str(len(reply.body)))
    else:
        handler.send_header("Connection", "close")
    handler.end_headers()
    body = reply.body if reply.sent is None else reply.body[: reply.sent]
    if reply.framing != "chunked":
        handler.wfile.write(body)
    elif body:
        # a cut body is announced whole and breaks off within its last chunk
        announced = body if reply.sent is None else reply.body
        handler.wfile.write(b"%x\r\n" % len(announced) + body + (b"\r\n" if reply.sent is None else b""))
    if reply.framing == "chunked" and reply.sent is None:
        handler.wfile.write(b"0\r\n\r\n")
    handler.close_connection = reply.sent is not None or reply.framing == "close"


class PlainApi(ScriptedApi):
    """A server that keeps the contract in its own way: it pages through lines that the test wrote.

    Args:
        rows: Messages, or lines as bytes together with (company, time).
        name_cursor: Turns a position into a cursor.
        order: Order in which rows are served.
        extra: Members of every sentinel.
        framing: Framing of the bodies.
        end: End of every line.
        trim: Takes the last line end away.
        business: As in `ScriptedApi`.
        decorate: Changes a finished reply.
    """

    def __init__(
        self,
        rows: Iterable[Message | tuple[int, str, bytes]],
        *,
        name_cursor: Callable[[int], str] = str,
        order: Callable[[int], Any] = lambda place: place,
        extra: Mapping[str, Any] | None = None,
        framing: Literal["chunked", "length", "close"] = "chunked",
        end: bytes = b"\n",
        trim: bool = False,
        business: Callable[[Asked], Reply | bytes] | None = None,
        decorate: Callable[[Asked, Reply], Reply] = lambda _, reply: reply,
    ) -> None:
        super().__init__(self.answer, business)
        self.rows = list(rows)
        self._name_cursor = name_cursor
        self._order = order
        self._extra = extra or {}
        self._framing = framing
        self._end = end
        self._trim = trim
        self._decorate = decorate

    def answer(self, asked: Asked) -> Reply:
        """The page that was asked for."""
        company, start, end = int(asked.params["company_id"]), asked.params["from"], asked.params["to"]
        found = []
        for row in self.rows:
            owner, time, line = (
                row
                if isinstance(row, tuple)
                else (row["metadata"]["company_id"], row["occurred_at"], json.dumps(row, ensure_ascii=False).encode())
            )
            if owner == company and micros(start) <= micros(time) < micros(end):
                found.append(line)
        found = [found[place] for place in sorted(range(len(found)), key=self._order)]
        limit = int(asked.params["limit"])
        cursors = {self._name_cursor(place): place for place in range(0, len(found) + 1, limit)}
        first = cursors[asked.params["cursor"]] if "cursor" in asked.params else 0
        lines: list[Any] = found[first : first + limit]
        if first + limit < len(found):
            lines.append(sentinel(self._name_cursor(first + limit), **self._extra))
        body = ndjson(*lines, end=self._end)
        if self._trim:
            body = body[: -len(self._end)]
        return self._decorate(asked, Reply(body, framing=self._framing))


@contextmanager
def laboratory_at(api: ScriptedApi, **given: Any) -> Iterator[Laboratory]:
    """A laboratory of company 42 over a scripted server."""
    with api:
        laboratory = Laboratory(api)
        laboratory.given |= {
            "company_ids": [42],
            "start_date": NOW - 6 * DAY,
            "window_hours": 744,
            "confirm_windows": True,
        }
        laboratory.given |= given
        yield laboratory
