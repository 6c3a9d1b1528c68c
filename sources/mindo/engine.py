"""The in-process DuckDB that checks and shapes pages. It holds no data of its own between windows."""

from __future__ import annotations

from pathlib import Path

import duckdb

MEMORY_LIMIT = "384MB"
THREADS = 2
MAX_LINE_BYTES = 64 * 1024 * 1024
"""Longest line that is read. DuckDB reserves twice this per thread, so it is raised only for pages that need it."""
USUAL_LINE_BYTES = 8 * 1024 * 1024


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
