"""`mindo state`: what it shows, and that the next run reads exactly what a change says."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mindo_emulator import Emulator, World
from mindo_pipeline.cli import call
from tests.crashing import POINTS, run_and_kill
from tests.mindo_pipeline.harness import COMPANIES, DAY, count, midnight, mindo
from tests.support import snapshot, union

FROM = midnight() - 4 * DAY
MARK = midnight() - 2 * DAY
MARKED = MARK.isoformat().replace("+00:00", "Z")
NO_LOOKBACK = ("--lookback-days", "0")


def read(api: Emulator[World], company_id: int) -> list[tuple[datetime, datetime]]:
    """The ranges that were asked for since the log was cleared; what only tries the key is left out."""
    return union(
        (datetime.fromisoformat(r.params["from"]), datetime.fromisoformat(r.params["to"]))
        for r in api.requests
        if r.path.endswith("/messages") and r.params["limit"] != "1" and int(r.params["company_id"]) == company_id
    )


def shown(*arguments: str) -> dict[int, Any]:
    document = mindo("state", "show", "--json", *arguments).document
    return {company["company_id"]: company for company in document["companies"]}


def audited() -> list[tuple[Any, ...]]:
    if not count("audit_log"):
        return []
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        return connection.execute(
            "SELECT action, subject, company_id, messages, finished_at >= requested_at FROM mindo.audit_log"
            " ORDER BY requested_at, company_id"
        ).fetchall()


def schema_versions() -> list[Any]:
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        return connection.execute("SELECT version, version_hash FROM mindo._dlt_version ORDER BY 1").fetchall()


# --- show ----------------------------------------------------------------------------------------------------------


def test_show_tells_what_counts_as_read_of_each_company_and_selection(loaded: Emulator[World]) -> None:
    assert mindo("run", "-q", "--companies", "42", "--channel", "whatsapp", "--include", "none").code == 0
    before = Path("warehouse.duckdb").read_bytes()
    loaded.requests.clear()
    companies = shown()
    assert list(companies) == list(COMPANIES)
    (everything,) = companies[57]["selections"]
    assert everything["selection"].startswith("channel=all direction=all agents=all include=classifications,")
    assert [piece["start"] for piece in everything["covered"]] == [FROM.isoformat().replace("+00:00", "Z")]
    assert everything["watermark"] == everything["covered"][0]["end"]
    assert everything["gaps"] == companies[57]["backfills"] == []
    assert [s["selection"].split(" include=")[1] for s in companies[42]["selections"]] == [
        "classifications,extractions,tool_calls,trace_id",
        "",
    ]
    result = mindo("state", "show", "--companies", "42")
    assert result.code == 0
    assert "channel=whatsapp" in result.out
    assert "57" not in [line.split()[0] for line in result.out.splitlines() if line[:1].isdigit()]
    assert result.out.endswith("The state of 1 company. 0 contacts and 0 conversations are forgotten.\n")
    assert Path("warehouse.duckdb").read_bytes() == before
    assert not loaded.requests


def test_show_tells_gaps_unfinished_backfills_and_who_is_forgotten(api: Emulator[World]) -> None:
    api.faults.add("server_error", company=42, covering=MARK, times=None)
    arguments = ("--from", FROM.isoformat(), "--to", midnight().isoformat(), "--companies", "42", "-q")
    assert mindo("backfill", *arguments).code == 3
    assert mindo("forget", "--contact", "ctc_1", "--conversation", "conv_1", "--yes", "-q").code == 0
    (selection,) = shown()[42]["selections"]
    assert selection["watermark"] is None
    assert selection["gaps"] == [{"start": MARKED, "end": (MARK + DAY).isoformat().replace("+00:00", "Z")}]
    (backfill,) = shown()[42]["backfills"]
    assert backfill["done"] == selection["covered"]
    result = mindo("state", "show")
    assert f"{MARK:%Y-%m-%d} 00:00 to" in result.out
    assert "unfinished backfill of company 42: " in result.out
    assert "1 contact and 1 conversation are forgotten." in result.out
    assert mindo("state", "show", "--json").document["forgotten"] == {
        "contacts": ["ctc_1"],
        "conversations": ["conv_1"],
    }


def test_show_of_nothing_creates_nothing() -> None:
    result = mindo("state", "show")
    assert result.code == 0
    assert "nothing counts as read yet" in result.out
    assert list(Path().iterdir()) == []


# --- rewind --------------------------------------------------------------------------------------------------------


def test_after_a_rewind_the_next_run_reads_exactly_from_there_and_rewrites_nothing(loaded: Emulator[World]) -> None:
    before = snapshot("warehouse.duckdb")
    result = mindo("state", "rewind", "--companies", "42", "--to", MARKED, "--yes")
    assert (result.code, result.err) == (0, "")
    assert result.out == f"rewound: the next run reads company 42 again from {MARKED} on, and the lookback before it.\n"
    (selection,) = shown()[42]["selections"]
    assert (selection["watermark"], selection["covered"][-1]["end"]) == (MARKED, MARKED)
    assert audited() == [("rewind_state", f"to {MARKED}", 42, None, True)]
    assert snapshot("warehouse.duckdb") == before
    loaded.requests.clear()
    assert mindo("run", "-q", *NO_LOOKBACK).code == 0
    assert [start for start, _ in read(loaded, 42)] == [MARK]
    assert [start for start, _ in read(loaded, 57)] == [midnight()]
    assert snapshot("warehouse.duckdb") == before


def test_a_rewind_holds_for_every_selection_and_for_unfinished_backfills(loaded: Emulator[World]) -> None:
    whatsapp = ("--companies", "42", "--channel", "whatsapp", "-q")
    assert mindo("run", *whatsapp).code == 0
    loaded.faults.add("server_error", company=42, covering=FROM, times=None)
    backfill = ("backfill", "--from", FROM.isoformat(), "--to", midnight().isoformat(), "--companies", "42")
    assert mindo(*backfill, "-q").code == 3
    loaded.faults.clear()
    assert mindo("state", "rewind", "--companies", "42,63", "--to", MARK.date().isoformat(), "--yes", "-q").code == 0
    assert {s["watermark"] for s in shown()[42]["selections"]} == {MARKED}
    assert {row[2] for row in audited()} == {42, 63}
    loaded.requests.clear()
    assert mindo("run", *whatsapp, *NO_LOOKBACK).code == 0
    assert [start for start, _ in read(loaded, 42)] == [MARK]
    assert "resuming: 1 of 4 windows are already done" in mindo(*backfill).err


def test_a_rewind_to_what_was_never_read_changes_nothing(loaded: Emulator[World]) -> None:
    assert mindo("run", "-q", "--companies", "42").code == 0
    mindo("state", "rewind", "--companies", "42", "--to", MARKED, "--yes")
    before = Path("warehouse.duckdb").read_bytes()
    result = mindo("state", "rewind", "--companies", "42", "--to", (MARK + timedelta(hours=1)).isoformat())
    assert result.code == 0
    assert "on counts as read; nothing changed." in result.out
    assert Path("warehouse.duckdb").read_bytes() == before


# --- forget --------------------------------------------------------------------------------------------------------


def test_after_forgetting_the_next_run_begins_at_the_start_date(loaded: Emulator[World]) -> None:
    assert mindo("forget", "--contact", "ctc_1", "--yes", "-q").code == 0
    before = snapshot("warehouse.duckdb")
    assert mindo("state", "forget", "--companies", "42", "--yes").out == (
        "dropped: the next run reads company 42 again from the start date on.\n"
    )
    assert list(shown()) == [57, 63]
    assert audited()[-1] == ("forget_state", "positions", 42, None, True)
    assert mindo("state", "show", "--json").document["forgotten"]["contacts"] == ["ctc_1"]
    loaded.requests.clear()
    assert mindo("run", "-q", *NO_LOOKBACK).code == 0
    assert [start for start, _ in read(loaded, 42)] == [FROM]
    assert [start for start, _ in read(loaded, 57)] == [midnight()]
    assert snapshot("warehouse.duckdb") == before
    assert mindo("state", "forget", "--all", "--yes", "-q").code == 0
    assert shown() == {}
    assert mindo("state", "show", "--json").document["forgotten"]["contacts"] == ["ctc_1"]
    assert "nothing changed" in mindo("state", "forget", "--all").out


def test_a_forgotten_backfill_begins_anew(api: Emulator[World]) -> None:
    api.faults.add("server_error", company=42, covering=MARK, times=None)
    backfill = ("backfill", "--from", FROM.isoformat(), "--to", midnight().isoformat(), "--companies", "42")
    assert mindo(*backfill, "-q").code == 3
    api.faults.clear()
    assert mindo("state", "forget", "--companies", "42", "--yes", "-q").code == 0
    again = mindo(*backfill, "--json")
    assert (again.code, again.document["resumed_windows"]) == (0, 0)


# --- both ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "is_done"), [("before the state is written", True), ("after extract", False)])
def test_a_change_and_its_row_in_the_log_are_committed_together(
    loaded: Emulator[World], name: str, is_done: bool
) -> None:
    rewind = ("state", "rewind", "--companies", "42", "--to", MARKED, "--yes", "-q")
    assert run_and_kill(call, rewind, at=POINTS[name]).killed
    assert mindo("run", "-q", "--companies", "57").code == 0
    (selection,) = shown()[42]["selections"]
    assert (selection["watermark"] == MARKED) is is_done
    assert len(audited()) == is_done


def test_the_schema_changes_once_only(loaded: Emulator[World]) -> None:
    rewind = ("state", "rewind", "--companies", "42", "--to", MARKED, "--yes", "-q")
    first = schema_versions()
    assert count("audit_log") == 0
    assert mindo(*rewind).code == 0
    after = schema_versions()
    assert len(after) == len(first) + 1
    assert mindo("run", "-q", "--companies", "42").code == 0
    assert mindo(*rewind).code == 0
    assert mindo("run", "-q", "--companies", "42").code == 0
    assert schema_versions() == after
    assert count("audit_log") == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "arguments",
    [("state", "rewind", "--companies", "42", "--to", MARKED), ("state", "forget", "--companies", "42")],
    ids=["rewind", "forget"],
)
def test_nothing_is_changed_without_a_yes(
    loaded: Emulator[World], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    before = Path("warehouse.duckdb").read_bytes()
    refused = mindo(*arguments)
    assert (refused.code, refused.error) == (2, "error: yes: there is no terminal to ask at; add --yes to confirm.")
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    declined = mindo(*arguments)
    assert declined.code == 130
    assert declined.err.startswith("Read company 42 again from ")
    assert "[y/N] " in declined.err
    assert Path("warehouse.duckdb").read_bytes() == before
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    assert mindo(*arguments).code == 0
    assert len(audited()) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("rewind", "--companies", "42"), "to: missing; say from when on to read again"),
        (("rewind", "--to", "2026-04-01"), "companies: missing; name them like --companies 42,57."),
        (("rewind", "--companies", "42", "--to", "soon"), "to: 'soon' is not a date"),
        (("rewind", "--companies", "42", "--to", "2999-01-01"), "to: 2999-01-01 is in the future"),
        (("rewind", "--companies", "42x", "--to", "2026-04-01"), "companies: '42x' is not a positive whole number"),
        (("rewind", "--companies", "42,99", "--to", "2026-04-01"), "companies: nothing of company 99 was read into"),
        (("forget",), "companies: missing; name them like --companies 42,57 or say --all."),
        (("forget", "--all", "--companies", "42"), "--all and --companies exclude each other"),
        (("show", "--companies", "99"), "known there: 42, 57, 63."),
        (("rewind", "--compnies", "42"), "see `mindo state rewind --help`."),
        (("turn",), "see `mindo state --help`."),
    ],
    ids=str,
)
def test_bad_input_is_one_line(loaded_file: Path, arguments: tuple[str, ...], expected: str) -> None:
    Path("warehouse.duckdb").symlink_to(loaded_file)
    result = mindo("state", *arguments)
    assert result.code == 2
    assert expected in result.error


def test_the_help_tells_positions_from_people() -> None:
    assert "`mindo state forget` forgets positions; `mindo forget` forgets people." in mindo("state").out
    assert "For people see `mindo forget`." in " ".join(mindo("state", "forget", "--help").out.split())
    assert "For positions see `mindo state forget`." in " ".join(mindo("forget", "--help").out.split())
