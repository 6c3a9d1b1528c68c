"""`demo`, `emulator`, `init` and the help: what a person meets first."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from inspect import get_annotations
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mindo import MindoConfiguration, resolve_options
from mindo_emulator import Emulator, World
from mindo_pipeline import demo as demo_module
from mindo_pipeline.cli import app, call
from mindo_pipeline.insights import INSIGHTS
from mindo_pipeline.session import Session
from mindo_pipeline.setting_up import template_text
from tests.mindo_pipeline.harness import (
    COMMAND,
    DAY,
    TABLES,
    Result,
    count,
    finish,
    left_behind,
    midnight,
    mindo,
    spawn,
)

ROOT = Path(__file__).parents[2]
LAST_DAY = (midnight() - DAY).isoformat()
COMMANDS = ("demo", "emulator", "init", "check", "plan", "run", "backfill", "status")


# --- demo ----------------------------------------------------------------------------------------------------------


def test_demo_loads_counts_answers_and_tells_what_is_next(small_demo: None) -> None:
    result = mindo("demo")
    assert result.code == 0
    assert count() == 500
    for table in (*TABLES, "export_windows", "companies"):
        assert f"mindo.{table} " in result.out
    for insight in INSIGHTS:
        assert insight.title in result.out
    assert "The tables are in warehouse.duckdb, schema mindo" in result.out
    assert "mindo init" in result.out
    assert "loaded: 500 messages read, 500 of them new or changed" in result.out
    (line,) = [line.strip() for line in result.out.splitlines() if "import duckdb" in line]
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
    assert "inbound" in done.stdout


def test_demo_answers_as_json_too(after_demo: None) -> None:
    document = mindo("demo", "--json").document
    assert document["status"] == "complete"
    assert document["tables"]["messages"] == 500
    assert document["tables"]["companies"] == 3
    assert document["database"].endswith("warehouse.duckdb")
    insights = document["insights"]
    assert set(insights) == {insight.name for insight in INSIGHTS}
    assert sum(row["messages"] for row in insights["channels"]["rows"]) == 500
    assert {row["timezone"] for row in insights["busiest_hour"]["rows"]} == {
        "America/Argentina/Buenos_Aires",
        "Europe/Madrid",
        "America/Argentina/Cordoba",
    }
    assert all(row["median_seconds"] > 0 for row in insights["first_response"]["rows"])


def test_a_second_demo_changes_nothing(after_demo: None) -> None:
    again = mindo("demo")
    assert again.code == 0
    assert "nothing new: " in again.out
    assert count() == 500


def test_a_demo_on_another_day_takes_the_place_of_the_first(small_demo: None) -> None:
    def demo(now: datetime) -> None:
        session = Session("demo", quiet=True)
        assert demo_module.demo_command(session, None, now).code == 0

    today = datetime.now(UTC)
    demo(today - 3 * DAY)
    demo(today)
    assert count() == 500
    assert mindo("demo", "--json").document["messages_written"] == 0


def test_demo_leaves_a_real_warehouse_alone(loaded: Emulator[World], small_demo: None) -> None:
    before = Path("warehouse.duckdb").read_bytes()
    result = mindo("demo", "--quiet")
    assert result.code == 2
    assert "holds messages that are not the demo's" in result.error
    assert "--database" in result.error
    assert Path("warehouse.duckdb").read_bytes() == before
    assert mindo("demo", "--database", "demo.duckdb").code == 0
    assert count(file="demo.duckdb") == 500


@pytest.mark.parametrize("command", [["run"], ["backfill", "--from", LAST_DAY]])
def test_real_messages_never_join_the_demos(api: Emulator[World], after_demo: None, command: list[str]) -> None:
    assert "which the first run drops" in mindo("check").out
    assert count() == 500
    result = mindo(*command)
    assert result.code == 0
    assert "made-up messages of `mindo demo` were dropped" in result.err
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        runs = connection.execute("SELECT DISTINCT run_id FROM mindo.export_windows").fetchall()
    assert [run_id for (run_id,) in runs if run_id.startswith("demo-")] == []
    assert len(runs) == 1
    assert mindo("demo").code == 2


def test_demo_reads_and_writes_only_what_it_should(
    api: Emulator[World], small_demo: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "elsewhere.duckdb")
    monkeypatch.setenv("SOURCES__MINDO__API_KEY", "mindo_global_mine")
    monkeypatch.setenv("SOURCES__MINDO__CHANNEL", "whatsapp")
    assert mindo("demo").code == 0
    assert len(api.requests) == 0
    assert count(file="elsewhere.duckdb") == 500
    assert not Path("warehouse.duckdb").exists()


def test_status_after_a_demo(after_demo: None) -> None:
    result = mindo("status")
    assert result.code == 0
    assert "Óptica Belgrano SRL" in result.out
    assert "500 messages of 3 companies." in result.out


# --- emulator ------------------------------------------------------------------------------------------------------


def test_the_emulator_says_how_to_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    process = spawn("emulator", "--port", "0", "--messages", "60", "--companies", "42,71")
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or "mindo run" not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1]
    exports = [line.split()[1].split("=", 1) for line in lines if line.strip().startswith("export ")]
    for name, value in exports:
        monkeypatch.setenv(name, value)
    assert [name for name, _ in exports] == [
        f"SOURCES__MINDO__{name}" for name in ("BASE_URL", "API_KEY", "COMPANY_IDS")
    ]
    assert any("mindo_demo00000000000000000071" in line and "Ferretería" in line for line in lines)
    assert mindo("run", "--from", "2020-01-01", "--window-hours", "744").code == 0
    assert count() == 60
    process.terminate()
    assert finish(process).code == 0


# --- init ----------------------------------------------------------------------------------------------------------


def mode(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_init_writes_templates_that_hold_no_surprise(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = resolve_options()
    result = mindo("init")
    assert result.code == 0
    assert left_behind() == [".dlt", ".dlt/config.toml", ".dlt/secrets.toml"]
    assert mode(".dlt/secrets.toml") == 0o600
    config = tomllib.loads(Path(".dlt/config.toml").read_text())
    assert config["sources"]["mindo"] == {}
    assert tomllib.loads(Path(".dlt/secrets.toml").read_text()) == {"sources": {"mindo": {"api_key": ""}}}
    assert resolve_options(now=defaults.now) == defaults
    assert "api_key" in result.out
    assert "company_ids" in result.out


def test_the_templates_explain_every_setting() -> None:
    text = template_text("config.toml") + template_text("example.secrets.toml")
    uncommented = [line.removeprefix("# ") for line in text.splitlines() if "=" in line or "[" in line]
    for setting in get_annotations(MindoConfiguration):
        if setting not in ("from_date", "to_date"):
            assert any(line.startswith((f"{setting} =", f"[sources.mindo.{setting}")) for line in uncommented), setting


def test_the_repository_has_the_same_files() -> None:
    assert (ROOT / ".dlt/config.toml").read_text() == template_text("config.toml")
    assert (ROOT / ".dlt/example.secrets.toml").read_text() == template_text("example.secrets.toml")


def test_two_lines_after_init_a_run_works(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "COMPANY_IDS"):
        monkeypatch.delenv(f"SOURCES__MINDO__{name}")
    assert mindo("init").code == 0
    assert "api_key: missing" in finish(spawn("run", "--quiet")).error
    edit(".dlt/secrets.toml", 'api_key = ""', 'api_key = "mindo_global_demo"')
    edit(".dlt/config.toml", "# company_ids = [42, 57]", "company_ids = [42, 57]")
    result: Result = finish(spawn("run", "--json"))
    assert result.code == 0
    assert result.document["rows"]["messages"] == api.world.count([42, 57])


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert text.count(old) == 1
    Path(path).write_text(text.replace(old, new))


def test_init_overwrites_nothing() -> None:
    Path(".dlt").mkdir()
    Path(".dlt/secrets.toml").write_text("mine")
    result = mindo("init", "--json")
    assert result.code == 0
    assert result.document["kept"] == [".dlt/secrets.toml"]
    assert result.document["written"] == [".dlt/config.toml"]
    assert Path(".dlt/secrets.toml").read_text() == "mine"


def test_init_force_keeps_the_old_files() -> None:
    Path(".dlt").mkdir()
    Path(".dlt/secrets.toml").write_text("mine")
    for _ in range(2):
        result = mindo("init", "--force", "--json")
        assert result.code == 0
    kept = sorted(Path(".dlt").glob("secrets.toml.*.bak"))
    assert len(kept) == 2
    assert kept[0].read_text() == "mine"
    assert Path(".dlt/secrets.toml").read_text() == template_text("example.secrets.toml")


def test_init_keeps_secrets_out_of_git() -> None:
    Path(".git").mkdir()
    Path(".gitignore").write_text("*.log")
    mindo("init")
    ignored = Path(".gitignore").read_text().splitlines()
    assert ignored[0] == "*.log"
    assert ".dlt/secrets.toml" in ignored
    mindo("init")
    assert Path(".gitignore").read_text().splitlines() == ignored


def test_init_follows_no_link() -> None:
    Path(".dlt").mkdir()
    Path("target").write_text("untouched")
    Path(".dlt/secrets.toml").symlink_to(Path("target").absolute())
    mindo("init", "--force")
    assert Path("target").read_text() == "untouched"


def test_init_in_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".dlt").write_text("a file where the folder should be")
    result = mindo("init")
    assert result.code == 2
    assert "init: can't write to" in result.error


# --- help ----------------------------------------------------------------------------------------------------------


def test_help_comes_quickly_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mindo_pipeline.cli import call; call(['--help']);"
        "print([m for m in ('dlt', 'duckdb', 'pyarrow', 'mindo', 'starlette', 'requests') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_teaches() -> None:
    text = mindo("--help").out
    for command in COMMANDS:
        assert command in text
    for code in ("0 ", "2 ", "3 ", "4 ", "5 ", "130 "):
        assert f"\n   {code}" in text
    assert "Examples" in text
    assert "SOURCES__MINDO__API_KEY" in text
    assert ".dlt/secrets.toml" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_within_80_columns(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = mindo(command, "--help")
    assert result.code == 0
    assert f"Usage: mindo {command}" in result.out
    assert max(map(len, result.out.splitlines())) <= 80
    options = [option for line in result.out.splitlines() for option in line.split() if option.startswith("--")]
    assert all(option.strip("`.,") for option in options)


def test_the_bare_command_shows_the_help() -> None:
    assert mindo().out.strip() == mindo("--help").out.strip()


def test_the_version_is_told() -> None:
    assert mindo("--version").out == "mindo 0.1.0\n"


def test_every_option_has_a_help_text() -> None:
    import typer

    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        for parameter in command.params:
            assert parameter.help or parameter.name == "help", f"{name} {parameter.name}"


def test_call_returns_a_plain_code() -> None:
    assert call(["status", "--quiet"]) == 0


def test_the_console_script_works() -> None:
    done = subprocess.run(
        [COMMAND, "status"], capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}, check=False
    )
    assert done.returncode == 0
    assert "holds nothing yet" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("insight", INSIGHTS, ids=lambda insight: insight.name)
def test_insights_are_plain_sql_for_duckdb(insight: Any, demo_file: Path) -> None:
    with duckdb.connect(str(demo_file), read_only=True) as connection:
        tables = {table: f"mindo.{table}" for table in (*TABLES, "companies")}
        assert connection.execute(insight.sql.format_map(tables)).fetchall()
