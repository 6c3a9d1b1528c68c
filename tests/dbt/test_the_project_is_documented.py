"""What analysts read of the models: every column is described, the docs build, the analyses run, freshness tells."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from mindo.columns import AUDIT_LOG, DECLARED
from tests.dbt.building import LAYERS, PROJECT, dbt, parsed_project
from tests.support import Laboratory


def test_every_column_of_every_model_is_described(built: Laboratory) -> None:
    described = {
        node.name: {name: column.description for name, column in node.columns.items()}
        for node in parsed_project().nodes.values()
        if node.resource_type == "model"
    }
    with duckdb.connect(str(built.database), read_only=True) as connection:
        found = connection.execute(
            "SELECT table_name, list(column_name ORDER BY ordinal_position) FROM information_schema.columns"
            " WHERE table_schema IN (?, ?) GROUP BY ALL",
            LAYERS,
        ).fetchall()
    assert {table: list(columns) for table, columns in described.items()} == dict(found)
    assert all(text for columns in described.values() for text in columns.values())


def test_every_variable_is_listed_with_its_default() -> None:
    listed = (PROJECT / "dbt_project.yml").read_text(encoding="utf-8")
    used = {
        name
        for path in [*PROJECT.rglob("*.sql"), *PROJECT.rglob("*.yml")]
        for name in re.findall(r"'(mindo_(?!_)[a-z_]+)'", path.read_text(encoding="utf-8"))
    }
    assert len(used) > 20
    assert {name for name in used if f"{name}:" not in listed} == set()


def test_every_column_of_the_sources_is_described() -> None:
    for source in parsed_project().sources.values():
        columns = source.columns
        assert [name for name in columns if not columns[name].description] == []
        assert [column.name for column in DECLARED[source.name]] == list(columns)[: len(DECLARED[source.name])]
    assert {source.name for source in parsed_project().sources.values()} == DECLARED.keys() - {AUDIT_LOG}


def test_marts_are_public_and_under_contract() -> None:
    models = [node for node in parsed_project().nodes.values() if node.resource_type == "model"]
    public = {node.name for node in models if node.access.value == "public"}
    assert public == {node.name for node in models if node.name.startswith("mindo__")}
    assert public == {node.name for node in models if node.contract.enforced}


def test_docs_build_with_the_catalog_of_the_warehouse(built: Laboratory, tmp_path: Path) -> None:
    made = dbt(built.database, "docs", "generate", "--static", artifacts=tmp_path)
    assert made.failures == {}
    page = (tmp_path / "static_index.html").read_text(encoding="utf-8")
    assert "mindo__conversation_metrics" in page
    assert "p95_operator_response_business_seconds" in page


def test_analyses_answer_their_questions(built: Laboratory, tmp_path: Path) -> None:
    dbt(built.database, "compile", artifacts=tmp_path)
    analyses = list((tmp_path / "compiled" / "mindo" / "analyses").glob("*.sql"))
    assert {path.stem for path in analyses} == {exposure.name for exposure in parsed_project().exposures.values()}
    with duckdb.connect(str(built.database), read_only=True) as connection:
        rows = {path.stem: connection.execute(path.read_text(encoding="utf-8")).fetchall() for path in analyses}
    assert rows["how_fast_are_we"]
    assert rows["does_the_agent_contain"]


@pytest.mark.parametrize(("hours", "status"), [(10_000_000, "pass"), (None, "error")])
def test_freshness_is_that_of_the_company_furthest_behind(built: Laboratory, hours: int | None, status: str) -> None:
    """The laboratory's clock stands still in the past, so how old the tables are depends on the hours allowed."""
    names = ("mindo_freshness_warn_hours", "mindo_freshness_error_hours")
    variables = dict.fromkeys(names, hours) if hours else None
    told = dbt(built.database, "source", "freshness", variables=variables)
    assert set(told.statuses.values()) == {status}
