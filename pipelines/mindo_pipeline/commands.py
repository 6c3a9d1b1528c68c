"""The sub-commands as typer sees them: options and help. What they do is imported when they run."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from . import options as o
from .observing.watching import Watching
from .session import Session, Verdict, execute

_SOURCE_OPTIONS: Final = (
    "company_ids",
    "from_date",
    "to_date",
    "start_date",
    "channel",
    "direction",
    "agent_ids",
    "include",
    "lookback_days",
    "workers",
    "limit",
    "window_hours",
    "accept_deletions",
)


def _given(context: typer.Context) -> dict[str, Any]:
    """What was typed; the source takes the rest from the environment and the files, and checks all of it."""
    return {name: context.params[name] for name in _SOURCE_OPTIONS if context.params.get(name) not in (None, False)}


def demo(
    database: Annotated[
        str | None,
        typer.Option(
            "--database", metavar="FILE", help="The DuckDB file. By default the configured one, or warehouse.duckdb."
        ),
    ] = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Load a made-up Mindo into DuckDB and ask it first questions; needs no key.

    It serves 60 days of made-up messages on this machine and loads them with the same code as `mindo run`. It writes only
    to a file that is empty or holds a demo's messages. A second demo on the same day reads again and finds nothing
    changed; on another day, that day's world takes the place of the old one.
    """

    def body(session: Session) -> Verdict:
        from .demo import demo_command

        return demo_command(session, database)

    execute("demo", body, as_json, quiet)


def emulator(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65_535, help="0 takes a free one.")] = 8765,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed and range give the same world.")] = 1,
    companies: Annotated[str, typer.Option(metavar="IDS", help="Companies.")] = "42,57,63",
    messages: Annotated[int, typer.Option(metavar="N", min=0, help="Messages, over all companies.")] = 8_000,
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help="First moment. By default 60 days before the end.")
    ] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="Moment after the last. By default now.")] = None,
    bulk: Annotated[bool, typer.Option("--bulk", help="Serve millions of messages, which can't be changed.")] = False,
    latency: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Wait before each answer.")] = 0.0,
    rate_limit: Annotated[
        float | None, typer.Option(metavar="N", min=0.001, help="Requests per second before 429.")
    ] = None,
    page_cap: Annotated[int, typer.Option(metavar="ROWS", min=1, max=10_000, help="Most messages per page.")] = 10_000,
    shuffled: Annotated[bool, typer.Option("--shuffled", help="Serve messages out of order.")] = False,
    gzip: Annotated[bool, typer.Option("--gzip", help="Compress answers.")] = False,
) -> None:
    """Serve a made-up Mindo on this machine until Ctrl-C.

    It speaks the whole API: both kinds of key, pages, filters, every include, and the error codes. It prints the lines to
    type in another terminal. While it runs, /_emulator/ endpoints change its messages and make it misbehave.
    """

    def body(session: Session) -> Verdict:
        from .emulating import EmulatorOptions, emulator_command

        return emulator_command(
            session,
            EmulatorOptions(
                host, port, seed, companies, messages, start, end, bulk, latency, rate_limit, page_cap, shuffled, gzip
            ),
        )

    execute("emulator", body)


def init(
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that are there; they are kept under another name.")
    ] = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Write .dlt/config.toml and .dlt/secrets.toml for a real key.

    Every setting is in them, with its default and what it does. Only you can read secrets.toml, and in a git repository it
    is added to .gitignore. A file that is there already stays as it is.
    """

    def body(session: Session) -> Verdict:
        from .setting_up import init_command

        return init_command(session, force)

    execute("init", body, as_json, quiet)


def check(
    context: typer.Context,
    company_ids: o.Companies = None,
    from_date: o.FromDate = None,
    to_date: o.ToDate = None,
    start_date: o.StartDate = None,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Tell whether a run would work: key, companies, clock, destination.

    A line for each thing; the first failure decides the exit code. The key is never shown, and nothing is written.
    """

    def body(session: Session) -> Verdict:
        from .checking import check_command

        return check_command(session, _given(context), destination, dataset)

    execute("check", body, as_json, quiet)


def plan(
    context: typer.Context,
    company_ids: o.Companies = None,
    from_date: o.FromDate = None,
    to_date: o.ToDate = None,
    start_date: o.StartDate = None,
    channel: o.Channel = None,
    direction: o.Direction = None,
    agent_ids: o.Agents = None,
    include: o.Include = None,
    lookback_days: o.LookbackDays = None,
    limit: o.Limit = None,
    window_hours: o.WindowHours = None,
    batches: o.Batches = False,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Tell which windows `mindo run` with the same options would read.

    No message is read and nothing is written. A company's own key is asked for its company, and the warehouse for how far
    it is loaded.
    """

    def body(session: Session) -> Verdict:
        from .planning import plan_command

        return plan_command(session, _given(context), destination, dataset, batches)

    execute("plan", body, as_json, quiet)


def run(
    context: typer.Context,
    company_ids: o.Companies = None,
    from_date: o.FromDate = None,
    to_date: o.ToDate = None,
    start_date: o.StartDate = None,
    channel: o.Channel = None,
    direction: o.Direction = None,
    agent_ids: o.Agents = None,
    include: o.Include = None,
    lookback_days: o.LookbackDays = None,
    workers: o.Workers = None,
    limit: o.Limit = None,
    window_hours: o.WindowHours = None,
    load_messages: o.LoadMessages = None,
    accept_deletions: o.AcceptDeletions = False,
    dbt: o.Dbt = False,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    notify: o.Notify = False,
    metrics_file: o.MetricsFile = None,
    log_format: o.LogFormat = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Load what is new: the nightly run.

    For each company it reads what was never read since the start date, and the last days again, for messages that came
    late, changed or were deleted. Every window that is loaded replaces what the tables hold for it. A window that can't be
    read whole is named, left as it was, and read again by the next run.

    With --from it reads that range instead, moves no watermark and notes no gap: what failed is read by the same command.

    With --dbt the models are built and tested afterwards, also where windows are missing (exit codes 3 and 4, which then go
    over dbt's 7: what is missing can be why a test fails).
    """

    def body(session: Session) -> Verdict:
        if dbt:
            from .transforming.commands import run_and_build_command

            return run_and_build_command(session, _given(context), destination, dataset, load_messages)
        from .loading import run_command

        return run_command(session, _given(context), destination, dataset, load_messages)

    execute("run", body, as_json, quiet, Watching(notify, metrics_file, log_format))


def backfill(
    context: typer.Context,
    from_date: o.FromDate = None,
    to_date: o.ToDate = None,
    newest_first: o.NewestFirst = False,
    processes: o.Processes = None,
    company_ids: o.Companies = None,
    channel: o.Channel = None,
    direction: o.Direction = None,
    agent_ids: o.Agents = None,
    include: o.Include = None,
    workers: o.Workers = None,
    limit: o.Limit = None,
    window_hours: o.WindowHours = None,
    load_messages: o.LoadMessages = None,
    accept_deletions: o.AcceptDeletions = False,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    notify: o.Notify = False,
    metrics_file: o.MetricsFile = None,
    log_format: o.LogFormat = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Load a range of history, in batches that are each committed.

    If it is stopped, or some windows can't be read, the same command goes on where it was. It moves no watermark, and a
    later run need not read the range again.
    """

    def body(session: Session) -> Verdict:
        from .loading import backfill_command

        return backfill_command(session, _given(context), destination, dataset, load_messages, newest_first, processes)

    execute("backfill", body, as_json, quiet, Watching(notify, metrics_file, log_format))


def batch(
    context: typer.Context,
    from_date: o.FromDate = None,
    to_date: o.ToDate = None,
    only_new: o.OnlyNew = False,
    company_ids: o.Companies = None,
    channel: o.Channel = None,
    direction: o.Direction = None,
    agent_ids: o.Agents = None,
    include: o.Include = None,
    lookback_days: o.LookbackDays = None,
    workers: o.Workers = None,
    limit: o.Limit = None,
    window_hours: o.WindowHours = None,
    load_messages: o.LoadMessages = None,
    accept_deletions: o.AcceptDeletions = False,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    notify: o.Notify = False,
    metrics_file: o.MetricsFile = None,
    log_format: o.LogFormat = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Load a part of a longer plan, one company and range: what an orchestrator calls.

    `mindo plan --batches --json` tells the parts. Any number can be loaded at the same time, on PostgreSQL from any machine,
    on DuckDB within one; the same one twice changes nothing. It works in a temporary folder, and moves the watermark over
    what is read without a gap.
    """

    def body(session: Session) -> Verdict:
        from .loading import batch_command

        return batch_command(session, _given(context), destination, dataset, load_messages, only_new)

    execute("batch", body, as_json, quiet, Watching(notify, metrics_file, log_format))


def status(
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Tell how far each company is loaded, and what the last runs did.

    Read from the ledger of windows, never from traffic: a quiet company is not a stale one. The API is not asked.
    """

    def body(session: Session) -> Verdict:
        from .status import status_command

        return status_command(session, destination, dataset)

    execute("status", body, as_json, quiet)


def dashboard(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; any but this machine's own asks for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65_535, help="0 takes a free one.")] = 8050,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Don't open it in the browser.")] = False,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
) -> None:
    r"""Serve pages over the warehouse on this machine until Ctrl-C: health, conversations, and each conversation to read.

    It only reads, DuckDB files and PostgreSQL, and opens a DuckDB file only as long as a question lasts. Nothing is loaded from
    another host. On another address than this machine's own it asks for a token, which it prints once. Needs
    pip install 'mindo-connector\[dashboard]'.
    """

    def body(session: Session) -> Verdict:
        from .dashboard.serving import DashboardOptions, dashboard_command

        return dashboard_command(session, DashboardOptions(host, port, destination, dataset, not no_browser))

    execute("dashboard", body)


def report(
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="The HTML file; one that is there is replaced.")
    ] = "report.html",
    company_ids: o.StateCompanies = None,
    days: Annotated[
        int, typer.Option("--days", metavar="N", min=1, max=3_660, help="So many days, up to the last.")
    ] = 30,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    r"""Write health and conversations as one HTML file, to be mailed after the nightly run.

    Charts with their numbers, gaps and the age of each company. It holds counts, labels and names of tools, no text of messages, and
    needs no network to be read. The API is not asked. Needs pip install 'mindo-connector\[dashboard]'.
    """

    def body(session: Session) -> Verdict:
        from .reporting.writing import report_command

        return report_command(session, out, company_ids, days, destination, dataset)

    execute("report", body, as_json, quiet)


def verify(
    context: typer.Context,
    company_ids: o.Companies = None,
    from_date: o.FromDate = None,
    to_date: o.ToDate = None,
    channel: o.Channel = None,
    direction: o.Direction = None,
    agent_ids: o.Agents = None,
    include: o.Include = None,
    sample: o.Sample = None,
    seed: o.Seed = None,
    repair: o.Repair = False,
    workers: o.Workers = None,
    limit: o.Limit = None,
    window_hours: o.WindowHours = None,
    accept_deletions: o.AcceptDeletions = False,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Tell whether the warehouse holds exactly what the API returns.

    It reads all that was loaded once more, or the range of --from and --to, and compares ids and row hashes of all four
    tables, window by window. Without --repair nothing is written. What --include leaves out is not compared.

    Exit code 0 means: every window that was compared is equal. If some differ and others can't be read whole, it is 6.
    """

    def body(session: Session) -> Verdict:
        from .verifying import verify_command

        return verify_command(session, _given(context), destination, dataset, sample, seed, repair)

    execute("verify", body, as_json, quiet)


def state_show(
    company_ids: o.StateCompanies = None,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Show what the next run goes by: watermarks, ranges that count as read, gaps, unfinished backfills, forgotten people.

    Each combination of filters and includes has a watermark and ranges of its own. The API is not asked.
    """

    def body(session: Session) -> Verdict:
        from .state import show_command

        return show_command(session, company_ids, destination, dataset)

    execute("state show", body, as_json, quiet)


def state_rewind(
    company_ids: o.StateCompanies = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="From when on to read again: 2026-04-01 or ISO-8601.")
    ] = None,
    yes: o.Confirmed = False,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Make the next run read companies again from a time on.

    Everything from that time on no longer counts as read, for every combination of filters, and no watermark is later. Rows
    stay in the tables until the run replaces them. A row in audit_log tells of it.
    """

    def body(session: Session) -> Verdict:
        from .state import rewind_command

        return rewind_command(session, company_ids, to, yes, destination, dataset)

    execute("state rewind", body, as_json, quiet)


def state_forget(
    company_ids: o.StateCompanies = None,
    everything: Annotated[bool, typer.Option("--all", help="All companies.")] = False,
    yes: o.Confirmed = False,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Drop the positions of companies: the next run begins again at the start date. For people see `mindo forget`.

    Watermarks, ranges that count as read, unfinished backfills and known agents are dropped. Rows stay in the tables, and
    people who were forgotten stay forgotten. A row in audit_log tells of it.
    """

    def body(session: Session) -> Verdict:
        from .state import forget_state_command

        return forget_state_command(session, company_ids, everything, yes, destination, dataset)

    execute("state forget", body, as_json, quiet)


def dbt_build(
    full_refresh: o.FullRefresh = False,
    select: o.Select = None,
    exclude: o.Exclude = None,
    variables: o.Variables = None,
    threads: o.Threads = None,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    artifacts: o.Artifacts = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Build the dbt models from the tables, and test them. On DuckDB files and PostgreSQL.

    Models are in the schemas <dataset>_marts and <dataset>_intermediate. Only conversations that have changed since the last
    build are made anew. dbt gets the credentials of the pipeline; its own configuration and environment don't count. If it
    is stopped, every table is whole: as it was or as it will be.

    Each test that fails is named, with exit code 7. The texts of database errors are not shown, as they can quote messages.
    """

    def body(session: Session) -> Verdict:
        from .transforming.commands import build_command, prepare_building
        from .warehouse import Warehouse

        warehouse = Warehouse(destination, dataset)
        building = prepare_building(warehouse, full_refresh, select, exclude, variables, threads, artifacts)
        return build_command(session, building)

    execute("dbt build", body, as_json, quiet)


def dbt_docs(
    out: o.Out = None,
    variables: o.Variables = None,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Write the documentation of the models, with their columns and how they depend on each other, as one page.

    Nothing is built. The page has names and SQL in it, no rows.
    """

    def body(session: Session) -> Verdict:
        from .transforming.commands import docs_command
        from .warehouse import Warehouse

        return docs_command(session, Warehouse(destination, dataset), out, variables)

    execute("dbt docs", body, as_json, quiet)


def dbt_freshness(
    variables: o.Variables = None,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Tell whether the tables are loaded far enough up to now; exit code 7 if not.

    By the ledger, never by traffic. The variables mindo_freshness_warn_hours and mindo_freshness_error_hours say how far.
    """

    def body(session: Session) -> Verdict:
        from .transforming.commands import freshness_command
        from .warehouse import Warehouse

        return freshness_command(session, Warehouse(destination, dataset), variables)

    execute("dbt freshness", body, as_json, quiet)


def dagster(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65_535, help="0 takes a free one.")] = 3000,
    home: Annotated[
        str | None,
        typer.Option(
            "--home",
            metavar="FOLDER",
            help="Where Dagster keeps its runs and its dagster.yaml. By default .dlt/.var/dagster.",
        ),
    ] = None,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
) -> None:
    r"""Serve Dagster on this machine until Ctrl-C: partitions of company and month, nightly schedules, checks, dbt models.

    Without an API key it is a demo over a made-up Mindo, whose files are gone afterwards. With one it reads what `mindo run`
    reads. Schedules are off until you switch them on. Needs pip install 'mindo-connector\[dagster]'.

    The code location is the module mindo_pipeline.dagster.definitions; docs/dagster.md tells how to use it on a Dagster of
    your own.
    """

    def body(session: Session) -> Verdict:
        from .dagster.serving import DagsterOptions, dagster_command

        return dagster_command(session, DagsterOptions(host, port, home, destination, dataset))

    execute("dagster", body)


def copy(
    to: o.CopyTo = None,
    to_dataset: o.CopyToDataset = None,
    destination: o.CopyFrom = None,
    dataset: o.CopyFromDataset = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Copy all tables and the state to another destination, where the next run goes on.

    Rows arrive as they are, with their ids and loads, so the next run there reads what is new and writes nothing that did not
    change; who was forgotten stays so. The target must not hold any of the tables yet. Rows are counted on both sides before
    the copy counts. If it is stopped, the same command begins anew. What is copied stays as it is: let runs load one of the
    two only.
    """

    def body(session: Session) -> Verdict:
        from .copying import copy_command

        return copy_command(session, to, to_dataset, destination, dataset)

    execute("copy", body, as_json, quiet)


def forget(
    contacts: Annotated[
        list[str] | None,
        typer.Option("--contact", metavar="ID", help="Who is forgotten, ctc_…; can be given several times."),
    ] = None,
    conversations: Annotated[
        list[str] | None,
        typer.Option("--conversation", metavar="ID", help="What is forgotten, conv_…; can be given several times."),
    ] = None,
    yes: o.Confirmed = False,
    destination: o.Destination = None,
    dataset: o.Dataset = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Erase people from the warehouse, and keep them out of later runs. For positions see `mindo state forget`.

    Of a contact go all messages that it wrote, and the whole of each conversation in which no other contact wrote. Of a
    conversation goes every message. Classifications, extractions and tool calls go with them. A DuckDB file is written anew,
    because it would keep the text of deleted rows; that needs as much free space as the file has. Of dbt's models in
    <dataset>_marts and <dataset>_intermediate go the rows of all these conversations, and `mindo dbt build` makes what is left
    of them anew. A row in audit_log tells of it, without any content. If it is stopped, the same command goes on. Other tables
    that you made from these, backups and copies are yours to clean.
    """

    def body(session: Session) -> Verdict:
        from .forgetting import forget_command

        return forget_command(session, contacts or [], conversations or [], yes, destination, dataset)

    execute("forget", body, as_json, quiet)
