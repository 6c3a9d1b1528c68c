"""A fleet on one machine: Dagster with daemon, Celery workers and Redis, and what a fleet of any size will take."""
