"""Loads batches one after the other in this process, and prints how long each took: `START END` of the range, companies as set up."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import Final

_BEGUN: Final = time.monotonic()

from mindo import MindoClient, resolve_companies, resolve_options  # noqa: E402  the import is what is timed
from mindo_pipeline.batches import load_batch, split_by_month  # noqa: E402
from mindo_pipeline.defaults import register_defaults  # noqa: E402


def main() -> None:
    start, end = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in sys.argv[1:])
    register_defaults()
    options = resolve_options({})
    companies = resolve_companies(options, MindoClient(options))
    start_seconds = time.monotonic() - _BEGUN
    seconds = []
    for company in companies:
        for batch in split_by_month(company, [(start, end)]):
            begun = time.monotonic()
            load_batch(batch, options, "postgres")
            seconds.append(round(time.monotonic() - begun, 3))
    # the first one makes the tables
    print(json.dumps({"start_seconds": round(start_seconds, 3), "batch_seconds": seconds[1:]}))


if __name__ == "__main__":
    main()
