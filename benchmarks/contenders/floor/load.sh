# The least that can be done: curl gets every page to disk, four at once, and DuckDB reads the files.
set -eu
here=$(dirname "$0")
command -v curl >/dev/null || { echo "curl is not installed" >&2; exit 127; }
mkdir pages
# In a file, as everyone can read a program's arguments.
(umask 077; printf 'X-API-Key: %s\n' "$BENCH_KEY" >header)

# The ranges of at most 31 days that the API allows, each on a line: company from to
python "$here/windows.py" >windows

# read_window COMPANY FROM TO: all its pages, one after the other, as each names the next.
cat >read_window <<'END'
set -eu
page=0 cursor=
while :; do
    file=pages/$1-$2-$page.ndjson
    curl --silent --show-error --fail --get --header @header --output "$file" \
        --data-urlencode "company_id=$1" --data-urlencode "from=$2" --data-urlencode "to=$3" \
        --data-urlencode "include=classifications,extractions,tool_calls,trace_id" --data-urlencode "limit=10000" \
        ${cursor:+--data-urlencode "cursor=$cursor"} "$BENCH_URL/api/v1/qualitative-export/messages"
    cursor=$(tail -n 1 "$file" | sed -n 's/^{"_truncated": *true, *"next_cursor": *"\([^"]*\)".*/\1/p')
    [ -n "$cursor" ] || break
    page=$((page + 1))
done
END
xargs -P 4 -n 3 sh read_window <windows

python "$here/tables.py" "$here/tables.sql"
