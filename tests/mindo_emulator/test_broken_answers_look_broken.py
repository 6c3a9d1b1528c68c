"""What a plain client sees of each fault of the connection and of the status line."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import pytest
from requests.exceptions import ChunkedEncodingError, ConnectionError, ReadTimeout

from mindo_emulator import KINDS, Emulator, demo_key

WINDOW = {"limit": 40}
OPTIONS = {"redirect": {"location": "http://localhost:1/"}, "slow_start": {"seconds": 0.05}}
ENDING = sorted(set(KINDS) - {"hang", "slow_drip"})


def whole(client) -> list[bytes]:
    """Return the lines of the first page as they ought to be."""
    return client.get(**WINDOW).content.split(b"\n")[:-1]


def shape(lines: list[bytes]) -> list[bytes]:
    """Return what identifies lines: `exported_at` and cursors differ from answer to answer."""
    return [line[:34] for line in lines]


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_server_errors_come_as_often_as_asked_and_then_stop(client, emulator, code):
    fault = emulator.faults.add("server_error", status=code, times=2)
    assert [client.get(**WINDOW).status_code for _ in range(4)] == [code, code, 200, 200]
    assert fault.hits == 2
    assert [entry.fault for entry in emulator.requests] == ["server_error", "server_error", None, None]


@pytest.mark.parametrize(
    ("retry_after", "header"), [(3, "3"), (None, None), ("pronto", "pronto"), (1e12, "1000000000000.0"), (-5, "-5")]
)
def test_429_has_any_retry_after(client, emulator, retry_after, header):
    emulator.faults.add("rate_limited", retry_after=retry_after)
    answer = client.get(**WINDOW)
    assert answer.status_code == 429
    assert answer.headers.get("retry-after") == header


def test_retry_after_may_be_a_date(client, emulator):
    emulator.faults.add("rate_limited", retry_after=30, as_date=True)
    answer = client.get(**WINDOW)
    moment = parsedate_to_datetime(answer.headers["retry-after"])
    assert 25 < moment.timestamp() - time.time() < 31


def test_any_status_with_any_body(client, emulator):
    emulator.faults.add("status", status=418, body="tetera", content_type="text/plain", headers={"X-Why": "no"})
    answer = client.get(**WINDOW)
    assert (answer.status_code, answer.text, answer.headers["x-why"]) == (418, "tetera", "no")


def test_a_web_page_with_200(client, emulator):
    emulator.faults.add("html_page")
    answer = client.get(**WINDOW)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_the_key_is_revoked_in_mid_run(client, emulator):
    emulator.faults.add("key_revoked", after=2, times=None)
    assert [client.get(**WINDOW).status_code for _ in range(4)] == [200, 200, 401, 401]


def test_the_key_loses_a_company_in_mid_run(client, emulator):
    emulator.faults.add("company_lost", company=57, after=1, times=None)
    asked = [42, 57, 42, 57, 57]
    assert [client.get(company_id=company_id).status_code for company_id in asked] == [200, 200, 200, 403, 403]


def test_a_redirect_names_another_host(client, emulator):
    emulator.faults.add("redirect", location="http://localhost:1/x", status=307)
    answer = client.get(**WINDOW)
    assert (answer.status_code, answer.headers["location"]) == (307, "http://localhost:1/x")


def test_reset_before_the_answer(client, emulator):
    emulator.faults.add("reset_before", times=2)
    with pytest.raises(ConnectionError):
        client.get(**WINDOW)
    assert client.raw(**WINDOW) == (b"", "reset")
    assert [entry.status for entry in emulator.requests] == [0, 0]


def test_close_before_the_answer(client, emulator):
    emulator.faults.add("close_before", times=2)
    with pytest.raises(ConnectionError):
        client.get(**WINDOW)
    assert client.raw(**WINDOW) == (b"", "fin")


def test_reset_inside_the_body(client, emulator):
    emulator.faults.add("reset_in_body", times=2)
    with pytest.raises((ChunkedEncodingError, ConnectionError)):
        client.get(**WINDOW)
    received, end = client.raw(**WINDOW)
    assert end == "reset"
    assert received.startswith(b"HTTP/1.1 200")
    assert b'"message_id"' in received


def test_a_chunked_body_is_cut(client, emulator):
    emulator.faults.add("cut_chunked", times=2, at=0.3)
    with pytest.raises(ChunkedEncodingError):
        client.get(**WINDOW)
    received, end = client.raw(**WINDOW)
    assert end == "fin"
    assert b"transfer-encoding: chunked" in received
    assert not received.endswith(b"0\r\n\r\n")


def test_a_cut_at_the_end_still_lacks_something(client, emulator):
    emulator.faults.add("cut_chunked", at=1)
    with pytest.raises(ChunkedEncodingError):
        client.get(**WINDOW)


def test_a_body_with_a_length_is_cut(client, emulator):
    emulator.faults.add("cut_length", times=2)
    with pytest.raises(ChunkedEncodingError):
        client.get(**WINDOW)
    head, _, body = client.raw(**WINDOW)[0].partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert 0 < len(body) < length


def test_a_close_delimited_body_may_be_whole(client, emulator):
    lines = whole(client)
    emulator.faults.add("close_delimited", times=2)
    answer = client.get(**WINDOW)
    assert shape(answer.content.split(b"\n")[:-1]) == shape(lines)
    assert not {"transfer-encoding", "content-length"} & {name.lower() for name in answer.headers}
    assert {"date", "content-type"} <= {name.lower() for name in answer.headers}
    assert client.raw(**WINDOW)[1] == "fin"


def test_a_close_delimited_body_ends_early_and_nobody_notices(client, emulator):
    lines = whole(client)
    emulator.faults.add("close_early")
    body = client.get(**WINDOW).content
    assert body.endswith(b"}\n")
    assert shape(body.split(b"\n")[:-1]) == shape(lines[:20])


@pytest.mark.parametrize("framing", ["chunked", "close", "length"])
def test_half_a_last_line(client, emulator, framing):
    lines = whole(client)
    emulator.faults.add("half_line", framing=framing)
    found = client.get(**WINDOW).content.split(b"\n")
    assert shape(found) == shape(lines[:21])
    assert found[-1]
    assert not found[-1].endswith(b"}")


def test_a_clean_chunked_end_too_early(client, emulator):
    lines = whole(client)
    emulator.faults.add("clean_end_early", times=2)
    body = client.get(**WINDOW).content
    assert shape(body.split(b"\n")[:-1]) == shape(lines[:20])
    assert client.raw(**WINDOW)[0].endswith(b"0\r\n\r\n")


def test_slow_drip(client, emulator):
    lines = whole(client)
    emulator.faults.add("slow_drip", pieces=5, pause=0.1)
    started = time.monotonic()
    body = client.get(**WINDOW).content
    assert 0.35 < time.monotonic() - started < 3
    assert shape(body.split(b"\n")[:-1]) == shape(lines)


def test_slow_start(client, emulator):
    emulator.faults.add("slow_start", seconds=0.2)
    assert client.get(**WINDOW).elapsed.total_seconds() > 0.19


@pytest.mark.parametrize("at", [None, 0.5])
def test_a_hang_before_or_inside_the_answer(client, emulator, at):
    emulator.faults.add("hang", times=2, at=at)
    with pytest.raises((ReadTimeout, ConnectionError)):
        client.get(**WINDOW, timeout=0.3)
    received, end = client.raw(wait=0.3, **WINDOW)
    assert end == "timeout"
    assert bool(received) == (at is not None)


def test_connections_are_refused_and_then_accepted_again(client, emulator):
    with emulator.refused(), pytest.raises(ConnectionError):
        client.get(**WINDOW)
    assert client.get(**WINDOW).status_code == 200


def test_faults_work_with_gzip_too(start_emulator):
    emulator, client = start_emulator(gzip=True)
    emulator.faults.add("cut_chunked")
    with pytest.raises(ChunkedEncodingError):
        client.get(**WINDOW)
    emulator.faults.add("close_early")
    assert len(client.get(**WINDOW).content.splitlines()) >= 20


@pytest.mark.parametrize("kind", ENDING)
def test_every_fault_leaves_the_server_well(client, emulator, kind):
    options = OPTIONS.get(kind, {})
    lines = whole(client)
    fault = emulator.faults.add(kind, cursor=False, **options)
    client.raw(**WINDOW)
    assert fault.hits == 1
    assert shape(whole(client)) == shape(lines)


@pytest.mark.parametrize("kind", ENDING)
def test_every_fault_bears_an_empty_page(client, emulator, kind):
    options = OPTIONS.get(kind, {})
    empty = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"}
    fault = emulator.faults.add(kind, cursor=False, **options)
    client.raw(**empty)
    assert fault.hits == 1
    assert client.get(**empty).content == b""


def test_a_business_info_request_can_fail_too(client, emulator: Emulator):
    emulator.faults.add("server_error", path="business-info")
    assert client.get(**WINDOW).status_code == 200
    client.key = demo_key(42)
    assert client.get("/api/v1/business-info/").status_code == 503
    assert client.get("/api/v1/business-info/").status_code == 200
