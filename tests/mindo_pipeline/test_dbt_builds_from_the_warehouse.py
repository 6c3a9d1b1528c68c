"""`mindo dbt` with the project that is shipped: built once for the module, from a demo's messages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import yaml

from mindo_pipeline.demo import demo_command
from mindo_pipeline.session import Session
from mindo_pipeline.setting_up import template_text
from mindo_pipeline.transforming.project import declared_vars
from tests.mindo_pipeline.conftest import WAREHOUSE
from tests.mindo_pipeline.harness import TABLES, Result, count, finish, left_behind, mindo, spawn

ROOT = Path(__file__).parents[2]
OTHER_CONTACT = "ctc_somebody_else"
LONE_CONTACT = "ctc_without_a_conversation"
MODELS = ("mindo_intermediate", "mindo_marts")


@pytest.fixture(scope="module")
def built(demo_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Result]]:
    """The folder of a build, and what it told. In one conversation two contacts wrote; one message has no conversation."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        # of the user, and not for this dbt
        patch.setenv("DBT_TARGET", "no_such_target")
        patch.setenv("DBT_PROFILES_DIR", "/no/such/folder")
        shutil.copy(demo_file, WAREHOUSE)
        with duckdb.connect(WAREHOUSE) as connection:
            connection.execute(
                f"""UPDATE mindo.messages SET author__id = '{OTHER_CONTACT}' WHERE message_id = (
                    SELECT arg_min(message_id, occurred_at) FROM mindo.messages
                    WHERE author__type = 'contact' GROUP BY conversation_id
                    HAVING count(*) > 1 ORDER BY conversation_id LIMIT 1)"""
            )
            for table in TABLES:
                connection.execute(
                    f"""UPDATE mindo.{table} SET author__id = '{LONE_CONTACT}', conversation_id = NULL
                        WHERE message_id = (SELECT max(message_id) FROM mindo.messages__extractions)"""
                )
        yield folder, mindo("dbt", "build", "--json")


@pytest.fixture
def models(built: tuple[Path, Result], isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What was built, in its own folder: there dbt needs not parse the project again."""
    kept = shutil.copytree(built[0], isolated / "kept")
    monkeypatch.chdir(built[0])
    yield
    shutil.rmtree(built[0])
    shutil.copytree(kept, built[0])


def rows_of(schemas: tuple[str, ...] = MODELS) -> dict[str, list[str]]:
    """All rows of the models, but those that tell the time of the build."""
    with duckdb.connect(WAREHOUSE, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        names = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN ?", [list(schemas)]
        ).fetchall()
        return {
            name: sorted(map(str, connection.execute(f'SELECT * FROM "{schema}"."{name}"').fetchall()))
            for schema, name in sorted(names)
            if name != "mindo__window_coverage"
        }


def test_all_models_are_built_and_tested(built: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, result = built
    monkeypatch.chdir(folder)
    assert (result.code, result.document["failures"]) == (0, []), result.out + result.err
    told = {(model["schema"], model["name"]): model["status"] for model in result.document["models"]}
    assert {schema for schema, _ in told} == set(MODELS)
    assert set(told.values()) == {"success"}
    assert result.document["tests"] == {**result.document["tests"], "failed": 0, "skipped": 0}
    assert result.document["tests"]["passed"] > 0
    assert {name for _, name in told} == set(rows_of()) | {"mindo__window_coverage"}
    with duckdb.connect(WAREHOUSE, read_only=True) as connection:
        conversations, messages = connection.execute(
            "SELECT count(*), sum(messages) FROM mindo_marts.mindo__conversations"
        ).fetchone() or (0, 0)
        expected = connection.execute(
            "SELECT count(DISTINCT (company_id, conversation_id)), count(*) FROM mindo.messages"
        ).fetchone()
    assert (conversations, messages) == expected


def test_nothing_of_dbt_is_left_behind(
    built: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    monkeypatch.chdir(built[0])
    left = [Path(path).name for path in left_behind() if Path(path).is_file()]
    assert sorted(left) == sorted([WAREHOUSE, f"{WAREHOUSE}.lock", "run.lock", "partial_parse.msgpack"])
    assert not {"target", "logs", ".user.yml"} & {path.name for path in (ROOT / "dbt").iterdir()}
    # what it keeps for the next time holds nothing of anybody
    (kept,) = Path(".dlt").rglob("partial_parse.msgpack")
    with duckdb.connect(WAREHOUSE, read_only=True) as connection:
        texts = connection.execute("SELECT DISTINCT content__text FROM mindo.messages WHERE length(content__text) > 20")
        content = kept.read_bytes()
        assert not [text for (text,) in texts.fetchall() if text.encode() in content]


def test_who_is_forgotten_leaves_the_models_and_the_others_come_back(models: None) -> None:
    with duckdb.connect(WAREHOUSE, read_only=True) as connection:
        contact, shared = connection.execute(
            f"""SELECT min(author__id), conversation_id FROM mindo.messages WHERE author__type = 'contact'
            AND author__id <> '{OTHER_CONTACT}' AND conversation_id =
            (SELECT conversation_id FROM mindo.messages WHERE author__id = '{OTHER_CONTACT}') GROUP BY ALL"""
        ).fetchone() or ("", "")
        (lone,) = connection.execute(
            f"SELECT message_id FROM mindo.messages WHERE author__id = '{LONE_CONTACT}'"
        ).fetchone() or ("",)
    assert any(contact in row for rows in rows_of().values() for row in rows)
    assert any(lone in row for row in rows_of()["mindo__extraction_values"])
    forgotten = mindo("forget", "--contact", contact, "--contact", LONE_CONTACT, "--yes", "--json")
    assert forgotten.code == 0
    counts = forgotten.document["models"]
    assert counts["mindo_marts.mindo__conversations"] >= 1 < counts["mindo_intermediate.int_mindo__messages"]
    assert "`mindo dbt build`" in forgotten.document["message"]

    held = rows_of()
    assert not [name for name, rows in held.items() if any(contact in row or lone in row for row in rows)]
    tables = {name.split(".")[1] for name in counts}
    assert not [name for name in tables if any(shared in row for row in held[name])]

    again = mindo("dbt", "build", "--quiet", "--exclude", "test_type:data")
    assert (again.code, again.out) == (0, "")
    after = rows_of()
    assert not [name for name, rows in after.items() if any(contact in row for row in rows)]
    assert any(shared in row for row in after["mindo__conversations"])
    assert count("messages") == sum(1 for _ in after["int_mindo__messages"])


def test_another_demo_takes_the_place_of_the_tables_below_the_views(models: None, small_demo: None) -> None:
    before = rows_of()["mindo__conversations"]
    with duckdb.connect(WAREHOUSE) as connection:
        # as a run does that discovers a member
        connection.execute("ALTER TABLE mindo.messages ADD COLUMN context__new VARCHAR")
    verdict = demo_command(Session("demo", quiet=True), WAREHOUSE, datetime.now(UTC) - timedelta(days=1))
    assert verdict.code == 0
    result = mindo("dbt", "build", "--json", "--exclude", "test_type:data")
    assert result.code == 0, result.err
    with duckdb.connect(WAREHOUSE, read_only=True) as connection:
        held = connection.execute(
            "SELECT count(*) FILTER (m.conversation_id IS NULL), count(*) FROM mindo_marts.mindo__conversations AS c"
            " LEFT JOIN (SELECT DISTINCT company_id, conversation_id FROM mindo.messages) AS m"
            " ON m.company_id = c.company_id AND m.conversation_id = c.conversation_id"
        ).fetchone()
    assert held is not None
    assert held[0] == 0 < held[1]
    assert rows_of()["mindo__conversations"] != before


def test_a_wrong_setting_is_one_line_in_the_words_of_the_package(models: None) -> None:
    before = rows_of()
    Path(".dlt/config.toml").write_text("[dbt.vars]\nmindo_session_gap_minutes = 0\n")
    result = finish(spawn("dbt", "build", "--vars", "{mindo_langfuse_project: mine}", "--quiet"))
    assert result.code == 2
    assert "mindo_session_gap_minutes: 0 is not a number of minutes above 0" in result.error
    assert rows_of() == before


def test_the_documentation_is_one_page(models: None) -> None:
    before = Path(WAREHOUSE).read_bytes()
    result = mindo("dbt", "docs", "--out", "pages/mindo", "--json")
    assert result.code == 0
    assert [path.name for path in Path("pages/mindo").iterdir()] == ["index.html"]
    assert result.document["page"] == str(Path("pages/mindo/index.html").absolute())
    assert "mindo__conversation_metrics" in Path("pages/mindo/index.html").read_text()
    assert Path(WAREHOUSE).read_bytes() == before


def test_tables_that_are_behind_are_told_by_exit_code(models: None) -> None:
    before = Path(WAREHOUSE).read_bytes()
    behind = mindo("dbt", "freshness", "--json", "--vars", "{mindo_freshness_warn_hours: 0.0001, mindo_freshness_error_hours: 0.0002}")  # fmt: skip
    document = behind.document
    assert (behind.code, document["status"]) == (7, "failed")
    assert {source["status"] for source in document["sources"]} == {"error"}
    assert "messages" in {source["table"] for source in document["sources"]}
    assert "are too old" in document["message"]
    assert Path(WAREHOUSE).read_bytes() == before


def test_the_settings_of_the_template_are_those_of_the_package() -> None:
    declared = yaml.safe_load((ROOT / "dbt/dbt_project.yml").read_text())["vars"]["mindo"]
    section = template_text("config.toml").split("# [dbt.vars]\n")[1].split("\n\n")[0]
    shown = tomllib.loads(re.sub(r"^# ", "", section, flags=re.MULTILINE))
    assert list(shown) == list(declared) == declared_vars()
    assert {name: value for name, value in shown.items() if declared[name] is not None} == {
        name: value for name, value in declared.items() if value is not None
    }


def test_the_wheel_holds_the_project(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, capture_output=True
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    shipped = {
        path.relative_to(ROOT / "dbt").as_posix(): path.read_bytes()
        for path in (ROOT / "dbt").rglob("*")
        if path.is_file()
    }
    assert len(shipped) > 20
    assert (
        shipped.items()
        <= {name.removeprefix("mindo_pipeline/dbt/"): content for name, content in packed.items()}.items()
    )
    assert {name.split("/")[0] for name in packed if not name.startswith("mindo_connector-")} == {
        "mindo",
        "mindo_emulator",
        "mindo_pipeline",
    }
