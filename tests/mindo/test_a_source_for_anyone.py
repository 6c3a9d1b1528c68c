"""The source in somebody else's dlt project: none of this project's defaults, configuration in files of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from mindo import ConfigurationError, mindo_source
from mindo_emulator import GLOBAL_DEMO_KEY, Emulator, World
from tests.support import EVERYTHING, NOW, START, assert_mirrors, query, small_world


@pytest.fixture
def project(isolated: Path) -> Iterator[Emulator[World]]:
    """A folder with `.dlt/*.toml` of its own, read by dlt as when it starts there."""
    with Emulator(small_world(80)) as emulator:
        folder = isolated / ".dlt"
        folder.mkdir()
        (folder / "config.toml").write_text(
            f"""
            [runtime]
            dlthub_telemetry = false
            [sources.mindo]
            base_url = "{emulator.base_url}"
            company_ids = [42, 57]
            start_date = 2026-04-20
            limit = 7
            window_hours = 744
            """
        )
        (folder / "secrets.toml").write_text(f'[sources.mindo]\napi_key = "{GLOBAL_DEMO_KEY}"\n')
        Container()[PluggableRunContext].reload()
        yield emulator
    for name in ("config.toml", "secrets.toml"):
        (folder / name).unlink()
    Container()[PluggableRunContext].reload()


def a_pipeline(**given: Any) -> dlt.Pipeline:
    return dlt.pipeline(
        "foreign",
        destination=dlt.destinations.duckdb("foreign.duckdb"),
        dataset_name="mindo",
        pipelines_dir="pipelines",
        **given,
    )


def test_a_pipeline_runs_the_source_with_nothing_but_files(project: Emulator[World]) -> None:
    pipeline = a_pipeline()
    info = pipeline.run(mindo_source())
    info.raise_on_failed_jobs()
    assert_mirrors("foreign.duckdb", project.world, [42, 57])
    project.world.add_message(57, NOW, "nuevo")
    a_pipeline().run(mindo_source(lookback_days=400))
    expected = project.world.truth([42, 57], include=EVERYTHING)
    assert query("foreign.duckdb", "SELECT count(*) FROM messages") == [(len(expected),)]
    assert query("foreign.duckdb", "SELECT count(*) FROM _dlt_version") == [(1,)]


def test_arguments_win_over_files(project: Emulator[World]) -> None:
    a_pipeline().run(
        mindo_source(company_ids="63", from_date="2026-04-21", to_date="2026-04-30", include=["classifications"])
    )
    assert_mirrors(
        "foreign.duckdb",
        project.world,
        [63],
        START.replace(day=21),
        START.replace(day=30),
        include=["classifications"],
    )
    assert query("foreign.duckdb", "SELECT DISTINCT company_id FROM messages") == [(63,)]


def test_the_resources_are_two_and_can_be_chosen(project: Emulator[World]) -> None:
    source = mindo_source()
    assert set(source.resources) == {"messages", "companies"}
    a_pipeline().run(source.with_resources("companies"))
    assert query("foreign.duckdb", "SELECT company_id FROM companies ORDER BY 1") == [(42,), (57,)]
    assert not [request for request in project.requests if request.path.endswith("/messages")]
    a_pipeline().run(mindo_source().with_resources("messages"))
    assert_mirrors("foreign.duckdb", project.world, [42, 57])


def test_the_source_can_be_looked_at_without_a_pipeline(project: Emulator[World]) -> None:
    tables = list(mindo_source(from_date="2026-04-21", to_date="2026-04-23"))
    assert sum(table.num_rows for table in tables) > 0
    assert "messages" in mindo_source().discover_schema().tables


def test_a_full_refresh_reads_from_scratch(project: Emulator[World]) -> None:
    a_pipeline().run(mindo_source())
    project.requests.clear()
    a_pipeline().run(mindo_source(), refresh="drop_sources")
    assert min(request.params["from"] for request in project.requests) == "2026-04-20T00:00:00Z"
    assert_mirrors("foreign.duckdb", project.world, [42, 57])


def test_what_is_wrong_is_said_in_our_words(project: Emulator[World], isolated: Path) -> None:
    with pytest.raises(ConfigurationError, match="channel"):
        mindo_source(channel="fax")
    with pytest.raises(ConfigurationError, match="future"):
        mindo_source(from_date="2999-01-01")
    assert not (isolated / "foreign.duckdb").exists()


def test_the_merge_falls_back_where_a_destination_has_no_cdc(project: Emulator[World]) -> None:
    destination = dlt.destinations.duckdb("foreign.duckdb", supported_merge_strategies=["delete-insert"])
    pipeline = dlt.pipeline("foreign", destination=destination, dataset_name="mindo", pipelines_dir="pipelines")
    pipeline.run(mindo_source())
    assert pipeline.default_schema.tables["messages"]["x-merge-strategy"] == "delete-insert"
    assert_mirrors("foreign.duckdb", project.world, [42, 57])
    victim = project.world.truth(42)[-1]["message_id"]
    project.world.delete(victim)
    project.world.edit_text(project.world.truth(57)[-1]["message_id"], "otro")
    pipeline.run(mindo_source(lookback_days=400))
    assert_mirrors("foreign.duckdb", project.world, [42, 57])
