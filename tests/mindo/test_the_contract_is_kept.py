"""Keys, companies and parameters as the contract has them, and page sizes, windows and workers that change nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mindo import AccessError, ConfigurationError, resolve_companies, resolve_options
from mindo.client import MindoClient
from mindo_emulator import GLOBAL_DEMO_KEY, EmulatorSettings, World, demo_key
from tests.mindo.conftest import MakeLaboratory
from tests.scripted_api import Asked, PlainApi, Reply, ScriptedApi, a_message, laboratory_at, ndjson
from tests.support import (
    DAY,
    NOW,
    START,
    TABLES,
    Laboratory,
    assert_tables_hold,
    query,
    read_tables,
    small_world,
    snapshot,
)

NAMED = "SELECT company_id, name, timezone FROM companies ORDER BY company_id"


def test_a_scoped_key_finds_its_own_company(open_laboratory: MakeLaboratory) -> None:
    laboratory = open_laboratory(small_world(90))
    laboratory.given |= {"api_key": demo_key(57), "company_ids": None}
    laboratory.complete_run()
    laboratory.mirrors(57)
    assert query(laboratory.database, NAMED) == [(57, "Clínica Dental Sonrisas", "Europe/Madrid")]
    assert query(laboratory.database, "SELECT DISTINCT company_id FROM messages") == [(57,)]
    assert {request.key for request in laboratory.emulator.requests} == {demo_key(57)}


def test_a_key_of_its_own_for_each_company(open_laboratory: MakeLaboratory) -> None:
    laboratory = open_laboratory(small_world(90))
    laboratory.given |= {
        "api_key": None,
        "company_ids": None,
        "api_keys": {"42": demo_key(42), "63": demo_key(63)},
        "companies": {"63": {"name": "Otro nombre"}},
    }
    laboratory.complete_run()
    laboratory.mirrors(42, 63)
    assert query(laboratory.database, NAMED) == [
        (42, "Óptica Belgrano SRL", "America/Argentina/Buenos_Aires"),
        (63, "Otro nombre", "America/Argentina/Cordoba"),
    ]
    used = {(r.params.get("company_id"), r.key) for r in laboratory.emulator.requests if r.path.endswith("messages")}
    assert used == {("42", demo_key(42)), ("63", demo_key(63))}


def test_a_global_key_takes_names_from_configuration_and_a_change_is_taken_over(
    open_laboratory: MakeLaboratory,
) -> None:
    laboratory = open_laboratory(small_world(30))
    laboratory.given |= {"company_ids": "42, 57", "companies": {"42": {"name": "Uno", "timezone": "Europe/Madrid"}}}
    laboratory.complete_run()
    assert query(laboratory.database, NAMED) == [(42, "Uno", "Europe/Madrid"), (57, None, None)]
    assert not [r for r in laboratory.emulator.requests if "business-info" in r.path]
    laboratory.given["companies"] = {"42": {"name": "Dos"}}
    laboratory.complete_run()
    assert query(laboratory.database, NAMED) == [(42, "Dos", None), (57, None, None)]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"company_ids": None}, ConfigurationError, "company_ids"),
        ({"api_key": None}, ConfigurationError, "api_key"),
        ({"api_key": demo_key(57)}, ConfigurationError, "belongs to company 57"),
        ({"api_key": "mindo_wrongwrongwrongwrongwron"}, AccessError, "401"),
        ({"api_key": None, "api_keys": {"57": demo_key(57)}, "company_ids": [42]}, ConfigurationError, "company 42"),
        ({"companies": {"42": {"timezone": "Mars/Base"}}}, ConfigurationError, "Mars/Base"),
        ({"companies": {"42": {"timezone": "../../etc/passwd"}}}, ConfigurationError, "timezone"),
    ],
)
def test_keys_that_do_not_fit_are_refused_before_anything_is_written(
    open_laboratory: MakeLaboratory, given: dict[str, Any], error: type[Exception], words: str
) -> None:
    laboratory = open_laboratory(World(companies=[42, 57]))
    laboratory.given |= {"company_ids": [42]} | given
    with pytest.raises(error, match=words) as caught:
        laboratory.run()
    assert not laboratory.database.exists()
    assert not any(key in str(caught.value) for key in (GLOBAL_DEMO_KEY, demo_key(57), "mindo_wrong"))


def test_business_info_with_more_or_less_in_it() -> None:
    info = {"id": 42, "name": None, "timezone": None, "companySize": None, "plan": {"x": 1}, "email": "a@b.c"}
    rows = [a_message(1)]
    with laboratory_at(PlainApi(rows, business=lambda _: json.dumps(info).encode())) as laboratory:
        laboratory.given |= {"api_key": "mindo_" + "k" * 24, "company_ids": None}
        laboratory.complete_run()
        assert query(laboratory.database, NAMED) == [(42, None, None)]
        assert_tables_hold(read_tables(laboratory.database), rows, [42], START, NOW)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>", b'{"id": "42"}', b"", b'{"id": null}'])
def test_business_info_that_is_none_is_no_company(body: bytes) -> None:
    with ScriptedApi(lambda _: b"", business=lambda _: body) as api:
        options = resolve_options({"base_url": api.base_url, "api_key": "mindo_" + "k" * 24, "max_attempts": 2})
        with pytest.raises(Exception, match="business-info"):
            resolve_companies(options, MindoClient(options))


def test_every_parameter_is_sent_as_the_contract_says(open_laboratory: MakeLaboratory) -> None:
    laboratory = open_laboratory(small_world(60))
    laboratory.given |= {"company_ids": [42, 57], "limit": 10_000, "window_hours": 24, "confirm_windows": False}
    given = {"channel": "whatsapp", "direction": "outgoing", "agent_ids": "5,12", "include": "tool_calls, trace_id"}
    laboratory.complete_run(**given, from_date=START, to_date=START + 36 * timedelta(hours=1))
    common = {
        "channel": "whatsapp",
        "direction": "outgoing",
        "agent_id": "5,12",
        "include": "tool_calls,trace_id",
        "limit": "10000",
    }
    windows = [("2026-04-20T00:00:00Z", "2026-04-21T00:00:00Z"), ("2026-04-21T00:00:00Z", "2026-04-21T12:00:00Z")]
    asked = [request for request in laboratory.emulator.requests if request.path.endswith("/messages")]
    assert sorted((r.params for r in asked), key=lambda p: (p["company_id"], p["from"])) == [
        {"company_id": company, "from": start, "to": end, **common}
        for company in ("42", "57")
        for start, end in windows
    ]
    for request in asked:
        assert request.path == "/api/v1/qualitative-export/messages"
        assert request.headers["x-api-key"] == GLOBAL_DEMO_KEY
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers


def test_a_netrc_and_a_redirect_get_nothing(open_laboratory: MakeLaboratory, monkeypatch: Any, isolated: Path) -> None:
    netrc = isolated / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    laboratory = open_laboratory(World(companies=[42]))
    laboratory.given["company_ids"] = [42]
    with ScriptedApi(lambda _: b"") as elsewhere:
        laboratory.emulator.faults.add("redirect", location=elsewhere.base_url + "/x", times=None)
        assert len(laboratory.run().incomplete) == 11
        assert elsewhere.requests == []
    assert all("authorization" not in request.headers for request in laboratory.emulator.requests)


def edges() -> World:
    """Equal times across page edges, and rows on the exact edges of windows."""
    world = small_world(60, companies=[42], awkward=0.5)
    for number in range(20):
        world.add_message(42, "2026-04-26T10:00:00.000001", f"igual {number}", tool_calls=[{"name": "n", "i": number}])
    for day in range(21, 30):
        midnight = datetime(2026, 4, day, tzinfo=UTC)
        for moment in (midnight - timedelta(microseconds=1), midnight, midnight + timedelta(microseconds=1)):
            world.add_message(42, moment, str(moment))
    world.add_message(42, START)
    world.add_message(42, NOW - timedelta(microseconds=1))
    world.add_message(42, NOW)
    return world


def test_page_sizes_windows_and_workers_change_nothing(open_laboratory: MakeLaboratory) -> None:
    settings = EmulatorSettings()
    laboratory = open_laboratory(edges(), settings)
    laboratory.given |= {"company_ids": [42], "limit": 1, "workers": 4}
    laboratory.complete_run()
    laboratory.mirrors(42)
    before = snapshot(laboratory.database)
    ways: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"limit": 7, "window_hours": 6, "workers": 1}, {}),
        ({"limit": 10_000, "window_hours": 744, "workers": 1}, {"page_cap": 9}),
        ({"limit": 2, "window_hours": 744, "workers": 4}, {"order": "shuffled", "gzip": True, "chunk_lines": 1}),
        ({"window_hours": 5.5, "limit": 11}, {"newline": b"\r\n", "trailing_newline": False, "blank_lines_every": 2}),
    ]
    for given, changes in ways:
        for name, value in changes.items():
            setattr(settings, name, value)
        laboratory.complete_run(from_date=START, to_date=NOW, **given)
        assert snapshot(laboratory.database) == before, f"with {given} and {changes}"
    fresh = Laboratory(laboratory.server, "fresh.duckdb")
    fresh.given |= {"company_ids": [42], "window_hours": 744, "limit": 5}
    fresh.complete_run()
    again = snapshot(fresh.database)
    for table in TABLES:
        assert {key: row["_row_hash"] for key, row in again[table].items()} == {
            key: row["_row_hash"] for key, row in before[table].items()
        }
    fresh.mirrors(42)


def test_loads_of_any_size_give_the_same_tables(open_laboratory: MakeLaboratory) -> None:
    laboratory = open_laboratory(small_world(40))
    laboratory.complete_run(load_messages=8)
    laboratory.mirrors()
    assert query(laboratory.database, "SELECT count(DISTINCT _dlt_load_id) > 2 FROM messages") == [(True,)]
    before = snapshot(laboratory.database)
    laboratory.complete_run(load_messages=1, from_date=NOW - DAY / 2, to_date=NOW)
    assert snapshot(laboratory.database) == before


def test_an_agent_filter_may_return_other_rows_too() -> None:
    """Only what the agent wrote is replaced: with it the server returns the messages that the agent answered."""
    agent = {"id": 5, "name": "Luna"}
    question = a_message(1)
    answer = a_message(
        2, direction="outbound", author={"type": "agent", "id": "agt_5", "display_name": None}, agent=agent
    )
    second = {**answer, "message_id": "msg_second", "tool_calls": [{"name": "x", "arguments": {}}]}
    other = a_message(3, direction="outbound", author={"type": "agent", "id": "agt_6", "display_name": None},
                      agent={"id": 6, "name": "Sol"})  # fmt: skip
    rows = [question, answer, second, other]

    def reply(asked: Asked) -> bytes:
        return ndjson(*(row for row in rows if "agent_id" not in asked.params or row["author"]["id"] != "agt_6"))

    with laboratory_at(ScriptedApi(reply)) as laboratory:
        laboratory.complete_run()
        rows.remove(question)
        rows.remove(second)
        rows.remove(other)
        laboratory.complete_run(agent_ids=[5], lookback_days=30)
        # the contact's question was not the agent's and stays until a run without filter, like the other agent's
        assert_tables_hold(read_tables(laboratory.database), [question, answer, other], [42], START, NOW)
        laboratory.complete_run()
        assert_tables_hold(read_tables(laboratory.database), rows, [42], START, NOW)


def test_a_server_that_ignores_include_and_leaves_out_what_was_asked_for() -> None:
    bare = {name: value for name, value in a_message(1).items() if name not in ("trace_id", "tool_calls", "agent")}
    odd_agent = a_message(2, agent={"slug": "luna", "team": {"id": 3}, "id": "five"}, trace_id="t")
    rows = [bare, odd_agent]
    with laboratory_at(PlainApi(rows)) as laboratory:
        laboratory.complete_run()
        assert_tables_hold(read_tables(laboratory.database), rows, [42], START, NOW)
        before = snapshot(laboratory.database)
        laboratory.complete_run(include="none")
        assert snapshot(laboratory.database) == before


def test_a_dataset_of_another_name(open_laboratory: MakeLaboratory) -> None:
    from mindo_pipeline.warehouse import Warehouse

    laboratory = open_laboratory(small_world(30))
    laboratory.warehouse = lambda: Warehouse(dataset="chats", database=laboratory.database)  # type: ignore[method-assign]
    laboratory.complete_run()
    world = laboratory.world.truth(include=["classifications", "extractions", "tool_calls", "trace_id"])
    assert_tables_hold(read_tables(laboratory.database, "chats"), world, [42, 57, 63], START, NOW, stamped=True)


def test_a_reply_that_is_slow_to_come_is_waited_for() -> None:
    api = ScriptedApi(lambda asked: Reply(b"", 429, {"Retry-After": "0"}) if asked.number < 3 else ndjson(a_message(1)))
    with laboratory_at(api) as laboratory:
        outcome = laboratory.complete_run(confirm_windows=False)
        assert [(load.read.requests, load.read.retries) for load in outcome.complete] == [(4, 3)]
    with laboratory_at(ScriptedApi(lambda _: Reply(b"", 429, {"Retry-After": "3600"}))) as laboratory:
        outcome = laboratory.run()
        assert "max_wait_seconds" in str(outcome.incomplete[0].error)
        assert len(laboratory.server.requests) == 1
