"""What dlt's tutorial leads to in an hour: a resource that yields rows of an API, merged by primary key.

The one thing beyond it: dlt refuses a row with a member called `_dlt_id`, which a tool's arguments may have; see `renamed`.
Its loop over the months is its own, and not the one that other contenders share: so a user would write it.
"""

import json
import os
from datetime import datetime, timedelta

import dlt
import requests

URL = os.environ["BENCH_URL"] + "/api/v1/qualitative-export/messages"
INCLUDE = "classifications,extractions,tool_calls,trace_id"


@dlt.resource(name="messages", write_disposition="merge", primary_key="message_id")
def messages():
    session = requests.Session()
    session.headers["X-API-Key"] = os.environ["BENCH_KEY"]
    for company in os.environ["BENCH_COMPANIES"].split(","):
        for start, end in months():
            params = {"company_id": company, "from": start, "to": end, "include": INCLUDE, "limit": 10000}
            while params:
                response = session.get(URL, params=params)
                response.raise_for_status()
                cursor = None
                for line in response.content.splitlines():
                    row = json.loads(line)
                    if "_error" in row:
                        raise RuntimeError(row["_error"])
                    if "_truncated" in row:
                        cursor = row["next_cursor"]
                    else:
                        yield renamed(row)
                params = {**params, "cursor": cursor} if cursor else None


def months():
    start = datetime.fromisoformat(os.environ["BENCH_FROM"])
    last = datetime.fromisoformat(os.environ["BENCH_TO"])
    while start < last:
        end = min(start + timedelta(days=31), last)
        yield start.isoformat() + "Z", end.isoformat() + "Z"
        start = end


def renamed(row):
    for call in row["tool_calls"]:
        if isinstance(call["arguments"], dict):
            call["arguments"] = {name.replace("_dlt_", "dlt_"): value for name, value in call["arguments"].items()}
    return row


if __name__ == "__main__":
    pipeline = dlt.pipeline(
        pipeline_name="plain",
        destination=dlt.destinations.duckdb(os.environ["BENCH_DATABASE"]),
        dataset_name="mindo",
    )
    pipeline.run(messages())
