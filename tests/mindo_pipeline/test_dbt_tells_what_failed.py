"""How `mindo dbt` and `mindo run --dbt` end when something is wrong, with a small project in place of the one that is shipped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import duckdb
import psutil
import pytest
from filelock import FileLock

from mindo_emulator import Emulator, World
from mindo_pipeline.transforming import project
from mindo_pipeline.transforming.process import Invocation
from mindo_pipeline.transforming.results import UNKNOWN_AGE, error_kind, freshness_results
from mindo_pipeline.warehouse import Warehouse
from tests.mindo_pipeline.harness import count, mindo, wait_until

SECRET = "Text of a message: 4111 1111 1111 1111"
PROJECT = """
name: mindo
profile: mindo
models: {mindo: {+materialized: table, +schema: marts}}
vars: {mindo: {mindo_broken: false, mindo_slow: false}}
"""
SOURCES = "sources: [{name: mindo, schema: '{{ target.schema }}', tables: [{name: messages}]}]\n"
TESTS = """
models:
  - name: authors
    columns:
      - name: message_id
        data_tests: [not_null]
      - name: author__type
        data_tests:
          - unique
          - accepted_values: {arguments: {values: [nobody]}, config: {severity: warn}}
"""
MODELS = {
    "authors": "select message_id, author__type from {{ source('mindo', 'messages') }}",
    "typed": """{{ config(enabled=var('mindo_broken')) }}
        select cast(content__text as integer) as number from {{ source('mindo', 'messages') }}""",
    "after_typed": "{{ config(enabled=var('mindo_broken')) }} select * from {{ ref('typed') }}",
    # depends on nothing: a model whose parent's test fails is left out
    "slow": """{{ config(enabled=var('mindo_slow')) }}
        select count(*) as n from range(100000000000) as a(i) where hash(i) = 0""",
}


@pytest.fixture
def small_project(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one model, a test of which fails, with more models that can be switched on."""
    folder = tmp_path_factory.mktemp("project") / "dbt"
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text(PROJECT)
    (folder / "models/sources.yml").write_text(SOURCES + TESTS)
    for name, sql in MODELS.items():
        (folder / f"models/{name}.sql").write_text(sql)
    monkeypatch.setattr(project, "_INSTALLED", folder)
    return folder


@pytest.fixture
def other_temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files that nobody else uses."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_what_failed_is_named_and_no_value_is_shown(after_demo: None, small_project: Path) -> None:
    with duckdb.connect("warehouse.duckdb") as connection:
        connection.execute("UPDATE mindo.messages SET content__text = ?", [SECRET])
    result = mindo("dbt", "build", "--vars", "{mindo_broken: true}", "--artifacts", "kept")
    assert result.code == 7
    lines = result.err.splitlines()
    assert "failed: model typed (dbt/models/typed.sql): Conversion Error" in lines
    (failed,) = [line for line in lines if "unique_authors" in line]
    assert failed.startswith("failed: test unique_authors_author__type (dbt/models/sources.yml): ")
    assert failed.endswith(" rows")
    (warned,) = [line for line in lines if line.startswith("warning: test accepted_values_authors")]
    assert warned.endswith(" rows")
    assert not [line for line in lines if "not_null" in line]
    assert lines[-1].startswith(
        "error: dbt: 2 of 3 models and 3 tests (1 warned) failed, 1 more left out because of that"
    )
    assert "mindo_marts.after_typed" in result.out
    assert "skipped" in result.out
    assert SECRET not in result.out + result.err
    # what dbt itself says is only where it was asked for
    assert SECRET in Path("kept/target/run_results.json").read_text()
    assert (Path("kept/logs/dbt.log").stat().st_size, Path("kept/target/partial_parse.msgpack").exists()) > (0, False)
    # the others stay
    assert count("messages") == sum(row[0] for row in _query("SELECT count(*) FROM mindo_marts.authors"))


def test_a_run_builds_and_its_load_is_reported_when_a_test_fails(api: Emulator[World], small_project: Path) -> None:
    result = mindo("run", "--dbt", "--json")
    document = result.document
    assert (result.code, document["status"], document["dbt"]["exit_code"]) == (7, "failed", 7)
    assert {window["status"] for window in document["windows"]} == {"complete"}
    assert document["messages_written"] == count() > 0
    assert [(found["name"], found["status"]) for found in document["dbt"]["failures"]] == [
        ("unique_authors_author__type", "fail")
    ]
    assert document["dbt"]["tests"] == {"passed": 1, "warned": 1, "failed": 1, "skipped": 0}
    assert "The load: loaded: " in document["message"]


def test_what_is_loaded_of_a_broken_run_is_built_and_the_load_decides(
    api: Emulator[World], small_project: Path
) -> None:
    api.faults.add("server_error", company=57, times=None, after=1)
    result = mindo("run", "--dbt")
    assert result.code == 3
    *_, failed, line = result.err.splitlines()
    assert failed.startswith("failed: test unique_authors_author__type")
    assert line.startswith("incomplete: ")
    assert "could not be read whole" in line
    assert "dbt: 1 of 1 model and 3 tests" in line
    assert _query("SELECT count(*) FROM mindo_marts.authors") == [(count(),)]


def test_a_build_can_be_stopped_and_no_run_writes_meanwhile(
    after_demo: None, small_project: Path, other_temporary_folder: Path
) -> None:
    def stop() -> None:
        # dbt alone has the file now, so the slow model is not far
        while not _is_open() and not ended.is_set():
            time.sleep(0.05)
        try:
            Warehouse().check_free()
        except Exception as error:
            refused.append(str(error))
        if not ended.wait(1):
            os.kill(os.getpid(), signal.SIGTERM)

    ended = threading.Event()
    refused: list[str] = []
    stopping = threading.Thread(target=stop)
    stopping.start()
    result = mindo("dbt", "build", "--vars", "{mindo_slow: true}")
    ended.set()
    stopping.join()
    assert result.code == 130, result.err
    assert "stopped; what dbt has built stays" in result.err
    assert len(refused) == 1
    assert "another mindo run is writing to it" in refused[0]
    assert not _children()
    assert not list(other_temporary_folder.rglob("profiles.yml"))
    # the file is free, and whole
    assert _query("SELECT count(*) FROM mindo.messages") == [(500,)]
    assert Warehouse().check_writable()


def test_dbt_does_not_outlive_a_command_that_is_killed(after_demo: None, small_project: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mindo_pipeline.transforming import project; "
        "from mindo_pipeline.cli import main; project._INSTALLED = Path(sys.argv.pop(1)); main()"
    )
    command = [sys.executable, "-c", code, small_project, "dbt", "build", "--quiet", "--vars", "{mindo_slow: true}"]
    with subprocess.Popen(command) as process:
        wait_until(_is_open)
        (child,) = _children()
        process.kill()
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running()
    assert _query("SELECT count(*) FROM mindo.messages") == [(500,)]


def test_nothing_is_loaded_if_dbt_is_missing(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(project, "version", missing)
    for command in (("run", "--dbt"), ("dbt", "build"), ("dbt", "docs", "--out", "docs"), ("dbt", "freshness")):
        result = mindo(*command)
        assert (result.code, "pip install 'mindo-connector[dbt]'" in result.error) == (2, True)
    assert not Path("warehouse.duckdb").exists()


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (("dbt", "build", "--destination", "sqlalchemy"), "runs on DuckDB files and PostgreSQL"),
        (("run", "--dbt", "--destination", "sqlalchemy"), "see dbt/README.md"),
        (("dbt", "build", "--vars", "[1]"), "vars: is not a table of variables"),
        (("dbt", "build", "--vars", "{a: b: c}"), "vars: is not a table of variables"),
        (("dbt", "build", "--vars", "{mindo_sesion_gap_minutes: 5}"), "(mindo_session_gap_minutes?)"),
        (("dbt", "build", "--threads", "none"), "threads: 'none' is not a whole number above 0"),
        (("dbt", "build"), "nothing was ever loaded; give `mindo run` first"),
        (("dbt", "freshness"), "nothing was ever loaded; give `mindo run` first"),
        (("dbt", "docs"), "out: missing; name a folder"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_done(
    api: Emulator[World], command: tuple[str, ...], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", "sqlite:///warehouse.sqlite")
    monkeypatch.setenv("DBT__VARS", '{"mindo_using_traces": false}')
    result = mindo(*command)
    assert (result.code, line in result.error) == (2, True), result.err
    assert not list(Path().glob("warehouse.*"))


def test_part_of_a_copy_is_not_built_from(after_demo: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Warehouse, "holds_unfinished_copy", True)
    result = mindo("dbt", "build")
    assert (result.code, "holds part of a copy only" in result.error) == (5, True)


def test_a_build_does_not_begin_while_a_run_writes(after_demo: None) -> None:
    folder = Warehouse()._turns.folder
    folder.mkdir(parents=True)
    with FileLock(folder / "run.lock"):
        result = mindo("dbt", "build")
    assert (result.code, "another mindo run is writing to it" in result.error) == (5, True)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"Runtime Error in model x (models/x.sql)\n  Conversion Error: Could not convert '{SECRET}'", "Conversion Error"),
        (f"Runtime Error in model x (models/x.sql)\n  Out of Range Error: {SECRET}", "Out of Range Error"),
        (f"Runtime Error in model x (models/x.sql)\n  {SECRET}", "Runtime Error"),
        (f'Database Error in model x (models/x.sql)\n  invalid input syntax for type integer: "{SECRET}"', "invalid input syntax for type integer"),
        (f"Database Error in model x (models/x.sql)\n  '{SECRET}'", "Database Error"),
        ("Compilation Error in model x (models/x.sql)\n  'nothing' is undefined", "Compilation Error: 'nothing' is undefined"),
        (SECRET, "an error"),
        ("", "an error"),
    ],
)  # fmt: skip
def test_of_a_database_error_only_the_kind_is_told(text: str, kind: str) -> None:
    assert error_kind(text) == kind


def test_a_table_whose_age_cannot_be_read_is_not_taken_for_a_fresh_one(tmp_path: Path) -> None:
    fresh = {"unique_id": "source.mindo.mindo.messages", "status": "pass", "max_loaded_at_time_ago_in_s": 60.04}
    (tmp_path / "sources.json").write_text(json.dumps({"results": [fresh]}))
    events = [{"info": {"name": "LogFreshnessResult"}, "data": {"table_name": "companies"}}]
    found = freshness_results(Invocation(1, tmp_path, events))
    assert [(source.name, source.status, source.seconds) for source in found] == [
        ("messages", "pass", 60.0),
        ("companies", UNKNOWN_AGE, None),
    ]


def _query(sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        return connection.execute(sql).fetchall()


def _is_open() -> bool:
    """Whether dbt has the database open; trying to open it would be in dbt's way."""
    try:
        return any(Path(file.path).name == "warehouse.duckdb" for child in _children() for file in child.open_files())
    except psutil.NoSuchProcess:
        return False


def _children() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if "mindo_pipeline.transforming.until_parent_ends" in child.cmdline()
    ]
