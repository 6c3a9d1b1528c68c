"""`mindo dagster`: the demo comes up by itself, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import json
import re
import select
import signal
import socket
import tempfile
import urllib.request
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster._core.test_utils import create_run_for_test

from mindo import ConfigurationError
from mindo_pipeline.dagster import serving
from mindo_pipeline.dagster.partitions import company_partitions
from mindo_pipeline.dagster.tables import POOL
from mindo_pipeline.exit_codes import ExitCode
from tests.mindo_pipeline.harness import finish, left_behind, mindo, spawn, wait_until

PATIENCE = 240
ASSETS = "{ assetNodes { assetKey { path } partitionKeysByDimension { name partitionKeys } } }"


def test_the_demo_is_served_with_nothing_configured_and_ends_with_ctrl_c() -> None:
    before = set(Path(tempfile.gettempdir()).iterdir())
    process = spawn("dagster", "--port", "0")
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        assert ready, "it did not come up"
        line = process.stdout.readline()
        found = re.match(r"Dagster is on (http://127\.0\.0\.1:\d+), over a made-up Mindo of 3 companies\. Ctrl-C", line)
        assert found, line
        data = _ask(found[1], ASSETS)
        partitions = {
            "/".join(node["assetKey"]["path"]): {
                dimension["name"]: dimension["partitionKeys"] for dimension in node["partitionKeysByDimension"]
            }
            for node in data["assetNodes"]
        }
        assert partitions["marts/mindo__conversations"] == {}
        assert sorted(partitions["mindo/messages"]["company"]) == ["42", "57", "63"]
        assert partitions["mindo/messages"]["month"][-1] == f"{datetime.now(UTC):%Y-%m}"
        descendants = psutil.Process(process.pid).children(recursive=True)
        assert len(descendants) > 2
    finally:
        process.send_signal(signal.SIGINT)
        result = finish(process, PATIENCE)
    assert result.code == ExitCode.COMPLETE
    assert result.out.splitlines()[-1] == "Dagster stopped."
    wait_until(lambda: not any(child.is_running() for child in descendants))
    assert left_behind() == []
    # of Dagster's own processes a socket can be left, which holds nothing
    left = set(Path(tempfile.gettempdir()).iterdir()) - before
    assert [path for path in left if not path.is_socket()] == []


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = mindo("dagster", "--port", str(port))
    assert result.code == ExitCode.CONFIGURATION
    assert result.error == (
        f"error: dagster: can't listen on 127.0.0.1:{port} (Address already in use); choose another --port (0 takes a free"
        " one)."
    )


def test_a_missing_extra_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(serving, "version", missing)
    result = mindo("dagster")
    assert result.code == ExitCode.CONFIGURATION
    assert result.error.endswith("needs packages that are not installed; pip install 'mindo-connector[dagster]'.")


def test_a_configuration_that_cannot_work_is_told_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mindo("dagster", "--port", "0", "--dataset", "other").error.startswith("error: api_key: missing;")
    monkeypatch.setenv("SOURCES__MINDO__API_KEY", "gk_some_global_key")
    monkeypatch.setenv("SOURCES__MINDO__COMPANY_IDS", "42,none")
    assert mindo("dagster", "--port", "0").error.startswith("error: company_ids: 'none'")
    monkeypatch.setenv("SOURCES__MINDO__COMPANY_IDS", "42")
    Path("file").touch()
    result = mindo("dagster", "--port", "0", "--home", "file")
    assert result.code == ExitCode.CONFIGURATION
    assert "home: can't write to" in result.err
    assert left_behind() == ["file"]


def test_its_settings_stay_as_somebody_changed_them() -> None:
    with serving._prepared_home(_deployment_without_locks()):
        settings = Path("home/dagster.yaml")
        assert "default_limit: 1\n" in settings.read_text()
        settings.write_text("telemetry: {enabled: false}\n")
    with serving._prepared_home(_deployment_without_locks()):
        assert settings.read_text() == "telemetry: {enabled: false}\n"
        with pytest.raises(ConfigurationError, match="another `mindo dagster` runs in"):
            serving._prepared_home(_deployment_without_locks()).__enter__()


def test_runs_that_were_cut_off_are_begun_again() -> None:
    with serving._prepared_home(_deployment_without_locks()):
        pass
    with dg.DagsterInstance.from_config(str(Path("home").absolute())) as instance:
        pool = instance.event_log_storage.get_concurrency_info(POOL)
        assert pool.slot_count == 1
        assert instance.get_dynamic_partitions(company_partitions.name or "") == ["42"]
        done, cut_off = (
            create_run_for_test(instance, status=status).run_id
            for status in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.STARTED)
        )
        with serving._prepared_home(_deployment_without_locks()):
            pass
        assert instance.get_run_by_id(done).status is dg.DagsterRunStatus.SUCCESS
        ended = instance.get_run_by_id(cut_off)
        assert ended.status is dg.DagsterRunStatus.FAILURE
        assert ended.tags["dagster/will_retry"] == "true"


def _deployment_without_locks() -> serving._Deployment:
    return serving._Deployment(Path("home").absolute(), Path.cwd(), "", "", [42], can_be_shared=False)


def _ask(url: str, query: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    assert "errors" not in found, found
    return dict(found["data"])
