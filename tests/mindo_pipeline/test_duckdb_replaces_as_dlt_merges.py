"""Our DuckDB destination makes of a load what dlt's `cdc` merge makes of it, whatever is in it, and all of it at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dlt
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dlt.destinations.sql_jobs import SqlMergeFollowupJob
from hypothesis import given, note, settings
from hypothesis import strategies as st

from mindo import mindo_source
from mindo.columns import CHILD_TABLES, DECLARED, MESSAGES, PRIMARY_KEYS
from mindo.replacing import arrow_schema, make_table_hints, marker_table
from mindo.strategies import REPLACED_TABLES
from mindo_emulator import Emulator, World
from mindo_pipeline.duckdb_replacing import replace_windows
from tests.mindo_pipeline.harness import COMPANIES, DAY, TABLES, midnight, mindo
from tests.support import THOROUGH, assert_mirrors, changed_keys, query, snapshot

WAREHOUSE = "warehouse.duckdb"
LISTS = tuple(CHILD_TABLES.values())
HOURS = 9
Row = dict[str, Any]

# --- any load ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stored:
    """A message as the API has it, apart from its key."""

    hour: int
    channel: str
    direction: str
    author: str | None
    text: int
    items: tuple[int, int, int]


@dataclass(frozen=True)
class Load:
    """What a run reads of a world, and how."""

    world: Mapping[tuple[int, str], Stored]
    windows: Sequence[tuple[int, int, int]]
    channel: str | None
    direction: str | None
    author: str | None
    left_out: frozenset[str]
    has_markers: bool

    def read(self) -> dict[tuple[int, str], Stored]:
        """The messages that come back."""
        return {
            (company, key): message
            for (company, key), message in self.world.items()
            if any(company == owner and start <= message.hour < end for owner, start, end in self.windows)
            and self.channel in (None, message.channel)
            and self.direction in (None, message.direction)
            and self.author in (None, message.author)
        }

    def markers(self) -> list[Row]:
        """A marker for each window, unless nobody knows the authors asked for."""
        return [
            {
                "company_id": company,
                "message_id": "",
                "occurred_at": at(start),
                "_window_end": at(end),
                "channel": self.channel,
                "direction": self.direction,
                "author__id": self.author,
            }
            for company, start, end in self.windows
            if self.has_markers
        ]


def at(hour: int) -> datetime:
    return datetime(2026, 5, 1, tzinfo=UTC) + timedelta(hours=hour)


messages = st.builds(
    Stored,
    st.integers(0, HOURS - 1),
    st.sampled_from(["A", "B"]),
    st.sampled_from(["inbound", "outbound"]),
    st.sampled_from(["x", "y", None]),
    st.integers(0, 2),
    st.tuples(*[st.integers(0, 2)] * 3),
)
keys = st.tuples(st.sampled_from([1, 2]), st.sampled_from(["a", "b", "c", "d"]))
windows = st.tuples(st.sampled_from([1, 2]), st.integers(0, HOURS - 1), st.integers(1, 3)).map(
    lambda window: (window[0], window[1], window[1] + window[2])
)
all_time = [(company, 0, HOURS) for company in (1, 2)]
loads = st.builds(
    Load,
    st.dictionaries(keys, messages, max_size=8),
    st.lists(windows, min_size=1, max_size=3) | st.just(all_time),
    st.sampled_from([None, None, "A"]),
    st.sampled_from([None, None, "inbound"]),
    st.sampled_from([None, None, "x"]),
    st.frozensets(st.sampled_from(LISTS), max_size=2) | st.just(frozenset[str]()),
    st.sampled_from([True, True, True, False]),
)


def tables_of(load: Load, load_id: str) -> dict[str, pa.Table]:
    """A load as the source yields it: rows, keepers of the lists that were left out, and markers."""
    rows: dict[str, list[Row]] = {table: [] for table in REPLACED_TABLES}
    keepers: list[Row] = []
    for (company, key), message in load.read().items():
        common = {
            "company_id": company,
            "message_id": key,
            "occurred_at": at(message.hour),
            "channel": message.channel,
            "direction": message.direction,
            "author__id": message.author,
            "_dlt_load_id": load_id,
        }
        rows[MESSAGES].append(
            common | {"content__text": str(message.text), "_dlt_id": f"{company}{key}", "_row_hash": repr(message)}
        )
        keepers.append({**common, "_window_end": at(message.hour)})
        for table, items in zip(LISTS, message.items, strict=True):
            # each text labels the items anew, but of some texts the items stay as they are
            label = repr((message.hour, message.channel, message.direction, message.author, message.text // 2))
            rows[table] += [
                common
                | {
                    "_dlt_list_idx": n,
                    "_dlt_id": f"{company}{key}{n}",
                    "_dlt_parent_id": f"{company}{key}",
                    "_row_hash": label,
                }
                for n in range(items)
                if table not in load.left_out
            ]
    return {
        table: pa.concat_tables(
            [
                pa.Table.from_pylist(rows[table], arrow_schema(DECLARED[table])),
                marker_table(table, keepers if table in load.left_out else [], load_id),
                marker_table(table, load.markers(), load_id),
            ],
            promote_options="default",
        )
        for table in REPLACED_TABLES
    }


@dataclass(frozen=True)
class DltMerge:
    """What dlt does for its `cdc` merge, as it says so itself.

    Attributes:
        template: A DuckDB file with its tables, which are empty.
        statements: By table.
    """

    template: Path
    statements: Mapping[str, Sequence[str]]


@pytest.fixture(scope="module")
def dlt_merge(tmp_path_factory: pytest.TempPathFactory) -> DltMerge:
    folder = tmp_path_factory.mktemp("dlt-merge")
    file = folder / "template.duckdb"
    pipeline = dlt.pipeline(
        "template", destination=dlt.destinations.duckdb(str(file)), dataset_name="mindo", pipelines_dir=str(folder)
    )

    @dlt.resource(name="nothing")
    def nothing() -> Any:
        for table in REPLACED_TABLES:
            empty = pa.Table.from_pylist([], arrow_schema(DECLARED[table]))
            yield dlt.mark.with_hints(empty, make_table_hints(table, DECLARED[table], None), create_table_variant=True)

    pipeline.run(nothing())
    with pipeline.destination_client() as client:
        statements = {
            table: SqlMergeFollowupJob.generate_sql([client.prepare_load_table(table)], client.sql_client)
            for table in REPLACED_TABLES
        }
    assert all("MERGE INTO" in " ".join(texts) for texts in statements.values())
    return DltMerge(file, statements)


def connect(template: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(f"SET TimeZone = 'UTC'; ATTACH '{template}' AS template (READ_ONLY)")
    for schema in ("mindo", "mindo_staging"):
        connection.execute(f"CREATE SCHEMA {schema}")
        for table in REPLACED_TABLES:
            connection.execute(f"CREATE TABLE {schema}.{table} AS FROM template.mindo.{table} LIMIT 0")
    connection.execute("DETACH template")
    return connection


def rows_of(connection: duckdb.DuckDBPyConnection, table: str) -> dict[tuple[Any, ...], Row]:
    """All rows by key, which has to be one."""
    found = connection.execute(f"SELECT * FROM mindo.{table}").to_arrow_table().to_pylist()
    keyed = {tuple(row[name] for name in PRIMARY_KEYS[table]): row for row in found}
    assert len(keyed) == len(found), f"{table} has a key twice"
    return keyed


def as_dlt_should(rows: dict[tuple[Any, ...], Row], load: Load, table: str, load_id: str) -> dict[tuple[Any, ...], Row]:
    """What dlt made of a list, but for the rows that it leaves behind when their message moves.

    Those of a list that was not asked for go with it. Else a row is left if its message lost items: and is gone here.
    """
    placed = {}
    for key, row in rows.items():
        moved = key[:2] in (read := load.read()) and row["occurred_at"] != at(read[key[:2]].hour)
        if moved and table in load.left_out:
            row = row | {"occurred_at": at(read[key[:2]].hour), "_dlt_load_id": load_id}
        if not moved or table in load.left_out:
            placed[key] = row
    return placed


@settings(max_examples=500 if THOROUGH else 30)
@given(history=st.lists(loads, min_size=2, max_size=3))
def test_a_load_does_what_dlts_merge_does(dlt_merge: DltMerge, tmp_path: Path, history: list[Load]) -> None:
    with connect(dlt_merge.template) as ours, connect(dlt_merge.template) as theirs:
        for number, load in enumerate(history):
            files = {}
            for table, rows in tables_of(load, str(number)).items():
                # of a name of its own, as DuckDB remembers what a file was like
                files[table] = [tmp_path / f"{table}.{uuid4()}.parquet"]
                pq.write_table(rows, files[table][0])
                for statement in (
                    f"CREATE OR REPLACE TABLE mindo_staging.{table} AS FROM mindo.{table} LIMIT 0",
                    f"INSERT INTO mindo_staging.{table} BY NAME FROM '{files[table][0]}'",
                    *dlt_merge.statements[table],
                ):
                    theirs.execute(statement)
            ours.begin()
            replace_windows(lambda sql: ours.execute(sql).fetchall(), files, lambda table: f"mindo.{table}")
            ours.commit()
            for table in REPLACED_TABLES:
                expected, found = rows_of(theirs, table), rows_of(ours, table)
                if table != MESSAGES:
                    expected = as_dlt_should(expected, load, table, str(number))
                note(f"{table} after load {number}")
                assert found == expected
                # each load is compared on its own
                kept = ours.execute(f"FROM mindo.{table}").to_arrow_table()  # noqa: F841  # DuckDB finds it by its name
                theirs.execute(f"CREATE OR REPLACE TABLE mindo.{table} AS FROM kept")


# --- whole loads by the command ------------------------------------------------------------------------------------


def assert_all_mirrored(world: World) -> None:
    assert_mirrors(WAREHOUSE, world, COMPANIES, midnight() - 4 * DAY, midnight())


def read_all_again(*arguments: str) -> None:
    assert (
        mindo("run", "--from", (midnight() - 4 * DAY).isoformat(), "--to", midnight().isoformat(), *arguments).code == 0
    )


def test_the_command_stages_no_message(loaded: Emulator[World]) -> None:
    staged = query(WAREHOUSE, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'mindo_staging'")
    assert {name for (name,) in staged}.isdisjoint(TABLES)
    assert query(WAREHOUSE, "SELECT count(*) FROM messages") != [(0,)]


@pytest.mark.parametrize("folder", ["it's; a [x] *b", "company_id=42"])
def test_the_folder_of_the_packages_may_be_called_anything(
    api: Emulator[World], monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    Path(folder).mkdir()
    monkeypatch.chdir(folder)
    assert mindo("run").code == 0
    assert_all_mirrored(api.world)


def test_a_table_that_refuses_its_rows_leaves_all_tables_as_they_were(loaded: Emulator[World]) -> None:
    with duckdb.connect(WAREHOUSE) as connection:
        connection.execute("ALTER TABLE mindo.messages__tool_calls RENAME COLUMN name TO names")
        connection.execute("ALTER TABLE mindo.messages__tool_calls ADD COLUMN name INTEGER")
    before = snapshot(WAREHOUSE)
    world = loaded.world
    for message in world.messages(42)[:5]:
        world.edit_text(message["message_id"], "otro", 42)
        world.set_member(message["message_id"], "tool_calls", [{"name": "buscar"}], 42)
    result = mindo("run", "--from", (midnight() - 4 * DAY).isoformat(), "--to", midnight().isoformat())
    assert result.code == 5
    assert "buscar" not in result.out + result.err
    assert snapshot(WAREHOUSE) == before
    with duckdb.connect(WAREHOUSE) as connection:
        connection.execute("ALTER TABLE mindo.messages__tool_calls DROP COLUMN name")
        connection.execute("ALTER TABLE mindo.messages__tool_calls RENAME COLUMN names TO name")
    read_all_again()
    assert_all_mirrored(world)


def test_a_message_that_moves_takes_its_lists_along(loaded: Emulator[World]) -> None:
    world = loaded.world
    shrunk, kept, *_ = (m["message_id"] for m in world.messages(42) if len(m["classifications"] or ()) > 1)
    for message_id in (shrunk, kept):
        world.move(message_id, midnight() - timedelta(minutes=1), 42)
    world.reclassify(shrunk, [], 42)
    last_hour = ("--from", (midnight() - timedelta(hours=1)).isoformat(), "--to", midnight().isoformat())
    assert mindo("run", *last_hour).code == 0
    assert_all_mirrored(world)
    world.move(kept, midnight() - timedelta(days=2), 42)
    two_days_ago = (
        "--from",
        (midnight() - 2 * DAY).isoformat(),
        "--to",
        (midnight() - 2 * DAY + timedelta(hours=1)).isoformat(),
    )
    assert mindo("run", *two_days_ago, "--include", "trace_id").code == 0
    assert_all_mirrored(world)


def test_dlts_own_destination_and_this_one_may_take_turns(
    loaded: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = loaded.world
    pipeline = dlt.pipeline(
        "mindo", destination=dlt.destinations.duckdb(WAREHOUSE), dataset_name="mindo", pipelines_dir="theirs"
    )
    versions = query(WAREHOUSE, "SELECT count(*) FROM _dlt_version")
    edited = world.messages(57)[0]["message_id"]
    world.edit_text(edited, "por dlt", 57)
    before = snapshot(WAREHOUSE)
    pipeline.run(mindo_source(from_date=midnight() - 4 * DAY, to_date=midnight()))
    pipeline.deactivate()
    assert_all_mirrored(world)
    assert {key[1] for key in changed_keys(before["messages"], snapshot(WAREHOUSE)["messages"])} == {edited}
    # neither its tables of the staging dataset nor its schema are in the way
    world.edit_text(edited, "por mindo", 57)
    before = snapshot(WAREHOUSE)
    read_all_again()
    assert_all_mirrored(world)
    assert {key[1] for key in changed_keys(before["messages"], snapshot(WAREHOUSE)["messages"])} == {edited}
    assert query(WAREHOUSE, "SELECT count(*) FROM _dlt_version") == versions


def test_what_dlts_own_merge_left_behind_is_settled(loaded: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    world = loaded.world
    moved = next(m["message_id"] for m in world.messages(42) if len(m["classifications"] or ()) > 1)
    world.move(moved, midnight() - timedelta(minutes=1), 42)
    start = midnight() - timedelta(hours=1)
    theirs = dlt.pipeline(
        "theirs", destination=dlt.destinations.duckdb(WAREHOUSE), dataset_name="mindo", pipelines_dir="theirs"
    )
    # dlt's own default
    monkeypatch.setenv("LOAD__TRUNCATE_STAGING_DATASET", "false")
    theirs.run(mindo_source(from_date=start, to_date=midnight(), include="trace_id"))
    theirs.deactivate()
    monkeypatch.delenv("LOAD__TRUNCATE_STAGING_DATASET")
    behind = (
        f"SELECT count(*) FROM mindo.messages__classifications WHERE message_id = '{moved}' AND occurred_at < '{start}'"
    )
    assert query(WAREHOUSE, behind) != [(0,)]
    assert query(WAREHOUSE, "SELECT count(*) FROM mindo_staging.messages") != [(0,)]
    assert mindo("run", "--from", start.isoformat(), "--to", midnight().isoformat()).code == 0
    assert_all_mirrored(world)
    assert query(WAREHOUSE, "SELECT count(*) FROM mindo_staging.messages") == [(0,)]


def test_a_destination_of_another_name_that_is_a_duckdb_is_one(
    api: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__CELLAR__DESTINATION_TYPE", "duckdb")
    monkeypatch.setenv("DESTINATION__CELLAR__CREDENTIALS", "cellar.duckdb")
    assert mindo("run", "--destination", "cellar").code == 0
    assert_mirrors("cellar.duckdb", api.world, COMPANIES, midnight() - 4 * DAY, midnight())
    staged = query(
        "cellar.duckdb", "SELECT table_name FROM information_schema.tables WHERE table_schema = 'mindo_staging'"
    )
    assert {name for (name,) in staged}.isdisjoint(TABLES)
