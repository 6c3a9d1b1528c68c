# What the README says: a key, the companies, `mindo backfill`. Defaults otherwise.
export SOURCES__MINDO__BASE_URL="$BENCH_URL"
export SOURCES__MINDO__API_KEY="$BENCH_KEY"
export SOURCES__MINDO__COMPANY_IDS="$BENCH_COMPANIES"
export DESTINATION__DUCKDB__CREDENTIALS="$BENCH_DATABASE"
exec mindo backfill --from "$BENCH_FROM" --to "$BENCH_TO" --quiet
