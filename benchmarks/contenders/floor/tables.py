"""Runs a file of SQL in the database; Python's DuckDB stands in for its command line."""

import os
import sys
from pathlib import Path

import duckdb

duckdb.connect(os.environ["BENCH_DATABASE"]).execute(Path(sys.argv[1]).read_text(encoding="utf-8"))
