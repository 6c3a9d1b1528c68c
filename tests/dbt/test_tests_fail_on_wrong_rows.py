"""The data tests of the models fail where rows are wrong, and warn of what is only new."""

from __future__ import annotations

from pathlib import Path

import duckdb

from tests.dbt.building import dbt

BREAKS = {
    "INSERT INTO mindo_marts.mindo__conversations BY NAME SELECT * FROM mindo_marts.mindo__conversations LIMIT 1": {
        "primary_key_mindo__conversations",
        "same_total_mindo__conversations_",
        "same_total_mindo__companies_by_day_",
    },
    "DELETE FROM mindo.messages WHERE message_id = (SELECT min(message_id) FROM mindo.messages__classifications)": {
        "same_total_int_mindo__messages",
        "refers_to_stg_mindo__classifications",
    },
    "UPDATE mindo_marts.mindo__conversations SET contact_messages = contact_messages + 1": {
        "always_mindo__conversations"
    },
    "DELETE FROM mindo_intermediate.int_mindo__covered_ranges WHERE company_id = 42;"
    " INSERT INTO mindo_intermediate.int_mindo__covered_ranges VALUES"
    " (42, 'all', 'all', 'all', 1, '2026-01-01 00:00:00Z', '2026-01-02 00:00:00Z', 1, 1, now(), now()),"
    " (42, 'all', 'all', 'all', 2, '2026-01-03 00:00:00Z', '2026-01-04 00:00:00Z', 1, 1, now(), now())": {
        "no_gap_mindo__window_coverage"
    },
}


def test_each_kind_of_test_fails_on_what_it_is_for(copy_of_built: Path) -> None:
    with duckdb.connect(str(copy_of_built)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for statement in BREAKS:
            connection.execute(statement)
    failed = dbt(copy_of_built, "test", "--exclude-resource-type", "unit_test").failures
    for names in BREAKS.values():
        for name in names:
            assert [test for test in failed if test.startswith(name)], name
    assert not [test for test in failed if test.startswith(("primary_key_stg", "always_mindo__conversation_metrics"))]


def test_a_company_first_read_after_the_start_of_coverage_has_a_gap(copy_of_built: Path) -> None:
    early = {"mindo_coverage_start": "2020-01-01"}
    gap = "test_name:no_gap"
    assert len(dbt(copy_of_built, "test", "--select", gap, variables=early).failures) == 1
    retired = early | {"mindo_retired_companies": [42, 57, 63]}
    assert dbt(copy_of_built, "test", "--select", gap, variables=retired).failures == {}
    assert dbt(copy_of_built, "test", "--select", gap, variables={"mindo_coverage_start": "2026-04-25"}).failures == {}
