"""A fault strikes the requests it was made for, as often as it was told, and no other."""

from __future__ import annotations

import pytest

from mindo_emulator import Fault, demo_key


def codes(client, *requests):
    return [client.get(**request).status_code for request in requests]


def test_an_unknown_fault_is_refused(emulator):
    with pytest.raises(ValueError, match="there are: bad_json_line"):
        emulator.faults.add("meteorito")


def test_an_unknown_option_is_refused(emulator):
    with pytest.raises(TypeError, match="colour"):
        Fault("server_error", colour="red")
    with pytest.raises(TypeError, match="location"):
        Fault("redirect")


def test_by_company(client, emulator):
    emulator.faults.add(Fault("server_error", company=57, times=None))
    asked = [{"company_id": 42}, {"company_id": 57}, {"company_id": "42,57"}, {"company_id": 63}]
    assert codes(client, *asked) == [200, 503, 503, 200]


def test_by_page_and_cursor(client, emulator):
    emulator.faults.add("server_error", page=3, times=None)
    pages = client.pages(limit=20)
    assert [len(next(pages)) for _ in range(2)] == [20, 20]
    with pytest.raises(AssertionError):
        next(pages)
    emulator.faults.clear()
    emulator.faults.add("server_error", cursor=True, times=None)
    pages = client.pages(limit=20)
    assert len(next(pages)) == 20
    with pytest.raises(AssertionError):
        next(pages)


def test_by_the_moment_that_a_window_covers(client, emulator):
    emulator.faults.add("server_error", covering="2026-04-10T00:00:00Z", times=None)
    days = [{"start": f"2026-04-{day:02d}", "end": f"2026-04-{day + 1:02d}"} for day in (9, 10, 11)]
    assert codes(client, *days) == [200, 503, 200]


def test_by_key(client, emulator):
    emulator.faults.add("server_error", key=demo_key(42), times=None)
    assert client.get().status_code == 200
    client.key = demo_key(42)
    assert client.get().status_code == 503


def test_by_any_condition(client, emulator):
    emulator.faults.add("server_error", when=lambda exchange: exchange.params["limit"] == "9", times=None)
    assert codes(client, {"limit": 8}, {"limit": 9}) == [200, 503]


def test_the_nth_request_only(client, emulator):
    emulator.faults.add("server_error", after=2)
    assert codes(client, *[{}] * 5) == [200, 200, 503, 200, 200]


def test_faults_follow_each_other_in_the_order_they_were_added(client, emulator):
    emulator.faults.add("server_error", status=500)
    emulator.faults.add("rate_limited", times=2)
    emulator.faults.add("server_error", status=504)
    assert codes(client, *[{}] * 5) == [500, 429, 429, 504, 200]


def test_requests_that_fail_anyway_do_not_use_a_fault_up(client, emulator):
    fault = emulator.faults.add("server_error")
    assert codes(client, {"limit": 0}, {"company_id": 9}, {}) == [400, 404, 503]
    assert (fault.hits, fault.seen) == (1, 1)


def test_the_log_tells_what_came_and_what_it_got(client, emulator):
    emulator.faults.add("server_error")
    client.get(limit=7)
    client.get(headers={})
    first, second = emulator.requests
    assert (first.params["limit"], first.key, first.status, first.fault) == ("7", client.key, 503, "server_error")
    assert (second.key, second.status, second.rows) == (None, 401, 0)
    assert first.at <= second.at
    emulator.requests.clear()
    assert len(emulator.requests) == 0
