"""Batches of windows as a partitioned asset of Dagster, with nightly schedules, checks and the dbt models downstream.

`dagster dev -m mindo_pipeline.dagster.definitions` is a code location like any other; `mindo dagster` starts one with all that
belongs to it. A partition is a company and a month of UTC, and each run loads one of them with `load_batch`, in folders of its
own: any machine can do it, and nothing but the destination is shared. Configuration is dlt's; what is only of Dagster stands
under `[dagster]`, see `settings`. Keys stay in configuration, and are read where a run happens.

How many loads there are at once is up to the pool `mindo_api`: a rate limit of the API is for the whole fleet, and each load
has as many requests under way as `workers` says. On DuckDB and PostgreSQL loads take turns by themselves, with locks of the
destination. Other destinations have none: there the pool must have one slot.

Nothing of Dagster is imported anywhere else.
"""
