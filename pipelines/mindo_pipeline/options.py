"""The options that several commands share. Their values are text: the source checks them, so that its line is shown."""

from __future__ import annotations

from typing import Annotated

import typer

_READ = "What to read"
_HOW = "How to read"
_WHERE = "Where to load"
_COPIED = "What to copy"
_MODELS = "What to build"
_OUTPUT = "Output"

Text = str | None

Companies = Annotated[
    Text,
    typer.Option(
        "--companies", metavar="IDS", rich_help_panel=_READ, help="Companies, like 42,57. A company's own key finds it."
    ),
]
FromDate = Annotated[
    Text,
    typer.Option(
        "--from",
        metavar="TIME",
        rich_help_panel=_READ,
        help="Start of an explicit range, inclusive: 2026-04-01 or ISO-8601.",
    ),
]
ToDate = Annotated[
    Text,
    typer.Option("--to", metavar="TIME", rich_help_panel=_READ, help="Its end, exclusive. By default now."),
]
StartDate = Annotated[
    Text,
    typer.Option(
        "--start-date",
        metavar="DATE",
        rich_help_panel=_READ,
        help="Where history begins. By default 30 days ago; an earlier one fills the difference.",
    ),
]
Channel = Annotated[
    Text,
    typer.Option("--channel", metavar="NAME", rich_help_panel=_READ, help="whatsapp, instagram, messenger or all."),
]
Direction = Annotated[
    Text,
    typer.Option("--direction", metavar="NAME", rich_help_panel=_READ, help="incoming, outgoing or all."),
]
Agents = Annotated[
    Text,
    typer.Option("--agents", metavar="IDS", rich_help_panel=_READ, help="AI agents, like 5,12. By default all."),
]
Include = Annotated[
    Text,
    typer.Option(
        "--include",
        metavar="PARTS",
        rich_help_panel=_READ,
        help="classifications, extractions, tool_calls, trace_id; `none` for none. By default all four.",
    ),
]
LookbackDays = Annotated[
    Text,
    typer.Option(
        "--lookback-days",
        metavar="DAYS",
        rich_help_panel=_READ,
        help="How far behind the watermark late and changed messages are looked for. By default 3.",
    ),
]
Workers = Annotated[
    Text,
    typer.Option("--workers", metavar="N", rich_help_panel=_HOW, help="Windows read at once. By default 4."),
]
Limit = Annotated[
    Text,
    typer.Option("--limit", metavar="ROWS", rich_help_panel=_HOW, help="Messages per request, 1 to 10000 (default)."),
]
WindowHours = Annotated[
    Text,
    typer.Option(
        "--window-hours", metavar="HOURS", rich_help_panel=_HOW, help="Length of a window, up to 744. By default 24."
    ),
]
AcceptDeletions = Annotated[
    bool,
    typer.Option(
        "--accept-deletions",
        rich_help_panel=_HOW,
        help="Load windows also where many messages are gone; otherwise they are refused (exit code 4).",
    ),
]
LoadMessages = Annotated[
    Text,
    typer.Option(
        "--load-messages",
        metavar="N",
        rich_help_panel=_HOW,
        help="Commit at the first window edge beyond N messages. By default 200000.",
    ),
]
Processes = Annotated[
    Text,
    typer.Option(
        "--processes",
        metavar="N",
        rich_help_panel=_HOW,
        help="Load N months of companies side by side, each in a process of its own. By default 1.",
    ),
]
OnlyNew = Annotated[
    bool,
    typer.Option("--only-new", rich_help_panel=_READ, help="Of the range, only what was never read, and the lookback."),
]
Batches = Annotated[
    bool,
    typer.Option(
        "--batches", rich_help_panel=_OUTPUT, help="Tell parts of a company and a month each, for `mindo batch`."
    ),
]
NewestFirst = Annotated[
    bool, typer.Option("--newest-first", rich_help_panel=_HOW, help="Begin with the latest windows.")
]
Sample = Annotated[
    Text,
    typer.Option("--sample", metavar="N", rich_help_panel=_READ, help="Only N windows, taken at random."),
]
Seed = Annotated[
    Text,
    typer.Option("--seed", metavar="N", rich_help_panel=_READ, help="The same seed takes the same windows of a plan."),
]
Repair = Annotated[
    bool,
    typer.Option(
        "--repair", rich_help_panel=_HOW, help="Load the windows that differ again, then compare them once more."
    ),
]
Destination = Annotated[
    Text,
    typer.Option("--destination", metavar="NAME", rich_help_panel=_WHERE, help="A dlt destination. By default duckdb."),
]
Dataset = Annotated[
    Text,
    typer.Option("--dataset", metavar="NAME", rich_help_panel=_WHERE, help="Dataset (schema). By default mindo."),
]
Dbt = Annotated[
    bool,
    typer.Option(
        "--dbt",
        rich_help_panel=_MODELS,
        help="Then build and test the dbt models, as `mindo dbt build` does; needs DuckDB or PostgreSQL.",
    ),
]
FullRefresh = Annotated[
    bool,
    typer.Option("--full-refresh", rich_help_panel=_MODELS, help="Build incremental models anew from all messages."),
]
Select = Annotated[
    Text,
    typer.Option(
        "--select", metavar="NODES", rich_help_panel=_MODELS, help="Only these, in dbt's syntax: mindo__conversations+."
    ),
]
Exclude = Annotated[
    Text, typer.Option("--exclude", metavar="NODES", rich_help_panel=_MODELS, help="All but these, in dbt's syntax.")
]
Variables = Annotated[
    Text,
    typer.Option(
        "--vars",
        metavar="YAML",
        rich_help_panel=_MODELS,
        help="Variables of the package, like '{mindo_session_gap_minutes: 60}'; over \\[dbt.vars] of .dlt/config.toml.",
    ),
]
Threads = Annotated[
    Text,
    typer.Option("--threads", metavar="N", rich_help_panel=_MODELS, help="Models built at once. By default 4."),
]
Artifacts = Annotated[
    Text,
    typer.Option(
        "--artifacts",
        metavar="FOLDER",
        rich_help_panel=_OUTPUT,
        help="Keep dbt's own results, compiled SQL and log there. They can quote values from messages.",
    ),
]
Out = Annotated[
    Text, typer.Option("--out", metavar="FOLDER", rich_help_panel=_OUTPUT, help="Where index.html is written.")
]
CopyFrom = Annotated[
    Text,
    typer.Option(
        "--destination",
        metavar="NAME",
        rich_help_panel=_COPIED,
        help="The destination to copy from. By default duckdb.",
    ),
]
CopyFromDataset = Annotated[
    Text,
    typer.Option("--dataset", metavar="NAME", rich_help_panel=_COPIED, help="Its dataset (schema). By default mindo."),
]
CopyTo = Annotated[
    Text,
    typer.Option("--to", metavar="NAME", rich_help_panel=_WHERE, help="The destination to copy to, such as postgres."),
]
CopyToDataset = Annotated[
    Text,
    typer.Option(
        "--to-dataset",
        metavar="NAME",
        rich_help_panel=_WHERE,
        help="Its dataset. By default the same as that of --dataset.",
    ),
]
StateCompanies = Annotated[
    Text,
    typer.Option("--companies", metavar="IDS", rich_help_panel=_READ, help="Companies whose state it is, like 42,57."),
]
Confirmed = Annotated[
    bool, typer.Option("--yes", "-y", help="Don't ask; without a terminal to ask at it has to be given.")
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", rich_help_panel=_OUTPUT, help="Print one JSON object; everything else goes to standard error."
    ),
]
Notify = Annotated[
    bool,
    typer.Option(
        "--notify",
        rich_help_panel=_OUTPUT,
        help="Tell a Slack-compatible webhook if it fails; set webhook_url in \\[notify] of .dlt/secrets.toml.",
    ),
]
MetricsFile = Annotated[
    Text,
    typer.Option(
        "--metrics-file",
        metavar="FILE",
        rich_help_panel=_OUTPUT,
        help="Write what it did in Prometheus' text format, whatever the end.",
    ),
]
LogFormat = Annotated[
    Text,
    typer.Option(
        "--log-format",
        metavar="FORMAT",
        rich_help_panel=_OUTPUT,
        help="Of standard error: text (default), or json, an event per line.",
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", rich_help_panel=_OUTPUT, help="Print nothing but failures."),
]
