"""Destinations that no server is at hand for: what dlt would run there is read, and run in DuckDB in their place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from mindo.columns import CHILD_TABLES, MESSAGES, PRIMARY_KEYS
from mindo.replacing import arrow_schema, marker_table, window_markers
from mindo.selection import Selection
from mindo.windows import Window
from tests.destinations.generated_sql import COLUMNS, DESTINATIONS, TOOL_CALLS, Destination, generated

REPLACED = (MESSAGES, *CHILD_TABLES.values())
Row = dict[str, Any]

destinations = pytest.mark.parametrize("name", DESTINATIONS)


def parsed(statement: str, destination: Destination) -> exp.Expr:
    if destination.dialect == "redshift":
        # Redshift takes them with a column, sqlglot behind the columns only
        statement = statement.replace(" DISTKEY ", " ").replace(" SORTKEY ", " ")
    return sqlglot.parse_one(statement, dialect=destination.dialect)


def name_in(table: str, destination: Destination) -> str:
    return table.upper() if destination.upper_case else table


def scope_of(name: str, table: str) -> exp.Expr:
    """The rows that a load may delete, as a query."""
    scope = generated(name).tables[table].hints["x-merge-destination-scope"]
    create, staging = (parsed(s[0], DESTINATIONS[name]).find(exp.Table) for s in creates(name, table))
    tables = {
        "table": create.sql(DESTINATIONS[name].dialect),
        "staging_table": staging.sql(DESTINATIONS[name].dialect),
    }
    return sqlglot.parse_one(
        f"SELECT 1 FROM {tables['table']} WHERE {scope.format(**tables)}", dialect=DESTINATIONS[name].dialect
    )


def creates(name: str, table: str) -> tuple[Any, Any]:
    return generated(name).tables[table].create, generated(name).tables[table].create_staging


# --- statements ----------------------------------------------------------------------------------------------------


@destinations
def test_windows_are_replaced_as_well_as_the_destination_can(name: str) -> None:
    for table in REPLACED:
        hints = generated(name).tables[table].hints
        assert (hints["write_disposition"], hints["x-merge-strategy"]) == ("merge", DESTINATIONS[name].strategy)


@destinations
def test_every_statement_is_in_the_dialect(name: str) -> None:
    for table, sql in generated(name).tables.items():
        kinds = [
            type(parsed(statement, DESTINATIONS[name])) for statement in (*sql.create, *sql.create_staging, *sql.merge)
        ]
        writes = kinds[len(sql.create) + len(sql.create_staging) :]
        assert set(kinds) - set(writes) == {exp.Create}, table
        # anything that sqlglot doesn't understand would be a Command
        assert writes in ([exp.Delete, exp.Merge], [exp.Merge, exp.Merge], [exp.Delete, exp.Insert], [exp.Merge]), table


@destinations
def test_tables_have_all_columns_in_types_that_hold_them(name: str) -> None:
    destination = DESTINATIONS[name]
    for table, columns in COLUMNS.items():
        for statements in creates(name, table):
            create = parsed(statements[0], destination)
            found = {column.name: column for column in create.find_all(exp.ColumnDef)}
            assert list(found) == [name_in(column.name, destination) for column in columns]
            for column in columns:
                definition = found[name_in(column.name, destination)]
                kind = definition.kind.sql(destination.dialect)
                if destination.dialect == "clickhouse" and column.nullable:
                    kind = kind.removeprefix("Nullable(").removesuffix(")")
                assert kind == destination.types[column.data_type], column.name
                assert definition.this.quoted


@destinations
def test_dlt_has_no_objection_to_load_the_files(name: str) -> None:
    assert generated(name).objection is None
    formats = {table.file_format for table in generated(name).tables.values()}
    assert len(formats) == 1
    assert formats <= {"parquet", "insert_values"}


# --- identifiers ---------------------------------------------------------------------------------------------------


@destinations
@pytest.mark.parametrize("table", REPLACED)
def test_every_name_is_that_of_a_column(name: str, table: str) -> None:
    destination = DESTINATIONS[name]
    known = {name_in(column.name, destination) for column in COLUMNS[table]}
    for statement in (*generated(name).tables[table].merge, scope_of(name, table).sql(destination.dialect)):
        tree = parsed(statement, destination)
        made = {alias.alias for alias in tree.find_all(exp.Alias)}
        for column in tree.find_all(exp.Column):
            identifier = column.this
            if not isinstance(identifier, exp.Identifier) or identifier.name in made - known:
                continue
            # what is not quoted is folded, and has to be the column's name then
            folded = name_in(identifier.name, destination) if not identifier.quoted else identifier.name
            assert folded in known, statement


@destinations
@pytest.mark.parametrize("table", REPLACED)
def test_what_may_be_deleted_is_asked_for_once_and_not_for_each_row(name: str, table: str) -> None:
    # ClickHouse: "Correlated subqueries in mutation update are not supported"; Redshift and others take some of them
    for select in scope_of(name, table).find_all(exp.Select):
        sources = {source.alias_or_name for source in own(select, exp.Table, exp.Subquery)}
        for column in own(select, exp.Column):
            assert not column.table or column.table in sources, column


def test_bigquery_gets_no_column_with_a_path() -> None:
    for table in COLUMNS:
        for statement in generated("bigquery").tables[table].merge:
            assert not [
                column for column in parsed(statement, DESTINATIONS["bigquery"]).find_all(exp.Column) if column.db
            ]


def own(select: exp.Select, *kinds: type[exp.Expr]) -> Iterator[exp.Expr]:
    """What stands in a query itself, and not in one inside of it."""
    for node in select.walk(prune=lambda inner: isinstance(inner, exp.Select) and inner is not select):
        if isinstance(node, kinds) and node.find_ancestor(exp.Select) is select:
            yield node


# --- effect --------------------------------------------------------------------------------------------------------

START = datetime(2026, 5, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def message(key: str, hour: float, text: str = "", company: int = 1, load: str = "before", **more: Any) -> Row:
    return {
        "company_id": company,
        "message_id": key,
        "occurred_at": at(hour),
        "channel": "META_WHATSAPP",
        "direction": "inbound",
        "author__id": "ctc_1",
        "content__text": text,
        "_row_hash": f"hash of {text}",
        "_dlt_id": f"{company}/{key}",
        "_dlt_load_id": load,
    } | more


def item(parent: Row, number: int, text: str = "") -> Row:
    row = {name: value for name, value in parent.items() if name != "content__text"}
    return row | {
        "_dlt_list_idx": number,
        "name": text,
        "_row_hash": f"hash of {text}",
        "_dlt_parent_id": parent["_dlt_id"],
        "_dlt_id": f"{parent['_dlt_id']}/{number}",
    }


class InItsPlace:
    """A DuckDB with the tables of a destination, in which its statements are run."""

    def __init__(self, name: str, table: str) -> None:
        self._destination = DESTINATIONS[name]
        self._table = table
        self._statements = generated(name).tables[table].merge
        self._final, self._staging = (self._place(statements[0]) for statements in creates(name, table))
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("SET TimeZone = 'UTC'")
        for place in (self._final, self._staging):
            self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {place.partition('.')[0]}")
            self._connection.register("empty", pa.Table.from_pylist([], arrow_schema(COLUMNS[table])))
            self._connection.execute(f"CREATE TABLE {place} AS FROM empty")

    def hold(self, rows: list[Row]) -> None:
        self._insert(self._final, self._arrow(rows))

    def load(self, rows: list[Row], markers: list[Row] = (), keepers: list[Row] = ()) -> None:  # type: ignore[assignment]
        self._connection.execute(f"DELETE FROM {self._staging}")
        self._insert(self._staging, self._arrow(rows))
        for kind in (markers, keepers):
            self._insert(self._staging, marker_table(self._table, kind, "now"))
        for statement in self._statements:
            self._connection.execute(self._in_duckdb(statement))

    def rows(self) -> dict[tuple[Any, ...], Row]:
        found = self._connection.execute(f"FROM {self._final}").to_arrow_table().to_pylist()
        rows = {tuple(row[name] for name in PRIMARY_KEYS[self._table]): row for row in found}
        assert len(rows) == len(found), "a key is there twice"
        return rows

    def close(self) -> None:
        self._connection.close()

    def _insert(self, place: str, rows: pa.Table) -> None:
        self._connection.register("arriving", rows)
        self._connection.execute(f"INSERT INTO {place} BY NAME FROM arriving")

    def _arrow(self, rows: list[Row]) -> pa.Table:
        return pa.Table.from_pylist(rows, arrow_schema(COLUMNS[self._table]))

    def _place(self, create: str) -> str:
        table = parsed(create, self._destination).find(exp.Table)
        return f"{table.db}.{table.name}"

    def _in_duckdb(self, statement: str) -> str:
        tree = parsed(statement, self._destination)
        for node in (*tree.find_all(exp.Table), *tree.find_all(exp.Column)):
            node.set("catalog", None)
        return tree.sql("duckdb")


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[InItsPlace]:
    made = InItsPlace(*request.param)
    yield made
    made.close()


def in_each(table: str) -> Any:
    return pytest.mark.parametrize("place", [(name, table) for name in DESTINATIONS], indirect=True, ids=DESTINATIONS)


def markers(*windows: Window, **selection: Any) -> list[Row]:
    return window_markers(windows, Selection(**selection), (), {})


DAY = Window(at(0), at(24), 1)


@in_each(MESSAGES)
def test_a_window_is_replaced_and_nothing_else(place: InItsPlace) -> None:
    place.hold(
        [
            message("same", 1, "same"),
            message("edited", 2, "old"),
            message("gone", 3),
            message("moved", 50, "moved"),
            message("of the hour before", -0.5),
            message("of the moment after", 24),
            message("of another company", 5, company=2),
            message("gone", 30, company=2),
            message("of the hole between the windows", 30),
        ]
    )
    arriving = [
        message("same", 1, "same", load="now"),
        message("edited", 2, "new", load="now"),
        message("late", 4, "late", load="now"),
        message("moved", 6, "moved elsewhere", load="now"),
    ]
    place.load(arriving, markers(DAY, Window(at(24), at(48), 2), Window(at(48), at(49), 1)))
    rows = place.rows()
    assert set(rows) == {
        (1, "same"),
        (1, "edited"),
        (1, "late"),
        (1, "moved"),
        (1, "of the hour before"),
        (1, "of the moment after"),
        (1, "of the hole between the windows"),
        (2, "of another company"),
    }
    assert rows[1, "edited"]["content__text"] == "new"
    assert rows[1, "moved"]["occurred_at"] == at(6)
    assert {key for key, row in rows.items() if row["_dlt_load_id"] == "now"} >= {
        (1, "edited"),
        (1, "late"),
        (1, "moved"),
    }
    assert all(row["_window_end"] is None for row in rows.values())


@in_each(MESSAGES)
def test_an_empty_window_empties_it(place: InItsPlace) -> None:
    place.hold([message("gone", 3), message("of another day", 25)])
    place.load([], markers(DAY))
    assert set(place.rows()) == {(1, "of another day")}


@in_each(MESSAGES)
def test_filters_replace_their_part(place: InItsPlace) -> None:
    place.hold(
        [
            message("gone", 3),
            message("of another channel", 4, channel="META_INSTAGRAM"),
            message("of the other direction", 5, direction="outbound"),
        ]
    )
    place.load([], markers(DAY, channel="whatsapp", direction="incoming"))
    assert set(place.rows()) == {(1, "of another channel"), (1, "of the other direction")}


@in_each(MESSAGES)
def test_without_markers_nothing_goes_and_nothing_is_there_twice(place: InItsPlace) -> None:
    place.hold([message("stays", 3), message("comes again", 4, "old")])
    place.load([message("comes again", 4, "new", load="now")])
    rows = place.rows()
    assert {key: row["content__text"] for key, row in rows.items()} == {(1, "stays"): "", (1, "comes again"): "new"}


@in_each(MESSAGES)
def test_the_same_load_twice_changes_nothing(place: InItsPlace) -> None:
    place.hold([message("gone", 3)])
    arriving = [message("kept", 1, load="now"), message("late", 2, load="now")]
    place.load(arriving, markers(DAY))
    once = place.rows()
    place.load(arriving, markers(DAY))
    assert place.rows() == once
    assert set(once) == {(1, "kept"), (1, "late")}


@in_each(TOOL_CALLS)
def test_lists_are_replaced_with_their_messages(place: InItsPlace) -> None:
    shorter, emptied, gone, outside = (message(key, hour) for key, hour in zip("abcd", (1, 2, 3, 30), strict=True))
    place.hold([item(shorter, 0, "old"), item(shorter, 1), item(emptied, 0), item(gone, 0), item(outside, 0)])
    place.load([item(shorter, 0, "new")], markers(DAY))
    assert {key: row["name"] for key, row in place.rows().items()} == {(1, "a", 0): "new", (1, "d", 0): ""}


@in_each(TOOL_CALLS)
def test_keepers_hold_back_the_list_of_a_message_that_is_still_there(place: InItsPlace) -> None:
    kept, gone = message("kept", 1), message("gone", 2)
    place.hold([item(kept, 0), item(kept, 1), item(gone, 0)])
    keeper = {
        "company_id": 1,
        "message_id": "kept",
        "occurred_at": at(1),
        "_window_end": at(1),
        "_dlt_parent_id": kept["_dlt_id"],
        "_dlt_load_id": "now",
    }
    place.load([], markers(DAY), [keeper])
    assert set(place.rows()) == {(1, "kept", 0), (1, "kept", 1)}


@in_each("companies")
def test_other_tables_are_updated_by_key(place: InItsPlace) -> None:
    def company(number: int, name: str) -> Row:
        return {"company_id": number, "name": name, "_dlt_load_id": "now"}

    place.hold([company(1, "old"), company(2, "stays")])
    place.load([company(1, "new"), company(3, "comes")])
    assert {key[0]: row["name"] for key, row in place.rows().items()} == {1: "new", 2: "stays", 3: "comes"}
