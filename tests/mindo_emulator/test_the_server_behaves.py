"""The server starts fast, keeps to its settings, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

import mindo_emulator
from mindo_emulator import BUSINESS_PATH, GLOBAL_DEMO_KEY, MESSAGES_PATH, Emulator, World, demo_key

PARAMS = {"company_id": 42, "from": "2026-04-01", "to": "2026-05-01"}
HEADERS = {"X-API-Key": GLOBAL_DEMO_KEY}


def test_it_starts_in_less_than_a_second_and_leaves_no_thread(new_world):
    world = new_world(8_000)
    before = set(threading.enumerate())
    started = time.monotonic()
    emulator = Emulator(world).start()
    assert time.monotonic() - started < 1
    emulator.stop()
    emulator.stop()
    assert set(threading.enumerate()) == before
    with pytest.raises(requests.ConnectionError):
        requests.get(emulator.base_url + BUSINESS_PATH, timeout=1)


def test_it_listens_on_loopback_only(emulator):
    assert emulator.base_url.startswith("http://127.0.0.1:")


def test_a_hanging_answer_does_not_hold_it_up(new_world):
    with Emulator(new_world(50)) as emulator:
        emulator.faults.add("hang")
        url, port = emulator.base_url, int(emulator.base_url.rpartition(":")[2])
        connection = socket.create_connection(("127.0.0.1", port))
        query = "&".join(f"{name}={value}" for name, value in PARAMS.items())
        connection.sendall(
            f"GET {MESSAGES_PATH}?{query} HTTP/1.1\r\nHost: {url}\r\nX-API-Key: {GLOBAL_DEMO_KEY}\r\n\r\n".encode()
        )
        while not len(emulator.requests):
            time.sleep(0.01)
        started = time.monotonic()
    assert time.monotonic() - started < 1
    connection.close()


def test_it_can_be_started_again_on_its_port(new_world):
    emulator = Emulator(new_world(50)).start()
    url = emulator.base_url
    emulator.stop()
    with emulator:
        assert emulator.base_url == url
        assert requests.get(url + MESSAGES_PATH, params=PARAMS, headers=HEADERS, timeout=5).ok


def test_two_emulators_do_not_know_each_other(start_emulator, new_world):
    one, client = start_emulator(new_world(50))
    _, other = start_emulator(new_world(50))
    one.faults.add("server_error", times=None)
    assert (client.get().status_code, other.get().status_code) == (503, 200)


def test_the_rate_limit_answers_429_with_retry_after(start_emulator):
    _, client = start_emulator(rate_limit=2)
    answers = [client.get(limit=1) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert answers[2].headers["retry-after"] == "1"
    time.sleep(1.05)
    assert client.get(limit=1).status_code == 200


def test_latency_delays_every_answer(start_emulator):
    _, client = start_emulator(latency=0.15)
    assert client.get(limit=1).elapsed.total_seconds() >= 0.15


def test_requests_are_answered_side_by_side(start_emulator):
    _, client = start_emulator(latency=0.3)
    started = time.monotonic()
    threads = [threading.Thread(target=client.raw, kwargs={"limit": 1}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 1.5


def test_settings_may_change_while_it_runs(client, emulator):
    emulator.settings.page_cap = 3
    assert len(next(client.pages())) == 3
    emulator.settings.page_cap = 10_000


def test_the_control_endpoints_are_off_by_default(client):
    assert client.get("/_emulator/stats").status_code == 404


@pytest.fixture
def control(start_emulator):
    emulator, client = start_emulator(control=True)

    def post(action, **arguments):
        return client.session.post(f"{client.url}/_emulator/{action}", json=arguments, timeout=5)

    return emulator, client, post


def test_a_running_server_can_be_changed_from_outside(control, compare):
    _, client, post = control
    added = post("add_message", company_id=42, occurred_at="2026-04-10T00:00:00", text="tarde").json()["result"]
    assert post("edit_text", message_id=added, text="editado").ok
    assert post("reclassify", message_id=added, classifications=[{"label": "A", "value": 1}]).ok
    assert post("set_member", message_id=added, path="author.nickname", value={"x": 1}).ok
    assert post("move", message_id=added, occurred_at="2026-04-11T00:00:00").ok
    row = next(row for row in client.rows() if row["message_id"] == added)
    assert (row["content"]["text"], row["author"]["nickname"]) == ("editado", {"x": 1})
    assert row["occurred_at"] == "2026-04-11T00:00:00"
    truth = client.get("/_emulator/truth").content.splitlines()
    compare([json.loads(line) for line in truth], client.rows())
    assert post("remove_member", message_id=added, path="author.nickname").ok
    assert post("delete", message_id=added).json()["result"]["message_id"] == added
    assert added not in {row["message_id"] for row in client.rows()}
    assert post("add_company", company_id=901, name="Otra").json() == {"result": 901}
    assert client.get("/_emulator/stats").json()["companies"]["901"] == {"name": "Otra", "messages": 0}


def test_faults_keys_and_settings_can_be_set_from_outside(control):
    emulator, client, post = control
    assert post("add_fault", kind="server_error", status=502, times=1).ok
    assert [client.get().status_code for _ in range(2)] == [502, 200]
    assert client.get("/_emulator/stats").json()["faults"] == [{"kind": "server_error", "hits": 1, "seen": 2}]
    assert post("clear_faults").ok
    assert emulator.faults.all() == []
    assert post("revoke_key", key=demo_key(42)).ok
    assert client.get(headers={"X-API-Key": demo_key(42)}).status_code == 401
    assert post("restore_key", key=demo_key(42)).ok
    assert post("settings", page_cap=2).json()["result"]["page_cap"] == 2
    assert len(next(client.pages())) == 2


def test_wrong_control_requests_are_refused_with_a_reason(control):
    _, client, post = control
    assert post("explode").status_code == 404
    assert "LookupError" in post("delete", message_id="msg_x").json()["detail"]
    assert post("add_fault", kind="x").status_code == 400
    assert post("settings", control=False).status_code == 400
    assert post("edit_text", nothing=1).status_code == 400
    form = client.session.post(f"{client.url}/_emulator/clear_faults", data="{}", timeout=5)
    assert form.status_code == 415
    assert client.get("/_emulator/truth", start="x").status_code == 400


def test_the_command_serves_until_it_is_interrupted():
    environment = os.environ | {"PYTHONPATH": str(Path(mindo_emulator.__file__).parent.parent)}
    command = [sys.executable, "-m", "mindo_emulator", "--port", "0", "--messages", "200", "--end", "2026-05-01"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    try:
        url = next(word for word in process.stderr.readline().split() if word.startswith("http://"))
        answer = requests.get(url + MESSAGES_PATH, params=PARAMS, headers=HEADERS, timeout=5)
        assert answer.status_code == 200
        assert requests.get(url + "/_emulator/stats", timeout=5).json()["companies"]["42"]["messages"] > 0
    finally:
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=5)[1]
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_an_empty_world_is_served(start_emulator):
    _, client = start_emulator(World(companies=[42]))
    assert client.rows() == []
