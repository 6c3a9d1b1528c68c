"""Counts the rows of the four tables in a DuckDB file. A process of its own, so that the harness stays small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb

from .places import ROOT
from .truth import TABLES

SCHEMA = "mindo"


def rows_in(database: Path) -> dict[str, int]:
    """Rows per table; a table that is not there has none."""
    command = [sys.executable, "-m", "benchmarks.checking", str(database)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    counted: dict[str, int] = json.loads(done.stdout)
    return counted


def _count(database: Path) -> dict[str, int]:
    if not database.exists():
        return dict.fromkeys(TABLES, 0)
    with duckdb.connect(str(database), read_only=True) as connection:
        there = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = ?", [SCHEMA]).fetchall()
        names = {name for (name,) in there}
        counted = {}
        for table in TABLES:
            found = connection.execute(f"SELECT count(*) FROM {SCHEMA}.{table}").fetchone() if table in names else None
            counted[table] = found[0] if found else 0
    return counted


if __name__ == "__main__":
    print(json.dumps(_count(Path(sys.argv[1]))))
