"""Growth: the history is prepared once, and each night is a run of the real command on a copy of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import growth, places
from benchmarks.checking import rows_in
from benchmarks.growth import LOOKBACK, PREPARE, STRICT, measure_growth
from benchmarks.measuring import FINISHED
from benchmarks.records import RecordFile


@pytest.mark.slow
def test_a_night_finds_the_new_messages_and_leaves_the_prepared_warehouse_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "NIGHT", 100)
    monkeypatch.setattr(growth, "KEPT", tmp_path / "kept")
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(places, "work_folder", lambda: tmp_path / "work")
    file = RecordFile(None, "growth")

    measure_growth(file, histories=[300], rounds=1)

    prepared, night, lookback = file.records
    assert [record["kind"] for record in file.records] == [PREPARE, STRICT, LOOKBACK]
    assert {record["outcome"] for record in file.records} == {FINISHED}
    assert abs(night["read"] - 100) < 5
    assert night["read"] == night["written"] == lookback["written"]
    assert lookback["read"] > night["read"]
    assert night["rows_before"] == lookback["rows_before"] == prepared["read"]
    (warehouse,) = (tmp_path / "kept").glob("warehouses/*/warehouse.duckdb")
    assert rows_in(warehouse)["messages"] == prepared["read"]
    assert list((tmp_path / "work").iterdir()) == []

    modified = warehouse.stat().st_mtime_ns
    again = RecordFile(None, "growth")
    measure_growth(again, histories=[300], rounds=0)
    assert warehouse.stat().st_mtime_ns == modified
    assert [record["seconds"] for record in again.records] == [prepared["seconds"]]
