"""The container: what the Dockerfile and the Kubernetes manifests say; `container_trial.py` builds and runs it."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from typing import Any

import kubernetes_validate
import pytest
import yaml
from croniter import croniter

from mindo_pipeline.exit_codes import ExitCode
from tests.schedules.dockerfile import read_dockerfile
from tests.schedules.places import NIGHTLY, RECONCILE, ROOT, SCHEDULES

DOCKERFILE = SCHEDULES / "container" / "Dockerfile"
MANIFESTS = SCHEDULES / "kubernetes" / "mindo.yaml"
# the oldest in which all of it is stable: podFailurePolicy since 1.31, ReadWriteOncePod since 1.29
VERSIONS = ("1.31", "1.33", "1.37")

ARGUMENTS, (BUILD, FINAL) = read_dockerfile(DOCKERFILE)
DOCUMENTS = list(yaml.safe_load_all(MANIFESTS.read_text()))
CRON_JOBS = {document["metadata"]["name"]: document["spec"] for document in DOCUMENTS if document["kind"] == "CronJob"}


def pod(job: dict[str, Any]) -> dict[str, Any]:
    return job["jobTemplate"]["spec"]["template"]["spec"]


def container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod(job)["containers"]
    return found


# --- the image -----------------------------------------------------------------------------------------------------


def test_the_image_is_slim_and_runs_as_nobody() -> None:
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", ARGUMENTS["BASE"])
    assert (BUILD.base, FINAL.base) == ("${BASE}", "${BASE}")
    (user,) = FINAL.all("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user.value), "runAsNonRoot can check numbers only"
    assert [instruction.words for instruction in FINAL.all("ENTRYPOINT")] == [["mindo"]]
    assert [instruction.words for instruction in FINAL.all("VOLUME")] == [["/data"]]
    assert [instruction.value for instruction in FINAL.all("HEALTHCHECK")] == ["NONE"]
    # nothing is made in the last stage: it holds what the first has proven, and no tools
    assert FINAL.all("RUN") == FINAL.all("ADD") == BUILD.all("ADD") == []
    assert {instruction.flags["from"] for instruction in FINAL.all("COPY")} == {BUILD.name}


def test_all_that_is_written_goes_to_the_volume_or_to_temporary_files() -> None:
    environment = FINAL.environment
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    for name in ("HOME", "TMPDIR", "PIPELINES_DIR", "DESTINATION__DUCKDB__CREDENTIALS"):
        assert environment[name].startswith(("/data/", "/tmp")), name


def test_every_package_comes_with_its_hash() -> None:
    installs = [part for run in BUILD.all("RUN") for part in run.value.split("&&") if "pip install" in part]
    locked = [part for part in installs if "--requirement" in part]
    assert all("--require-hashes --no-deps" in part for part in locked)
    assert [part.split()[-1] for part in installs if part not in locked] == ["/build/wheel/*.whl"]
    for part in locked:
        text = (ROOT / part.split()[-1]).read_text()
        assert "http://" not in text
        assert "https://" not in text
        assert "--index" not in text
        assert "--find-links" not in text
        entries = [entry for entry in re.split(r"^(?=\S)", text, flags=re.MULTILINE) if "==" in entry]
        assert entries
        assert all("--hash=sha256:" in entry for entry in entries)


def versions(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, flags=re.MULTILINE))


def test_the_image_holds_the_versions_that_the_tests_ran_with() -> None:
    tested, shipped = versions("dev.txt"), versions("container.txt")
    assert {name: tested.get(name) for name in shipped} == shipped
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = ("postgres", "dbt", "otel")
    wanted = project["dependencies"] + [one for extra in extras for one in project["optional-dependencies"][extra]]
    names = {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in wanted}
    assert names <= set(shipped)


@pytest.mark.parametrize(
    "secret", [".dlt/secrets.toml", ".dlt/config.toml", ".git/config", "warehouse.duckdb", ".env", "dbt/secrets.toml"]
)
def test_no_secret_can_reach_a_layer(secret: str) -> None:
    kept = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        whole = fnmatch.fnmatch(secret, pattern) or secret.startswith(f"{pattern}/")
        anywhere = line.startswith("**/") and any(fnmatch.fnmatch(part, pattern) for part in secret.split("/"))
        if line and not line.startswith("#") and (whole or anywhere):
            kept = line.startswith("!")
    assert not kept
    text = DOCKERFILE.read_text()
    assert not re.search(r"(?i)(api_?key|password|token)\s*=", text)
    for copy in (*BUILD.all("COPY"), *FINAL.all("COPY")):
        assert not any(source in (".", "./") for source in copy.words[:-1])


# --- Kubernetes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_the_manifests(version: str) -> None:
    assert [document["kind"] for document in DOCUMENTS] == ["ConfigMap", "PersistentVolumeClaim", "CronJob", "CronJob"]
    for document in DOCUMENTS:
        kubernetes_validate.validate(document, version, strict=True)


def test_each_night_has_one_job() -> None:
    assert {name: job["schedule"] for name, job in CRON_JOBS.items()} == {
        "mindo-nightly": NIGHTLY,
        "mindo-reconcile": RECONCILE,
    }
    assert all(croniter.is_valid(job["schedule"]) and job["timeZone"] == "Etc/UTC" for job in CRON_JOBS.values())
    nightly, reconcile = (container(job)["args"] for job in CRON_JOBS.values())
    assert reconcile == [*nightly, "--lookback-days", "31"]


@pytest.mark.parametrize("name", CRON_JOBS)
def test_tries_end_where_another_one_cannot_help(name: str) -> None:
    job = CRON_JOBS[name]
    spec = job["jobTemplate"]["spec"]
    disrupted, final = spec["podFailurePolicy"]["rules"]
    assert disrupted["action"] == "Ignore"
    assert final["action"] == "FailJob"
    assert final["onExitCodes"]["containerName"] == container(job)["name"]
    ends = {ExitCode.COMPLETE, ExitCode.INTERRUPTED, *final["onExitCodes"]["values"]}
    assert set(ExitCode) - ends == {ExitCode.API, ExitCode.DESTINATION}
    assert spec["backoffLimit"] > 0
    # a pod failure policy needs pods that do not restart by themselves
    assert pod(job)["restartPolicy"] == "Never"
    assert job["concurrencyPolicy"] == "Forbid"


@pytest.mark.parametrize("name", CRON_JOBS)
def test_a_pod_may_do_nothing_but_run(name: str) -> None:
    spec, only = pod(CRON_JOBS[name]), container(CRON_JOBS[name])
    (user,) = FINAL.all("USER")
    assert f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" == user.value
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert only["securityContext"]["allowPrivilegeEscalation"] is False
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in only["volumeMounts"]}
    (folder,) = FINAL.all("WORKDIR")
    assert mounts == {f"{folder.value}/.dlt": True, "/data": False, "/tmp": False}
    assert {mount["name"] for mount in only["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
