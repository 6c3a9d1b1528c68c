"""What a plain client sees of each fault of the content and of paging."""

from __future__ import annotations

import json

import pytest

WINDOW = {"limit": 40}


def lines_of(answer) -> list[bytes]:
    return answer.content.split(b"\n")[:-1]


def ids_of(lines: list[bytes]) -> list[str]:
    return [row["message_id"] for row in map(json.loads, lines) if "message_id" in row]


@pytest.fixture
def page(client):
    """The first page as it ought to be."""
    return lines_of(client.get(**WINDOW))


@pytest.fixture
def spoiled(client, emulator):
    def get(kind, window=WINDOW, **options):
        emulator.faults.add(kind, **options)
        return lines_of(client.get(**window))

    return get


def test_an_error_line_at_the_end_takes_the_place_of_the_sentinel(page, spoiled):
    lines = spoiled("error_line", code="DB", message="se corto")
    assert json.loads(lines[-1]) == {"_error": {"code": "DB", "message": "se corto"}}
    assert ids_of(lines) == ids_of(page)


def test_an_error_line_in_the_middle_is_followed_by_rows(page, spoiled):
    lines = spoiled("error_line", where="middle")
    assert "_error" in json.loads(lines[20])
    assert ids_of(lines) == ids_of(page)
    assert "_truncated" in json.loads(lines[-1])


@pytest.mark.parametrize(("where", "index"), [("start", 0), ("middle", 20), ("end", 39), (7, 7)])
def test_one_line_is_no_json(page, spoiled, where, index):
    lines = spoiled("bad_json_line", where=where)
    broken = []
    for number, line in enumerate(lines):
        try:
            json.loads(line)
        except ValueError:
            broken.append(number)
    assert broken == [index]
    assert len(lines) == len(page)


def test_one_line_is_no_utf8(page, spoiled):
    lines = spoiled("bad_utf8_line")
    with pytest.raises(UnicodeDecodeError):
        lines[20].decode()
    assert all(line.decode() for number, line in enumerate(lines) if number != 20)


@pytest.mark.parametrize("line", ["[1, 2]", "7", "null", "{}", '{"hola": 1}'])
def test_one_line_is_json_but_no_row(page, spoiled, line):
    lines = spoiled("foreign_line", line=line)
    assert json.loads(lines[20]) == json.loads(line)
    assert len(lines) == len(page) + 1


def test_two_rows_on_one_line(page, spoiled):
    lines = spoiled("joined_lines")
    assert len(lines) == len(page) - 1
    with pytest.raises(ValueError, match="Extra data"):
        json.loads(lines[20])


def test_blank_lines(page, spoiled):
    lines = spoiled("blank_lines")
    assert lines.count(b"") == len(page) - 1
    assert ids_of([line for line in lines if line]) == ids_of(page)


def test_crlf(page, spoiled):
    lines = spoiled("crlf")
    assert all(line.endswith(b"}\r") for line in lines)
    assert ids_of(lines) == ids_of(page)


def test_no_trailing_newline(client, emulator):
    emulator.faults.add("no_trailing_newline")
    assert client.get(**WINDOW).content.endswith(b"}")


def test_a_line_of_10_mb_is_still_its_row(page, spoiled):
    lines = spoiled("huge_line")
    assert max(map(len, lines)) >= 10_000_000
    assert ids_of(lines) == ids_of(page)


def test_a_lone_surrogate_escape(page, spoiled):
    lines = spoiled("lone_surrogate")
    changed = [line for line in lines if b'"text":"\\ud83d' in line]
    assert len(changed) == 1
    with pytest.raises(UnicodeEncodeError):
        json.loads(changed[0])["content"]["text"].encode()


def test_an_empty_page_leads_on_to_its_rows(client, emulator, compare):
    emulator.faults.add("empty_page", page=2)
    pages = list(client.pages(**WINDOW))
    assert [len(rows) for rows in pages[:3]] == [40, 0, 40]
    truth = emulator.world.truth(42)
    assert len({row["message_id"] for rows in pages for row in rows}) == sum(map(len, pages)) == len(truth)


def test_an_empty_first_page_leads_on_to_its_rows(client, emulator):
    emulator.faults.add("empty_page", page=1)
    assert sum(map(len, client.pages(**WINDOW))) == emulator.world.count(42)


def test_a_cursor_repeats(client, emulator):
    emulator.faults.add("repeated_cursor", page=2)
    first = json.loads(lines_of(client.get(**WINDOW))[-1])["next_cursor"]
    second = lines_of(client.get(cursor=first, **WINDOW))
    assert json.loads(second[-1])["next_cursor"] == first
    assert len(second) == 41


def test_a_cursor_repeats_for_ever(client, emulator):
    emulator.faults.add("repeated_cursor", times=None)
    pages = client.pages(**WINDOW)
    seen = [tuple(row["message_id"] for row in next(pages)) for _ in range(4)]
    assert len(set(seen)) == 1


@pytest.mark.parametrize("status", [400, 410])
def test_a_cursor_expires(client, emulator, status):
    emulator.faults.add("expired_cursor", status=status)
    cursor = json.loads(lines_of(client.get(**WINDOW))[-1])["next_cursor"]
    answer = client.get(cursor=cursor, **WINDOW)
    assert answer.status_code == status
    assert "cursor" in answer.json()["detail"]
    assert client.get(cursor=cursor, **WINDOW).status_code == 200


def test_rows_repeat_over_the_page_edge(client, emulator):
    emulator.faults.add("rows_repeated", rows=3)
    pages = list(client.pages(**WINDOW))
    ids = [[row["message_id"] for row in rows] for rows in pages]
    assert ids[0][-3:] == ids[1][:3]
    flat = [name for part in ids for name in part]
    assert len(flat) == len(set(flat)) + 3
    assert len(set(flat)) == emulator.world.count(42)


def test_rows_come_twice_within_a_page(page, spoiled):
    assert ids_of(spoiled("doubled_rows", rows=2)) == ids_of(page) + ids_of(page)[:2]


def test_rows_come_out_of_order(page, spoiled):
    lines = spoiled("out_of_order")
    assert ids_of(lines) == ids_of(page)[::-1]
    assert "_truncated" in json.loads(lines[-1])


def test_the_sentinel_is_lost(page, spoiled):
    assert ids_of(spoiled("lost_sentinel")) == ids_of(page)


def test_the_sentinel_has_no_cursor(page, spoiled):
    assert json.loads(spoiled("sentinel_without_cursor")[-1]) == {"_truncated": True, "next_cursor": None}


def test_the_sentinel_stands_among_the_rows(page, spoiled):
    lines = spoiled("misplaced_sentinel")
    assert "_truncated" in json.loads(lines[20])
    assert ids_of(lines) == ids_of(page)


@pytest.mark.parametrize(("seconds", "time"), [(1, "2026-03-31T23:59:59"), (0.5, "2026-03-31T23:59:59.500000"),
                                               (-1, "2026-05-01T00:00:01")])  # fmt: skip
def test_a_row_from_outside_the_window(page, spoiled, seconds, time):
    stray = [
        row for row in map(json.loads, spoiled("outside_window", seconds=seconds)) if row.get("occurred_at") == time
    ]
    assert len(stray) == 1
    assert stray[0]["message_id"] not in ids_of(page)


def test_a_row_of_another_company(page, spoiled):
    rows = [row for row in map(json.loads, spoiled("other_company", company_id=57)) if "metadata" in row]
    assert sorted({row["metadata"]["company_id"] for row in rows}) == [42, 57]
