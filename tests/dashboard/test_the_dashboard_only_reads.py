"""What `mindo dashboard` promises to whoever starts it: nothing is written, nobody else gets in, no load is kept from its work."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests
from filelock import FileLock
from playwright.sync_api import Browser

from mindo_emulator import Emulator
from mindo_pipeline.dashboard import questions
from mindo_pipeline.dashboard import reader as product_reader
from mindo_pipeline.dashboard import serving as product
from mindo_pipeline.dashboard.reader import Reader, WarehouseBusy
from mindo_pipeline.warehouse import Warehouse
from tests.dashboard.serving import dashboard, visit, wait_for_port_to_close
from tests.mindo_pipeline.harness import finish, left_behind, make_world, mindo, settings, spawn, wait_until

NEEDS_EDITING = (
    "/api/kernel/run",
    "/api/kernel/scratchpad/run",
    "/api/kernel/save",
    "/api/kernel/delete",
    "/api/kernel/install_missing_packages",
    "/api/kernel/save_user_config",
    "/api/files/list_files",
    "/api/files/create",
)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator[Any]]:
    """A warehouse in the current folder."""
    with Emulator(make_world(120, 2)) as emulator:
        for name, value in settings(emulator).items():
            monkeypatch.setenv(name, value)
        assert mindo("run", "--quiet").code == 0
        yield emulator


@pytest.mark.parametrize("command", ["dashboard", "report"])
def test_without_a_warehouse_it_says_how_to_get_one(command: str) -> None:
    result = mindo(command)
    assert result.code == 2
    assert "there is no warehouse yet" in result.error
    assert "demo` makes one up without a key" in result.error
    assert left_behind() == []


@pytest.mark.parametrize("command", ["dashboard", "report"])
def test_without_its_packages_it_says_what_to_install(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(product, "version", missing)
    result = mindo(command)
    assert result.code == 2
    assert "pip install 'mindo-connector[dashboard]'" in result.error


def test_a_destination_of_another_dialect_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", f"sqlite:///{Path.cwd()}/warehouse.sqlite")
    result = mindo("dashboard", "--destination", "sqlalchemy")
    assert result.code == 2
    assert "runs on DuckDB files and PostgreSQL; `mindo copy` brings the tables" in result.error


def test_a_port_that_is_taken_is_one_clear_line(loaded: Emulator[Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = mindo("dashboard", "--no-browser", "--port", str(port))
    assert result.code == 2
    assert result.error.endswith("choose another --port (0 takes a free one).")


def test_it_ends_with_ctrl_c_while_somebody_looks_and_leaves_nothing(loaded: Emulator[Any], browser: Browser) -> None:
    before = left_behind()
    rows = Path("warehouse.duckdb").read_bytes()
    with dashboard() as (url, process), visit(browser, url) as visited:
        visited.open()
        process.send_signal(2)
        assert wait_for_port_to_close(process) == 0
        visited.page.wait_for_selector("#App[data-connection-state=CLOSED]")
        told = visited.page.evaluate("getComputedStyle(document.querySelector('#App'), '::before').content")
        assert "Start mindo dashboard again, then reload this page." in told
    assert left_behind() == before
    assert Path("warehouse.duckdb").read_bytes() == rows


def test_no_visitor_can_run_code_and_no_other_page_can_ask(loaded: Emulator[Any]) -> None:
    with dashboard() as (url, _):
        answer = requests.get(url, timeout=30)
        assert answer.status_code == 200
        assert "connect-src 'self'" in answer.headers["content-security-policy"]
        assert "access-control-allow-origin" not in answer.headers
        token = re.search(r'"serverToken": "([^"]+)"', answer.text)
        headers = {"Marimo-Server-Token": token[1] if token else "", "Marimo-Session-Id": "s_12345"}
        for path in NEEDS_EDITING:
            asked = requests.post(f"{url}{path}", json={"codes": ["1"], "cellIds": ["a"]}, headers=headers, timeout=30)
            assert asked.status_code in (401, 403, 404, 405), path
        assert requests.get(url, headers={"Origin": "http://evil.example"}, timeout=30).status_code == 403
        assert (
            requests.get(url, headers={"Host": f"evil.example:{url.rsplit(':', 1)[1]}"}, timeout=30).status_code == 403
        )
        assert requests.get(url, headers={"Origin": url}, timeout=30).status_code == 200


def test_bound_wider_it_asks_for_the_token_that_it_prints(loaded: Emulator[Any], browser: Browser) -> None:
    with dashboard("--host", "0.0.0.0") as (printed, _):
        url, token = printed.split("/?access_token=")
        assert len(token) >= 20
        refused = requests.get(url, timeout=30, allow_redirects=False)
        assert (refused.status_code, "login" in refused.headers.get("location", "")) == (303, True)
        assert requests.post(f"{url}/api/kernel/instantiate", json={}, timeout=30).status_code == 401
        wrong = requests.get(f"{url}/?access_token=wrong", timeout=30, allow_redirects=False)
        assert wrong.status_code == 303
        assert "login" in wrong.headers["location"]
        with visit(browser, url) as visited:
            page = visited.open(f"?access_token={token}")
            assert page.locator("table.companies").count() == 1
            visited.was_clean()


def test_many_visitors_at_once_get_their_answers_and_a_load_its_turn(
    loaded: Emulator[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product_reader, "_LONGEST_BUSY_SECONDS", 1.0)
    reader = Reader(Warehouse, patience=60)
    slow = (
        "SELECT count(*) AS n FROM {messages} AS a, {messages} AS b, {messages} AS c WHERE a.message_id < c.message_id"
    )
    expected = reader.rows(slow)
    ended = threading.Event()
    answers: list[bool] = []

    def visit_often() -> None:
        while not ended.is_set():
            answers.append(reader.rows(slow) == expected)

    visitors = [threading.Thread(target=visit_often) for _ in range(3)]
    for visitor in visitors:
        visitor.start()
    try:
        wait_until(lambda: len(answers) > 6)
        assert finish(spawn("run", "--quiet")).code == 0
        after = len(answers)
        wait_until(lambda: len(answers) > after)
    finally:
        ended.set()
        for visitor in visitors:
            visitor.join()
    assert all(answers)
    with FileLock("warehouse.duckdb.lock", timeout=0):
        pass


def test_a_question_that_meets_a_long_load_says_so_and_works_afterwards(loaded: Emulator[Any]) -> None:
    reader = Reader(Warehouse, patience=0.5)
    assert questions.loaded(reader).companies
    held, release = threading.Event(), threading.Event()

    def load() -> None:
        with FileLock("warehouse.duckdb.lock"):
            held.set()
            release.wait(30)

    thread = threading.Thread(target=load)
    thread.start()
    wait_until(held.is_set)
    try:
        with pytest.raises(WarehouseBusy, match="a load has the database"):
            questions.loaded(reader)
    finally:
        release.set()
        thread.join()
    assert questions.loaded(reader).companies


def test_a_database_that_another_program_writes_is_waited_for(loaded: Emulator[Any]) -> None:
    holds = (
        "import duckdb, sys; c = duckdb.connect('warehouse.duckdb'); print('open', flush=True); sys.stdin.readline()"
    )
    holding = subprocess.Popen([sys.executable, "-c", holds], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holding.stdout is not None
    assert holding.stdout.readline() == "open\n"
    with pytest.raises(WarehouseBusy):
        questions.loaded(Reader(Warehouse, patience=0.3))
    holding.communicate("\n")
    assert questions.loaded(Reader(Warehouse, patience=0.3)).companies


def test_states_of_failure_say_what_to_do(loaded: Emulator[Any], browser: Browser) -> None:
    with dashboard() as (url, _), visit(browser, url) as visited:
        file = Path("warehouse.duckdb")
        file.rename("moved.duckdb")
        missing = visited.open().locator(".mindo.notice")
        assert "There is no warehouse yet." in missing.inner_text()
        assert "mindo demo" in missing.inner_text()
        file.write_bytes(b"no database at all" * 1000)
        broken = visited.open().locator(".mindo.notice")
        assert "can't be read" in broken.inner_text()
        assert "check" in broken.inner_text()
        file.unlink()
        with duckdb.connect(str(file)):
            pass
        empty = visited.open()
        assert "Nothing counts as read yet" in empty.inner_text("body")
        assert "mindo run" in empty.inner_text("body")
        visited.was_clean()
