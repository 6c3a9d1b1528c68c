"""The dlt pipeline into the warehouse: opened, checked, brought up to date, and kept apart from other runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from copy import copy
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.destination import Destination
from dlt.common.destination.exceptions import DestinationUndefinedEntity, UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException
from dlt.common.pipeline import LoadInfo
from dlt.destinations.exceptions import DatabaseUndefinedRelation, DestinationConnectionError
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.extract import DltSource
from dlt.pipeline.trace import TRACE_FILE_NAME

from mindo import ConfigurationError, Coverage, Selection, Window
from mindo.columns import DECLARED, EXPORT_WINDOWS
from mindo.layout import create_indexes, has_indexes
from mindo.queries import open_queries
from mindo.settings import SOURCE_NAME
from mindo.spool import PrivateFolder
from mindo.strategies import REPLACED_TABLES, prepare_destination

from .defaults import register_defaults
from .duckdb_destination import ReplacingDuckDb
from .duckdb_replacing import bring_lists_along
from .errors import DestinationError, destination_line
from .locks import destination_lock, file_lock, has_lock
from .pending import drop_staging, drop_staging_of_others, finish_packages, private_staging_layout
from .probing import probe_writing
from .resolved_once import resolved_once
from .turns import Turns
from .unfinished import Unfinished
from .unusable import require_table_format, unusable_line

PIPELINE_NAME = "mindo"
DEFAULT_DATASET = "mindo"
DEFAULT_DESTINATION = "duckdb"
UNFINISHED_COPY = "unfinished_copy"
"""In the state of the source as long as a copy into the warehouse is not whole."""

_WRITE_BITS = 0o222
_MOST_SECONDS_AHEAD = 10
_UNUSABLE = (ConfigurationException, UnknownDestinationModule, MissingDependencyException)


class Warehouse:
    """A destination's dataset, and the dlt pipeline that loads it.

    Until `writing` everything happens in a scratch folder and, on DuckDB, read-only and query by query: whoever only looks
    leaves no trace, and keeps a run from writing only while a query lasts.

    Args:
        destination: Name of a dlt destination; its credentials come from dlt's configuration.
        dataset: Name of the dataset (schema) that holds the tables.
        database: File of a DuckDB warehouse; goes over dlt's configuration.
        shares_no_folder: Whether to work in a temporary folder instead of one in dlt's `pipelines_dir`, if `can_be_shared`;
            nothing of it stays. Elsewhere a common folder has to keep writers apart.

    Attributes:
        location: Where the warehouse is, without credentials.
        file: The file of a DuckDB warehouse; `None` for any other destination.
        pipeline: The pipeline that the last `reading` or `writing` opened.
        unfinished: Windows whose load failed.
        cache: A folder for what is quicker to keep than to make again; holds no rows.
        on_wait: Called when another run has to be waited for.

    Raises:
        ConfigurationError: If dlt knows no such destination or can't read its credentials, or the folder for temporary
            files can't be written.
        DestinationError: If the destination can't be used.
    """

    def __init__(
        self,
        destination: str | None = None,
        dataset: str | None = None,
        database: str | Path | None = None,
        shares_no_folder: bool = False,
    ) -> None:
        register_defaults()
        self.destination = destination or DEFAULT_DESTINATION
        self.dataset = dataset or DEFAULT_DATASET
        self._scratch = _make_scratch()
        self._has_private_staging = False
        try:
            self._factory = ReplacingDuckDb(str(database)) if database else _destination(self.destination)
            self.pipeline = self._open_pipeline(self._scratch.path)
            client = self.pipeline.destination_client()
            # tables can also be made when packages of an earlier run are finished
            prepare_destination(client.capabilities)
            require_table_format(self.table_format)
            self.location = str(client.config)
            self.file = _database_file(client)
            self._server_has_lock = has_lock(client)
            self._has_indexes = has_indexes(client.capabilities)
            self._has_private_staging = self.file is None and _has_staging(client)
            self._reader = self._factory if self.file is None else _read_only(client)
            if self.file is not None:
                self.pipeline = self._open_pipeline(self._scratch.path, self._reader)
        except _UNUSABLE as error:
            raise ConfigurationError(unusable_line(self.destination, error)) from error
        except Exception as error:
            line = destination_line(error, "it can't be opened")
            raise DestinationError(f"destination {self.destination}: {line}.") from error
        # a folder of its own for each warehouse: unfinished packages and state must never go to another one
        root = Path(str(dlt.config.get("pipelines_dir"))).absolute()
        own = root / hashlib.sha256(f"{self.location} {self.dataset}".encode()).hexdigest()[:12]
        can_be_shared = self._server_has_lock or self.file is not None
        self._shares_no_folder = shares_no_folder and can_be_shared
        folder = self._scratch.path / "run" if self._shares_no_folder else own
        self._turns = Turns(self.location, folder, self._locked if can_be_shared else None)
        self.unfinished = Unfinished(folder / "unfinished.json")
        self.cache = folder / "cache"
        self.on_wait: Callable[[], None] = lambda: None
        self._is_shared = False
        self._keeps_packages = False

    def _open_pipeline(self, folder: Path, factory: Any = None) -> dlt.Pipeline:
        factory = factory or self._factory
        if self._has_private_staging:
            # loads that meet in one staging dataset corrupt each other
            factory = copy(factory)
            factory.config_params = factory.config_params | {"staging_dataset_name_layout": _staging_layout(folder)}
        return dlt.pipeline(PIPELINE_NAME, destination=factory, dataset_name=self.dataset, pipelines_dir=str(folder))

    @contextmanager
    def writing(self, beside_others: bool = False, completes_copy: bool = False) -> Iterator[None]:
        """Holds the warehouse for one writer: checks that it can be written, then finishes what killed runs left.

        A load that fails inside leaves no rows, neither in local packages nor in the staging dataset; unless its windows
        could not be noted: then its package has to stay for the next run.

        Afterwards the local state is the destination's: a warehouse restored from a backup, or deleted, is read as it is.

        Args:
            beside_others: Whether there may be other writers at the same time, if `can_be_shared`. Each of them loads within
                `loading` only.
            completes_copy: Whether part of a copy may be there; nobody else may add to it.

        Raises:
            ConfigurationError: If the note of windows whose load failed can't be read.
            DestinationError: If another run is writing, or the destination can't be written.
        """
        self._is_shared = beside_others and self.can_be_shared
        with self._turns.taken_folder(self._is_shared), nullcontext() if self._is_shared else self._turns.held():
            self._check_file()
            self._keeps_packages = False
            try:
                try:
                    self.pipeline = self._open_pipeline(self._turns.folder)
                    with self._turns.held():
                        self._catch_up()
                    if self.holds_unfinished_copy and not completes_copy:
                        raise self._is_part_of_copy()
                except (ConfigurationError, DestinationError):
                    raise
                except Exception as error:
                    raise self._error(
                        error, "it can't be written, or what an earlier run left can't be loaded"
                    ) from error
                try:
                    yield
                except BaseException:
                    if not self._keeps_packages:
                        self._drop_rows_of_failed_load()
                    raise
            finally:
                # dlt's trace keeps the messages of exceptions, and the database's can quote rows
                Path(self.pipeline.working_dir, TRACE_FILE_NAME).unlink(missing_ok=True)
                if self._has_private_staging:
                    # nobody will look for it, and if it can't be dropped now there is something else to tell
                    with suppress(Exception):
                        drop_staging(self.pipeline)
                if self._shares_no_folder:
                    shutil.rmtree(self._turns.folder, ignore_errors=True)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Holds the destination for one load, in the state that other writers have left. Needs `writing`.

        Raises:
            DestinationError: If it can't be held, or could not be held to the end.
        """
        with self._turns.held():
            if self._is_shared:
                self._take_over_state()
            if self._is_shared and self._server_has_lock:
                self._check_clock()
            yield
            try:
                if self._has_indexes:
                    with self.pipeline.sql_client() as client:
                        create_indexes(client)
            except Exception as error:
                raise self._error(error, "its tables can't be indexed") from error

    @contextmanager
    def modelling(self) -> Iterator[None]:
        """Holds the warehouse for a program that builds models from the tables, and gets its state as `reading` does.

        Nobody else can write meanwhile: models have to be of one state of the tables. Where the destination has locks, loads wait.

        Raises:
            DestinationError: If it can't be held or read, or holds part of a copy only.
        """
        self._is_shared = False
        with nullcontext() if self._server_has_lock else self._turns.taken_folder():
            self._check_file()
            # the lock is a file beside it
            is_missing = self.file is not None and not self.file.exists()
            with nullcontext() if is_missing else self._turns.held():
                # not in the folder of a run, which belongs to others by now
                self.pipeline = self._open_pipeline(self._scratch.path, self._reader)
                self.reading()
                if self.holds_unfinished_copy:
                    raise self._is_part_of_copy()
                yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the lock at the destination."""
        with ExitStack() as stack:
            try:
                if self.file is not None:
                    lock = file_lock(self.file, self.on_wait)
                else:
                    client = self._open_pipeline(self._scratch.path).destination_client()
                    lock = destination_lock(client, self.dataset, self.on_wait)
                stack.enter_context(lock)
            except DestinationError:
                raise
            except Exception as error:
                raise self._error(error, "it can't be locked") from error
            yield

    def _undisturbed(self) -> AbstractContextManager[None]:
        """Keeps writers that share a DuckDB file from having it open when it is read."""
        return self._turns.held() if self._is_shared and self.file is not None else nullcontext()

    def run(self, source: DltSource) -> LoadInfo:
        """Extracts, normalizes and loads a source, as `run` of a dlt pipeline does, in the state that is there. Needs `loading`.

        Raises:
            PipelineStepFailed: If a step fails.
        """
        self.pipeline.activate()
        self.pipeline.extract(source, table_format=self.table_format)
        self.pipeline.normalize()
        with self.opened():
            return self.pipeline.load()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keeps a DuckDB file open for what is done in several steps: to open it takes longer than most of them.

        Whoever would have to wait for a step waits for all of them. If it can't be opened, that is for the first step to tell.
        """
        with ExitStack() as stack:
            if self.file is not None:
                with suppress(DestinationConnectionError):
                    stack.enter_context(self.pipeline.destination_client())  # type: ignore[arg-type]
            yield

    def note_failed_load(self, windows: Iterable[Window], selection: Selection) -> None:
        """Notes windows whose load failed, to be read again. If that fails, the load's package stays. Needs `writing`."""
        self._keeps_packages = True
        # the failure of the load is the one to tell
        with suppress(OSError, ConfigurationError):
            self.unfinished.add(windows, selection)
            self._keeps_packages = False

    def check_free(self) -> None:
        """Finds out whether another run is writing, before anything else is done.

        Raises:
            DestinationError: If there is one.
        """
        if not self._server_has_lock:
            self._turns.check_folder()

    def check_writable(self) -> bool:
        """Finds out whether a run could write, and leaves everything as it is.

        Returns:
            Whether there is anything to write to yet: the file of a DuckDB warehouse, or else the dataset.

        Raises:
            DestinationError: If another run is writing, or the destination can't be written.
        """
        self._check_file()
        if self.file is not None and not self.file.exists():
            if not os.access(self.file.parent, os.W_OK | os.X_OK):
                raise DestinationError(
                    f"{self.location}: the folder {self.file.parent} is missing or can't be written."
                )
            return False
        self.check_free()
        try:
            writable = self._open_pipeline(self._scratch.path)
            if self.file is None:
                return probe_writing(writable)
            with writable.destination_client() as client:
                client.is_storage_initialized()
                return True
        except DestinationError:
            raise
        except Exception as error:
            raise self._error(error, "it can't be written") from error

    def reading(self) -> None:
        """Gets state and schema from the destination, without writing to it.

        Raises:
            DestinationError: If the destination can't be read.
        """
        if self.file is not None and not self.file.exists():
            return
        try:
            self.pipeline.sync_destination()
        except Exception as error:
            raise self._error(error, "it can't be read") from error

    def refresh(self) -> None:
        """Takes over the state that other writers have left. Needs `writing`.

        Raises:
            DestinationError: If it can't be read.
        """
        with self._undisturbed():
            self._take_over_state()

    def clear(self) -> None:
        """Drops the dataset, its staging dataset and all state. Needs `writing`.

        Raises:
            DestinationError: If the dataset can't be dropped.
        """
        try:
            # not `loading`, which makes indexes of the tables at its end
            with self._turns.held(), self.pipeline.sql_client() as client:
                for scope in (nullcontext(), client.with_staging_dataset()):
                    with scope:
                        if client.has_dataset():
                            client.drop_dataset()
            self._drop_local_state()
        except Exception as error:
            raise self._error(error, "its dataset can't be dropped") from error

    def clear_if(self, is_obsolete: Callable[[], bool]) -> bool:
        """Clears the warehouse if something is true of it that no other writer can change meanwhile, and tells whether."""
        with self._turns.held():
            found = is_obsolete()
            if found:
                self.clear()
            return found

    @property
    def can_be_shared(self) -> bool:
        """Whether there are locks that let several writers take turns, load by load."""
        return self._turns.can_be_shared

    @property
    def table_format(self) -> Any:
        """What `table_format` of the destination's configuration says, such as `delta`; by default what dlt makes there."""
        return dlt.config.get(f"destination.{self.destination}.table_format")

    @property
    def coverage(self) -> Coverage:
        """What was read completely, as of the last `writing` or `reading`."""
        sources = self.pipeline.state.get("sources", {})
        return Coverage(sources.get(SOURCE_NAME, {}).get("resources", {}).get("messages", {}))

    @property
    def holds_unfinished_copy(self) -> bool:
        """Whether a copy into this warehouse broke off, as of the last `writing` or `reading`."""
        return _is_unfinished_copy(self.pipeline.state.get("sources", {}))

    @property
    def schema(self) -> dlt.Schema:
        """The schema of the tables as dlt knows it, as of the last `writing` or `reading`; an empty one if nothing was ever loaded."""
        schemas = self.pipeline.schemas
        return schemas[SOURCE_NAME] if SOURCE_NAME in schemas else dlt.Schema(SOURCE_NAME)

    def query(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """Runs a query in which `{table}` stands for a table, or for its rows that hold where loads are only appended.

        No rows where a table is missing, and in files where neither `reading` nor `writing` has told of it yet.

        Raises:
            DestinationError: If the destination can't be read.
        """
        if self.file is not None and not self.file.exists():
            return []
        try:
            with self._undisturbed(), open_queries(self.pipeline, self.schema) as queries:
                return queries.rows(sql, *parameters)
        except DestinationUndefinedEntity:
            return []
        except Exception as error:
            raise self._error(error, "a query failed") from error

    def query_arrow(self, sql: str, *parameters: Any, schema: pa.Schema) -> Iterator[pa.Table]:
        """Like `query`, but some ten thousand rows at a time, as Arrow tables of the given schema."""
        if self.file is not None and not self.file.exists():
            return
        try:
            with self._undisturbed(), open_queries(self.pipeline, self.schema) as queries:
                yield from queries.tables(sql, *parameters, schema=schema)
        except DestinationUndefinedEntity:
            return
        except Exception as error:
            raise self._error(error, "a query failed") from error

    def change(self, statements: Iterable[tuple[str, Sequence[Any]]]) -> None:
        """Runs statements as in `query`, in one transaction where the destination has them. Needs `writing`.

        Raises:
            DestinationError: If one of them fails.
        """
        try:
            with self.pipeline.sql_client() as client:
                names = _QualifiedNames(client)
                # dlt does not say of DuckDB that it has transactions, but it has
                has_none = client.capabilities.supports_transactions is False
                with nullcontext() if has_none else client.begin_transaction():
                    for sql, parameters in statements:
                        client.execute_sql(sql.format_map(names), *parameters)
        except Exception as error:
            raise self._error(error, "rows can't be deleted") from error

    def empty_staging(self, tables: Sequence[str]) -> None:
        """Empties tables of the staging dataset, whatever dlt's configuration leaves in it. Needs `writing`.

        Raises:
            DestinationError: If that fails.
        """
        try:
            with self.pipeline.destination_client() as client, client.with_staging_dataset():  # type: ignore[attr-defined]
                there = [name for name, columns in client.get_storage_tables(tables) if columns]  # type: ignore[attr-defined]
                if there:
                    client.sql_client.truncate_tables(*there)  # type: ignore[attr-defined]
        except Exception as error:
            raise self._error(error, "the staging dataset can't be emptied") from error

    def count_rows(self, tables: Sequence[str]) -> dict[str, int]:
        """Rows of tables; a table that is not there has none."""
        counts = {}
        for table in tables:
            rows = self.query(f"SELECT count(*) AS n FROM {{{table}}}")
            counts[table] = int(rows[0]["n"]) if rows else 0
        return counts

    def _error(self, error: Exception, otherwise: str) -> DestinationError:
        return DestinationError(f"{self.location}: {destination_line(error, otherwise)}.")

    def _is_part_of_copy(self) -> DestinationError:
        return DestinationError(f"{self.location}: holds part of a copy only; give the same `mindo copy` once more.")

    def _check_file(self) -> None:
        if self.file is None:
            return
        # root may write to any file, but one without a single write bit is meant to be left alone
        if self.file.exists() and not self.file.stat().st_mode & _WRITE_BITS:
            raise DestinationError(f"{self.location}: the database is read-only; make it writable.")
        if self.file.stem == self.dataset:
            raise DestinationError(
                f"{self.location}: DuckDB can't tell the file {self.file.name} from the dataset {self.dataset};"
                " rename one of them (the default is warehouse.duckdb)."
            )

    def _catch_up(self) -> None:
        with self.pipeline.destination_client() as client:
            client.is_storage_initialized()
            if self.file is not None:
                # what a killed process spilled holds rows, and DuckDB itself never removes it; now nobody else has it open
                shutil.rmtree(f"{self.file}.tmp", ignore_errors=True)
                self._settle_what_dlt_merged(client)
            if isinstance(self.pipeline.destination, dlt.destinations.filesystem):
                # takes a while to import, and most destinations do without
                from mindo.lake import drop_state_of_unfinished_loads

                drop_state_of_unfinished_loads(client, PIPELINE_NAME)  # type: ignore[arg-type]
            if self._server_has_lock:
                # nobody loads just now; whoever does next makes a new one
                drop_staging_of_others(client)
        self._finish_pending(self.pipeline)
        for folder in self._turns.abandoned_folders():
            self._finish_pending(self._open_pipeline(folder))
            _remove(folder / PIPELINE_NAME)
        with self.opened():
            self._drop_local_state()
            self._check_clock()
            self._delete_ledger_rows_of_failed_loads()

    def _finish_pending(self, pipeline: dlt.Pipeline) -> None:
        if pipeline.has_pending_data:
            sources = self._stored_sources()
            # a copy begins anew
            if not _is_unfinished_copy(sources):
                finish_packages(pipeline, sources, self.unfinished)

    @staticmethod
    def _settle_what_dlt_merged(client: Any) -> None:
        """Somebody's own pipeline, with dlt's merge, leaves rows in the staging dataset, and lists behind when their message moves."""
        with client.with_staging_dataset():
            staged = [name for name, columns in client.get_storage_tables(REPLACED_TABLES) if columns]
        if staged:
            bring_lists_along(client.sql_client.execute_sql, client.sql_client.make_qualified_table_name)
            with client.with_staging_dataset():
                client.sql_client.truncate_tables(*staged)

    def _delete_ledger_rows_of_failed_loads(self) -> None:
        with self.pipeline.destination_client() as client:
            if not isinstance(client, SqlJobClientBase):
                return
            ledger, loads = map(
                client.sql_client.make_qualified_table_name, (EXPORT_WINDOWS, client.schema.loads_table_name)
            )
            with suppress(DatabaseUndefinedRelation):
                client.sql_client.execute_sql(
                    f"DELETE FROM {ledger} WHERE _dlt_load_id NOT IN (SELECT load_id FROM {loads})"
                )

    def _check_clock(self) -> None:
        """Waits until this machine's clock is past the last load; dlt takes the latest id of a load, its time, for the newest state.

        Raises:
            DestinationError: If that would take long.
        """
        with self.pipeline.destination_client() as client:
            if not isinstance(client, SqlJobClientBase):
                return
            loads = client.sql_client.make_qualified_table_name(client.schema.loads_table_name)
            try:
                rows = client.sql_client.execute_sql(f"SELECT max(load_id) FROM {loads}")
            except DatabaseUndefinedRelation:
                return
        ahead = float(rows[0][0] or 0) - time.time() if rows else 0
        if ahead > _MOST_SECONDS_AHEAD:
            raise DestinationError(
                f"{self.location}: its last load is {ahead:,.0f} s in the future: the clock of this machine, or of the one that"
                " loaded last, is wrong; set it, then run again."
            )
        time.sleep(max(0.0, ahead))

    def _take_over_state(self) -> None:
        try:
            self._drop_local_state()
        except Exception as error:
            raise self._error(error, "its state can't be read") from error

    def _drop_local_state(self) -> None:
        """Replaces the local state by the destination's."""
        _remove(Path(self.pipeline.working_dir))
        self.pipeline = self._open_pipeline(self._turns.folder)
        self.pipeline.sync_destination()

    def _drop_rows_of_failed_load(self) -> None:
        if self._is_shared and self.file is not None:
            # whoever loads just now has it open, and nothing of messages is staged in it
            _remove(Path(self.pipeline.working_dir))
            return
        try:
            self._drop_local_state()
            if not self._has_private_staging:
                self.empty_staging(tuple(DECLARED))
        except Exception:
            # the failure that led here is the one to tell; the next run cleans up as after a crash
            return

    def _stored_sources(self) -> Mapping[str, Any]:
        """The state of the sources as the destination holds it, whatever the local state is."""
        stored = self._open_pipeline(self._scratch.path)
        stored.sync_destination()
        sources: Mapping[str, Any] = stored.state.get("sources", {})
        return sources


class _QualifiedNames(dict[str, str]):
    """Looks table names up with their dataset, quoted as the destination needs it."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self._client = client

    def __missing__(self, table: str) -> str:
        return str(self._client.make_qualified_table_name(table))


def _is_unfinished_copy(sources: Mapping[str, Any]) -> bool:
    return UNFINISHED_COPY in sources.get(SOURCE_NAME, {})


def _remove(folder: Path) -> None:
    """Removes a pipeline. Renamed first: dlt deletes file by file, and what a kill leaves of that is no pipeline any more."""
    dropped = folder.with_name(f"{folder.name}.dropped")
    shutil.rmtree(dropped, ignore_errors=True)
    if folder.exists():
        folder.rename(dropped)
        shutil.rmtree(dropped)


def _has_staging(client: Any) -> bool:
    # of SQLite a dataset is a file, and dropping it leaves the file
    return isinstance(client, SqlJobClientBase) and client.capabilities.sqlglot_dialect != "sqlite"


def _staging_layout(folder: Path) -> str:
    """How dlt names the staging dataset of the pipelines in a folder: the same each time, so that nothing is left for good."""
    return private_staging_layout(hashlib.sha256(f"{socket.gethostname()} {folder}".encode()).hexdigest())


def _make_scratch() -> PrivateFolder:
    try:
        return PrivateFolder()
    except OSError as error:
        # Python has none at all if it could write to none
        folder = tempfile.tempdir or os.environ.get("TMPDIR", "/tmp")
        raise ConfigurationError(
            f"temporary files: can't write to {folder} ({os.strerror(error.errno or 0)});"
            " free some space or set TMPDIR to another folder."
        ) from None


def _read_only(client: Any) -> Any:
    credentials = client.config.credentials.copy()
    credentials.read_only = True
    credentials.on_resolved()
    return ReplacingDuckDb(credentials)


def _destination(name: str) -> Any:
    """The destination that dlt knows by that name; our own in place of dlt's DuckDB."""
    destination: Any = Destination.from_reference(name)
    if type(destination) is not dlt.destinations.duckdb:
        return resolved_once(destination)
    return ReplacingDuckDb(**destination.config_params, **destination.caps_params)


def _database_file(client: Any) -> Path | None:
    """The file of a DuckDB warehouse, or `None` for any other destination."""
    if isinstance(client, DuckDbClient) and type(client.config.credentials) is DuckDbCredentials:
        database = str(client.config.credentials.database)
        return None if database in ("", ":memory:") else Path(database)
    return None
