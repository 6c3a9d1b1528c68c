"""The pages of the site, followed as a reader does: every command, program, setting and query of theirs is given for real.

What needs a service that is not there is checked for being accepted: settings by dlt, SQL by a parser of the dialect.
"""

from __future__ import annotations

import io
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import duckdb
import psycopg2
import pytest
import sqlglot
import yaml
from croniter import croniter
from dlt.common.destination import Destination

from mindo.columns import DECLARED
from mindo.configuration import MindoConfiguration
from mindo_emulator import GLOBAL_DEMO_KEY, Emulator, EmulatorSettings, World
from mindo_pipeline.dagster.settings import Settings as DagsterSettings
from mindo_pipeline.observing.notifying import NotifyConfiguration
from tests.destinations.servers import postgres_server
from tests.docs.following import COMMANDS, PAGES, Reader, accept, called, environment, named_command, shell_lines
from tests.docs.page import ROOT, docs_markdown, read
from tests.mindo_pipeline.harness import count, midnight, mindo

FOLLOWED = {
    "start.md",
    "tutorial.md",
    "troubleshooting.md",
    "how-to/airflow.md",
    "how-to/backfill.md",
    "how-to/bigquery.md",
    "how-to/cron.md",
    "how-to/erase-a-person.md",
    "how-to/filters.md",
    "how-to/lake.md",
    "how-to/many-companies.md",
    "how-to/postgres.md",
    "how-to/snowflake.md",
    "how-to/upgrade.md",
}

GROUPS = [[name.split()[0]] for name in COMMANDS if " " in name]
# what OpenTelemetry calls a window
SPANS = ("mindo window",)
SETTINGS = {
    "sources.mindo": {field.name for field in fields(MindoConfiguration)},
    "notify": {field.name for field in fields(NotifyConfiguration)},
    "dagster": {field.name for field in fields(DagsterSettings)},
    "dbt.vars": {*yaml.safe_load(read(ROOT / "dbt/dbt_project.yml"))["vars"]["mindo"]},
}


@pytest.fixture(scope="module")
def winter() -> Iterator[Emulator[World]]:
    """The two months that the pages on history speak of."""
    world = World.generate(seed=5, start="2026-01-01", end="2026-03-01", messages=120)
    with Emulator(world) as emulator:
        yield emulator


@pytest.fixture
def reader(
    winter: Emulator[World], demo_file: Path, monkeypatch: pytest.MonkeyPatch, reload_configuration: None
) -> Reader:
    """Somebody with a key, and nothing loaded yet."""
    for name, value in environment(
        base_url=winter.base_url, api_key=GLOBAL_DEMO_KEY, company_ids="42,57,63", window_hours="744"
    ):
        monkeypatch.setenv(name, value)
    return Reader(monkeypatch, winter.base_url, demo_file)


def test_five_minutes_end_with_a_conversation(reader: Reader) -> None:
    reader.follow("start.md")
    assert "up to" in reader.results[-1].out
    (longest,) = duckdb.connect("warehouse.duckdb", read_only=True).execute(
        "SELECT max(n) FROM (SELECT count(*) AS n FROM mindo.messages GROUP BY conversation_id)"
    ).fetchone() or (0,)
    assert longest > 2


def test_the_tutorial_shows_what_it_says(
    demo_file: Path, monkeypatch: pytest.MonkeyPatch, reload_configuration: None, capsys: pytest.CaptureFixture[str]
) -> None:
    end = midnight() + timedelta(minutes=1)
    world = World.generate(seed=1, start=end - timedelta(days=5), end=end, messages=200)
    with Emulator(world, EmulatorSettings(control=True)) as emulator:
        reader = Reader(monkeypatch, emulator.base_url, demo_file)
        # fewer requests than by days; what the page says does not depend on it
        monkeypatch.setenv("SOURCES__MINDO__WINDOW_HOURS", "744")
        reader.codes = {"mindo verify": [6, 0]}
        reader.follow("tutorial.md")
    tables, authors, intents, conversation, touched, responses, contact, log = reader.answers
    assert {name for name, _ in tables} >= {*DECLARED} - {"audit_log"}
    assert {"contact", "agent", "operator"} <= {row[0] for row in authors}
    assert len(intents) > 2
    assert len(conversation) > 2
    assert {text for _, text in touched} == {"This was edited.", "This came late."}
    assert len(responses) == 3
    assert [(row[0], row[1]) for row in log] == [("forget_contact", contact[0][0])]
    assert log[0][3] is not None
    assert count(where=f"author__id = '{contact[0][0]}'") == 0

    _, first, again, different, run, equal, *_ = (result.out for result in reader.results)
    assert "demo" in reader.results[1].err + first
    assert "nothing new" in again
    assert "2 of them new or changed" in run
    for word in ("missing", "extra", "changed"):
        assert word in different
    assert "equal" in equal


def test_the_program_of_the_tutorial_asks_what_is_pasted(
    demo_file: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader.make(["demo"])
    (program, _) = docs_markdown.blocks(read(PAGES["tutorial.md"]), "python")
    Path(program.title).write_text(program.text)
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 6 * 7 AS answer"))
    runpy.run_path("ask.py")
    assert "42" in capsys.readouterr().out


def test_many_companies(reader: Reader, monkeypatch: pytest.MonkeyPatch, winter: Emulator[World]) -> None:
    monkeypatch.delenv("SOURCES__MINDO__COMPANY_IDS")
    reader.follow("how-to/many-companies.md")
    assert "Óptica Belgrano SRL" in reader.results[0].out
    assert count() == winter.world.count(63)


def test_history(reader: Reader, winter: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__COMPANY_IDS", "42")
    reader.follow("how-to/backfill.md")
    assert count() == winter.world.count(42)


@pytest.mark.parametrize("page", ["how-to/filters.md", "how-to/cron.md", "how-to/airflow.md", "troubleshooting.md"])
def test_pages_that_need_nothing_else(reader: Reader, page: str) -> None:
    reader.only_looked_at = ("dbt build",)
    reader.follow(page)
    assert reader.results


def test_a_person_is_erased(reader: Reader) -> None:
    reader.make(["demo"])
    # the tutorial builds them
    reader.only_looked_at = ("dbt build",)
    reader.follow("how-to/erase-a-person.md")
    found, log = reader.answers
    assert {row[0] for row in log} == {"forget_contact", "forget_conversation"}
    assert count(where=f"author__id = '{found[0][1]}' OR conversation_id = '{found[0][2]}'") == 0


def test_an_upgrade(reader: Reader, winter: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__START_DATE", "2026-01-01")
    assert mindo("run", "--to", "2026-02-01", "--from", "2026-01-01").code == 0
    reader.follow("how-to/upgrade.md")
    assert Path("warehouse.before-upgrade.duckdb").is_file()
    assert count() == winter.world.count()


def test_postgres(reader: Reader, winter: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__START_DATE", "2026-01-01")
    with postgres_server() as url:
        reader.instead = {"postgresql://loader:password@localhost:5432/analytics": url}

        def ask(sql: str) -> list[tuple[Any, ...]]:
            connection = psycopg2.connect(url)
            with connection, connection.cursor() as cursor:
                cursor.execute(sql.replace("DATABASE analytics TO loader", "DATABASE warehouse TO mindo"))
                return cursor.fetchall() if cursor.description else [("done",)]

        reader.ask = ask
        reader.follow("how-to/postgres.md")
    assert sum(row[1] for row in reader.answers[-1]) == winter.world.count()


def test_a_lake_holds_what_the_query_tells(
    reader: Reader, winter: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__MINDO__START_DATE", "2026-01-01")
    reader.follow("how-to/lake.md")
    assert Path("lake/mindo_delta/messages/_delta_log").is_dir()
    # the same folder as in the query of the page on destinations
    (query,) = docs_markdown.blocks(read(PAGES["destinations.md"]), "sql")
    with duckdb.connect() as connection:
        connection.execute(query.text)
        assert connection.execute("SELECT count(*) FROM latest").fetchone() == (winter.world.count(),)


@pytest.mark.parametrize("name", ["snowflake", "bigquery"])
def test_settings_and_queries_of_a_warehouse_in_the_cloud_are_accepted(reader: Reader, name: str) -> None:
    page = f"how-to/{name}.md"
    # there is no server: the settings are looked at by dlt's own classes, and the query by a parser of the dialect
    reader.only_looked_at = ("check", "run")
    reader.ask = lambda sql: [tuple(sqlglot.parse_one(sql, read=name).named_selects)]
    reader.follow(page)
    assert [[column.lower() for column in row] for (row,) in reader.answers] == [["name", "order_number"]]
    (block,) = docs_markdown.blocks(read(PAGES[page]), "toml")
    given = tomllib.loads(block.text)["destination"][name]
    known = Destination.from_reference(name).spec.get_resolvable_fields()
    assert set(given) <= set(known)
    kinds = get_args(known["credentials"]) or (known["credentials"],)
    assert set(given["credentials"]) <= {setting for kind in kinds for setting in kind.get_resolvable_fields()}


# --- all pages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_is_one_that_the_command_takes(page: str) -> None:
    for words in shell_lines(read(PAGES[page])):
        arguments = called(words)
        if arguments is not None:
            accept(arguments)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_the_text_is_one_that_there_is_with_its_options(page: str) -> None:
    for code in docs_markdown.codes(docs_markdown.without_blocks(read(PAGES[page]))):
        words = shlex.split(code)[1:] if code.startswith("mindo ") else []
        if words and words[0] not in ("--help", "--version") and words not in GROUPS and code not in SPANS:
            options = {name for parameter in named_command(words).params for name in parameter.opts} | {"--help"}
            assert {word for word in words if word.startswith("--")} <= options, code


def test_every_query_and_program_is_on_a_page_that_is_followed() -> None:
    unchecked = {page for page, path in PAGES.items() if docs_markdown.blocks(read(path), "sql", "python")} - FOLLOWED
    # its query is asked of the lake
    assert unchecked == {"destinations.md"}


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_is_one_that_there_is(page: str) -> None:
    for block in docs_markdown.blocks(read(PAGES[page]), "toml"):
        given = tomllib.loads(block.text)
        for section, known in SETTINGS.items():
            found: Any = given
            for part in section.split("."):
                found = found.get(part, {})
            assert set(found) <= known, section
        for name, found in given.get("destination", {}).items():
            assert set(found) <= set(Destination.from_reference(name).spec.get_resolvable_fields())


@pytest.mark.parametrize("page", PAGES)
def test_every_cron_line_is_valid(page: str) -> None:
    for block in docs_markdown.blocks(read(PAGES[page]), "cron"):
        assert croniter.is_valid(" ".join(block.text.split()[:5]))
