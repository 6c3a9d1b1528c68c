"""The in-process DuckDB that checks and shapes pages. It holds no data of its own between windows."""

from __future__ import annotations

from pathlib import Path

import duckdb

MEMORY_LIMIT = "512MB"
THREADS = 1
"""Each query runs on its caller's thread. Pages are small: more threads for one query cost twice the CPU and gain nothing."""
MAX_LINE_BYTES = 64 * 1024 * 1024
"""Longest line that is read. DuckDB reserves twice this per thread, so it is raised only for pages that need it."""
USUAL_LINE_BYTES = 1024 * 1024


def open_engine(folder: Path) -> duckdb.DuckDBPyConnection:
    """Opens an in-memory database that spills to `folder` and never loads or downloads an extension."""
    connection = duckdb.connect(":memory:")
    for setting, value in {
        "temp_directory": str(folder),
        "memory_limit": MEMORY_LIMIT,
        "threads": THREADS,
        "TimeZone": "UTC",
        "autoinstall_known_extensions": False,
        "allow_community_extensions": False,
        "enable_progress_bar": False,
    }.items():
        connection.execute(f"SET {setting} = ?", [value])
    return connection


LINES = "maximum_object_size = $line_limit, auto_detect = false, records = true"
"""Parameters of every `read_ndjson` with columns. Without `records`, DuckDB takes a single column for the whole line, and
reads the file twice to find out."""


def line_limit(longest_line: int) -> int:
    """The `maximum_object_size` with which DuckDB reads lines of that length."""
    return USUAL_LINE_BYTES if longest_line < USUAL_LINE_BYTES else MAX_LINE_BYTES
