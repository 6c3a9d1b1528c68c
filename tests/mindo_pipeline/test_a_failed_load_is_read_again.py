"""A load that failed, or was killed and then refused: it stands in nobody's way, and its windows are read again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from mindo_emulator import Emulator, World
from mindo_pipeline import pending
from mindo_pipeline.cli import call
from mindo_pipeline.warehouse import Warehouse
from tests.crash_trial import assert_nothing_left_behind
from tests.crashing import POINTS, KillPoint, run_and_kill
from tests.mindo_pipeline.harness import COMPANIES, DAY, Result, count, make_world, midnight, mindo, settings
from tests.support import THOROUGH, assert_mirrors

WAREHOUSE = Path("warehouse.duckdb")
FULL = Path("/dev/full")
LOADED, KILLED = 57, 42
NOTHING_NEW = ("--from", midnight().isoformat())
ELSEWHERE = ("run", "--companies", str(LOADED), *NOTHING_NEW)
HERE = ("run", "--companies", str(KILLED), *NOTHING_NEW)
_WRITE = "mindo_pipeline.unfinished:Unfinished._write"


@pytest.fixture(scope="module")
def one_company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse into which one company was loaded."""
    folder = tmp_path_factory.mktemp("one-company")
    with Emulator(make_world()) as emulator, pytest.MonkeyPatch.context() as patch:
        for name, value in {**settings(emulator), "RUNTIME__LOG_LEVEL": "CRITICAL"}.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        assert mindo("run", "--companies", str(LOADED), "--quiet").code == 0
    return folder / WAREHOUSE


@pytest.fixture
def world(api: Emulator[World], one_company: Path) -> World:
    """What is served; one of its companies is loaded."""
    shutil.copy(one_company, WAREHOUSE)
    return api.world


def kill(point: KillPoint) -> None:
    """Kills a run of the other company."""
    ended = run_and_kill(call, ["run", "--companies", str(KILLED)], at=point)
    assert ended.killed, ended.err


def execute(*statements: str) -> None:
    with duckdb.connect(str(WAREHOUSE)) as connection:
        for statement in statements:
            connection.execute(statement)


def refuse_texts() -> None:
    """Makes the destination refuse every message that has a text."""
    execute(
        "ALTER TABLE mindo.messages RENAME COLUMN content__text TO texts",
        "ALTER TABLE mindo.messages ADD COLUMN content__text INTEGER",
    )


def accept_texts() -> None:
    execute(
        "ALTER TABLE mindo.messages DROP COLUMN content__text",
        "ALTER TABLE mindo.messages RENAME COLUMN texts TO content__text",
    )


def unfinished() -> list[dict[str, str]]:
    """What status says has to be read again."""
    found = mindo("status", "--json").document["unfinished"]
    assert isinstance(found, list)
    return found


def note() -> Path:
    """The file that holds it."""
    path = Warehouse().unfinished.path
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def packages() -> list[Path]:
    """Files of messages that wait to be loaded."""
    return list(Path(".dlt/.var/pipelines").rglob("*_jobs/messages.*.parquet"))


def ledger_rows_without_load() -> int:
    return count("export_windows", "_dlt_load_id NOT IN (SELECT load_id FROM mindo._dlt_loads)")


def assert_both_mirror(world: World) -> None:
    assert_mirrors(WAREHOUSE, world, (LOADED, KILLED), midnight() - 4 * DAY, midnight())
    assert_nothing_left_behind()
    assert unfinished() == []
    assert not note().exists()
    assert ledger_rows_without_load() == 0


@pytest.mark.parametrize(
    ("point", "command"),
    [
        ("before the first job", ELSEWHERE),
        ("between tables", ("state", "forget", "--companies", str(LOADED), "--yes")),
        *([("before the package is complete", ELSEWHERE)] if THOROUGH else []),
    ],
    ids=str,
)
def test_a_package_that_the_destination_refuses_stands_in_nobodys_way(
    world: World, point: str, command: tuple[str, ...]
) -> None:
    kill(POINTS[point])
    assert packages()
    refuse_texts()
    assert mindo(*command).code == 0
    assert_nothing_left_behind()
    assert {left["company_id"] for left in unfinished()} == {KILLED}
    assert unfinished()[0]["start"] == f"{(midnight() - 4 * DAY).date()}T00:00:00Z"

    # the run that reads it again is refused again, and says so itself
    again = mindo(*HERE, "--json")
    assert again.code == 5
    assert len(again.document["windows"]) > 1
    assert unfinished()
    assert_nothing_left_behind()

    accept_texts()
    assert mindo(*HERE).code == 0
    assert_both_mirror(world)


def test_what_a_filtered_run_left_is_noted_with_its_filter(world: World) -> None:
    ended = run_and_kill(
        call,
        ["run", "--companies", str(KILLED), "--channel", "whatsapp", "--include", "none"],
        at=POINTS["before the first job"],
    )
    assert ended.killed, ended.err
    refuse_texts()
    assert mindo(*ELSEWHERE).code == 0
    key = "channel=whatsapp direction=all agents=all include="
    assert {left["selection"] for left in unfinished()} == {key}
    assert f"the next run of it reads it again, if it reads {key}" in mindo("status").out
    accept_texts()
    assert mindo(*HERE, "--channel", "instagram").code == 0
    assert unfinished(), "another filter does not read it"
    assert mindo(*HERE).code == 0
    assert_both_mirror(world)


def test_a_package_waits_while_the_destination_is_held(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    kill(POINTS["between tables"])
    waiting = packages()
    with held_by_another_process():
        before = mindo(*ELSEWHERE)
    real = pending._take_back
    with monkeypatch.context() as patch, contextmanager(_holder)() as hold:
        # taken in the moment before the package is loaded
        patch.setattr(pending, "_take_back", lambda *arguments: (real(*arguments), hold()))
        during = mindo(*ELSEWHERE)
    for result in (before, during):
        assert result.code == 5
        assert "another process has the database open" in result.error
    assert {path.name for path in packages()} == {path.name for path in waiting}
    assert unfinished() == []
    assert mindo(*ELSEWHERE).code == 0
    assert_both_mirror(world)


@contextmanager
def held_by_another_process() -> Iterator[None]:
    with contextmanager(_holder)() as hold:
        hold()
        yield


def _holder():  # type: ignore[no-untyped-def]
    """Gives a function that lets another process open the database, which then has it until the end."""
    program = (
        f"import duckdb; c = duckdb.connect({str(WAREHOUSE)!r}, read_only=True); print('open', flush=True); input()"
    )
    holders: list[subprocess.Popen[str]] = []

    def hold() -> None:
        holders.append(
            subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        assert holders[-1].stdout is not None
        assert holders[-1].stdout.readline() == "open\n"

    yield hold
    for holder in holders:
        holder.communicate("\n", timeout=10)


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
def test_on_a_full_disk_the_package_itself_stays(world: World) -> None:
    refuse_texts()
    note().with_suffix(".new").symlink_to(FULL)
    result = mindo("run", "--companies", str(KILLED), "--json")
    assert result.code == 5
    assert not note().exists()
    assert packages(), "nothing is left that could bring the tables together"
    # nor can a later run note it
    note().with_suffix(".new").symlink_to(FULL)
    later = mindo(*ELSEWHERE)
    assert later.code == 5
    assert "the disk of the database is full" in later.error
    assert packages()
    accept_texts()
    assert mindo(*ELSEWHERE).code == 0
    assert_both_mirror(world)


@pytest.mark.parametrize(
    "point",
    [
        KillPoint("note not flushed", "os:fsync", "before", within=_WRITE),
        KillPoint("note not in place", "os:replace", "before", within=_WRITE),
        KillPoint("note in place", "os:replace", within=_WRITE),
    ],
    ids=lambda point: point.name,
)
def test_killed_while_it_is_noted_nothing_is_lost(world: World, point: KillPoint) -> None:
    refuse_texts()
    kill(point)
    accept_texts()
    assert mindo(*HERE).code == 0
    assert_both_mirror(world)


def test_a_note_that_can_not_be_read_is_one_clear_line(world: World) -> None:
    for text in (
        b"",
        b'{"channel=all',
        b"[]",
        b"\xff\xfe",
        b'{"everything": {}}',
        b'{"channel=all direction=all agents=all include=": {"42": [["today"]]}}',
    ):
        note().write_bytes(text)
        assert_says_what_to_do(mindo("status"))
    assert_says_what_to_do(mindo(*HERE))
    note().unlink()
    assert mindo(*HERE).code == 0


def assert_says_what_to_do(result: Result) -> None:
    assert result.code == 2
    assert str(note()) in result.error
    assert "Delete it, then `mindo backfill` the time of the failed load." in result.error


def test_status_tells_what_has_to_be_read_again(world: World) -> None:
    assert unfinished() == []
    assert "unfinished" not in mindo("status").out
    refuse_texts()
    assert mindo("run", "--companies", ",".join(map(str, COMPANIES)), "--from", _day(2), "--to", _day(1)).code == 5
    selection = "channel=all direction=all agents=all include=classifications,extractions,tool_calls,trace_id"
    whole = {"selection": selection, "start": f"{_day(2)}T00:00:00Z", "end": f"{_day(1)}T00:00:00Z"}
    assert unfinished() == [{"company_id": company, **whole} for company in COMPANIES]
    lines = mindo("status").out.splitlines()
    for company in COMPANIES:
        range_ = f"[{whole['start']}, {whole['end']})"
        assert f"unfinished: company {company} {range_}: its load failed; the next run of it reads it again" in lines


def test_a_plan_shows_what_has_to_be_read_again_as_the_run_then_reads_it(world: World) -> None:
    refuse_texts()
    failing = mindo("run", "--companies", str(KILLED), "--from", _day(3), "--to", _day(2))
    assert failing.code == 5
    accept_texts()
    arguments = ("--companies", str(KILLED), "--from", _day(1), "--to", _day(0), "--json")
    planned = mindo("plan", *arguments).document["windows"]
    assert [window["start"] for window in planned] == [f"{day}T00:00:00Z" for day in (_day(1), _day(3))]
    read = mindo("run", *arguments).document["windows"]
    assert [(w["start"], w["end"]) for w in read] == [(w["start"], w["end"]) for w in planned]
    assert not note().exists()


def test_the_ledger_holds_no_load_that_never_ended(world: World) -> None:
    rows = count("export_windows")
    kill(POINTS["before the package is complete"])
    assert ledger_rows_without_load() > 0
    # as if the package had been lost with its machine
    for path in Path(".dlt/.var/pipelines").glob("*/mindo"):
        path.rename(f"{path}.lost")
    assert mindo("state", "forget", "--companies", str(LOADED), "--yes").code == 0
    assert ledger_rows_without_load() == 0
    assert count("export_windows") == rows


def _day(ago: int) -> str:
    return (midnight() - ago * DAY).date().isoformat()
