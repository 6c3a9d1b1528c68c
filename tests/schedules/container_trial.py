"""The image is built as its Dockerfile says, and run as its CronJobs say: `make schedules`; it takes minutes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mindo_emulator import GLOBAL_DEMO_KEY, Emulator, World
from mindo_pipeline.exit_codes import ExitCode
from tests.mindo_pipeline.harness import DAY, count, midnight, wait_until
from tests.schedules.image import Image, can_make_namespaces, container
from tests.schedules.places import ROOT, Webhook
from tests.schedules.test_the_image_and_its_cron_jobs import BUILD, CRON_JOBS, FINAL, pod
from tests.schedules.test_the_image_and_its_cron_jobs import container as only_container

pytestmark = [
    pytest.mark.skipif(not can_make_namespaces(), reason="this machine lets no process have namespaces of its own"),
    pytest.mark.timeout(1200),
]
USER = pod(CRON_JOBS["mindo-nightly"])["securityContext"]["runAsUser"]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    # not in the tests' own folder, which nobody else may read
    folder = Path(tempfile.mkdtemp(prefix="mindo-image-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        built, final = Image(folder / "build"), Image(folder / "final")
        for made, stage in ((built, BUILD), (final, FINAL)):
            made.root.mkdir()
            made.build(stage, ROOT, {BUILD.name: built})
        yield final
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def volumes(image: Image, api: Emulator[World], webhook: Webhook) -> Iterator[dict[str, tuple[Path | None, bool]]]:
    """What the CronJob mounts: settings and secrets that only the pod's group may read, a volume, an empty folder."""
    folder = Path(tempfile.mkdtemp(prefix="mindo-volumes-", dir="/var/tmp"))
    settings, data = folder / "settings", folder / "data"
    settings.mkdir()
    data.mkdir()
    (settings / "config.toml").write_text(
        f'[sources.mindo]\nbase_url = "{api.base_url}"\ncompany_ids = [42, 57, 63]\nmax_attempts = 1\n'
        f'start_date = "{(midnight() - 4 * DAY).date()}"\n'
    )
    (settings / "secrets.toml").write_text(
        f'[sources.mindo]\napi_key = "{GLOBAL_DEMO_KEY}"\n[notify]\nwebhook_url = "{webhook.url}"\n'
    )
    folder.chmod(0o755)
    for path in (settings, data, *settings.iterdir()):
        path.chmod(0o770 if path.is_dir() else 0o440)
        if os.geteuid() == 0:
            os.chown(path, 0, USER)
    yield {"/config/.dlt": (settings, True), "/data": (data, False), "/tmp": (None, False)}
    shutil.rmtree(folder)


def command(image: Image, job: str, volumes: dict[str, Any], *more: str) -> list[str]:
    only = only_container(CRON_JOBS[job])
    assert {mount["mountPath"] for mount in only["volumeMounts"]} == set(volumes)
    return container(image, FINAL, [*only["args"], *more], USER, volumes)


def run(image: Image, job: str, volumes: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(image, job, volumes, *more), env={}, capture_output=True, text=True, timeout=300, check=False
    )


def stored(volumes: dict[str, Any]) -> int:
    return count(file=str(volumes["/data"][0] / "warehouse.duckdb"))


def test_a_night_is_loaded_and_built_by_nobody_on_a_root_that_cannot_be_written(
    image: Image, volumes: dict[str, Any], api: Emulator[World]
) -> None:
    night = run(image, "mindo-nightly", volumes, "--dbt")
    assert night.returncode == ExitCode.COMPLETE, night.stderr
    events = [json.loads(line) for line in night.stderr.splitlines()]
    assert events
    assert stored(volumes) == len(api.world.messages())
    data: Path = volumes["/data"][0]
    assert {path.name for path in data.iterdir()} <= {"warehouse.duckdb", "warehouse.duckdb.lock", "pipelines"}
    if os.geteuid() == 0:
        assert {path.stat().st_uid for path in data.rglob("*")} == {USER}
    again = run(image, "mindo-reconcile", volumes)
    assert again.returncode == ExitCode.COMPLETE, again.stderr


def test_the_image_holds_no_compiler_of_packages_and_no_secret(image: Image) -> None:
    assert not (image.root / "opt/mindo/bin/pip").exists()
    assert (image.root / "opt/mindo/bin/mindo").exists()
    names = {path.name for path in image.root.rglob("*")}
    assert not names & {"secrets.toml", ".git", "warehouse.duckdb"}
    assert {path.name for path in image.root.iterdir()} == {"opt", "data", "config"}


def test_a_pod_that_has_to_go_keeps_what_it_loaded(image: Image, volumes: dict[str, Any], api: Emulator[World]) -> None:
    api.faults.add(
        "slow_start", seconds=60, times=None, company=63, when=lambda exchange: exchange.params["limit"] != "1"
    )
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*(argv := command(image, "mindo-nightly", volumes))[:1], "--info-fd", str(writer), *argv[1:]],
        env={},
        pass_fds=[writer],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    with os.fdopen(reader) as information:
        child = json.load(information)["child-pid"]
    wait_until(lambda: any(request.params["limit"] != "1" for request in api.requests), timeout=60)
    os.kill(child, signal.SIGTERM)
    grace = pod(CRON_JOBS["mindo-nightly"])["terminationGracePeriodSeconds"]
    _, err = process.communicate(timeout=grace)
    assert process.returncode == ExitCode.INTERRUPTED, err
    api.faults.clear()
    assert run(image, "mindo-nightly", volumes).returncode == ExitCode.COMPLETE
    assert stored(volumes) == len(api.world.messages())


@pytest.mark.parametrize(("fault", "code"), [("server_error", ExitCode.API), ("company_lost", ExitCode.CONFIGURATION)])
def test_each_failure_is_told_and_ends_with_the_code_that_the_job_knows(
    image: Image, volumes: dict[str, Any], api: Emulator[World], webhook: Webhook, fault: str, code: ExitCode
) -> None:
    api.faults.add(fault, times=None)
    assert run(image, "mindo-nightly", volumes).returncode == code
    (text,) = webhook.texts
    assert f"exit code {int(code)}" in text
