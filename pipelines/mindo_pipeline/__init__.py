"""The `mindo` command and what it runs: nightly increments, backfills, and a look at what is there."""
