"""The plain resource, tuned by configuration: Parquet, workers, larger files, and nesting that ends at a message's lists."""

import os
import runpy
from pathlib import Path

# With a process for each of two cores it took half as long again as with one.
NORMALIZERS = str(max(1, (os.cpu_count() or 1) // 2))
# In the environment, so that the worker processes that dlt spawns have them too.
os.environ.update(
    {
        "DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
        "EXTRACT__WORKERS": "4",
        "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "100000",
        "NORMALIZE__WORKERS": NORMALIZERS,
        "NORMALIZE__START_METHOD": "spawn",
        "SOURCES__DATA_WRITER__FILE_MAX_ITEMS": "100000",
        "LOAD__WORKERS": "4",
        "LOAD__DELETE_COMPLETED_JOBS": "true",
    }
)

import dlt  # noqa: E402 - reads the environment

if __name__ == "__main__":
    messages = runpy.run_path(str(Path(__file__).parents[1] / "dlt_plain" / "load.py"))["messages"]
    messages.max_table_nesting = 1
    pipeline = dlt.pipeline(
        pipeline_name="tuned",
        destination=dlt.destinations.duckdb(os.environ["BENCH_DATABASE"]),
        dataset_name="mindo",
    )
    pipeline.run(messages(), loader_file_format="parquet")
