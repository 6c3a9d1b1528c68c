"""The workflow: valid by GitHub's schema, and its steps done in order on machines that share the cache only."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mindo_emulator import GLOBAL_DEMO_KEY, Emulator, World
from mindo_pipeline.exit_codes import ExitCode
from tests.mindo_pipeline.harness import DAY, count, midnight
from tests.schedules.places import ENVIRONMENT, NIGHTLY, RECONCILE, SCHEDULES, Webhook, forget_oldest_message
from tests.schedules.workflow import Job, Runner

WORKFLOW = SCHEDULES / "github-actions" / "mindo.yml"
LOAD, FALLBACK = "Load", "Tell the webhook what a run could not tell itself"


@pytest.fixture
def workflow() -> dict[str, Any]:
    # YAML 1.1 takes the key `on` for a truth
    document = yaml.safe_load(WORKFLOW.read_text())
    return {("on" if key is True else key): value for key, value in document.items()}


@pytest.fixture
def runner(tmp_path: Path, api: Emulator[World], webhook: Webhook) -> Runner:
    return Runner(
        folder=tmp_path / "github",
        secrets={"MINDO_API_KEY": GLOBAL_DEMO_KEY, "MINDO_WEBHOOK_URL": webhook.url},
        environment={
            "PATH": os.environ["PATH"],
            "SOURCES__MINDO__BASE_URL": api.base_url,
            "SOURCES__MINDO__MAX_ATTEMPTS": "1",
        },
        replaced={
            "SECONDS_BETWEEN_TRIES": "0",
            "SOURCES__MINDO__START_DATE": (midnight() - 9 * DAY).date().isoformat(),
        },
    )


def steps(workflow: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (step for step in workflow["jobs"]["load"]["steps"] if name in (step.get("name"), step.get("uses")))
    return found


def report(job: Job) -> dict[str, Any]:
    found = job.runner.folder / "artifacts" / f"run-{job.machine.name}" / "run.json"
    return json.loads(found.read_text())


def test_github_takes_the_file() -> None:
    command = [ENVIRONMENT / "bin" / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_one_job_at_a_time_with_few_rights(workflow: dict[str, Any]) -> None:
    assert [entry["cron"] for entry in workflow["on"]["schedule"]] == [NIGHTLY, RECONCILE]
    assert workflow["concurrency"] == {"group": "mindo-warehouse", "cancel-in-progress": False}
    assert workflow["permissions"] == {"contents": "read"}
    kept, restored = steps(workflow, "actions/cache/save@v4"), steps(workflow, "actions/cache/restore@v4")
    assert {name: kept["with"][name] for name in ("path", "key")} == {
        name: restored["with"][name] for name in ("path", "key")
    }
    # secrets are for the steps that need them, not for actions of others and packages that are installed
    assert "env" not in workflow["jobs"]["load"]
    with_secrets = [step["name"] for step in workflow["jobs"]["load"]["steps"] if "secrets." in json.dumps(step)]
    assert with_secrets == [LOAD, FALLBACK]


def test_each_run_goes_on_where_the_last_machine_stopped(
    workflow: dict[str, Any], runner: Runner, api: Emulator[World], webhook: Webhook
) -> None:
    job = workflow["jobs"]["load"]
    first = runner.run(job, NIGHTLY)
    assert not first.failed, first.output
    stored = count(file=str(first.machine / "warehouse.duckdb"))
    assert stored == len(api.world.messages(42)) + len(api.world.messages(57))

    forget_oldest_message(api.world, companies=(42, 57))
    api.faults.add("server_error", company=57, times=1)
    runner.secrets = {"MINDO_API_KEY": GLOBAL_DEMO_KEY}
    second = runner.run(job, RECONCILE)
    assert not second.failed, second.output
    assert second.output.count("::warning::exit code 3") == 1
    assert report(second)["messages_written"] == 0, "all but the deleted one was there already"
    assert count(file=str(second.machine / "warehouse.duckdb")) == stored - 1
    assert webhook.texts == []


def test_an_api_that_is_down_fails_the_job_and_is_told_once(
    workflow: dict[str, Any], runner: Runner, api: Emulator[World], webhook: Webhook
) -> None:
    api.faults.add("server_error", times=None)
    job = runner.run(workflow["jobs"]["load"], NIGHTLY)
    assert job.outcomes[LOAD] == "failure"
    assert job.output.count("::warning::exit code 3") == 1
    (text,) = webhook.texts
    assert "exit code 3" in text
    assert report(job)["exit_code"] == ExitCode.API
    assert job.outcomes[FALLBACK] == "skipped"


def test_a_key_that_is_wrong_is_told_once_and_not_tried_again(
    workflow: dict[str, Any], runner: Runner, webhook: Webhook
) -> None:
    runner.secrets = {**runner.secrets, "MINDO_API_KEY": "mindo_global_wrong"}
    job = runner.run(workflow["jobs"]["load"], NIGHTLY)
    assert job.outcomes[LOAD] == "failure"
    assert "::warning::" not in job.output
    (text,) = webhook.texts
    assert "exit code 2" in text


def test_what_never_ran_is_told_as_well(
    workflow: dict[str, Any], runner: Runner, monkeypatch: pytest.MonkeyPatch, webhook: Webhook
) -> None:
    monkeypatch.setattr("tests.schedules.workflow._TRACKED", ())
    job = runner.run(workflow["jobs"]["load"], NIGHTLY)
    assert job.outcomes["make setup"] == "failure"
    assert job.outcomes[LOAD] == "skipped"
    assert webhook.texts == ["mindo ended without a report: https://github.example/owner/name/actions/runs/1"]
