"""What dlt's performance guide leads to, as environment variables, so that the worker processes that dlt spawns have them too."""

import os

SETTINGS = {
    "DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "100000",
    # With a process for each of two cores it took half as long again as with one.
    "NORMALIZE__WORKERS": str(max(1, (os.cpu_count() or 1) // 2)),
    "NORMALIZE__START_METHOD": "spawn",
    "SOURCES__DATA_WRITER__FILE_MAX_ITEMS": "100000",
    "LOAD__WORKERS": "4",
    "LOAD__DELETE_COMPLETED_JOBS": "true",
}
