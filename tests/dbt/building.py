"""dbt as a test runs it: in this process, over a warehouse that a test has loaded."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import duckdb
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.artifacts.schemas.results import NodeStatus
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

PROJECT = Path(__file__).parents[2] / "dbt"
LAYERS = ("mindo_intermediate", "mindo_marts")
VERSIONED = (
    "int_mindo__messages",
    "mindo__conversations",
    "mindo__conversation_metrics",
    "mindo__extraction_values",
    "mindo__agents_by_day",
    "mindo__tools_by_day",
    "mindo__classifications_by_day",
)
"""Models that are built by increments."""

_PROFILE = {
    "type": "duckdb",
    "path": "{{ env_var('MINDO_TEST_DATABASE') }}",
    "schema": "mindo",
    "threads": 4,
    "settings": {"TimeZone": "UTC"},
}


class Built:
    """What a dbt command did: how each node ended, by its name."""

    def __init__(self, results: Any) -> None:
        self.statuses = {result.node.name: str(result.status) for result in results}
        self.messages = {result.node.name: result.message for result in results}

    @property
    def failures(self) -> dict[str, str]:
        """Models and tests that did not end well."""
        fine = {NodeStatus.Success, NodeStatus.Pass, NodeStatus.Warn, NodeStatus.NoOp}
        return {
            name: f"{s}: {self.messages[name]}" for name, s in self.statuses.items() if s not in set(map(str, fine))
        }


def dbt(
    database: Path,
    *command: str,
    profile: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    artifacts: Path | None = None,
) -> Built:
    """Runs a dbt command such as `build`.

    Args:
        database: The DuckDB file; its stem has to be `warehouse`, which the parsed project holds.
        command: The command and its options.
        profile: Another database than DuckDB.
        variables: Variables of the package.
        artifacts: Where dbt's own files are kept.
    """
    target = json.dumps(dict(profile or _PROFILE))
    given = json.dumps(dict(variables or {}))
    with _invocation(database, target, artifacts) as arguments:
        ended = dbtRunner(manifest=_manifest(target, given)).invoke([*command, "--vars", given, *arguments])
    # a process of dbt's own would end here, and let go of the file
    DuckDBConnectionManager.close_all_connections()
    if ended.exception:
        raise ended.exception
    return Built(ended.result.results if hasattr(ended.result, "results") else [])


def build(database: Path, *options: str, **others: Any) -> Built:
    """Builds and tests all models; everything has to end well."""
    built = dbt(database, "build", "--exclude-resource-type", "unit_test", *options, **others)
    assert built.failures == {}
    return built


def tables_of(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all models, sorted; without what depends on the moment of asking."""
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        names = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN (?, ?) ORDER BY ALL",
            LAYERS,
        ).fetchall()
        return {
            table: connection.execute(
                f'SELECT * {"EXCLUDE (age_hours)" if table == "mindo__window_coverage" else ""} FROM "{schema}"."{table}" ORDER BY ALL'
            ).fetchall()
            for schema, table in names
        }


def parsed_project() -> Manifest:
    """The project as dbt has read it, for DuckDB and without variables of its own."""
    return _manifest(json.dumps(_PROFILE), "{}")


@contextmanager
def _invocation(database: Path, target: str, artifacts: Path | None = None) -> Iterator[list[str]]:
    with TemporaryDirectory() as folder:
        profiles = {"mindo": {"target": "test", "outputs": {"test": json.loads(target)}}}
        Path(folder, "profiles.yml").write_text(json.dumps(profiles), encoding="utf-8")
        with patch.dict(os.environ, {"MINDO_TEST_DATABASE": str(database)}):
            yield [
                "--project-dir", str(PROJECT), "--profiles-dir", folder, "--target-path", str(artifacts or f"{folder}/target"),
                "--log-path", f"{folder}/logs", "--quiet", "--no-version-check", "--no-send-anonymous-usage-stats",
            ]  # fmt: skip


@functools.cache
def _manifest(target: str, variables: str) -> Manifest:
    """The parsed project: reading it takes longer than building a small warehouse."""
    with _invocation(Path("warehouse.duckdb"), target) as arguments:
        parsed = dbtRunner().invoke(["parse", "--vars", variables, *arguments])
    assert parsed.exception is None, parsed.exception
    assert isinstance(parsed.result, Manifest)
    return parsed.result
