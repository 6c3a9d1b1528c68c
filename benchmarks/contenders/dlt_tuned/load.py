"""The plain resource, tuned by configuration: Parquet, workers, larger files, and nesting that ends at a message's lists."""

import os
import runpy
from pathlib import Path

from dlt_settings import SETTINGS

# Before dlt is imported, which reads the environment.
os.environ.update(SETTINGS)

import dlt

if __name__ == "__main__":
    messages = runpy.run_path(str(Path(__file__).parents[1] / "dlt_plain" / "load.py"))["messages"]
    messages.max_table_nesting = 1
    pipeline = dlt.pipeline(
        pipeline_name="tuned",
        destination=dlt.destinations.duckdb(os.environ["BENCH_DATABASE"]),
        dataset_name="mindo",
    )
    pipeline.run(messages(), loader_file_format="parquet")
