# tap | target, as `meltano run` pipes them, then the child tables in SQL, as a dbt model would make them.
set -eu
here=$(dirname "$0")
cat >tap.json <<END
{"api_url": "$BENCH_URL", "api_key": "$BENCH_KEY", "companies": "$BENCH_COMPANIES",
 "start_date": "$BENCH_FROM", "end_date": "$BENCH_TO"}
END
cat >target.json <<END
{"path": "$BENCH_DATABASE", "default_target_schema": "mindo", "batch_size_rows": 100000, "data_flattening_max_level": 1}
END
mkfifo pipe
python "$here/tap_mindo.py" --config tap.json >pipe &
target-duckdb --config target.json <pipe >state.jsonl
wait $!
python -m child_tables
