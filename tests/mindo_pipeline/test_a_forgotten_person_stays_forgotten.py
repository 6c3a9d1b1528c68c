"""`mindo forget`: every byte of a person is gone, nothing else is, and no later run brings anything back."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tempfile
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mindo_emulator import Emulator, World
from mindo_pipeline import forgetting, reclaiming
from mindo_pipeline.cli import call
from tests.crashing import KillPoint, run_and_kill
from tests.mindo_pipeline.harness import DAY, TABLES, count, midnight, mindo
from tests.support import query, snapshot

ANA, BEA, CID = (f"ctc_{name:0<24}" for name in ("a1a", "b1b", "c1c"))
ALONE, SHARED, PAIR = (f"conv_{name:0<24}" for name in ("a10e", "54a6ed", "9a16"))
SHORT, LONG = "Kq7Zx9Wv", "Qx8Jm2Vb" + "Lw5Tn3Rc" * 600 + "Zp4Gd6Hs"
CANARIES = tuple(
    f"canary{place}Tr9Yk" for place in ("Text", "Answer", "Extraction", "Argument", "Result", "Label", "Name")
)
LISTS = ("messages", "classifications", "extractions", "tool_calls")
ERASED = (SHORT, "Zp4Gd6Hs", *CANARIES)
AGENT = {"type": "agent", "id": "agt_" + "5" * 24, "display_name": None}
_HERE = "mindo_pipeline.forgetting"


def contact(contact_id: str, name: str | None = None) -> dict[str, Any]:
    return {"type": "contact", "id": contact_id, "display_name": name}


def plant(world: World) -> None:
    """Ana alone with an agent, Ana together with Bea, Bea and Cid together; and Ana at another company."""
    text, answer, extraction, argument, result, label, name = CANARIES
    first = midnight() - 3 * DAY

    def add(company: int, conversation: str, hours: int, said: str, author: dict[str, Any], **lists: Any) -> None:
        direction = "inbound" if author["type"] == "contact" else "outbound"
        world.add_message(
            company,
            first + timedelta(hours=hours),
            said,
            conversation_id=conversation,
            direction=direction,
            author=author,
            **lists,
        )

    add(42, ALONE, 1, f"soy Ana {text}", contact(ANA, name), extractions=[{"field": "dni", "value": extraction}])
    add(42, ALONE, 2, SHORT, contact(ANA), classifications=[{"label": "Intent", "value": label}])
    add(42, ALONE, 25, LONG, contact(ANA))
    call_ = {"name": "find", "status": "ok", "arguments": {"who": argument}, "result": {"found": result}}
    add(42, ALONE, 26, f"hola Ana {answer}", AGENT, tool_calls=[call_])
    add(42, SHARED, 3, text, contact(ANA), classifications=[{"label": "Intent", "value": label}])
    add(42, SHARED, 4, "soy Bea", contact(BEA), classifications=[{"label": "Intent", "value": "hola"}])
    add(42, SHARED, 5, "hola a las dos", AGENT)
    add(42, PAIR, 6, "Bea otra vez", contact(BEA))
    add(42, PAIR, 7, "y Cid", contact(CID))
    add(42, PAIR, 8, "hola Bea y Cid", AGENT)
    add(57, "conv_" + "57" * 12, 4, text, contact(ANA))


@pytest.fixture(scope="module")
def planted_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs it keeps the loaded warehouse for the others."""
    return tmp_path_factory.mktemp("planted") / "warehouse.duckdb"


@pytest.fixture
def planted(
    api: Emulator[World], planted_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Emulator[World]:
    """An emulator with those people, and a warehouse that was loaded from it; temporary files lie in the same folder."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    plant(api.world)
    if not planted_file.exists():
        assert mindo("run", "--quiet").code == 0
        shutil.copy("warehouse.duckdb", planted_file)
    shutil.copy(planted_file, "warehouse.duckdb")
    return api


def found(texts: Iterable[str] = ERASED, folder: Path | str = ".") -> dict[str, set[str]]:
    """Files that hold a text, byte for byte."""
    there: dict[str, set[str]] = {}
    for path in Path(folder).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            for text in texts:
                if text.encode() in content:
                    there.setdefault(text, set()).add(str(path))
    return there


def audit() -> list[dict[str, Any]]:
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        cursor = connection.execute("SELECT * FROM mindo.audit_log ORDER BY requested_at, subject, company_id")
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def audited() -> list[tuple[Any, ...]]:
    """Subject, company, rows of each table, and whether it is finished."""
    return [
        (row["subject"], row["company_id"], *(row[name] for name in LISTS), row["finished_at"] is not None)
        for row in audit()
    ]


ANA_ERASED = [(ANA, 42, 5, 2, 1, 1, True), (ANA, 57, 1, 0, 0, 0, True)]


def nothing_of_ana() -> bool:
    return count(where=f"author__id = '{ANA}' OR conversation_id = '{ALONE}'") == 0


# --- erasing -------------------------------------------------------------------------------------------------------


def test_every_byte_of_a_contact_is_gone_and_every_other_row_is_as_it_was(planted: Emulator[World]) -> None:
    assert found().keys() == set(ERASED)
    Path("warehouse.duckdb").chmod(0o640)
    before = snapshot("warehouse.duckdb")
    result = mindo("forget", "--contact", ANA, "--yes")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[-1].startswith(
        "erased: 6 messages and 4 rows of their lists, in 3 conversations of 2 companies; the file was written anew"
    )
    assert found() == {}
    after = snapshot("warehouse.duckdb")
    gone = {
        key for key, row in before["messages"].items() if row["author__id"] == ANA or row["conversation_id"] == ALONE
    }
    assert len(gone) == 6
    for table in TABLES:
        assert after[table] == {key: row for key, row in before[table].items() if key[:2] not in gone}
    assert audited() == ANA_ERASED
    for row in audit():
        assert row.pop("action") == "forget_contact"
        assert row.pop("requested_at") <= row.pop("finished_at")
        assert set(row) == {"audit_id", "subject", "company_id", *LISTS, "_dlt_load_id"}
    assert Path("warehouse.duckdb").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in Path().glob("warehouse*")) == ["warehouse.duckdb", "warehouse.duckdb.lock"]
    staged = query(
        "warehouse.duckdb", "SELECT table_name FROM information_schema.tables WHERE table_schema = 'mindo_staging'"
    )
    assert {name for (name,) in staged}.isdisjoint(TABLES)


def test_a_conversation_is_erased_with_everybody_in_it(planted: Emulator[World]) -> None:
    assert mindo("forget", "--conversation", SHARED, "--yes").code == 0
    assert count(where=f"conversation_id = '{SHARED}'") == 0
    assert count("messages__classifications", f"conversation_id = '{SHARED}'") == 0
    assert count(where=f"author__id IN ('{ANA}', '{BEA}')") == 5
    assert audited() == [(SHARED, 42, 3, 2, 0, 0, True)]


def test_who_shares_a_conversation_with_nobody_else_left_takes_it_whole(planted: Emulator[World]) -> None:
    assert mindo("forget", "--contact", BEA, "--yes").code == 0
    assert count(where=f"conversation_id = '{PAIR}'") == 2
    assert mindo("forget", "--contact", CID, "--yes").code == 0
    assert count(where=f"conversation_id = '{PAIR}'") == 0
    assert count(where=f"conversation_id = '{SHARED}'") == 2


def test_a_row_counts_once_however_many_ids_name_it(planted: Emulator[World]) -> None:
    result = mindo("forget", "--contact", ANA, "--contact", BEA, "--conversation", SHARED, "--yes", "--json")
    document = result.document
    assert result.code == 0
    assert document["rows"]["messages"] == sum(s["rows"]["messages"] for s in document["subjects"]) == 9
    assert (document["erased"], document["not_held"]) == (True, [])
    assert (document["contacts"], document["conversations"]) == ([ANA, BEA], [SHARED])
    assert {ALONE, SHARED} <= set(document["whole_conversations"])
    assert PAIR not in document["whole_conversations"]
    assert sum(row["messages"] for row in audit()) == 9
    assert {row["subject"] for row in audit()} == {ANA, BEA, SHARED}


# --- later runs ----------------------------------------------------------------------------------------------------


def test_no_later_run_brings_them_back_and_everybody_else_still_comes(planted: Emulator[World]) -> None:
    mindo("forget", "--contact", ANA, "--yes")
    planted.world.add_message(42, midnight() - DAY, "soy Bea, todavía", conversation_id=SHARED, author=contact(BEA))
    planted.world.add_message(42, midnight() - DAY, CANARIES[0], conversation_id=ALONE, author=AGENT)
    planted.world.add_message(42, midnight() - DAY, CANARIES[0], conversation_id=SHARED, author=contact(ANA))
    planted.world.add_message(42, midnight() - DAY, CANARIES[0], conversation_id="conv_new", author=AGENT)
    planted.world.add_message(42, midnight() - DAY, CANARIES[0], conversation_id="conv_new", author=contact(ANA))
    start = (midnight() - 4 * DAY).date().isoformat()
    for arguments in (
        ("run",),
        ("run", "--channel", "whatsapp", "--include", "none"),
        ("backfill", "--from", start),
        ("state", "forget", "--all", "--yes"),
        ("run",),
    ):
        assert mindo(*arguments, "--quiet").code == 0, arguments
        assert nothing_of_ana(), arguments
        assert found() == {}, arguments
    assert count(where="content__text = 'soy Bea, todavía'") == 1
    assert count(where="company_id = 42") == planted.world.count(42) - 9
    assert [row for row in audited() if row[0] == ANA] == ANA_ERASED


def test_an_id_that_is_not_there_never_comes(planted: Emulator[World]) -> None:
    result = mindo("forget", "--contact", "ctc_later", "--conversation", "conv_later", "--yes")
    assert result.code == 0
    assert "ctc_later: the warehouse holds nothing of it; it is noted, so that later runs leave it out" in result.err
    assert "nothing of it was there" in result.out
    assert audited() == [("conv_later", None, 0, 0, 0, 0, True), ("ctc_later", None, 0, 0, 0, 0, True)]
    planted.world.add_message(42, midnight() - DAY, author=contact("ctc_later"), conversation_id="conv_1")
    planted.world.add_message(42, midnight() - DAY, author=AGENT, conversation_id="conv_later")
    planted.world.add_message(42, midnight() - DAY, author=AGENT, conversation_id="conv_1")
    assert mindo("run", "--quiet", "--companies", "42").code == 0
    assert count(where="author__id = 'ctc_later' OR conversation_id = 'conv_later'") == 0
    # what is answered there quotes the person, also in a conversation that nobody knew of
    assert count(where="conversation_id = 'conv_1'") == 0
    planted.world.add_message(42, midnight() - DAY, author=AGENT, conversation_id="conv_1")
    planted.world.add_message(42, midnight() - DAY, author=AGENT, conversation_id="conv_2")
    assert mindo("run", "--quiet", "--companies", "42").code == 0
    assert count(where="conversation_id = 'conv_1'") == 0
    assert count(where="conversation_id = 'conv_2'") == 1


def test_somebody_can_be_forgotten_before_the_first_run(api: Emulator[World]) -> None:
    plant(api.world)
    assert mindo("forget", "--contact", ANA, "--yes", "--quiet").code == 0
    assert mindo("run", "--quiet", "--companies", "42").code == 0
    assert count(where=f"author__id = '{ANA}'") == 0
    assert count(where=f"author__id = '{BEA}'") == 2


# --- others who wrote there ------------------------------------------------------------------------------------------

GROUP = "conv_" + "6" * 24


def backfill(days_ago: int, until_days_ago: int = 0) -> None:
    days = [(midnight() - days * DAY).date().isoformat() for days in (days_ago, until_days_ago)]
    result = mindo("backfill", "--from", days[0], "--to", days[1], "--companies", "42", "--quiet")
    assert result.code == 0, result.err


def verified() -> int:
    start = (midnight() - 4 * DAY).date().isoformat()
    return mindo("verify", "--from", start, "--to", midnight().date().isoformat(), "--companies", "42").code


def of_group() -> list[str]:
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        rows = connection.execute(
            "SELECT content__text FROM mindo.messages WHERE conversation_id = $group ORDER BY occurred_at",
            {"group": GROUP},
        ).fetchall()
    return [text for (text,) in rows]


def judged() -> str | None:
    """What the group counts as."""
    warehouse = forgetting.Warehouse()
    warehouse.reading()
    forgotten = warehouse.coverage.forgotten()
    return next((name for name in ("conversations", "derived", "shared") if GROUP in getattr(forgotten, name)), None)


def say(api: Emulator[World], days_ago: float, text: str, author: dict[str, Any]) -> None:
    api.world.add_message(42, midnight() - days_ago * DAY, text, conversation_id=GROUP, author=author)


def test_who_was_silent_while_the_forgotten_wrote_loses_nothing(planted: Emulator[World]) -> None:
    assert mindo("forget", "--contact", ANA, "--yes", "--quiet").code == 0
    say(planted, 3.5, "Bea first", contact(BEA))
    say(planted, 3.4, "to Bea", AGENT)
    backfill(4)
    say(planted, 0.9, CANARIES[0], contact(ANA))
    say(planted, 0.8, CANARIES[1], AGENT)
    backfill(1)
    assert (of_group(), judged()) == (["Bea first", "to Bea"], "derived")
    say(planted, 2.5, "Bea late", contact(BEA))
    say(planted, 0.7, "Bea again", contact(BEA))
    backfill(4, 2)
    assert (of_group(), judged()) == (["Bea first", "to Bea", "Bea late"], "shared")
    backfill(4)
    assert of_group() == ["Bea first", "to Bea", "Bea late", CANARIES[1], "Bea again"]
    assert count(where=f"author__id = '{ANA}'") == 0
    assert (verified(), judged()) == (0, "shared")


def test_verify_leaves_out_what_a_run_leaves_out(planted: Emulator[World]) -> None:
    say(planted, 3.5, CANARIES[0], contact(ANA))
    assert mindo("forget", "--contact", ANA, "--yes", "--quiet").code == 0
    say(planted, 0.8, CANARIES[1], AGENT)
    say(planted, 0.7, CANARIES[1], {"type": "operator", "id": "usr_1", "display_name": None})
    backfill(4)
    assert (of_group(), judged(), verified()) == ([], "derived", 0)
    say(planted, 1.5, "Bea", contact(BEA))
    assert verified() == 6
    backfill(4)
    assert of_group() == ["Bea", CANARIES[1], CANARIES[1]]
    assert (judged(), verified()) == ("shared", 0)


def test_who_wrote_outside_of_what_was_loaded_comes_with_it(api: Emulator[World]) -> None:
    say(api, 3.5, "Bea first", contact(BEA))
    say(api, 0.9, CANARIES[0], contact(ANA))
    say(api, 0.8, "to both", AGENT)
    backfill(1)
    assert mindo("forget", "--contact", ANA, "--yes", "--quiet").code == 0
    assert (of_group(), judged()) == ([], "derived")
    backfill(4)
    assert (of_group(), judged(), verified()) == (["Bea first", "to both"], "shared", 0)
    # the second one is judged by the command, which knows that nobody else is left
    assert mindo("forget", "--contact", BEA, "--yes", "--quiet").code == 0
    assert (of_group(), judged(), verified()) == ([], "derived", 0)


def test_what_was_answered_before_the_forgotten_wrote_goes_when_it_is_asked_for_again(planted: Emulator[World]) -> None:
    assert mindo("forget", "--contact", ANA, "--yes", "--quiet").code == 0
    say(planted, 3.5, f"hola Ana {CANARIES[1]}", AGENT)
    backfill(4)
    say(planted, 0.9, CANARIES[0], contact(ANA))
    backfill(1)
    assert (len(of_group()), judged()) == (1, "derived")
    assert mindo("forget", "--contact", BEA, "--yes", "--quiet").code == 0
    assert len(of_group()) == 1
    point = KillPoint("erased, file as it was", f"{_HERE}:_reclaim", "before")
    arguments = ("forget", "--contact", ANA, "--yes", "--json")
    assert run_and_kill(call, arguments, at=point).killed
    assert of_group() == []
    document = mindo(*arguments).document
    assert (document["erased"], document["rows"]["messages"], document["not_held"]) == (True, 0, [ANA])
    assert [row for row in audited() if row[0] == GROUP] == [(GROUP, 42, 1, 0, 0, 0, True)]
    assert found() == {}


# --- killed in between ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "erased", "bytes_left"),
    [
        (KillPoint("noted, nothing erased", f"{_HERE}:erase", "before"), False, True),
        (KillPoint("erased, file as it was", f"{_HERE}:_reclaim", "before"), True, True),
        (KillPoint("copy made", "mindo_pipeline.reclaiming:_held", "before"), True, True),
        (KillPoint("file replaced, not finished", f"{_HERE}:_finish", "before"), True, False),
    ],
    ids=lambda value: value.name if isinstance(value, KillPoint) else "",
)
def test_the_same_command_finishes_what_was_killed(
    planted: Emulator[World], point: KillPoint, erased: bool, bytes_left: bool
) -> None:
    arguments = ("forget", "--contact", ANA, "--yes", "--quiet")
    ended = run_and_kill(call, arguments, at=point)
    assert ended.killed, ended.output
    assert nothing_of_ana() is erased
    assert bool(found()) is bytes_left
    assert [row[-1] for row in audited()] == [False, False]
    assert mindo(*arguments).code == 0
    assert nothing_of_ana()
    assert found() == {}
    assert audited() == ANA_ERASED
    assert sorted(path.name for path in Path().glob("warehouse*")) == ["warehouse.duckdb", "warehouse.duckdb.lock"]


def test_a_run_after_a_killed_one_leaves_them_out_already(planted: Emulator[World]) -> None:
    point = KillPoint("noted, nothing erased", f"{_HERE}:erase", "before")
    assert run_and_kill(call, ("forget", "--contact", ANA, "--yes", "--quiet"), at=point).killed
    assert mindo("run", "--quiet").code == 0
    assert nothing_of_ana()


# --- the file ------------------------------------------------------------------------------------------------------

_OBJECTS = """
CREATE SCHEMA mart;
CREATE TABLE mart.daily AS SELECT CAST(occurred_at AS DATE) AS day, count(*) AS n FROM mindo.messages GROUP BY ALL;
CREATE VIEW mart.a_view AS SELECT * FROM mart.z_view;
CREATE VIEW mart.whole_name AS SELECT company_id FROM warehouse.mindo.messages;
CREATE SEQUENCE mart.numbers START 7;
CREATE TYPE mart.mood AS ENUM ('good', 'bad');
CREATE TABLE mart.notes (id INTEGER PRIMARY KEY DEFAULT nextval('mart.numbers'), mood mart.mood, twice INTEGER AS (id * 2));
INSERT INTO mart.notes (mood) VALUES ('good'), ('bad');
CREATE INDEX by_mood ON mart.notes (mood);
CREATE MACRO mart.plus_one(x) AS x + 1;
COMMENT ON TABLE mart.notes IS 'kept';
"""


def test_what_others_made_in_the_file_survives(planted: Emulator[World]) -> None:
    with duckdb.connect("warehouse.duckdb") as connection:
        connection.execute(
            _OBJECTS.replace(
                "CREATE VIEW mart.a_view",
                "CREATE VIEW mart.z_view AS SELECT company_id FROM mindo.messages;CREATE VIEW mart.a_view",
            )
        )
        daily = connection.execute("FROM mart.daily ORDER BY ALL").fetchall()
    assert mindo("forget", "--contact", ANA, "--yes", "--quiet").code == 0
    with duckdb.connect("warehouse.duckdb") as connection:
        assert connection.execute("FROM mart.daily ORDER BY ALL").fetchall() == daily
        messages = connection.execute("SELECT count(*) FROM mindo.messages").fetchall()
        for view in ("z_view", "a_view", "whole_name"):
            assert connection.execute(f"SELECT count(*) FROM mart.{view}").fetchall() == messages
        assert connection.execute("FROM mart.notes ORDER BY id").fetchall() == [(7, "good", 14), (8, "bad", 16)]
        assert connection.execute("INSERT INTO mart.notes (mood) VALUES ('good') RETURNING id").fetchall() == [(9,)]
        assert connection.execute(
            "SELECT mart.plus_one(1), comment FROM duckdb_tables() WHERE table_name = 'notes'"
        ).fetchall() == [(2, "kept")]
        assert connection.execute("SELECT index_name FROM duckdb_indexes()").fetchall() == [("by_mood",)]


def test_what_can_not_be_copied_leaves_the_file_as_it_is_and_says_so(planted: Emulator[World]) -> None:
    with duckdb.connect("warehouse.duckdb") as connection:
        connection.execute(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child (id INTEGER REFERENCES parent (id))"
        )
        connection.execute("INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1)")
    result = mindo("forget", "--contact", ANA, "--yes", "--quiet")
    assert result.code == 5
    assert (
        "the rows are deleted and stay out, but their bytes may still be in the database: something in it"
        in result.error
    )
    assert nothing_of_ana()
    assert [row[-1] for row in audited()] == [False, False]
    assert sorted(path.name for path in Path().glob("warehouse*")) == ["warehouse.duckdb", "warehouse.duckdb.lock"]
    with duckdb.connect("warehouse.duckdb") as connection:
        connection.execute("DROP TABLE child")
    assert mindo("forget", "--contact", ANA, "--yes", "--quiet").code == 0
    assert found() == {}
    assert audited() == ANA_ERASED


def test_without_room_for_a_copy_the_rows_are_gone_and_the_line_says_what_is_left_to_do(
    planted: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")
    with monkeypatch.context() as patch:
        patch.setattr(reclaiming.shutil, "disk_usage", lambda _: usage._replace(free=1_000))
        result = mindo("forget", "--contact", ANA, "--yes", "--json")
    assert (result.code, result.document["exit_code"]) == (5, 5)
    assert "free some space, then run the same command again" in result.document["message"]
    assert nothing_of_ana()
    assert mindo("forget", "--contact", ANA, "--yes", "--quiet").code == 0
    assert audited() == ANA_ERASED


def test_a_file_that_changed_meanwhile_is_not_replaced(
    planted: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = reclaiming._held

    def held_late(file: Path, before: Any) -> Any:
        with duckdb.connect(str(file)) as other:
            other.execute("CREATE TABLE main.late AS SELECT 1 AS one")
        return held(file, before)

    monkeypatch.setattr(reclaiming, "_held", held_late)
    result = mindo("forget", "--contact", ANA, "--yes", "--quiet")
    assert result.code == 5
    assert "another process has written to it meanwhile" in result.error
    with duckdb.connect("warehouse.duckdb") as connection:
        assert connection.execute("FROM late").fetchall() == [(1,)]


# --- asking --------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["n\n", "", "yep\n"])
def test_without_a_yes_nothing_happens(planted: Emulator[World], monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    before = Path("warehouse.duckdb").read_bytes()
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    result = mindo("forget", "--contact", ANA)
    assert result.code == 130
    assert "Erase 6 messages and 4 rows of their lists, in 3 conversations of 2 companies for good? [y/N]" in result.err
    assert result.err.endswith("interrupted: declined; nothing was changed.\n")
    assert [line.split()[:3] for line in result.out.splitlines() if line.startswith("ctc_")] == [
        [ANA, "42", "5"],
        [ANA, "57", "1"],
    ]
    assert Path("warehouse.duckdb").read_bytes() == before


def test_a_yes_at_the_terminal_is_enough(planted: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("Y\n"))
    assert mindo("forget", "--contact", ANA).code == 0
    assert nothing_of_ana()


def test_without_a_terminal_it_has_to_be_confirmed_on_the_command_line(planted: Emulator[World]) -> None:
    before = Path("warehouse.duckdb").read_bytes()
    result = mindo("forget", "--contact", ANA, "--quiet")
    assert result.code == 2
    assert result.error == "error: yes: there is no terminal to ask at; add --yes to confirm."
    assert json.loads(mindo("forget", "--contact", ANA, "--json").out)["exit_code"] == 2
    assert Path("warehouse.duckdb").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "contact: missing"),
        (("--contact", ""), "contact: '' is not an id like ctc_"),
        (("--contact", "ctc_"), "contact: 'ctc_' is not an id"),
        (("--contact", "conv_1"), "contact: 'conv_1' is not an id"),
        (("--conversation", "ctc_1"), "conversation: 'ctc_1' is not an id"),
        (("--contact", "ctc_1 OR 1=1"), "contact: 'ctc_1 OR 1=1' is not an id"),
        (("--contact", "ctc_1\x1b[2J"), r"contact: 'ctc_1\x1b[2J' is not an id"),
        (("--contact", "ctc_1\n"), r"contact: 'ctc_1\n' is not an id"),
        (("--contact", "ctc_" + "1" * 200), "is not an id"),
    ],
    ids=repr,
)
def test_what_is_no_id_is_refused(arguments: tuple[str, ...], expected: str) -> None:
    result = mindo("forget", *arguments, "--yes")
    assert result.code == 2
    assert expected in result.error
    assert not Path("warehouse.duckdb").exists()


def test_an_id_is_never_read_as_sql(planted: Emulator[World]) -> None:
    before = snapshot("warehouse.duckdb")
    ids = ["ctc_'OR'1'='1", "ctc_%s%(x)s", "ctc_{messages}", "ctc_?;--", 'ctc_"', "ctc_\\", "ctc_$1"]
    conversations = ["conv_')OR(1=1", "conv_');DROP/**/TABLE/**/mindo.messages;--", "conv_%"]
    arguments = [part for name in ids for part in ("--contact", name)]
    arguments += [part for name in conversations for part in ("--conversation", name)]
    assert mindo("forget", *arguments, "--yes", "--quiet").code == 0
    assert snapshot("warehouse.duckdb") == before
    assert sorted(row["subject"] for row in audit()) == sorted(ids + conversations)
    assert mindo("run", "--companies", "42", "--quiet").code == 0
    assert snapshot("warehouse.duckdb")["messages"].keys() == before["messages"].keys()


def test_a_second_writer_is_told_to_wait(planted: Emulator[World]) -> None:
    with forgetting.Warehouse().writing():
        result = mindo("forget", "--contact", ANA, "--yes", "--quiet")
    assert result.code == 5
    assert "another mindo run is writing to it" in result.error
    assert not nothing_of_ana()
