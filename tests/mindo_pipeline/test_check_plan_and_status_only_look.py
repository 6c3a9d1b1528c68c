"""`check`, `plan` and `status`: what they tell, and that nothing changes by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from mindo_emulator import Emulator, World, demo_key
from mindo_pipeline import checking
from tests.mindo_pipeline.harness import COMPANIES, DAY, count, finish, left_behind, midnight, mindo, spawn
from tests.scripted_api import ScriptedApi, ndjson


def by_name(document: dict[str, list[dict[str, str]]]) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in document["checks"]}


# --- check ---------------------------------------------------------------------------------------------------------


def test_check_looks_at_everything_and_creates_nothing(api: Emulator[World]) -> None:
    result = mindo("check")
    assert result.code == 0
    assert {line[0] for line in result.out.splitlines()[:-1]} == {"✓"}
    assert "✓ key: mindo_glo… (global, reads every company)" in result.out
    assert f"✓ base URL: {api.base_url}" in result.out
    for company in COMPANIES:
        assert f"✓ company {company}: visible" in result.out
    assert "✓ clock: agrees with the API's" in result.out
    assert "each run looks 3 d back" in result.out
    assert "warehouse.duckdb, dataset mindo, can be written (not there yet)" in result.out
    assert left_behind() == []


def test_check_leaves_a_warehouse_as_it_was(loaded: Emulator[World]) -> None:
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert mindo("check").code == 0
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_check_names_the_company_of_a_scoped_key(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__API_KEY", demo_key(57))
    monkeypatch.delenv("SOURCES__MINDO__COMPANY_IDS")
    result = mindo("check")
    assert result.code == 0
    assert "(scoped, reads its own company)" in result.out
    assert "✓ company 57: visible: Clínica Dental Sonrisas, Europe/Madrid" in result.out


def test_check_goes_on_behind_a_company_that_is_not_visible(api: Emulator[World]) -> None:
    api.keys.withdraw("mindo_global_demo", 57)
    result = mindo("check", "--json")
    checks = by_name(result.document)
    assert (result.code, result.document["status"]) == (2, "failed")
    assert checks["company 57"]["status"] == "failed"
    assert "has no access for company 57 (HTTP 403)" in checks["company 57"]["line"]
    assert checks["company 42"]["status"] == checks["company 63"]["status"] == "ok"
    assert checks["destination"]["status"] == "ok"


@pytest.mark.parametrize(
    ("changes", "code", "name", "expected"),
    [
        ({"API_KEY": ""}, 2, "key", "api_key: missing"),
        ({"API_KEY": "mindo_global_expired_long"}, 2, "company 42", "refused the key"),
        ({"BASE_URL": "http://127.0.0.1:1"}, 3, "company 42", "can't be reached"),
        ({"COMPANY_IDS": ""}, 2, "company", "name them"),
        ({"BASE_URL": "http://mindo.example"}, 2, "options", "plain http"),
    ],
    ids=str,
)
def test_check_fails_with_the_code_of_the_first_failure(
    api: Emulator[World], monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], code: int, name: str, expected: str
) -> None:
    for key, value in changes.items():
        monkeypatch.setenv(f"SOURCES__MINDO__{key}", value)
    result = mindo("check", "--json")
    check = by_name(result.document)[name]
    assert result.code == code
    assert (check["status"], check["code"]) == ("failed", code)
    assert expected in check["line"]
    assert by_name(result.document)["destination"]["status"] == "ok"
    assert f"✗ {name}: " in mindo("check").out


def test_check_asks_an_unreachable_api_once_only(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__BASE_URL", "http://127.0.0.1:1")
    checks = by_name(mindo("check", "--json").document)
    assert [checks[f"company {company}"]["status"] for company in COMPANIES] == ["failed", "skipped", "skipped"]


def test_check_wants_a_key_that_looks_like_one(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__API_KEY", "hunter2hunter2hunter2")
    result = mindo("check")
    assert "! key: does not begin with mindo_" in result.out
    assert "hunter2" not in result.out + result.err


def test_check_warns_of_a_wrong_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    late = (datetime.now(UTC) - timedelta(minutes=5)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    api = ScriptedApi(lambda _: ndjson())
    monkeypatch.setattr("http.server.BaseHTTPRequestHandler.date_time_string", lambda *_: late)
    with api:
        for name, value in {"BASE_URL": api.base_url, "API_KEY": "mindo_global_demo", "COMPANY_IDS": "42"}.items():
            monkeypatch.setenv(f"SOURCES__MINDO__{name}", value)
        result = mindo("check")
    assert result.code == 0
    assert "! clock: this machine is 5 min" in result.out
    assert "ahead of the API" in result.out


def test_check_tells_a_destination_that_cannot_be_written(api: Emulator[World]) -> None:
    duckdb.connect("warehouse.duckdb").close()
    Path("warehouse.duckdb").chmod(0o400)
    result = mindo("check")
    assert result.code == 5
    assert "✗ destination: " in result.out
    assert "read-only" in result.out


def test_check_tells_a_folder_that_is_missing(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "missing/warehouse.duckdb")
    result = mindo("check")
    assert result.code == 5
    assert "is missing or can't be written" in result.out
    assert left_behind() == []


def test_a_key_is_masked_whatever_its_length() -> None:
    for key in ("mindo_x", "mindo_global_", "mindo_abcdefghijklmnopqrstuvwx", "mindo_global_abcdefghijkl"):
        line = checking._key_check("key", key).line
        assert line.split("…")[0] in ("mindo_", "mindo_abc", "mindo_glo")


# --- plan ----------------------------------------------------------------------------------------------------------


def test_plan_is_what_a_run_reads(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    planned = mindo("plan", "--json")
    assert planned.code == 0
    assert len(api.requests) == 0
    assert left_behind() == []
    document = planned.document
    assert [company["kind"] for company in document["companies"]] == ["first run"] * 3
    assert document["requests_at_least"] == len(document["windows"]) == 15
    run = mindo("run", "--json").document
    # the last window of each company ends with the clock
    assert [(w["company_id"], w["start"]) for w in document["windows"]] == [
        (w["company_id"], w["start"]) for w in run["windows"]
    ]
    assert {window["status"] for window in document["windows"]} == {"planned"}


def test_plan_knows_an_increment_from_a_first_run(api: Emulator[World]) -> None:
    mindo("run", "--companies", "42")
    api.requests.clear()
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    result = mindo("plan", "--lookback-days", "1", "--companies", "42,57", "--json")
    kinds = {company["company_id"]: company for company in result.document["companies"]}
    assert kinds[42]["kind"] == "increment + lookback"
    assert datetime.fromisoformat(kinds[42]["start"]) == midnight() - DAY
    assert kinds[42]["windows"] == 2
    assert kinds[57]["kind"] == "first run"
    assert len(api.requests) == 0
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_plan_of_an_explicit_range(api: Emulator[World]) -> None:
    result = mindo("plan", "--companies", "42", "--from", "2026-01-01", "--to", "2026-01-11", "--window-hours", "48")
    assert result.code == 0
    assert "explicit range" in result.out
    assert "≥ 6 requests" in result.out or "≥ 5 requests" in result.out
    assert "nothing was read or written" in result.out


def test_plan_asks_for_the_company_of_a_scoped_key_only(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__API_KEY", demo_key(57))
    monkeypatch.delenv("SOURCES__MINDO__COMPANY_IDS")
    assert "Clínica Dental Sonrisas" in mindo("plan").out
    assert {request.path for request in api.requests} == {"/api/v1/business-info/"}


# --- status --------------------------------------------------------------------------------------------------------


def test_status_of_nothing_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    result = mindo("status")
    assert result.code == 0
    assert "warehouse.duckdb holds nothing yet; `mindo run` loads it" in result.out
    assert left_behind() == []
    assert mindo("status", "--json").document["companies"] == []


def test_status_tells_watermark_coverage_and_runs(api: Emulator[World]) -> None:
    mindo("run", "--companies", "42,57")
    api.faults.add("server_error", company=57, covering=midnight() - 2 * DAY, times=None)
    mindo("run", "--companies", "42,57")
    with api.refused():
        document = mindo("status", "--json").document
        shown = mindo("status").out
    first, second = document["companies"]
    assert (first["company_id"], first["messages"]) == (42, api.world.count(42))
    assert first["percent_complete"] == pytest.approx(100, abs=0.1)
    assert first["gaps"] == []
    assert 0 <= first["age_seconds"] < 60
    assert datetime.fromisoformat(first["first"]) == midnight() - 4 * DAY
    assert [datetime.fromisoformat(second["gaps"][0][edge]) for edge in ("start", "end")] == [
        midnight() - 2 * DAY,
        midnight() - DAY,
    ]
    assert second["percent_complete"] < 85
    assert [run["windows"] for run in document["runs"]] == [7, 10]
    assert document["runs"][1]["messages"] == api.world.count([42, 57])
    assert "gap: company 57 [" in shown
    assert "last runs" in shown


def test_status_counts_finished_loads_only(loaded: Emulator[World]) -> None:
    with duckdb.connect("warehouse.duckdb") as connection:
        connection.execute("UPDATE mindo._dlt_loads SET status = 1")
    assert mindo("status", "--json").document["runs"] == []


def test_status_tells_filtered_loads_apart(api: Emulator[World]) -> None:
    mindo("run", "--companies", "42", "--channel", "whatsapp")
    result = mindo("status")
    assert "channel=whatsapp" in result.out
    assert count() == api.world.count(42, channel="whatsapp")


def test_status_reads_a_file_that_may_not_be_written(loaded: Emulator[World]) -> None:
    Path("warehouse.duckdb").chmod(0o400)
    assert mindo("status", "--json").document["companies"][0]["messages"] == loaded.world.count(42)


RULES_TOML = """
[sources.mindo.column_rules.messages]
content__text = "drop"
content__txt = "null"
author = "drop"

[sources.mindo.column_rules.messages__extractions]
value = "drop"
field = "null"
"""


def test_check_lists_the_column_rules_and_doubts_names_that_nobody_knows(api: Emulator[World]) -> None:
    nobody = "neither the API's documentation nor the warehouse has this column"
    Path(".dlt").mkdir()
    Path(".dlt/config.toml").write_text(RULES_TOML)
    result = finish(spawn("check"))
    assert result.code == 0
    assert "✓ column rule: messages.content__text: drop" in result.out
    assert "✓ column rule: messages.author: drop" in result.out
    assert "✓ column rule: messages__extractions.value: drop" in result.out
    assert f"! column rule: messages.content__txt: null; {nobody}" in result.out
    assert f"! column rule: messages__extractions.field: null; {nobody}" in result.out
    assert left_behind() == [".dlt", ".dlt/config.toml"]


def test_check_knows_the_columns_that_the_warehouse_has(
    loaded: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = '{"messages": {"content__txt": "null"}, "messages__extractions": {"field": "null"}}'
    monkeypatch.setenv("SOURCES__MINDO__COLUMN_RULES", rules)
    result = mindo("check")
    assert result.code == 0
    assert "✓ column rule: messages__extractions.field: null" in result.out
    assert "! column rule: messages.content__txt: null; neither" in result.out


def test_check_of_rules_goes_on_without_a_warehouse_to_ask(
    api: Emulator[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("warehouse.duckdb").write_text("no database")
    monkeypatch.setenv("SOURCES__MINDO__COLUMN_RULES", '{"messages": {"content__txt": "null"}}')
    result = mindo("check")
    assert result.code == 5
    assert "! column rule: messages.content__txt: null; neither" in result.out
    assert "✗ destination: " in result.out


def test_check_finds_a_rule_without_its_key(api: Emulator[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__MINDO__COLUMN_RULES", '{"messages": {"content__text": "hmac"}}')
    result = mindo("check")
    assert result.code == 2
    assert "hmac_key: the rule hmac needs a secret key of at least 16 characters" in result.err
    monkeypatch.setenv("SOURCES__MINDO__HMAC_KEY", "k" * 16)
    assert mindo("check").code == 0
    assert "k" * 16 not in mindo("check").out
