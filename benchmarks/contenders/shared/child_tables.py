"""Makes the list tables of the JSON columns that a loader leaves in `messages`, as a dbt model would."""

import os

import duckdb

LISTS = {
    "classifications": ("label", "value"),
    "extractions": ("field", "value", "confidence"),
    "tool_calls": ("name", "status", "arguments", "result", "duration_ms", "error", "started_at"),
}


def make_child_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes a table of each list of messages."""
    for table, members in LISTS.items():
        columns = ", ".join(f"items[idx] ->> '$.{member}' AS {member}" for member in members)
        connection.execute(
            f"CREATE OR REPLACE TABLE mindo.messages__{table} AS SELECT message_id, idx - 1 AS list_index, {columns}"
            " FROM (SELECT message_id, items, generate_subscripts(items, 1) AS idx FROM (SELECT message_id,"
            f" CAST({table} AS JSON[]) AS items FROM mindo.messages))"
        )


if __name__ == "__main__":
    with duckdb.connect(os.environ["BENCH_DATABASE"]) as database:
        make_child_tables(database)
