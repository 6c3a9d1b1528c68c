"""The end of a window is asked for once more: an answer that ended cleanly, but too early, is not taken for the last one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product

import pytest

from tests.scripted_api import Asked, PlainApi, Reply, a_message, laboratory_at
from tests.support import NOW, START, Laboratory, Message, assert_tables_hold, read_tables

Rows = list[Message]
ORDERS: dict[str, Callable[[Rows], Rows]] = {
    "in order": list,
    "latest first": lambda rows: rows[::-1],
    "in no order": lambda rows: [row for _, row in sorted(enumerate(rows), key=lambda placed: placed[0] * 7 % 11)],
}
SORTED = ("in order", "latest first")


def ends_asked_for(laboratory: Laboratory) -> Counter[int]:
    """Of each company, how often it was asked for the end of its window, rather than for the whole of it."""
    asked = [request.params for request in laboratory.server.requests]
    whole = ("2026-04-24T03:00:00Z", "2026-04-30T03:00:00Z")
    return Counter(int(params["company_id"]) for params in asked if (params["from"], params["to"]) != whole)


def test_an_answer_that_ends_cleanly_before_its_sentinel_is_not_taken_for_the_last() -> None:
    # a company for each order and each number of lines that the cut leaves
    cases = dict(enumerate(product(ORDERS, (0, 1, 3)), start=1))
    rows = [
        row
        for company, (order, _) in cases.items()
        for row in ORDERS[order]([a_message(n, f"2026-04-25T12:{n:02}:00", company) for n in range(10)])
    ]
    kept = {company: lines for company, (_, lines) in cases.items()}

    def cut_once(asked: Asked, reply: Reply) -> Reply:
        company = int(asked.params["company_id"])
        if "cursor" in asked.params and company in kept:
            return Reply(b"".join(reply.body.splitlines(keepends=True)[: kept.pop(company)]))
        return reply

    # one after the other: of an API that was seen to serve messages in no order, no end is asked for any more
    with laboratory_at(PlainApi(rows, decorate=cut_once), limit=4, company_ids=list(cases), workers=1) as laboratory:
        outcome = laboratory.complete_run()
        assert kept == {}
        assert_tables_hold(read_tables(laboratory.database), rows, cases, START, NOW)
        retries = {cases[load.read.window.company_id]: load.read.retries for load in outcome.complete}
        assert retries == dict.fromkeys(cases.values(), 1)
        # one that contradicts the cut answer, and one that confirms the whole one
        assert ends_asked_for(laboratory) == {company: 2 for company, (order, _) in cases.items() if order in SORTED}
        assert len(laboratory.server.requests) == sum(load.read.requests for load in outcome.complete)


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_many_messages_at_one_moment_are_no_contradiction(limit: int) -> None:
    orders = dict(enumerate(ORDERS, start=1))
    rows = [
        row
        for company, name in orders.items()
        for row in ORDERS[name](
            [a_message(n, f"2026-04-25T12:00:{n // 5:02}.{n % 5 // 3}", company) for n in range(11)]
        )
    ]
    with laboratory_at(PlainApi(rows), limit=limit, company_ids=list(orders), workers=1) as laboratory:
        laboratory.complete_run()
        assert_tables_hold(read_tables(laboratory.database), rows, orders, START, NOW)
        assert ends_asked_for(laboratory).keys() == {company for company, name in orders.items() if name in SORTED}


def test_the_end_of_a_window_in_order_is_asked_for_by_one_small_request() -> None:
    rows = [a_message(number, f"2026-04-25T12:{number // 60:02}:{number % 60:02}") for number in range(1250)]
    with laboratory_at(PlainApi(rows), limit=500) as laboratory:
        laboratory.complete_run()
        asked = [request.params for request in laboratory.server.requests]
        assert [(a["from"], a["limit"], "cursor" in a) for a in asked] == [
            ("2026-04-24T03:00:00Z", "500", False),
            ("2026-04-24T03:00:00Z", "500", True),
            ("2026-04-24T03:00:00Z", "500", True),
            ("2026-04-25T12:20:49Z", "2", False),
        ]


@pytest.mark.parametrize("step", [1, -1])
def test_a_long_window_that_is_cut_in_order_is_found_by_its_end(step: int) -> None:
    rows = [a_message(number, f"2026-04-25T12:{number // 60:02}:{number % 60:02}") for number in range(1500)]
    cut = {"left": 1}

    def cut_once(asked: Asked, reply: Reply) -> Reply:
        if cut["left"] and "cursor" in asked.params:
            cut["left"] -= 1
            return Reply(b"".join(reply.body.splitlines(keepends=True)[:300]))
        return reply

    with laboratory_at(PlainApi(rows[::step], decorate=cut_once), limit=800) as laboratory:
        laboratory.complete_run()
        assert cut["left"] == 0
        assert_tables_hold(read_tables(laboratory.database), rows, [42], START, NOW)


def test_an_order_by_accident_is_not_believed() -> None:
    # two conversations, each in order: cut behind the first, what came looks sorted
    rows = [a_message(number, f"2026-04-25T12:{number % 50:02}:00") for number in range(100)]
    cut = {"left": 1}

    def cut_once(asked: Asked, reply: Reply) -> Reply:
        if cut["left"]:
            cut["left"] -= 1
            return Reply(b"".join(reply.body.splitlines(keepends=True)[:50]))
        return reply

    with laboratory_at(PlainApi(rows, decorate=cut_once)) as laboratory:
        laboratory.complete_run()
        assert_tables_hold(read_tables(laboratory.database), rows, [42], START, NOW)


@pytest.mark.parametrize("rows", [9, 2_000])
def test_cursors_that_are_good_for_once_only_are_enough(rows: int) -> None:
    messages = [a_message(number, f"2026-04-25T12:{number * 7 % 60:02}:00") for number in range(rows)]
    used: set[str] = set()

    def once(asked: Asked, reply: Reply) -> Reply:
        cursor = asked.params.get("cursor")
        if cursor is None:
            used.clear()
        elif cursor in used:
            return Reply(b"", 410)
        else:
            used.add(cursor)
        return reply

    with laboratory_at(PlainApi(messages, decorate=once), limit=(rows + 3) // 4) as laboratory:
        laboratory.complete_run()
        assert_tables_hold(read_tables(laboratory.database), messages, [42], START, NOW)


def test_no_more_is_asked_for_than_the_configured_page() -> None:
    rows = [a_message(number, f"2026-04-25T12:00:{number // 1490:02}") for number in range(1500)]

    def strict(asked: Asked, reply: Reply) -> Reply:
        return reply if int(asked.params["limit"]) <= 1000 else Reply(b"", 400)

    with laboratory_at(PlainApi(rows, decorate=strict), limit=1000) as laboratory:
        laboratory.complete_run()
        assert_tables_hold(read_tables(laboratory.database), rows, [42], START, NOW)


def test_a_message_that_comes_while_its_window_is_confirmed_is_loaded() -> None:
    rows = [a_message(1, "2026-04-25T12:00:00"), a_message(2, "2026-04-26T12:00:00")]

    def one_more(asked: Asked, reply: Reply) -> Reply:
        if asked.number == 0:
            api.rows.append(a_message(3, "2026-04-27T12:00:00"))
        return reply

    api = PlainApi(rows, decorate=one_more)
    with laboratory_at(api) as laboratory:
        laboratory.complete_run()
        assert len(api.rows) == 3
        assert_tables_hold(read_tables(laboratory.database), api.rows, [42], START, NOW)
