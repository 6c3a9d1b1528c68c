"""Everything the README states that a machine can check: its SQL, Python, shell, TOML, YAML, JSON, tables and links."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
import typer
from croniter import croniter
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.pipeline.exceptions import PipelineStepFailed

from mindo import WindowsIncomplete, mindo_source, resolve_options
from mindo.columns import AUDIT_LOG, DECLARED, PRIMARY_KEYS
from mindo.configuration import MindoConfiguration
from mindo.settings import ASSUMPTIONS, CHANNELS
from mindo_emulator import GLOBAL_DEMO_KEY, Emulator, World, demo_key
from mindo_pipeline.cli import app
from mindo_pipeline.defaults import DEFAULTS, DUCKDB_DEFAULTS
from mindo_pipeline.exit_codes import ExitCode
from mindo_pipeline.observing.notifying import NotifyConfiguration
from mindo_pipeline.running import DEFAULT_LOAD_MESSAGES
from mindo_pipeline.warehouse import DEFAULT_DATASET, DEFAULT_DESTINATION, Warehouse
from tests.docs.page import ROOT, Block, anchors, blocks, codes, links, prose, read, table
from tests.mindo_pipeline.harness import DAY, count, midnight, mindo

Row = dict[str, Any]
NOW = datetime(2026, 5, 1, 3, tzinfo=UTC)


def all_commands() -> dict[str, Any]:
    """Every command by its name, those of groups like `state show`."""
    commands = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        members = getattr(command, "commands", None)
        commands |= {f"{name} {member}": own for member, own in members.items()} if members else {name: command}
    return commands


COMMANDS = all_commands()


# --- the ten questions ---------------------------------------------------------------------------------------------


@pytest.fixture
def demo(demo_file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(demo_file), read_only=True) as connection:
        yield connection


def ask(connection: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    cursor = connection.execute(sql)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def volume(rows: list[Row], demo: duckdb.DuckDBPyConnection) -> None:
    assert sum(row["messages"] for row in rows) == 3_000
    assert all(row["week"].weekday() == 0 and 0 < row["conversations"] <= row["messages"] for row in rows)
    assert len({row["company"] for row in rows}) == 3
    zones = dict(demo.execute("SELECT name, timezone FROM mindo.companies").fetchall())
    weeks: Counter[tuple[str, date, str]] = Counter()
    for name, channel, at in demo.execute(
        "SELECT name, channel, epoch_us(occurred_at) FROM mindo.messages JOIN mindo.companies USING (company_id)"
    ).fetchall():
        day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).astimezone(ZoneInfo(zones[name])).date()
        weeks[name, day - timedelta(days=day.weekday()), channel] += 1
    assert {(row["company"], row["week"], row["channel"]): row["messages"] for row in rows} == weeks


def first_response(rows: list[Row], demo: duckdb.DuckDBPyConnection) -> None:
    assert len(rows) == 3
    assert all(row["conversations"] > 20 and 0 < row["median_seconds"] <= row["p95_seconds"] for row in rows)


def containment(rows: list[Row], demo: duckdb.DuckDBPyConnection) -> None:
    assert len(rows) == 3
    for row in rows:
        assert row["contained_percent"] > row["handed_off_percent"] > 0
        assert row["contained_percent"] + row["handed_off_percent"] == pytest.approx(100)


def intents(rows: list[Row], demo: duckdb.DuckDBPyConnection) -> None:
    percent: defaultdict[date, float] = defaultdict(float)
    for row in rows:
        percent[row["month"]] += row["percent"]
    assert all(total == pytest.approx(100, abs=1) for total in percent.values())
    assert {"price_inquiry", "order_inquiry"} <= {row["intent"] for row in rows}


def tools(rows: list[Row], demo: duckdb.DuckDBPyConnection) -> None:
    assert (
        sum(row["calls"] for row in rows) == ask(demo, "SELECT count(*) AS n FROM mindo.messages__tool_calls")[0]["n"]
    )
    assert 0 < rows[0]["error_percent"] <= 100
    assert all(0 < row["median_ms"] <= row["p95_ms"] for row in rows)


def failed_calls(rows: list[Row], demo: duckdb.DuckDBPyConnection) -> None:
    assert rows == sorted(rows, key=lambda row: row["occurred_at"], reverse=True)
    assert all(row["error"] and re.fullmatch(r"[0-9a-f]{32}", row["trace_id"]) for row in rows)
    with_order = [row for row in rows if row["order_number"]]
    assert with_order
    assert all(str(json.loads(row["arguments"])["pedido"]) == row["order_number"] for row in with_order)


def waiting(rows: list[Row], demo: duckdb.DuckDBPyConnection) -> None:
    conversations = ask(demo, "SELECT count(DISTINCT conversation_id) AS n FROM mindo.messages")[0]["n"]
    assert 0 < len(rows) < conversations
    assert all(row["hours_waiting"] >= 0 and row["last_message"] is not None for row in rows)


def busiest(rows: list[Row], demo: duckdb.DuckDBPyConnection) -> None:
    assert Counter(row["company"] for row in rows) == {row["company"]: 3 for row in rows}
    assert len(rows) == 9
    assert all(0 <= row["hour"] < 24 and row["day"].endswith("day") and row["messages"] > 0 for row in rows)


def extracted(rows: list[Row], demo: duckdb.DuckDBPyConnection) -> None:
    assert all(row["order_number"] for row in rows)
    assert any(isinstance(row["amount"], float) and row["amount"] > 0 for row in rows)
    assert any(row["city"] for row in rows)


def freshness(rows: list[Row], demo: duckdb.DuckDBPyConnection) -> None:
    assert [row["company_id"] for row in rows] == [42, 57, 63]
    for row in rows:
        assert (row["gaps"], row["since"].astimezone(UTC)) == (0, midnight() - timedelta(days=28))
        assert 0 <= row["minutes_old"] < 24 * 60
        assert row["up_to"] <= row["last_read_at"]


ANSWERS: dict[str, Callable[[list[Row], duckdb.DuckDBPyConnection], None]] = {
    "How many messages per channel and week, on each company's own clock?": volume,
    "How long does a contact wait for the first answer?": first_response,
    "How many conversations does the AI contain, and how many does it hand off?": containment,
    "How does the mix of intents change over time?": intents,
    "Which tools fail, and which are slow?": tools,
    "Which tool calls failed, with which arguments, and what is their Langfuse trace?": failed_calls,
    "Which conversations wait for an answer?": waiting,
    "When are the busiest hours of the week?": busiest,
    "What was extracted from each conversation?": extracted,
    "How fresh is each company, and has its history gaps?": freshness,
}


def test_there_are_ten_questions_and_each_is_checked() -> None:
    assert [block.heading for block in blocks("sql")] == list(ANSWERS)
    assert len(ANSWERS) == 10


@pytest.mark.parametrize("block", blocks("sql"), ids=lambda block: block.heading)
def test_each_question_is_answered_from_the_demo(block: Block, demo: duckdb.DuckDBPyConnection) -> None:
    rows = ask(demo, block.text)
    assert rows
    ANSWERS[block.heading](rows, demo)


def test_a_gap_in_the_ledger_is_seen_by_the_last_question(demo_file: Path, tmp_path: Path) -> None:
    shutil.copy(demo_file, "gap.duckdb")
    with duckdb.connect("gap.duckdb") as connection:
        gap = midnight() - timedelta(days=10)
        connection.execute("DELETE FROM mindo.export_windows WHERE company_id = 57 AND window_start = ?", [gap])
        rows = ask(connection, blocks("sql")[-1].text.replace("mindo.", "gap.mindo."))
    assert {row["company_id"]: row["gaps"] for row in rows} == {42: 0, 57: 1, 63: 0}


# --- Python --------------------------------------------------------------------------------------------------------


def python(text: str) -> Block:
    (found,) = (block for block in blocks("python") if text in block.text)
    return found


def test_the_tables_can_be_looked_at_as_shown(demo_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(demo_file, "warehouse.duckdb")
    exec(python("duckdb.connect").text, {})
    assert "META_WHATSAPP" in capsys.readouterr().out


def test_the_library_is_used_as_shown(api: Emulator[World], capsys: pytest.CaptureFixture[str]) -> None:
    exec(python("pipeline.run").text, {})
    shown = dict(ast.literal_eval(capsys.readouterr().out))
    assert shown["META_WHATSAPP"] > 0
    assert sum(shown.values()) == count() == api.world.count(42) + api.world.count(57)


def test_a_library_run_is_all_or_nothing(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}
    exec(python("pipeline.run").text.partition("pipeline.run")[0], shown)
    api.faults.add("server_error", company=57, times=None)
    with pytest.raises(PipelineStepFailed) as failure:
        shown["pipeline"].run(mindo_source(company_ids=[42, 57]))
    link: BaseException = failure.value
    while link.__cause__ is not None:
        link = link.__cause__
    assert isinstance(link, WindowsIncomplete)
    assert "company 57 [" in str(link)
    assert count() == 0
    assert set(shown["mindo_source"](company_ids=[42]).resources) == {"messages", "companies"}


def test_every_python_block_is_tested() -> None:
    assert len(blocks("python")) == 2


# --- shell ---------------------------------------------------------------------------------------------------------


def command_lines() -> list[str]:
    """Every `mindo …` of the page: in shell blocks, in the cron lines, in the text."""
    text = "\n".join(block.text for language in ("sh", "cron") for block in blocks(language))
    found = re.findall(r"(?:^|&& |run: |/bin/)(mindo [^#>\n]*)", text, re.MULTILINE)
    found += [code for code in codes(prose()) if code.startswith("mindo ")]
    return sorted({line.strip() for line in found})


@pytest.mark.parametrize("line", command_lines())
def test_every_command_line_is_one_that_the_command_takes(line: str) -> None:
    words = shlex.split(line)[1:]
    if words[0] == "--version":
        assert mindo(words[0]).out.startswith("mindo ")
    else:
        name = named_command(words)
        COMMANDS[name].make_context(name, words[len(name.split()) :])


def named_command(words: list[str]) -> str:
    """The command that words begin with; its name has one word or two."""
    return next(name for length in (2, 1) if (name := " ".join(words[:length])) in COMMANDS)


def test_every_command_appears_with_its_line() -> None:
    lines = [line.split()[1:] for line in command_lines() if line.split()[1] != "--version"]
    assert {named_command(words) for words in lines} >= set(COMMANDS)


def test_every_make_target_is_one_of_the_makefile() -> None:
    lines = [line for block in blocks("sh") for line in block.text.splitlines()] + codes(prose())
    named = {line.split()[1] for line in lines if line.startswith("make ")}
    targets = set(re.findall(r"^([a-z]+):.*## ", read(ROOT / "Makefile"), re.MULTILINE))
    assert {"demo", "test", "setup", "lint"} <= named <= targets


def test_five_minutes_to_a_real_key_go_as_described(
    server: Emulator[World], monkeypatch: pytest.MonkeyPatch, reload_configuration: None
) -> None:
    assert mindo("init").code == 0
    secrets, config = Path(".dlt/secrets.toml"), Path(".dlt/config.toml")
    key, companies = [block.text for block in blocks("toml")][:2]
    new_key = key.replace("mindo_global_xxxxxxxxxxxxxxxxxxxxxxxx", GLOBAL_DEMO_KEY).splitlines()[1]
    assert 'api_key = ""\n' in secrets.read_text()
    secrets.write_text(secrets.read_text().replace('api_key = ""', new_key))
    (ids, start) = companies.replace("2026-01-01", (midnight() - timedelta(days=3)).date().isoformat()).splitlines()[1:]
    text = config.read_text()
    assert text.count("# company_ids = ") == text.count("# start_date = ") == 1
    text = re.sub("^# company_ids = .*$", ids, text, flags=re.MULTILINE)
    config.write_text(re.sub("^# start_date = .*$", start, text, flags=re.MULTILINE))
    Container()[PluggableRunContext].reload()
    monkeypatch.setenv("SOURCES__MINDO__BASE_URL", server.base_url)
    assert mindo("check").code == 0
    assert not Path("warehouse.duckdb").exists()
    assert mindo("run").code == 0
    assert count() == server.world.count(42) + server.world.count(57)
    assert mindo("status").code == 0


# --- TOML, cron ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.text.splitlines()[1])
def test_every_toml_block_is_accepted(block: Block, reload_configuration: None) -> None:
    wanted = tomllib.loads(block.text)["sources"]["mindo"]
    assert set(wanted) <= {field.name for field in fields(MindoConfiguration)}
    Path(".dlt").mkdir()
    Path(".dlt/secrets.toml" if "api_key" in block.text else ".dlt/config.toml").write_text(block.text)
    Container()[PluggableRunContext].reload()
    options = resolve_options(now=NOW)
    assert options == resolve_options(wanted, now=NOW)
    assert options != resolve_options({"api_key": "mindo_other"}, now=NOW)


def test_tables_of_keys_and_companies_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__API_KEYS", '{"42": "mindo_a", "57": "mindo_b"}')
    monkeypatch.setenv("SOURCES__MINDO__COMPANIES", '{"42": {"name": "Uno", "timezone": "Europe/Madrid"}}')
    options = resolve_options()
    assert options.api_keys == {42: "mindo_a", 57: "mindo_b"}
    assert options.company_ids == (42, 57)
    assert options.companies == {42: {"name": "Uno", "timezone": "Europe/Madrid"}}


def test_the_cron_lines_are_valid() -> None:
    (block,) = blocks("cron")
    assert all(croniter.is_valid(" ".join(line.split()[:5])) for line in block.text.splitlines())


# --- tables that must not go stale ---------------------------------------------------------------------------------


def test_every_column_is_listed() -> None:
    rows = {codes(name)[0]: (codes(key), codes(others)) for name, key, others in table("The tables")}
    assert rows == {
        name: (
            list(PRIMARY_KEYS[name]),
            [column.name for column in columns if column.name not in PRIMARY_KEYS[name]],
        )
        for name, columns in DECLARED.items()
    }


@pytest.mark.parametrize("name", DECLARED)
def test_every_column_is_explained(name: str) -> None:
    rows = table(name, path=ROOT / "docs/tables.md")
    assert rows == [
        [f"**`{c.name}`**" if c.name in PRIMARY_KEYS[name] else f"`{c.name}`", c.data_type, c.description]
        for c in DECLARED[name]
    ]


def test_the_diagram_shows_every_table_and_joins_on_columns_that_both_have() -> None:
    (block,) = blocks("mermaid")
    shown = re.findall(r'(\w+) \|\|--o\{ (\w+) : "([^"]+)"', block.text)
    assert {name for one, many, _ in shown for name in (one, many)} == set(DECLARED)
    for one, many, columns in shown:
        for table_name in (one, many):
            assert set(columns.split(", ")) <= {column.name for column in DECLARED[table_name]}


def test_what_the_demo_discovers_is_what_the_page_says(demo: duckdb.DuckDBPyConnection) -> None:
    found: set[str] = set()
    # the log is made when there is something to tell
    for name, columns in ((name, columns) for name, columns in DECLARED.items() if name != AUDIT_LOG):
        there = {row[0] for row in demo.execute(f"DESCRIBE mindo.{name}").fetchall()}
        assert there >= {column.name for column in columns}
        found |= there - {column.name for column in columns}
    (paragraph,) = (part for part in read().split("\n\n") if part.startswith("In the demo, and in the queries below"))
    assert set(codes(paragraph)) == found


def test_every_option_of_every_command_is_listed() -> None:
    listed = {
        (command, code.split()[0])
        for names, commands, _ in table("Commands and options", 1)
        for code in codes(names)
        for command in commands.split(", ")
    }
    there = {
        (name, option)
        for name, command in COMMANDS.items()
        for parameter in command.params
        for option in parameter.opts
        if parameter.name != "help"
    }
    assert listed == there


def test_every_option_is_listed_with_its_kind_of_value() -> None:
    metavars = {
        (name, option): parameter.metavar
        for name, command in COMMANDS.items()
        for parameter in command.params
        for option in parameter.opts
    }
    for names, commands, _ in table("Commands and options", 1):
        for code in codes(names):
            option, _, metavar = code.partition(" ")
            for command in commands.split(", "):
                assert (metavars[command, option] or "") == metavar, f"{command} {option}"


def test_defaults_of_options_without_configuration_are_right() -> None:
    text = {codes(row[0])[0]: row[2] for row in table("Commands and options", 1)}
    assert f"({DEFAULT_LOAD_MESSAGES})" in text["--load-messages N"]
    assert f"({DEFAULT_DESTINATION})" in text["--destination NAME"]
    assert f"({DEFAULT_DATASET})" in text["--dataset NAME"]
    listen = {parameter.name: parameter.default for parameter in COMMANDS["emulator"].params}
    assert f"({listen['host']}, {listen['port']})" in text["--host ADDRESS"]


def test_every_command_is_listed() -> None:
    assert [codes(row[0])[0].removeprefix("mindo ") for row in table("Commands and options")] == list(COMMANDS)


def test_every_configuration_key_is_listed_with_its_environment_variable() -> None:
    rows = table("Configuration")
    own = list(MindoConfiguration.__annotations__)
    assert sorted(codes(row[0])[0] for row in rows) == sorted(own)
    for row in rows:
        assert codes(row[1]) == [f"SOURCES__MINDO__{codes(row[0])[0].upper()}"]


@pytest.mark.parametrize("row", table("Configuration"), ids=lambda row: row[0].strip("`"))
def test_every_default_is_right(row: list[str]) -> None:
    key = codes(row[0])[0]
    given = codes(row[2])
    default = getattr(MindoConfiguration(), key)
    if given and row[2] == f"`{given[0]}`":
        value = tomllib.loads(f"value = {given[0]}")["value"]
        assert resolve_options({key: value}, now=NOW) == resolve_options(now=NOW)
        assert default in (None, "", value)
    else:
        assert default in (None, ""), f"{key} has the default {default!r}"


def test_without_a_start_date_history_begins_as_many_days_back_as_listed() -> None:
    (row,) = (row for row in table("Configuration") if codes(row[0]) == ["start_date"])
    days = (NOW.date() - resolve_options(now=NOW).start.date()).days
    assert row[2] == f"{days} days before the first run"


def test_the_defaults_for_dlt_are_right() -> None:
    def flat(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        for key, value in document.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    listed = {codes(r[0])[0]: tomllib.loads(f"v = {codes(r[1])[0]}")["v"] for r in table("Configuration", 2)}
    assert listed == dict(flat(DEFAULTS)) | dict(flat(DUCKDB_DEFAULTS))


def test_every_key_of_notify_is_listed_with_its_environment_variable() -> None:
    rows = {codes(row[0])[0]: codes(row[1])[0] for row in table("Configuration", 1)}
    assert rows == {name: f"NOTIFY__{name.upper()}" for name in NotifyConfiguration.__annotations__}


def test_every_exit_code_is_listed() -> None:
    rows = table("Exit codes and --json")
    assert [(int(code), codes(name)[0]) for code, name, _ in rows] == [(c.value, c.name) for c in ExitCode]


def test_every_assumption_is_listed() -> None:
    assert [tuple(row) for row in table("Limits and assumptions")] == list(ASSUMPTIONS.items())


def test_the_channel_mapping_is_the_contracts() -> None:
    assert {codes(row[0])[0]: tuple(codes(row[1])) for row in table("Filters and includes")} == CHANNELS


# --- the JSON object and the lines of failures ---------------------------------------------------------------------


def shape(value: Any) -> Any:
    """The names in a JSON value, and the types of what they hold; keys that are ids are not names."""
    if isinstance(value, dict):
        return {"…" if name.isdigit() else name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value[:1]]
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def test_the_json_object_has_the_shape_shown(api: Emulator[World]) -> None:
    (block,) = blocks("json")
    example = json.loads(block.text)
    arguments = ("--companies", "42", "--from", (midnight() - timedelta(days=2)).isoformat())
    document = mindo("run", "--json").document
    assert [{*change} for change in document["schema_changes"][:1]] == [{"table", "column", "data_type", "is_variant"}]
    again = mindo("run", "--json", *arguments).document
    assert shape(again | {"companies": example["companies"]}) == shape(example)
    assert list(again) == list(example)


def test_every_line_of_a_failure_is_one_that_the_code_has() -> None:
    sources = " ".join(
        path.read_text(encoding="utf-8")
        for folder in ("sources/mindo", "pipelines/mindo_pipeline")
        for path in (ROOT / folder).rglob("*.py")
    )
    text = re.sub(r'"\s*\n?\s*f?"', "", sources)
    missing = [codes(row[0])[0] for row in table("When something goes wrong") if codes(row[0])[0] not in text]
    assert missing == []


def line_of(fragment: str) -> tuple[str, int]:
    (row,) = (row for row in table("When something goes wrong") if codes(row[0])[0] == fragment)
    return fragment, int(row[1])


ENVIRONMENT = {
    "api_key: missing": {"API_KEY": ""},
    "it is wrong, expired or revoked": {"API_KEY": "mindo_global_wrong"},
    "a global key reads every company, so name them": {"COMPANY_IDS": ""},
    "belongs to company": {"API_KEY": demo_key(42), "COMPANY_IDS": "57"},
    "can't be reached": {"BASE_URL": "http://127.0.0.1:9"},
}
FAULTS = {
    "the key has no access": ("company_lost", {}),
    "answers, but not as a Mindo server": ("html_page", {}),
    "limits the rate": ("rate_limited", {}),
    "could not be read whole; the rest is loaded": ("server_error", {"company": 57, "covering": midnight() - DAY}),
}


@pytest.mark.parametrize("fragment", ENVIRONMENT)
def test_configuration_fails_with_the_line_and_code_shown(
    api: Emulator[World], monkeypatch: pytest.MonkeyPatch, fragment: str
) -> None:
    for name, value in ENVIRONMENT[fragment].items():
        monkeypatch.setenv(f"SOURCES__MINDO__{name}", value)
    assert_fails(fragment)


@pytest.mark.parametrize("fragment", FAULTS)
def test_the_api_fails_with_the_line_and_code_shown(api: Emulator[World], fragment: str) -> None:
    kind, arguments = FAULTS[fragment]
    api.faults.add(kind, **{"times": None} | arguments)
    assert_fails(fragment)


def test_the_destination_fails_with_the_line_and_code_shown(api: Emulator[World], demo_file: Path) -> None:
    shutil.copy(demo_file, "warehouse.duckdb")
    with Warehouse().writing():
        assert_fails("another mindo run is writing to it")
    reader = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import duckdb; c = duckdb.connect('warehouse.duckdb', read_only=True); print(flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert reader.stdout is not None
    reader.stdout.readline()
    assert_fails("another process has the database open")
    reader.communicate(b"\n")
    assert_fails("rename one of them", "--dataset", "warehouse")
    Path("warehouse.duckdb").chmod(0o400)
    assert_fails("the database is read-only")


def assert_fails(fragment: str, *arguments: str) -> None:
    line, code = line_of(fragment)
    result = mindo("run", "--quiet", *arguments)
    assert line in result.err
    assert result.code == code


# --- the page itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "docs/tables.md"], ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in links(path):
        file, _, anchor = link.partition("#")
        target = (path.parent / file.replace("\\", "")).resolve() if file else path
        assert target.exists(), link
        if anchor and target.name == "README.md":
            assert anchor in anchors(), link


def test_the_delivery_claim_stands_word_for_word_and_nothing_is_called_exactly_once() -> None:
    text = " ".join(read().replace("**", "").split())
    claim = "at-least-once reads, effectively-once tables, gap-free up to the published watermark of each company"
    assert claim in text
    assert re.findall(r"[^.]*exactly[- ]once[^.]*\.", text) == [" It is never called exactly-once."]


def test_the_promise_is_stated() -> None:
    text = " ".join(read().replace("\n> ", " ").split())
    assert (
        "After a run, for every window the run reports complete, the four tables hold exactly what the API returns for that"
        " window: nothing missing, nothing twice, nothing that the API no longer returns." in text
    )


def test_nothing_of_the_demo_stays_in_the_staging_dataset(demo: duckdb.DuckDBPyConnection) -> None:
    tables = [
        name
        for (name,) in demo.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'mindo_staging'"
        ).fetchall()
    ]
    assert "export_windows" in tables
    assert "messages" not in tables
    for name in tables:
        if not name.startswith("_dlt"):
            assert demo.execute(f"SELECT count(*) FROM mindo_staging.{name}").fetchone() == (0,), name
