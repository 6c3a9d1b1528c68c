"""`docs/scheduling.md`: its numbers are those of the files, and what it names is there."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from mindo_pipeline.exit_codes import ExitCode
from tests.docs.page import ROOT, links, table
from tests.mindo_pipeline.harness import mindo
from tests.schedules import test_systemd_loads_every_night as systemd
from tests.schedules.places import SCHEDULES
from tests.schedules.test_the_airflow_dags_know_the_command import DAGS, assigned
from tests.schedules.test_the_image_and_its_cron_jobs import CRON_JOBS

PAGE = ROOT / "docs" / "scheduling.md"
TRIES = {row[0]: row[2] for row in table("Scheduling", 1, PAGE)}


def test_what_the_page_links_to_is_there() -> None:
    found = [link for link in links(PAGE) if not link.startswith("http")]
    assert found
    missing = [link for link in found if not (PAGE.parent / link.partition("#")[0]).exists()]
    assert missing == []


def test_every_file_that_is_shipped_is_named() -> None:
    text = PAGE.read_text()
    folders = {path.name for path in SCHEDULES.iterdir()} - {"dagster-celery"}
    assert [name for name in sorted(folders) if name not in text] == []


def test_the_tries_are_those_of_the_files() -> None:
    step = next(
        step
        for step in yaml.safe_load((SCHEDULES / "github-actions" / "mindo.yml").read_text())["jobs"]["load"]["steps"]
        if step.get("id") == "load"
    )
    waits = [int(seconds) // 60 for seconds in step["env"]["SECONDS_BETWEEN_TRIES"].split()]
    assert TRIES["GitHub Actions"] == f"3, 5: once after {waits[0]} and once after {waits[1]} minutes"
    for unit in systemd.SERVICES:
        tries = int(systemd.setting(f"{unit}.service", "StartLimitBurst")) - 1
        minutes = systemd.setting(f"{unit}.service", "RestartSec").removesuffix("min")
        assert TRIES["systemd"] == f"3, 5 and crashes: {tries} times, {minutes} minutes apart"
    for job in CRON_JOBS.values():
        limit = job["jobTemplate"]["spec"]["backoffLimit"]
        assert TRIES["Kubernetes"] == f"3, 5 and crashes: {limit} times; evicted pods always"
    (retries,) = re.findall(r'"retries": (\d+)', DAGS.read_text())
    codes = ", ".join(str(code) for code in assigned("TRIED_AGAIN"))
    assert TRIES["Airflow"] == f"{codes} and signals: {retries} times, from 5 minutes on, doubled each time"


def test_the_codes_that_are_called_final_are_those_that_the_files_do_not_try_again() -> None:
    (final,) = re.findall(r"^(2 \(.*?) are never tried again", PAGE.read_text(), flags=re.MULTILINE)
    assert {int(code) for code in re.findall(r"\d", final)} == {
        ExitCode.CONFIGURATION,
        ExitCode.GUARD,
        ExitCode.DIFFERENT,
        ExitCode.DBT,
    }


@pytest.mark.parametrize(
    "command",
    sorted(set(re.findall(r"`mindo ([a-z][^`]*)`", PAGE.read_text()))),
)
def test_every_command_of_the_page_is_there(command: str) -> None:
    words = [word for word in shlex.split(command) if not re.match(r"-|\d", word)]
    shown = mindo(*words, "--help")
    assert shown.code == 0
    assert all(word in shown.out for word in shlex.split(command) if word.startswith("--"))
