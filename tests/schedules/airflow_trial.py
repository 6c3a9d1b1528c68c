"""The Airflow DAGs, run by `airflow dags test` in Airflow's own environment: `make schedules`; it takes minutes.

Tasks run for real and in the order of the scheduler, with its rules, retries and callbacks. Pools are not looked at by this command.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from mindo_emulator import Emulator, World
from tests.mindo_pipeline.harness import DAY, count, midnight, settings
from tests.schedules.places import ENVIRONMENT, ROOT, SCHEDULES, Webhook, forget_oldest_message
from tests.support import assert_mirrors

AIRFLOW = ROOT / ".venv.airflow" / "bin" / "airflow"
_ENDED = re.compile(r"DagRun Finished: .*? state=(\w+)")

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Airflow's database, with the pool that the DAGs need."""
    home = tmp_path_factory.mktemp("airflow")
    for arguments in (["db", "migrate"], ["pools", "set", "mindo_api", "2", "batches that ask Mindo's API at once"]):
        done = call(home, {}, *arguments)
        assert done.returncode == 0, done.stdout[-4000:]
    return home


@pytest.fixture
def environment(tmp_path: Path, api: Emulator[World], webhook: Webhook) -> dict[str, str]:
    """What leads Airflow's tasks to the command, and the command to the emulator."""
    return {
        **settings(api),
        "AIRFLOW_VAR_MINDO_COMMAND": str(ENVIRONMENT / "bin" / "mindo"),
        "AIRFLOW_VAR_MINDO_FOLDER": str(tmp_path),
        "AIRFLOW_VAR_MINDO_WEBHOOK_SECRET": webhook.url,
        "MINDO_RETRY_SECONDS": "1",
        # what an engine's own interval would do: read other days than what is new
        "DLT_INTERVAL_START": "2020-01-01T00:00:00Z",
        "DLT_INTERVAL_END": "2020-01-02T00:00:00Z",
    }


def call(home: Path, environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Calls Airflow, its output in one."""
    own = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(SCHEDULES / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_COLOR": "1",
    }
    return subprocess.run(
        [str(AIRFLOW), *arguments],
        env={**own, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )


def run(home: Path, environment: Mapping[str, str], dag: str) -> tuple[str, list[str]]:
    """How a run ended, and the commands that its tasks called, in order."""
    done = call(home, environment, "dags", "test", dag)
    (state,) = _ENDED.findall(done.stdout) or [done.stdout[-4000:]]
    command = re.escape(environment["AIRFLOW_VAR_MINDO_COMMAND"])
    calls = re.findall(rf"\] {command} (.*?) --json --quiet", done.stdout)
    assert (done.returncode == 0) is (state == "success")
    return state, calls


def companies(calls: list[str]) -> list[str]:
    return [arguments.split()[2] for arguments in calls if arguments.startswith("batch ")]


def test_the_dags_are_taken_without_a_word(airflow_home: Path) -> None:
    done = call(airflow_home, {"PYTHONWARNINGS": "error::DeprecationWarning"}, "dags", "list-import-errors")
    assert "No data found" in done.stdout, done.stdout[-4000:]


def test_a_batch_that_fails_once_is_tried_again_and_the_night_is_whole(
    airflow_home: Path, environment: dict[str, str], api: Emulator[World], webhook: Webhook
) -> None:
    # the whole of the first try of one batch
    api.faults.add("server_error", company=57, times=int(environment["SOURCES__MINDO__MAX_ATTEMPTS"]))
    state, calls = run(airflow_home, environment, "mindo_nightly")
    assert state == "success"
    assert companies(calls) == ["42", "57", "63", "57"]
    assert [calls[0].split()[0], *(arguments.split()[0] for arguments in calls[-2:])] == ["plan", "dbt", "status"]
    assert_mirrors("warehouse.duckdb", api.world, (42, 57, 63), midnight() - 4 * DAY, midnight())
    assert webhook.texts == []

    forget_oldest_message(api.world)
    state, _ = run(airflow_home, environment, "mindo_reconcile")
    assert state == "success"
    assert count() == len(api.world.messages())


def test_what_cannot_be_mended_by_trying_is_tried_once_and_told_once(
    airflow_home: Path, environment: dict[str, str], api: Emulator[World], webhook: Webhook
) -> None:
    api.faults.add("company_lost", company=57, times=None)
    state, calls = run(airflow_home, environment, "mindo_nightly")
    assert state == "failed"
    assert companies(calls) == ["42", "57", "63"]
    # the models are built from what there is, and nobody takes that for a good night
    assert calls[-1].startswith("dbt build")
    (text,) = webhook.texts
    assert text.startswith("mindo_nightly has failed: ")
