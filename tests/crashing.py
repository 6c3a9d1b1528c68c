"""Runs something in a child process that SIGKILL ends: at a named point of the code, or after some time.

Nothing in the connector knows of it. A `KillPoint` is data: which function, and before, after or halfway through which of
its calls. The child wraps that function and sends SIGKILL to itself; nothing is flushed, closed or cleaned up.

The command, with the caller's folder, environment and configuration::

    ended = run_and_kill(call, ["run", "--quiet"], at=POINTS["before the state is written"])
    assert ended.killed, ended.err
    assert mindo("run").code == 0

A `Laboratory`, with its own clock; the child gets the laboratory's server, file, clock and options::

    ended = run_laboratory_and_kill(laboratory, "run", at=POINTS["between tables"], load_messages=50)
    ended = run_laboratory_and_kill(laboratory, "backfill", after=0.2, from_date=START, to_date=NOW)

Without `at` and `after` nothing kills it. A point that is never reached, or a time that is never up, leaves the child to end
by itself: then `killed` is false and `code` is what the function returned, 1 if it raised. A test of a point asserts
`killed`, or it would prove nothing.

The children come from one server process that has imported everything once, so that each costs tens of milliseconds. Any
function that can be pickled will do; it and its arguments must not hold threads, sockets or open files.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import inspect
import itertools
import multiprocessing
import multiprocessing.util
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from tests.support import Laboratory

_ROOT = Path(__file__).resolve().parents[1]
_PRELOADED = (
    "pytest",  # the main module of the tests, which a child imports
    "duckdb",
    "pendulum.locales.en.locale",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pytz",  # DuckDB imports it for the first time with a zone
    "typer._adapters",
    "dlt.common.libs.pyarrow",
    "dlt.common.libs.sql_alchemy_compat",
    "dlt.destinations.impl.duckdb.duck",
    "dlt.destinations.impl.duckdb.factory",
    "dlt.extract.extract",
    "dlt.normalize.normalize",
    "dlt.load.load",
    "dlt.pipeline.pipeline",
    "mindo_pipeline.cli",
    "mindo_pipeline.duckdb_destination",
    "mindo_pipeline.loading",
    "mindo_pipeline.running",
    "tests.support",
    "tests.crashing",
)
_PATIENCE_SECONDS = 120
_STREAMS = ("out", "err")


@dataclass(frozen=True)
class KillPoint:
    """Where a process is killed.

    Attributes:
        name: What it is called in a test or a report.
        target: The function, as `module:attribute` or `module:Class.attribute`, where its caller finds it.
        when: Before the call, after it returned, or halfway: within a chunk of bytes that it yields.
        hit: At which call, or chunk, counted from 1.
        within: Only calls that this function makes, named like `target`, in the same thread.
        table: Only calls of a dlt load job for this table.
        statement: Only calls of a SQL client with a statement that this pattern is found in.
    """

    name: str
    target: str
    when: Literal["before", "after", "halfway"] = "after"
    hit: int = 1
    within: str = ""
    table: str = ""
    statement: str = ""

    def at(self, hit: int) -> KillPoint:
        """The same point at another call."""
        return replace(self, hit=hit)


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        killed: Whether SIGKILL ended it.
        code: Its exit code; `None` if it was killed.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
        seconds: How long it took.
    """

    killed: bool
    code: int | None
    out: str
    err: str
    seconds: float


def run_and_kill(
    function: Callable[..., Any], *arguments: Any, at: KillPoint | None = None, after: float | None = None
) -> Ended:
    """Calls a function in a child process with this process's folder and environment, and kills it.

    Args:
        function: What to call; a whole number that it returns is the exit code.
        arguments: Its arguments.
        at: Where to kill it.
        after: After how many seconds to kill it, counted from the start of the child.
    """
    with tempfile.TemporaryDirectory(prefix="killed-") as streams:
        process = _context().Process(
            target=_child, args=(str(Path.cwd()), dict(os.environ), streams, at, function, arguments)
        )
        started = time.monotonic()
        process.start()
        if after is not None:
            process.join(after)
            process.kill()
        process.join(_PATIENCE_SECONDS)
        seconds = time.monotonic() - started
        if process.is_alive():
            process.kill()
            process.join()
            raise AssertionError(f"the child did not end within {_PATIENCE_SECONDS} s")
        code, killed = process.exitcode, process.exitcode == -signal.SIGKILL
        process.close()
        # killed before it had any
        out, err = (path.read_text() if path.exists() else "" for path in map(Path(streams).joinpath, _STREAMS))
    return Ended(killed, None if killed else code, out, err, seconds)


def run_laboratory_and_kill(
    laboratory: Laboratory, method: str, *, at: KillPoint | None = None, after: float | None = None, **arguments: Any
) -> Ended:
    """Calls a method of a laboratory, such as `run` or `backfill`, in a child process, and kills it.

    Args:
        laboratory: Over any server with a `base_url`.
        method: The method's name.
        at: As in `run_and_kill`.
        after: As in `run_and_kill`.
        arguments: Of the method.
    """
    return run_and_kill(
        _call_laboratory,
        laboratory.server.base_url,
        str(laboratory.database),
        laboratory.now,
        laboratory.given,
        method,
        arguments,
        at=at,
        after=after,
    )


@dataclass(frozen=True)
class _ServedElsewhere:
    base_url: str


def _call_laboratory(
    base_url: str, database: str, now: datetime, given: dict[str, Any], method: str, arguments: Mapping[str, Any]
) -> None:
    laboratory = Laboratory(_ServedElsewhere(base_url), database)
    laboratory.now, laboratory.given = now, given
    getattr(laboratory, method)(**arguments)


# --- the child -----------------------------------------------------------------------------------------------------


@functools.cache
def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    # a server started without PYTHONPATH finds the connector, but not the tests
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    # the name of its socket has to be short, however long that of the test's temporary folder is
    with mock.patch.dict(os.environ, PYTHONPATH=path), mock.patch.object(tempfile, "tempdir", None):
        os.environ.pop("TMPDIR", None)
        multiprocessing.util.get_temp_dir()
        forkserver.ensure_running()
    return context


def _child(
    folder: str,
    environment: Mapping[str, str],
    streams: str,
    point: KillPoint | None,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    for number, name in enumerate(_STREAMS, start=1):
        os.dup2(os.open(Path(streams, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    # dlt read its configuration in the server's folder
    Container()[PluggableRunContext].reload(".")
    if point is not None:
        arm(point)
    result = function(*arguments)
    # what a command leaves to the end of its process, which multiprocessing's children skip
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if isinstance(result, int):
        os._exit(result)


def arm(point: KillPoint) -> None:
    """Wraps a point's function in this process, which is killed when the point is reached."""
    inside = _Inside()
    if point.within:
        _wrap(point.within, lambda function: inside.noting(function))
    calls = itertools.count(1)

    def counts(arguments: tuple[Any, ...]) -> bool:
        if point.within and not inside.now:
            return False
        if point.table and arguments[0].job_file_info().table_name != point.table:
            return False
        if point.statement and not re.search(point.statement, arguments[1]):
            return False
        return next(calls) == point.hit

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            if point.when == "before" and counts(arguments):
                _die()
            result = function(*arguments, **named)
            if point.when == "after" and counts(arguments):
                _die()
            return _cut(result, lambda: counts(arguments)) if point.when == "halfway" else result

        return wrapped

    _wrap(point.target, wrap)


@dataclass
class _Inside:
    """Whether this thread is inside of a function."""

    _local: threading.local = field(default_factory=threading.local)

    @property
    def now(self) -> bool:
        return getattr(self._local, "depth", 0) > 0

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._local.depth = getattr(self._local, "depth", 0) + 1
        try:
            yield
        finally:
            self._local.depth -= 1

    def noting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            with self._counted():
                return function(*arguments, **named)

        return wrapped


def _wrap(target: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    found = inspect.getattr_static(owner, name)
    if isinstance(found, staticmethod | classmethod):
        setattr(owner, name, type(found)(wrap(found.__func__)))
    else:
        setattr(owner, name, wrap(found))


def _cut(chunks: Iterator[bytes], counts: Callable[[], bool]) -> Iterator[bytes]:
    for chunk in chunks:
        if counts():
            yield chunk[: len(chunk) // 2]
            _die()
        yield chunk


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# --- the points ----------------------------------------------------------------------------------------------------

_CLIENT, _READER, _RUNNING = "mindo.client:MindoClient", "mindo.reader:WindowReader", "mindo_pipeline.running"
_WAREHOUSE = "mindo_pipeline.warehouse:Warehouse"
_PIPELINE = "dlt.pipeline.pipeline:Pipeline"
_EXTRACT, _LOAD = "dlt.extract.extract:Extract", "dlt.load.load:Load"
_PACKAGES = "dlt.common.storages.load_package:PackageStorage"
_LOAD_STORAGE = "dlt.common.storages.load_storage:LoadStorage"
_DATABASE = "dlt.destinations.job_client_impl:SqlJobClientBase"
_COPY = "mindo_pipeline.duckdb_destination:CopyFileJob.run"
_MERGE = "dlt.destinations.job_client_impl:SqlLoadJob.run"
_REPLACE = "mindo_pipeline.duckdb_destination:ReplaceWindowsJob.run"
_INSERT = "dlt.destinations.insert_job_client:InsertValuesLoadJob.run"
_SQL_CLIENT = "dlt.destinations.impl.duckdb.sql_client:DuckDbSqlClient"
_EXECUTE = f"{_SQL_CLIENT}.execute_sql"
_STATE = "_dlt_pipeline_state"

_READING = (
    KillPoint("in a page", "urllib3.response:HTTPResponse.stream", "halfway", within=f"{_CLIENT}._write_body"),
    KillPoint("after a page arrived", f"{_CLIENT}._write_body"),
    KillPoint("between pages", f"{_READER}._read_page"),
    KillPoint("between windows", f"{_READER}._read", hit=2),
)
_EXTRACTING = (
    KillPoint("in extract", "mindo.extraction:_item", hit=2),
    KillPoint("extracted, before the state", f"{_PIPELINE}._bump_version_and_extract_state", "before"),
    KillPoint("extracted, not committed", f"{_EXTRACT}.commit_packages", "before"),
    KillPoint("extracted, local state not saved", f"{_EXTRACT}.commit_packages"),
    KillPoint("after extract", f"{_PIPELINE}.extract"),
)
_NORMALIZING = (
    KillPoint("in normalize", "dlt.normalize.items_normalizers.arrow:ArrowItemsNormalizer.__call__", hit=2),
    KillPoint("normalized, not committed", f"{_LOAD_STORAGE}.commit_new_load_package", "before"),
    KillPoint("normalized, still extracted", f"{_LOAD_STORAGE}.commit_new_load_package"),
    KillPoint("normalized, extract half removed", "os:unlink", hit=3, within=f"{_PACKAGES}.delete_package"),
    KillPoint("after normalize", f"{_PIPELINE}.normalize"),
)
_LOADING = (
    KillPoint("before the tables are made", f"{_DATABASE}.update_stored_schema", "before"),
    KillPoint("tables made, not noted", f"{_LOAD_STORAGE}.commit_schema_update", "before"),
    KillPoint("before the first job", f"{_LOAD}.start_new_jobs", "before"),
    KillPoint("staged, not noted", _COPY, table="export_windows"),
    KillPoint("first job noted", f"{_PACKAGES}.save_pending_transition"),
    KillPoint("first job moved", f"{_PACKAGES}.complete_job"),
    KillPoint("between staging and merge", _MERGE, "before"),
    KillPoint("merged, not noted", _MERGE),
    KillPoint("before windows are replaced", _REPLACE, "before"),
    KillPoint(
        "windows half replaced", _EXECUTE, within=_REPLACE, statement=r'^DELETE FROM \S*"messages" .* SEMI JOIN '
    ),
    KillPoint("between tables", _EXECUTE, within=_REPLACE, statement=r'^INSERT INTO \S*"messages" '),
    KillPoint("windows replaced, not committed", f"{_SQL_CLIENT}.commit_transaction", "before", within=_REPLACE),
    KillPoint("windows replaced, not noted", _REPLACE),
    KillPoint("before the state is written", _INSERT, "before", table=_STATE),
    KillPoint("after the state is written", _INSERT, table=_STATE),
    KillPoint("before the package is complete", f"{_DATABASE}.complete_load", "before"),
    KillPoint("complete in the destination only", f"{_DATABASE}.complete_load"),
    KillPoint("before the package is moved", f"{_PACKAGES}.complete_loading_package", "before"),
    KillPoint("package marked, not moved", f"{_PACKAGES}.complete_loading_package"),
    KillPoint("package moved, jobs still there", f"{_LOAD_STORAGE}.complete_load_package"),
    KillPoint("after load", f"{_PIPELINE}.load"),
    KillPoint("between loads", f"{_RUNNING}:load_source", "before", hit=2),
)
_CATCHING_UP = (
    KillPoint("before catching up", f"{_WAREHOUSE}._catch_up", "before"),
    KillPoint("before local state is dropped", f"{_WAREHOUSE}._drop_local_state", "before"),
    KillPoint("local state half dropped", "os:unlink", hit=2, within=f"{_WAREHOUSE}._drop_local_state"),
    KillPoint(
        "local state dropped", f"{_PIPELINE}.sync_destination", "before", within=f"{_WAREHOUSE}._drop_local_state"
    ),
    KillPoint(
        "state fetched, not saved", f"{_PIPELINE}._save_state", "before", within=f"{_PIPELINE}._sync_destination"
    ),
    KillPoint("after catching up", f"{_WAREHOUSE}._catch_up"),
)
POINTS: Mapping[str, KillPoint] = {
    point.name: point for point in (*_READING, *_EXTRACTING, *_NORMALIZING, *_LOADING, *_CATCHING_UP)
}
"""Every named point by its name, in the order in which a run passes them; catching up comes first in a run."""
