"""`mindo dbt build`, `docs` and `freshness`, and what `mindo run --dbt` does after a load."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from mindo import ConfigurationError, resolve_options
from mindo.columns import EXPORT_WINDOWS

from ..console import clean, counted, duration, make_table
from ..errors import DestinationError, known_line
from ..exit_codes import ExitCode
from ..loading import load_increment, parse_count
from ..model_tables import models_schemas, schema_of
from ..session import CommandFailed, Session, Verdict, explain_failure
from ..warehouse import Warehouse
from .process import Invocation, dbt_called
from .profile import adapter_of, make_profile
from .project import require_dbt, resolve_vars
from .results import UNKNOWN_AGE, Result, build_results, error_kind, freshness_results, wrong_setting

_THREADS: Final = 4
_BUILD: Final = ("build", "--exclude-resource-type", "unit_test")
"""Unit tests test the package, not the data."""
_PAGE: Final = "index.html"
_MOST_LINES: Final = 20
_AGING: Final = "warn"
_FRESH: Final = ("pass", _AGING)
_DBT_ENDED: Final = (0, 1)
"""dbt's exit codes with results: all is well, or something failed."""
_NO_RIGHT_TO_CREATE: Final = "permission denied for database"
_KEPT: Final = "`mindo dbt build --artifacts FOLDER` keeps dbt's own files, which can quote values"


class NothingLoaded(CommandFailed):
    """There is nothing to build from."""


@dataclass(frozen=True)
class Building:
    """A build that can begin: dbt is there, and knows the warehouse's kind of database.

    Attributes:
        warehouse: Where to build.
        variables: Of the package.
        threads: How many models are built at once.
        options: More options of dbt's.
        artifacts: Where dbt's own files are kept.
    """

    warehouse: Warehouse
    variables: dict[str, Any]
    threads: int = _THREADS
    options: Sequence[str] = ()
    artifacts: Path | None = None


def prepare_building(
    warehouse: Warehouse,
    full_refresh: bool = False,
    select: str | None = None,
    exclude: str | None = None,
    variables: str | None = None,
    threads: str | None = None,
    artifacts: str | None = None,
) -> Building:
    """Checks all that can be known before dbt is called.

    Raises:
        ConfigurationError: If an option, a variable, the destination or the installation is unusable.
    """
    require_dbt(adapter_of(warehouse))
    options = [
        *(["--full-refresh"] if full_refresh else []),
        *(["--select", select] if select else []),
        *(["--exclude", exclude] if exclude else []),
    ]
    return Building(
        warehouse,
        resolve_vars(variables),
        _THREADS if threads is None else parse_count("threads", threads),
        options,
        Path(artifacts).absolute() if artifacts else None,
    )


def build_command(session: Session, building: Building) -> Verdict:
    """Builds the models and tests them."""
    _describe(session, building.warehouse)
    return _build(session, building, session.document)


def run_and_build_command(
    session: Session, given: dict[str, Any], destination: str | None, dataset: str | None, load_messages: str | None
) -> Verdict:
    """The nightly increment, then a build; what the build lacks is found before the load begins."""
    options = resolve_options(given)
    building = prepare_building(Warehouse(destination, dataset))
    return _build_after(session, building, load_increment(session, options, building.warehouse, load_messages))


def _build_after(session: Session, building: Building, loaded: Verdict) -> Verdict:
    """Builds what a load left, also if part of it is missing: the rest is newer than what the models hold.

    The load's exit code goes over dbt's: what is missing can be why a test fails.
    """
    document = session.document["dbt"] = {}
    try:
        built = _build(session, building, document)
    except NothingLoaded:
        built = Verdict(ExitCode.COMPLETE, "There is nothing to build models of yet.")
    except BaseException as error:
        built = explain_failure(error)
    document |= {"exit_code": int(built.code), "message": built.message}
    if built.code is ExitCode.COMPLETE or loaded.code is not ExitCode.COMPLETE:
        code = ExitCode.INTERRUPTED if built.code is ExitCode.INTERRUPTED else loaded.code
        return Verdict(code, f"{loaded.message} {built.message}")
    return Verdict(built.code, f"{built.message} The load: {loaded.message}")


def docs_command(session: Session, warehouse: Warehouse, out: str | None, variables: str | None) -> Verdict:
    """Writes the documentation of the models as one page."""
    if not out:
        raise ConfigurationError("out: missing; name a folder for the documentation: --out docs/mindo.")
    folder = Path(out).absolute()
    with _looking(session, warehouse, ["docs", "generate", "--static"], variables) as invocation:
        page = invocation.target / f"static_{_PAGE}"
        if invocation.code or not page.exists():
            raise _ended_early(warehouse, invocation)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(page, folder / _PAGE)
        except OSError as error:
            raise ConfigurationError(f"out: can't write to {clean(folder)} ({error.strerror}).") from None
    session.document["page"] = str(folder / _PAGE)
    return Verdict(ExitCode.COMPLETE, f"written: {folder / _PAGE}; open it in a browser.")


def freshness_command(session: Session, warehouse: Warehouse, variables: str | None) -> Verdict:
    """Tells how far behind the tables are, by the ledger."""
    with _looking(session, warehouse, ["source", "freshness"], variables) as invocation:
        found = freshness_results(invocation)
        if not found:
            raise _ended_early(warehouse, invocation)
    session.document["sources"] = [source.document for source in found]
    table = make_table("table", "status", ">age")
    for source in found:
        age = "-" if source.seconds is None else duration(timedelta(seconds=source.seconds))
        table.add_row(clean(source.name), source.status, age)
    session.show(table)
    old = [source for source in found if source.status not in _FRESH]
    ages = [source.seconds for source in found if source.seconds is not None]
    by = f"they are behind by up to {duration(timedelta(seconds=max(ages)))}" if ages else "how far is unknown"
    if any(source.status == UNKNOWN_AGE for source in old):
        return Verdict(ExitCode.DBT, "dbt: the ledger export_windows can't be read for how old the tables are.")
    if old:
        told = (
            f"{len(old):,} of {counted(len(found), 'table')} are too old, {by}; see `mindo status`, then `mindo run`."
        )
        return Verdict(ExitCode.DBT, told)
    aging = [source for source in found if source.status == _AGING]
    if aging:
        told = f"{len(aging):,} of {counted(len(found), 'table')} are getting old, {by}; see `mindo status`."
        return Verdict(ExitCode.COMPLETE, told)
    return Verdict(ExitCode.COMPLETE, f"fresh: {counted(len(found), 'table')}, {by}.")


@contextmanager
def _looking(
    session: Session, warehouse: Warehouse, arguments: Sequence[str], variables: str | None
) -> Iterator[Invocation]:
    """Calls dbt for something that writes nothing to the warehouse."""
    require_dbt(adapter_of(warehouse))
    resolved = resolve_vars(variables)
    _describe(session, warehouse)
    warehouse.reading()
    _check_loaded(warehouse)
    profile = make_profile(warehouse, _THREADS, read_only=True)
    with _told_if_stopped("stopped; nothing was changed."), dbt_called(arguments, profile, resolved) as invocation:
        yield invocation


def _describe(session: Session, warehouse: Warehouse) -> None:
    session.document |= {"location": warehouse.location, "dataset": warehouse.dataset}


def _build(session: Session, building: Building, document: dict[str, Any]) -> Verdict:
    building.warehouse.on_wait = lambda: session.note("waiting for another build or load to end")
    with (
        _told_if_stopped("stopped; what dbt has built stays, the same command builds the rest."),
        models_built(
            building,
            lambda: session.note("building the models with dbt"),
            lambda invocation: _check_selection(session, invocation),
        ) as invocation,
    ):
        results = build_results(invocation)
    return _report(session, building, results, document)


@contextmanager
def models_built(
    building: Building,
    begin: Callable[[], None] = lambda: None,
    look: Callable[[Invocation], None] = lambda _: None,
) -> Iterator[Invocation]:
    """Builds the models and tests them, while nobody else writes to the warehouse.

    Args:
        building: What to build.
        begin: Called when the warehouse is held.
        look: Looks at what dbt left before anything else does.

    Raises:
        NothingLoaded: If there is nothing to build from.
        CommandFailed: If dbt ended before it came to the models.
        ConfigurationError: If the project says that one of its variables is wrong.
        DestinationError: If the warehouse can't be held, or dbt can't write to it.
    """
    warehouse = building.warehouse
    with warehouse.modelling():
        _check_loaded(warehouse)
        begin()
        profile = make_profile(warehouse, building.threads)
        with dbt_called(
            [*_BUILD, *building.options], profile, building.variables, building.artifacts, warehouse.cache
        ) as invocation:
            look(invocation)
            if wrong_setting(invocation) or invocation.code not in _DBT_ENDED or not build_results(invocation):
                raise _ended_early(warehouse, invocation)
            yield invocation


def _check_loaded(warehouse: Warehouse) -> None:
    rows = warehouse.query(f"SELECT count(*) AS n FROM {{{EXPORT_WINDOWS}}}")
    if not rows or not rows[0]["n"]:
        raise NothingLoaded(
            ExitCode.CONFIGURATION,
            f"{warehouse.location}: dataset {warehouse.dataset}: nothing was ever loaded; give `mindo run` first.",
        )


def _check_selection(session: Session, invocation: Invocation) -> None:
    for data in invocation.events_named("NoNodesForSelectionCriteria"):
        session.warn(f"select: {clean(data.get('spec_raw'))!r} matches nothing of the package")
    if any(True for _ in invocation.events_named("NothingToDo")):
        raise ConfigurationError("select: there is nothing left to build; mend --select and --exclude.")


def _ended_early(warehouse: Warehouse, invocation: Invocation) -> Exception:
    """Why there are no results."""
    if line := wrong_setting(invocation):
        return ConfigurationError(f"{clean(line)} See dbt.vars in .dlt/config.toml, and --vars.")
    text = invocation.failure or ""
    if _NO_RIGHT_TO_CREATE in text:
        schemas = " and ".join(models_schemas(schema_of(warehouse)))
        right = warehouse.query("SELECT current_database() AS place, current_user AS who")[0]
        return DestinationError(
            f"{warehouse.location}: the user lacks the right to create the schemas {schemas};"
            f" GRANT CREATE ON DATABASE {right['place']} TO {right['who']}."
        )
    if line := known_line(text):
        return DestinationError(f"{warehouse.location}: {line}.")
    return CommandFailed(
        ExitCode.DBT, f"dbt: it ended before it came to the models ({clean(error_kind(text))}); {_KEPT}."
    )


def _report(session: Session, building: Building, results: Sequence[Result], document: dict[str, Any]) -> Verdict:
    models = [result for result in results if result.is_model]
    tests = [result for result in results if not result.is_model]
    broken = [result for result in results if result.is_broken]
    warnings = [result for result in results if result.is_warning]
    counts = {
        "passed": sum(test.is_done for test in tests),
        "warned": len(warnings),
        "failed": sum(test.is_broken for test in tests),
        "skipped": sum(test.is_skipped for test in tests),
    }
    document |= {
        "models": [model.document for model in models],
        "tests": counts,
        "failures": [result.document for result in broken],
        "warnings": [result.document for result in warnings],
    }
    if models:
        session.show("", _models_table(models))
    for line in _shortened([f"warning: {clean(result.what)}" for result in warnings]):
        session.note(line)
    for line in _shortened([f"failed: {clean(result.what)}" for result in broken]):
        session.warn(line)
    told = _counted(models, counts)
    if not broken:
        return Verdict(ExitCode.COMPLETE, f"built: {told} in {duration(session.elapsed)}.")
    skipped = sum(result.is_skipped for result in results)
    rest = f", {skipped:,} more left out because of that" if skipped else ""
    kept = "" if building.artifacts else f" {_KEPT}."
    named = "the line above names it" if len(broken) == 1 else "the lines above name them"
    return Verdict(ExitCode.DBT, f"dbt: {len(broken):,} of {told} failed{rest}; {named}.{kept}")


def _counted(models: Sequence[Result], tests: dict[str, int]) -> str:
    total = sum(tests.values())
    warned = f" ({tests['warned']:,} warned)" if tests["warned"] else ""
    return f"{counted(len(models), 'model')} and {counted(total, 'test')}{warned}"


def _models_table(models: Sequence[Result]) -> Table:
    is_told = any(model.rows is not None for model in models)
    table = make_table("model", *([">rows"] if is_told else []), ">seconds", "")
    for model in models:
        rows = ["" if model.rows is None else f"{model.rows:,}"] if is_told else []
        status = "" if model.is_done else model.status
        table.add_row(clean(f"{model.schema}.{model.name}"), *rows, f"{model.seconds:.2f}", status)
    return table


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"… and {len(lines) - _MOST_LINES} more; --json names them all."]
    return lines


@contextmanager
def _told_if_stopped(message: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        raise CommandFailed(ExitCode.INTERRUPTED, message) from error
