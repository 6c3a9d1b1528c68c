"""PyAirbyte: the low-code source into its DuckDB cache, then the child tables in SQL, as a dbt model would make them."""

import os
from pathlib import Path

# No look-ups on the internet while the time is taken, and logs in the folder of the run.
os.environ.update({"AIRBYTE_OFFLINE_MODE": "1", "DO_NOT_TRACK": "1", "AIRBYTE_LOGGING_ROOT": "logs"})

import airbyte as ab
import duckdb
from airbyte.caches import DuckDBCache
from child_tables import make_child_tables

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
        make_child_tables(connection)
