"""PyAirbyte: the low-code source into its DuckDB cache, then the child tables in SQL, as a dbt model would make them."""

import os
from pathlib import Path

# No look-ups on the internet while the time is taken, and logs in the folder of the run.
os.environ.update({"AIRBYTE_OFFLINE_MODE": "1", "DO_NOT_TRACK": "1", "AIRBYTE_LOGGING_ROOT": "logs"})

import airbyte as ab
import duckdb
from airbyte.caches import DuckDBCache

LISTS = {
    "classifications": ("label", "value"),
    "extractions": ("field", "value", "confidence"),
    "tool_calls": ("name", "status", "arguments", "result", "duration_ms", "error", "started_at"),
}

if __name__ == "__main__":
    database = os.environ["BENCH_DATABASE"]
    source = ab.get_source(
        "source-mindo",
        source_manifest=Path(__file__).with_name("manifest.yaml"),
        config={
            "api_url": os.environ["BENCH_URL"],
            "api_key": os.environ["BENCH_KEY"],
            "companies": os.environ["BENCH_COMPANIES"].split(","),
            "start_date": os.environ["BENCH_FROM"],
            "end_date": os.environ["BENCH_TO"],
        },
        streams=["messages"],
    )
    cache = DuckDBCache(db_path=database, schema_name="mindo", cache_dir="cache")
    source.read(cache=cache)
    cache.processor.sql_config.dispose_engine()
    with duckdb.connect(database) as connection:
        if connection.execute("SELECT 1 FROM mindo.messages WHERE message_id IS NULL").fetchone():
            raise SystemExit("a day of a company holds more than one page")
        for table, members in LISTS.items():
            columns = ", ".join(f"items[idx] ->> '$.{member}' AS {member}" for member in members)
            connection.execute(
                f"CREATE OR REPLACE TABLE mindo.messages__{table} AS SELECT message_id, idx - 1 AS list_index, {columns}"
                " FROM (SELECT message_id, items, generate_subscripts(items, 1) AS idx FROM (SELECT message_id,"
                f" CAST({table} AS JSON[]) AS items FROM mindo.messages))"
            )
