"""A made-up Mindo, Dagster's definitions for it, and an instance that is gone after the test."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import pytest

from mindo_emulator import GLOBAL_DEMO_KEY, Emulator, World
from mindo_pipeline.dagster import manifest
from mindo_pipeline.dagster.assembling import make_definitions
from mindo_pipeline.dagster.nights import LOAD_JOB
from mindo_pipeline.dagster.partitions import Partition, company_partitions, month_of
from tests.mindo_pipeline.harness import midnight
from tests.support import assert_mirrors

COMPANIES = (42, 57)
DATABASE = "warehouse.duckdb"
_SHORTEST_TELLING_TEXT = 12
THIS_MONTH = month_of(midnight())
START = THIS_MONTH - timedelta(days=6)
"""Two months, of which the first is not whole."""


@dataclass
class Deployment:
    """Dagster's definitions over an emulator, with an instance of its own."""

    emulator: Emulator[World]
    instance: dg.DagsterInstance
    definitions: dg.Definitions

    def load(self, company_id: int, month: datetime, **config: Any) -> dg.ExecuteInProcessResult:
        """A run of one partition, whatever becomes of it."""
        return self.execute(LOAD_JOB, Partition(company_id, month).key, **config)

    def execute(
        self, job: str, partition: str | None = None, only: Sequence[dg.AssetKey] | None = None, **config: Any
    ) -> dg.ExecuteInProcessResult:
        """A run of a job, or of some of its assets."""
        return self.definitions.resolve_job_def(job).execute_in_process(
            run_config={"ops": {"mindo_tables": {"config": config}}} if config else None,
            partition_key=partition,
            asset_selection=only,
            instance=self.instance,
            raise_on_error=False,
        )

    def backfill(self) -> list[dg.ExecuteInProcessResult]:
        """All partitions."""
        months = (month_of(START), THIS_MONTH)
        return [self.load(company_id, month) for company_id in COMPANIES for month in months]

    def assert_mirrors(self) -> None:
        """The warehouse holds what the world has."""
        assert_mirrors(DATABASE, self.emulator.world, COMPANIES, START, datetime.now(UTC))

    def events(self) -> str:
        """Every event and run of the instance, as it is stored."""
        runs = self.instance.get_runs()
        stored = [record.to_json() for run in runs for record in self.instance.all_logs(run.run_id)]
        return "\n".join([*stored, *map(repr, runs)])

    def assert_tells_nothing(self) -> None:
        """No event holds a key, or a text of a message."""
        events = self.events()
        assert "STEP_START" in events
        assert GLOBAL_DEMO_KEY not in events
        messages = self.emulator.world.messages()
        texts = {str(message["content"].get("text") or "") for message in messages}
        telling = [text for text in texts if len(text) >= _SHORTEST_TELLING_TEXT]
        assert len(telling) > len(messages) / 4
        # as it would stand in JSON
        assert [text for text in telling if text in events or json.dumps(text)[1:-1] in events] == []


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder without anybody's configuration."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("MINDO_DEBUG", raising=False)
    for name in list(os.environ):
        if name.startswith(("DAGSTER", "DBT_")):
            monkeypatch.delenv(name)


def make_world(**arguments: Any) -> World:
    """Messages in both months, up to the last midnight."""
    return World.generate(
        **{"seed": 5, "start": START, "end": midnight(), "messages": 240, "companies": list(COMPANIES)} | arguments
    )


@contextmanager
def deployed(environment: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """Serves a world, and configures everything for it by environment variables only."""
    with Emulator(make_world()) as emulator:
        for name, value in settings(emulator).items():
            environment.setenv(name, value)
        # not an ephemeral one, with which schedules can't work
        with TemporaryDirectory() as folder, _instance(folder) as instance:
            instance.add_dynamic_partitions(company_partitions.name or "", [str(company) for company in COMPANIES])
            yield Deployment(emulator, instance, make_definitions())


def _instance(folder: str) -> dg.DagsterInstance:
    return dg.DagsterInstance.local_temp(folder, {"telemetry": {"enabled": False}})


def settings(emulator: Emulator[Any]) -> dict[str, str]:
    """The environment that leads a code location to an emulator."""
    return {
        "SOURCES__MINDO__BASE_URL": emulator.base_url,
        "SOURCES__MINDO__API_KEY": GLOBAL_DEMO_KEY,
        "SOURCES__MINDO__COMPANY_IDS": ",".join(map(str, COMPANIES)),
        "SOURCES__MINDO__COMPANIES": json.dumps({company: {"timezone": "America/Lima"} for company in COMPANIES}),
        "SOURCES__MINDO__START_DATE": START.date().isoformat(),
        "SOURCES__MINDO__MAX_ATTEMPTS": "1",
        "SOURCES__MINDO__WORKERS": "2",
        "SOURCES__MINDO__CONFIRM_WINDOWS": "false",
        "DAGSTER__RETRIES": "2",
        "DAGSTER__RETRY_SECONDS": "0.01",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }


@pytest.fixture(scope="session", autouse=True)
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One folder for dbt's manifest, which takes seconds to make."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("manifests"))
        patch.setattr(manifest, "_folder", lambda: Path(folder))
        yield


@pytest.fixture(scope="session")
def backfilled(manifests: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, Path]]:
    """A deployment after a backfill of all partitions, and the folder of its warehouse."""
    folder = tmp_path_factory.mktemp("backfilled")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with deployed(patch) as deployment:
            results = deployment.backfill()
            assert [result.success for result in results] == [True] * len(results)
            yield deployment, folder


@pytest.fixture
def loaded(backfilled: tuple[Deployment, Path], isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """That deployment, with a warehouse that may be changed. Its world may not."""
    deployment, folder = backfilled
    shutil.copy(folder / DATABASE, DATABASE)
    for name, value in settings(deployment.emulator).items():
        monkeypatch.setenv(name, value)
    return deployment


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A deployment with an empty warehouse."""
    with deployed(monkeypatch) as found:
        yield found
