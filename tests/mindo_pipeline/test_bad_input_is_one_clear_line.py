"""Whatever is wrong: one line, the documented exit code, and nothing written."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from filelock import FileLock

from mindo_emulator import Emulator, World
from tests.mindo_pipeline.harness import COMMAND, DAY, count, finish, left_behind, midnight, mindo, spawn
from tests.scripted_api import Reply, ScriptedApi

TOMORROW = (midnight() + 3 * DAY).date().isoformat()

OPTIONS: list[tuple[list[str], str]] = [
    (["--companies", "999"], "company"),
    (["--companies", "42,x"], "company_ids: 'x' is not a positive whole number"),
    (["--from", "yesterday"], "from: 'yesterday' is not a date"),
    (["--from", "2026-04-02", "--to", "2026-04-01"], "not before"),
    (["--from", "2026-04-01", "--to", "2026-04-01"], "not before"),
    (["--to", "2026-04-01"], "--from"),
    (["--from", TOMORROW], "in the future"),
    (["--from", "2026-04-01", "--to", TOMORROW], "in the future"),
    (["--start-date", TOMORROW], "in the future"),
    (["--limit", "0"], "limit: '0' is not a number from 1 to 10000"),
    (["--limit", "10001"], "limit: '10001' is not"),
    (["--workers", "abc"], "workers: 'abc' is not a number from 1 to 64"),
    (["--window-hours", "745"], "window_hours: '745' is not"),
    (["--lookback-days", "-1"], "lookback_days: '-1' is not"),
    (["--load-messages", "many"], "load_messages: 'many' is not"),
    (["--load-messages", "0"], "load_messages: '0' is not"),
    (["--channel", "telegram"], "channel: 'telegram' is not one of whatsapp, instagram, messenger, all"),
    (["--direction", "sideways"], "direction: 'sideways' is not one of"),
    (["--include", "classifications,secrets"], "include: 'secrets' is not one of"),
    (["--agents", "five"], "agent_ids: 'five' is not"),
    (["--destination", "nosuch"], "'nosuch' is not a destination"),
    (["--nosuch"], "No such option: --nosuch"),
    (["--companies"], "requires an argument"),
    (["surplus"], "unexpected extra argument"),
]

ENVIRONMENT: list[tuple[dict[str, str], int, str]] = [
    ({"API_KEY": ""}, 2, "api_key: missing"),
    ({"API_KEY": "mindo_global_expired"}, 2, "api_key: the API refused the key"),
    ({"API_KEY": "mindo_global_of mine"}, 2, "api_key: empty, or holds characters"),
    ({"API_KEY": "mindo_demo00000000000000000042", "COMPANY_IDS": "57"}, 2, "belongs to company 42"),
    ({"COMPANY_IDS": ""}, 2, "company_ids: a global key reads every company"),
    ({"BASE_URL": "http://api.mindosoftware.com"}, 2, "plain http would send the API key in clear text"),
    ({"BASE_URL": "api.mindosoftware.com"}, 2, "is not a URL"),
    ({"WORKERS": "abc"}, 2, "workers"),
    ({"MAX_ATTEMPTS": "0"}, 2, "max_attempts"),
]


def assert_one_line(arguments: list[str], code: int, expected: str, command: str = "run") -> None:
    """The command fails with that line, as text and as JSON, and leaves nothing behind."""
    plain = mindo(command, *arguments)
    assert (plain.code, plain.out) == (code, "")
    assert plain.error.startswith("error: ")
    assert expected in plain.error
    told = mindo(command, "--json", *arguments)
    assert told.code == code
    document = told.document
    assert (document["status"], document["exit_code"], document["command"]) == ("failed", code, command)
    assert expected in document["message"]
    assert expected in told.error
    assert left_behind() == []


@pytest.mark.parametrize(("arguments", "expected"), OPTIONS, ids=str)
def test_a_wrong_option_ends_the_run_with_2(api: Emulator[World], arguments: list[str], expected: str) -> None:
    assert_one_line(arguments, 2, expected)
    assert count() == 0


@pytest.mark.parametrize(("changes", "code", "expected"), ENVIRONMENT, ids=str)
def test_wrong_configuration_ends_the_run_with_2(
    api: Emulator[World], monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], code: int, expected: str
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(f"SOURCES__MINDO__{name}", value)
    assert_one_line([], code, expected)


@pytest.mark.parametrize("command", ["backfill", "plan"])
def test_other_commands_answer_wrong_options_alike(api: Emulator[World], command: str) -> None:
    assert_one_line(["--from", "yesterday"], 2, "from: 'yesterday' is not a date", command)
    assert_one_line(["--channel", "telegram"], 2, "channel: 'telegram'", command)


def test_a_backfill_needs_a_range(api: Emulator[World]) -> None:
    assert_one_line([], 2, "a backfill needs --from", "backfill")


def test_an_unknown_command_is_a_usage_error() -> None:
    result = mindo("nosuch")
    assert (result.code, result.out) == (2, "")
    assert "No such command 'nosuch'" in result.error


def test_an_unreachable_port_ends_the_run_with_3(api: Emulator[World]) -> None:
    with api.refused():
        assert_one_line([], 3, "can't be reached")


@pytest.mark.parametrize("key", ["mindo_global_demo", "mindo_demo00000000000000000042"])
@pytest.mark.parametrize("status", [200, 404])
def test_a_server_that_is_no_mindo_ends_the_run_with_3(monkeypatch: pytest.MonkeyPatch, status: int, key: str) -> None:
    page = Reply(b"<!DOCTYPE html><html><body>Welcome</body></html>", status, {"Content-Type": "text/html"})
    with ScriptedApi(lambda _: page, lambda _: page) as server:
        for name, value in {
            "BASE_URL": server.base_url,
            "API_KEY": key,
            "COMPANY_IDS": "42",
            "MAX_ATTEMPTS": "1",
        }.items():
            monkeypatch.setenv(f"SOURCES__MINDO__{name}", value)
        assert_one_line([], 3, "Mindo server")


def test_a_server_that_redirects_gets_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedApi(lambda _: Reply(b"", 302, {"Location": "http://127.0.0.1:9/"})) as server:
        for name, value in {"BASE_URL": server.base_url, "API_KEY": "mindo_global_demo", "COMPANY_IDS": "42"}.items():
            monkeypatch.setenv(f"SOURCES__MINDO__{name}", value)
        assert_one_line([], 2, "redirects elsewhere")


def test_a_read_only_file_ends_the_run_with_5(api: Emulator[World]) -> None:
    file = Path("warehouse.duckdb")
    duckdb.connect(str(file)).close()
    file.chmod(stat.S_IRUSR)
    before = file.read_bytes()
    result = mindo("run")
    assert result.code == 5
    assert "the database is read-only" in result.error
    assert file.read_bytes() == before


def test_a_locked_file_ends_the_run_with_5(api: Emulator[World]) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import duckdb; c = duckdb.connect('warehouse.duckdb'); print('open', flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"open\n"
    try:
        for command in ("run", "check", "status"):
            result = mindo(command, "--quiet")
            assert result.code == 5
            assert "another process has the database open" in result.error
    finally:
        holder.communicate(b"\n")
    assert count() == 0


def test_a_second_run_at_the_same_time_ends_with_5(api: Emulator[World]) -> None:
    assert mindo("run", "--companies", "42", "--from", (midnight() - DAY).isoformat()).code == 0
    before, asked = count("export_windows"), len(api.requests)
    (lock,) = Path(".dlt/.var/pipelines").glob("*/run.lock")
    with FileLock(lock):
        result = mindo("run")
        assert len(api.requests) == asked
        checked = mindo("check")
    assert result.code == 5
    assert "another mindo run is writing" in result.error
    assert checked.code == 5
    assert count("export_windows") == before


def test_a_file_that_is_no_database_ends_the_run_with_5(api: Emulator[World]) -> None:
    Path("warehouse.duckdb").write_bytes(b"something else entirely " * 400)
    result = mindo("run")
    assert result.code == 5
    assert "no DuckDB database" in result.error


def test_a_missing_folder_ends_the_run_with_5(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "missing/warehouse.duckdb")
    result = mindo("run")
    assert result.code == 5
    assert "can't be opened" in result.error
    assert not Path("missing").exists()


def test_a_file_named_like_the_dataset_ends_the_run_with_5(
    api: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "mindo.duckdb")
    result = mindo("run")
    assert result.code == 5
    assert "can't tell the file mindo.duckdb from the dataset mindo" in result.error
    assert not Path("mindo.duckdb").exists()


def test_a_full_disk_for_the_spool_ends_the_run_with_2(api: Emulator[World]) -> None:
    # a mount of its own namespace: seen by this process only, and gone with it
    script = f"mkdir spool && mount -t tmpfs -o size=64k none spool && exec '{COMMAND}' run --quiet --window-hours 744"
    private = ["unshare", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*private, "mount -t tmpfs none /mnt"], check=False).returncode:
        pytest.skip("file systems can't be mounted here")
    environment = {**os.environ, "SOURCES__MINDO__SPOOL_DIR": str(Path("spool").absolute())}
    done = subprocess.run([*private, script], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "(No space left on device)" in done.stderr
    assert "spool_dir" in done.stderr
    assert done.stderr.count("\n") == 1
    assert count() == count("export_windows") == 0


def test_a_limit_on_the_size_of_files_ends_the_run_with_2(api: Emulator[World]) -> None:
    # what a quota does: pages of more than 64 kB can't be written
    script = f"ulimit -f 64; exec '{COMMAND}' run --quiet --window-hours 744"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "spool: can't write to" in done.stderr
    assert "(File too large)" in done.stderr
    assert count() == count("export_windows") == 0


def test_a_spool_folder_that_is_none_ends_the_run_with_2(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("occupied").write_text("")
    monkeypatch.setenv("SOURCES__MINDO__SPOOL_DIR", str(Path("occupied").absolute()))
    result = mindo("run", "--quiet")
    assert result.code == 2
    assert "spool: can't write to" in result.error
    assert count() == 0


def test_missing_credentials_of_a_destination_end_the_run_with_2(api: Emulator[World]) -> None:
    assert_one_line(["--destination", "postgres"], 2, "[destination.postgres.credentials]")


def test_an_unreadable_file_of_configuration_ends_the_run_with_2(api: Emulator[World]) -> None:
    Path(".dlt").mkdir()
    Path(".dlt/config.toml").write_text("[sources.mindo\nworkers = 4\n")
    result = finish(spawn("run"))
    assert (result.code, result.out) == (2, "")
    assert "configuration" in result.error


def test_the_key_is_never_shown(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "mindo_global_verysecretpart"
    monkeypatch.setenv("SOURCES__MINDO__API_KEY", secret)
    for arguments in (["run"], ["run", "--json"], ["check"], ["check", "--json"], ["plan", "--json"], ["status"]):
        result = mindo(*arguments)
        assert "verysecret" not in result.out + result.err


def test_a_debugging_user_sees_frames_but_no_texts(api: Emulator[World]) -> None:
    result = finish_raw(spawn("run", "--from", "yesterday", MINDO_DEBUG="1"))
    assert result.returncode == 2
    assert "ConfigurationError" in result.stderr
    assert "configuration.py" in result.stderr
    assert result.stderr.count("yesterday") == 1


def finish_raw(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess([str(COMMAND)], process.returncode, out, err)


def test_a_port_that_is_taken_ends_the_emulator_with_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = mindo("emulator", "--port", str(taken.getsockname()[1]), "--messages", "10")
    assert result.code == 2
    assert "can't listen on" in result.error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--port", "http"], "--port"),
        (["--port", "70000"], "--port"),
        (["--start", "soon"], "ISO-8601"),
        (["--companies", "a"], "companies"),
        (["--bulk", "--shuffled"], "shuffled"),
    ],
)
def test_wrong_options_of_the_emulator_end_it_with_2(arguments: list[str], expected: str) -> None:
    result = mindo("emulator", *arguments)
    assert (result.code, result.out) == (2, "")
    assert expected in result.error


def test_a_reader_that_leaves_early_is_no_failure(api: Emulator[World]) -> None:
    command = f"'{COMMAND}' status --json | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env={**os.environ}, check=True)
    assert done.stdout == "{0\n"
    assert done.stderr.count("\n") <= 1
