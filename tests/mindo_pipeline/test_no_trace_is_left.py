"""Personal text and keys: whatever happens to a run, they are nowhere but in the tables."""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import stat
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import duckdb
import pytest

from mindo_emulator import Emulator, EmulatorSettings, World
from mindo_pipeline.cli import main
from tests.crashing import POINTS, run_and_kill
from tests.mindo_pipeline.harness import (
    COMPANIES,
    DAY,
    Result,
    count,
    finish,
    midnight,
    mindo,
    settings,
    spawn,
    wait_until,
)
from tests.support import THOROUGH

KEY = "mindo_global_canaryinthekey0"
CANARIES = ("canaryinthetext", "canaryinthearguments", "canaryintheextraction", "canaryintheclassification")
WAREHOUSE = "warehouse.duckdb"
INTERNAL = ("_dlt_loads", "_dlt_version", "_dlt_pipeline_state", "export_windows", "companies")


def a_world_of_canaries() -> World:
    world = World(companies=COMPANIES)
    for hour in range(0, 4 * 24, 2):
        world.add_message(
            42 if hour % 3 else 57,
            midnight() - 4 * DAY + hour * DAY / 24,
            f"canaryinthetext {hour} {'x' * hour}",
            classifications=[{"label": "l", "value": "canaryintheclassification"}],
            extractions=[{"field": "f", "value": {"deep": "canaryintheextraction"}}],
            tool_calls=[{"name": "t", "arguments": {"of": "canaryinthearguments"}, "result": None}],
        )
    return world


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch, isolated: Path) -> Iterator[Emulator[World]]:
    """An API full of canaries; the command logs whatever it can, and has a folder for temporary files of its own."""
    with Emulator(a_world_of_canaries(), EmulatorSettings(keys={KEY: None})) as emulator:
        for name, value in settings(emulator, SOURCES__MINDO__API_KEY=KEY).items():
            monkeypatch.setenv(name, value)
        for name in ("home", "tmp"):
            (isolated / name).mkdir()
        monkeypatch.setenv("HOME", str(isolated / "home"))
        monkeypatch.setenv("TMPDIR", str(isolated / "tmp"))
        monkeypatch.setenv("RUNTIME__LOG_LEVEL", "DEBUG")
        monkeypatch.setenv("MINDO_DEBUG", "1")
        yield emulator


def run(*arguments: str, **environment: str) -> Result:
    """Runs it in a child process that has everything imported."""
    with mock.patch.dict(os.environ, environment):
        ended = run_and_kill(_main, ["mindo", "run", *arguments])
    assert ended.code is not None
    return Result(ended.code, ended.out, ended.err)


def start(*arguments: str):  # type: ignore[no-untyped-def]
    return spawn("run", *arguments, HOME=os.environ["HOME"])


def assert_no_trace(*results: Result) -> None:
    """No canary in what was printed and in no file but the database; and nothing in that but in its tables."""
    for result in results:
        assert "Traceback (most recent call last)" not in result.err
        assert_silent(result.out.encode() + result.err.encode(), "what was printed")
    assert list(Path("tmp").iterdir()) == []
    for path in Path().rglob("*"):
        if path.is_file():
            assert path.suffix not in (".parquet", ".jsonl", ".insert_values", ".ndjson"), f"rows stayed in {path}"
            if path.name != WAREHOUSE:
                assert_silent(path.read_bytes(), str(path))
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, f"others may read {path}"
    if Path(WAREHOUSE).exists():
        assert_only_tables_speak()


def assert_only_tables_speak() -> None:
    with duckdb.connect(WAREHOUSE, read_only=True) as connection:
        tables = connection.execute("SELECT table_schema, table_name FROM information_schema.tables").fetchall()
        for schema, table in tables:
            if schema == "mindo" and table.startswith("messages"):
                continue
            rows = connection.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall()
            assert schema == "mindo" or table.startswith("_dlt") or rows == [], f"rows stayed in {schema}.{table}"
            assert_silent(str(rows).encode(), table)
            if table == "_dlt_pipeline_state":
                for row in rows:
                    # engine, name, then the state
                    assert_silent(zlib.decompress(base64.b64decode(row[3])), table)


def assert_silent(data: bytes, where: str) -> None:
    for canary in (*CANARIES, "canaryinthekey"):
        assert canary.encode() not in data, f"{canary} is in {where}"


def test_a_run_that_ends_well(canaries: Emulator[World]) -> None:
    first, second = finish(start("--json")), run("--load-messages", "5")
    assert (first.code, second.code) == (0, 0)
    assert count("messages") == canaries.world.count()
    assert_no_trace(first, second)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("error_line", {"message": "canaryinthetext", "where": "end"}),
        ("bad_json_line", {}),
        ("bad_utf8_line", {}),
        ("outside_window", {}),
        ("key_revoked", {}),
    ],
)
def test_a_window_that_fails(canaries: Emulator[World], kind: str, options: dict[str, str]) -> None:
    canaries.faults.add(kind, covering=midnight() - 2 * DAY, company=42, times=None, **options)
    result = run("--json", SOURCES__MINDO__MAX_ATTEMPTS="1")
    assert result.code == 3
    assert 0 < count("messages") < canaries.world.count()
    assert_no_trace(result)


def test_a_destination_that_refuses_rows_and_quotes_them(canaries: Emulator[World]) -> None:
    assert run("--companies", "57").code == 0
    with duckdb.connect(WAREHOUSE) as connection:
        connection.execute("ALTER TABLE mindo.messages DROP COLUMN content__text")
        connection.execute("ALTER TABLE mindo.messages ADD COLUMN content__text INTEGER")
    result = run("--companies", "42", "--json")
    assert result.code == 5
    assert result.document["status"] == "failed"
    assert_no_trace(result)
    # whichever tables were merged already: the next run, for whatever range, brings all of them together
    with duckdb.connect(WAREHOUSE) as connection:
        connection.execute("ALTER TABLE mindo.messages ALTER COLUMN content__text TYPE VARCHAR")
    again = run("--companies", "42", "--from", midnight().isoformat(), "--json")
    assert again.code == 0
    assert len(again.document["windows"]) > 1
    assert count("messages") == canaries.world.count()
    assert count("messages__tool_calls") == canaries.world.count()
    assert_no_trace(again)


def test_a_destination_that_somebody_holds_when_it_is_loaded(canaries: Emulator[World]) -> None:
    assert run("--companies", "57").code == 0
    canaries.faults.add("slow_start", seconds=3, company=42, covering=midnight() - DAY)
    process = start("--companies", "42", "--json")
    wait_until(lambda: any(fault.hits for fault in canaries.faults.all()))
    with duckdb.connect(WAREHOUSE, read_only=True):
        result = finish(process)
    assert result.code == 5
    assert_no_trace(result)
    again = run("--companies", "42")
    assert again.code == 0
    assert count("messages") == canaries.world.count()
    assert_no_trace(again)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped(canaries: Emulator[World], sent: signal.Signals) -> None:
    canaries.faults.add("hang", at=0.5, company=42, covering=midnight() - DAY)
    process = start("--json")
    wait_until(lambda: any(fault.hits for fault in canaries.faults.all()))
    process.send_signal(sent)
    result = finish(process)
    assert result.code == 130
    assert_no_trace(result)


def test_what_a_killed_run_left_is_removed_by_the_next(canaries: Emulator[World]) -> None:
    canaries.faults.add("hang", at=0.5, company=42, covering=midnight() - DAY)
    process = start()
    wait_until(lambda: any(fault.hits for fault in canaries.faults.all()))
    wait_until(lambda: any(path.stat().st_size for path in Path("tmp").rglob("*.ndjson")))
    process.kill()
    process.communicate(timeout=10)
    left = [path for path in Path("tmp").rglob("*") if path.is_file()]
    assert left, "a killed run could not clean up"
    assert {stat.S_IMODE(path.stat().st_mode) for path in left} == {0o600}
    spilled = Path(f"{WAREHOUSE}.tmp")
    spilled.mkdir()
    (spilled / "duckdb_temp_storage_DEFAULT-0.tmp").write_text(CANARIES[0])
    result = run()
    assert result.code == 0
    assert not spilled.exists()
    assert_no_trace(result)


def test_what_a_killed_run_left_goes_though_the_destination_refuses_it(canaries: Emulator[World]) -> None:
    assert run("--companies", "57").code == 0
    ended = run_and_kill(_main, ["mindo", "run", "--companies", "42"], at=POINTS["between tables"])
    assert ended.killed, ended.err
    assert list(Path().rglob("*.parquet")), "nothing was left"
    with duckdb.connect(WAREHOUSE) as connection:
        connection.execute("ALTER TABLE mindo.messages DROP COLUMN content__text")
        connection.execute("ALTER TABLE mindo.messages ADD COLUMN content__text INTEGER")
    other = run("--companies", "57", "--from", midnight().isoformat())
    assert other.code == 0
    assert_no_trace(other)
    again = run("--companies", "42")
    assert again.code == 5
    assert_no_trace(again)


def _main(arguments: list[str]) -> object:
    """The console script in a child of its own; it makes all files its owner's only."""
    sys.argv = arguments
    try:
        main()
    except SystemExit as end:
        return end.code


def test_a_folder_for_temporary_files_that_can_not_be_written_is_one_clear_line(
    canaries: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MINDO_DEBUG")
    missing = str(Path("missing").absolute())
    for place in (missing, None):
        # with none, Python looks for a folder itself, and finds none that it can write to
        monkeypatch.setattr(tempfile, "tempdir", place)
        monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [missing])
        monkeypatch.setenv("TMPDIR", missing)
        for command in ("run", "status"):
            result = mindo(command)
            assert result.code == 2
            assert f"temporary files: can't write to {missing} (No such file or directory);" in result.error
            assert "set TMPDIR to another folder" in result.error


def test_a_redirect_to_another_host_never_gets_the_key(canaries: Emulator[World]) -> None:
    asked: list[str] = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        canaries.faults.add("redirect", location=f"http://127.0.0.1:{other.server_port}/", times=None)
        result = run()
        other.shutdown()
    assert result.code == 2
    assert asked == []
    assert_no_trace(result)


def test_a_certificate_that_nobody_vouches_for_is_refused_and_can_not_be_waved_through(
    canaries: Emulator[World], tmp_path: Path
) -> None:
    import trustme

    asked: list[str | None] = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("X-API-Key"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost", "127.0.0.1").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        other.socket = context.wrap_socket(other.socket, server_side=True)
        threading.Thread(target=other.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{other.server_port}"
        # names by which other programs turn the verification off
        result = run(
            SOURCES__MINDO__BASE_URL=url,
            PYTHONHTTPSVERIFY="0",
            REQUESTS_CA_BUNDLE="",
            CURL_CA_BUNDLE="",
            SSL_CERT_FILE="",
            SOURCES__MINDO__VERIFY="false",
        )
        other.shutdown()
    assert result.code == 3
    assert "its TLS certificate can't be verified" in result.err
    assert asked == []
    assert_no_trace(result)


def test_the_report_names_windows_and_numbers_only(canaries: Emulator[World]) -> None:
    document = mindo("run", "--json").document
    texts = {value for value in _leaves(document) if isinstance(value, str)}
    assert all(len(text) < 300 for text in texts)
    assert_silent(json.dumps(document).encode(), "the JSON object")


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


WATCH = """
import socket
real = socket.getaddrinfo
def watched(host, *rest, **more):
    with open({log!r}, "a") as log:
        log.write(f"{{host}}\\n")
    return real(host, *rest, **more)
socket.getaddrinfo = watched
"""


@pytest.mark.parametrize(
    "command",
    [
        ("run",),
        ("verify",),
        ("status",),
        pytest.param(
            ("demo", "--database", "demo.duckdb"),
            marks=pytest.mark.skipif(not THOROUGH, reason="takes longer: with MINDO_TORTURE=1 only"),
        ),
    ],
)
def test_nobody_but_the_api_is_asked_for_anything(
    canaries: Emulator[World],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    command: tuple[str, ...],
) -> None:
    folder = tmp_path_factory.mktemp("watch")
    log = folder / "hosts"
    (folder / "sitecustomize.py").write_text(WATCH.format(log=str(log)))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    # as it is without any configuration of dlt
    for name in ("RUNTIME__DLTHUB_TELEMETRY", "RUNTIME__LOG_LEVEL", "MINDO_DEBUG"):
        monkeypatch.delenv(name)
    result = finish(spawn(*command, HOME=os.environ["HOME"]))
    assert result.code in (0, 2)
    hosts = set(log.read_text().split()) if log.exists() else set()
    assert hosts <= {"127.0.0.1"}
    if command == ("run",):
        assert hosts == {"127.0.0.1"}
    assert "WARNING" not in result.err
