"""The `mindo` command: its help, its parts, and its way in and out. Importing it stays quick."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import Annotated, Any, Final, NoReturn

import typer

from . import commands
from .exit_codes import ExitCode
from .observing.watching import Watching
from .session import Verdict, execute

_PRIVATE: Final = 0o077
"""Takes all rights from everyone but the owner."""

_HELP: Final = """
Loads chat messages from Mindo's Qualitative Export API into DuckDB and other warehouses, so that the tables hold exactly
what the API returns.

Configuration is dlt's. An option goes over the environment (SOURCES__MINDO__API_KEY, SOURCES__MINDO__COMPANY_IDS,
DESTINATION__DUCKDB__CREDENTIALS …), and that over .dlt/config.toml and .dlt/secrets.toml in the current folder, which
`mindo init` writes with every setting explained. The tables are in warehouse.duckdb, dataset mindo, if not said otherwise.
"""

_EXIT_CODES: Final = """
Exit codes

  0    every planned window is complete
  2    an option, the key, a company, a range or the spool can't be used
  3    the API was unreachable, broken or limited the rate: what was complete
       is loaded, the rest is named; run again later
  4    a window would have lost too many messages and was refused
  5    the destination can't be written, or another run is writing
  6    verify: the warehouse does not hold what the API returns
  7    dbt: a model or a test failed, or the tables are too old
  130  stopped by Ctrl-C or SIGTERM; what was loaded stays
"""

_EXAMPLES: Final = """
Examples

  mindo demo                                try it out, without a key
  mindo init; mindo check; mindo run        start with a key of your own
  mindo run --json > run.json               what a scheduler keeps
  mindo run --companies 42 --from 2026-04-01 --to 2026-04-08
  mindo backfill --from 2025-01-01 --newest-first
"""

_PANELS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "Try it out": {"demo": {}, "emulator": {}},
    "Start with a key": {"init": {}, "check": {}},
    "Load and look": {
        "plan": {},
        "run": {"epilog": _EXIT_CODES},
        "backfill": {"epilog": _EXIT_CODES},
        "batch": {"epilog": _EXIT_CODES},
        "status": {},
        "verify": {"epilog": _EXIT_CODES},
    },
    "See it": {"dashboard": {}, "report": {}},
    "Models downstream": {"dbt": {}},
    "Every night, on an engine": {"dagster": {}},
    "Change what was loaded": {"state": {}, "forget": {}, "copy": {}},
}

_OBSERVED: Final = ("run", "backfill", "batch")
"""Commands that a scheduler starts, and that machines can watch; of a mistyped option they have to hear as well."""

_GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "dbt": ("build", "docs", "freshness"),
    "state": ("show", "rewind", "forget"),
}
"""Commands that have commands of their own."""

_GROUP_HELP: Final = {
    "dbt": """Build dbt models from the tables: conversations, response times, agents and tools by day.

    They are the package in the folder dbt/, which works in a dbt project of your own as well. Needs
    pip install 'mindo-connector\\[dbt]'. Models are set by \\[dbt.vars] in .dlt/config.toml.""",
    "state": """Show or change what counts as read, which decides what the next run reads.

    `mindo state forget` forgets positions; `mindo forget` forgets people.""",
}


def _unwrapped(text: str | None) -> str:
    """Joins the lines of each paragraph, as the help is wrapped anew to the terminal's width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n"))


app = typer.Typer(
    name="mindo",
    help=_unwrapped(_HELP),
    epilog=f"{_EXAMPLES}{_EXIT_CODES}",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _add_command(parent: typer.Typer, name: str, function: Any, panel: str | None, settings: dict[str, Any]) -> None:
    parent.command(name, help=_unwrapped(function.__doc__), rich_help_panel=panel, **settings)(function)


def _add_group(name: str, panel: str) -> None:
    group = typer.Typer(help=_unwrapped(_GROUP_HELP[name]), rich_markup_mode="rich", invoke_without_command=True)
    group.callback()(_help_without_command)
    for member in _GROUPS[name]:
        _add_command(group, member, getattr(commands, f"{name}_{member}"), None, {})
    app.add_typer(group, name=name, rich_help_panel=panel)


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help().rstrip(), nl=False)


for _panel, _names in _PANELS.items():
    for _name, _settings in _names.items():
        if _name in _GROUPS:
            _add_group(_name, _panel)
        else:
            _add_command(app, _name, getattr(commands, _name), _panel, _settings)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"mindo {version('mindo-connector')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    _help_without_command(context)


def call(arguments: Sequence[str]) -> int:
    """Runs the command and returns its exit code; no exception leaves it."""
    try:
        return int(app(args=list(arguments), prog_name="mindo", standalone_mode=False) or 0)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:
        # the classes of typer's own errors have moved between its versions, their interface has not
        describe = getattr(error, "format_message", None)
        if describe is None:
            raise
        return _usage_error(describe(), arguments)


def _usage_error(message: str, arguments: Sequence[str]) -> int:
    command = _named_command(arguments)
    line = f"{' '.join(message.split()).rstrip('.')}; see `{f'mindo {command}'.strip()} --help`."
    observation = Watching.typed(arguments) if command in _OBSERVED else None
    try:
        execute(
            command or "mindo",
            lambda _: Verdict(ExitCode.CONFIGURATION, line),
            "--json" in arguments,
            observation=observation,
        )
    except typer.Exit as end:
        return end.exit_code


def _named_command(arguments: Sequence[str]) -> str:
    """The command that was typed, as far as there is one: `run`, `state rewind`, `state`, or nothing."""
    known = {name for names in _PANELS.values() for name in names}
    place = next((place for place, argument in enumerate(arguments) if argument in known), None)
    if place is None:
        return ""
    name = arguments[place]
    member = next((argument for argument in arguments[place + 1 :] if argument in _GROUPS.get(name, ())), "")
    return f"{name} {member}".strip()


def main() -> NoReturn:
    """The console script."""
    # whatever is written holds personal data: the database, load packages, what DuckDB spills
    os.umask(_PRIVATE)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = call(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader of a pipe has left; Python would complain about it once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate()):
        # a request that hangs must not hold up the end, but private folders have to go
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)
