"""What a destination is told of partitions, clusters and indexes stands in the statements that make its tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pytest
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext

from mindo.columns import CHILD_TABLES, DECLARED, MESSAGES
from mindo.layout import create_indexes, has_indexes, layout_of, with_layout
from mindo.replacing import arrow_schema, make_table_hints, marker_table
from tests.destinations.generated_sql import COLUMNS, DESTINATIONS, generated

WINDOWED = (MESSAGES, *CHILD_TABLES.values())
LAYOUTS = {
    "athena": ["PARTITIONED BY (year(`occurred_at`))"],
    "bigquery": ["PARTITION BY DATE(`occurred_at`)", "CLUSTER BY `company_id`, `message_id`"],
    "clickhouse": ["PARTITION BY toStartOfQuarter(occurred_at)"],
    "databricks": ["CLUSTER BY (`company_id`,`occurred_at`)"],
    "redshift": [
        '"message_id" varchar(max) DISTKEY NOT NULL',
        '"occurred_at" timestamp with time zone SORTKEY NOT NULL',
    ],
    "snowflake": ['CLUSTER BY ("COMPANY_ID","OCCURRED_AT")'],
}
ANY_LAYOUT = re.compile(r"PARTITION|CLUSTER|SORTKEY|DISTKEY|INDEX")


@pytest.mark.parametrize("name", DESTINATIONS)
def test_tables_of_messages_are_laid_out_where_it_pays(name: str) -> None:
    for table in WINDOWED:
        (create,) = generated(name).tables[table].create
        found = re.sub(r"\s+", " ", create)
        for clause in LAYOUTS.get(name, []):
            assert clause in found
        assert name in LAYOUTS or not ANY_LAYOUT.search(found)


@pytest.mark.parametrize("name", DESTINATIONS)
def test_no_other_table_is_laid_out(name: str) -> None:
    for table in set(COLUMNS) - set(WINDOWED):
        assert not ANY_LAYOUT.search(" ".join(generated(name).tables[table].create))


def hints_in(destination: Any, folder: Path, table_format: Any = None) -> dict[str, Any]:
    """The tables in dlt's schema, as it has them before anything is loaded."""
    pipeline = dlt.pipeline("laid_out", destination=destination, dataset_name="mindo", pipelines_dir=str(folder))
    try:
        pipeline.extract(nothing(table_format), schema=dlt.Schema("mindo"))
        return dict(pipeline.default_schema.tables)
    finally:
        pipeline.deactivate()


@dlt.resource
def nothing(table_format: Any = None) -> Iterator[Any]:
    for table, columns in DECLARED.items():
        hints = make_table_hints(table, columns, Container().get(DestinationCapabilitiesContext), table_format)
        empty = pa.Table.from_pylist([], arrow_schema(columns))
        yield dlt.mark.with_hints(empty, hints, create_table_variant=True)


def test_delta_tables_are_partitioned_by_company(tmp_path: Path) -> None:
    lake = dlt.destinations.filesystem(str(tmp_path / "lake"))
    tables = hints_in(lake, tmp_path, "delta")
    for table in WINDOWED:
        columns = tables[table]["columns"].values()
        assert [column["name"] for column in columns if column.get("partition")] == ["company_id"]
    assert not any(column.get("partition") for column in tables["companies"]["columns"].values())


def test_iceberg_tables_are_partitioned_by_company_and_month(tmp_path: Path) -> None:
    lake = dlt.destinations.filesystem(str(tmp_path / "lake"))
    tables = hints_in(lake, tmp_path, "iceberg")
    for table in WINDOWED:
        partition = [(spec["source_column"], spec["transform"]) for spec in tables[table]["x-iceberg-partition"]]
        assert partition == [("company_id", "identity"), ("occurred_at", "month")]
    assert "x-iceberg-partition" not in tables["companies"]


def test_duckdb_and_plain_files_get_no_hint_more(tmp_path: Path) -> None:
    for destination in (
        dlt.destinations.duckdb(str(tmp_path / "a.duckdb")),
        dlt.destinations.filesystem(str(tmp_path)),
    ):
        plain = make_table_hints(MESSAGES, DECLARED[MESSAGES], None)
        laid_out = hints_in(destination, tmp_path / destination.destination_name)[MESSAGES]
        assert {hint for column in laid_out["columns"].values() for hint in column} <= {
            hint for column in plain["columns"].values() for hint in column
        } | {"primary_key", "row_key", "x-row-version"}
        assert not [hint for hint in laid_out if hint.startswith("x-") and not hint.startswith(("x-merge", "x-stage"))]


def test_a_layout_is_made_once() -> None:
    assert layout_of("bigquery") is layout_of("bigquery")
    hints = make_table_hints(MESSAGES, DECLARED[MESSAGES], None)
    # without a running pipeline nobody knows where the rows will go
    assert with_layout(hints, MESSAGES) is hints


def test_only_postgres_needs_indexes() -> None:
    factories = (dlt.destinations.postgres(), dlt.destinations.duckdb(), dlt.destinations.redshift())
    assert [has_indexes(factory.capabilities()) for factory in factories] == [True, False, False]


def test_postgres_gets_its_indexes_once(postgres: Any, tmp_path: Path) -> None:
    destination = dlt.destinations.postgres(postgres.url)
    pipeline = dlt.pipeline("indexed", destination=destination, dataset_name="indexed", pipelines_dir=str(tmp_path))

    @dlt.resource
    def empty_window() -> Iterator[Any]:
        start = datetime(2026, 5, 1, tzinfo=UTC)
        marker = {"company_id": 1, "message_id": "", "occurred_at": start, "_window_end": start + timedelta(days=1)}
        for table in WINDOWED:
            hints = make_table_hints(table, DECLARED[table], Container().get(DestinationCapabilitiesContext))
            yield dlt.mark.with_hints(marker_table(table, [marker], "now"), hints, create_table_variant=True)

    try:
        pipeline.run(empty_window())
        with pipeline.sql_client() as client:
            assert len(create_indexes(client)) == 2 * len(WINDOWED)
            assert create_indexes(client) == []
            found = client.execute_sql(
                "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'indexed' AND tablename NOT LIKE '\\_dlt%'"
            )
    finally:
        pipeline.deactivate()
    definitions = {(table, re.sub(r" INDEX .* USING btree ", " ON ", definition)) for table, definition in found}
    assert definitions == {
        *((table, "CREATE ON (company_id, occurred_at)") for table in WINDOWED),
        (MESSAGES, "CREATE UNIQUE ON (company_id, message_id)"),
        *((table, "CREATE UNIQUE ON (company_id, message_id, _dlt_list_idx)") for table in CHILD_TABLES.values()),
    }
