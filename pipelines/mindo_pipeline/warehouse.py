"""The dlt pipeline into the warehouse: opened, checked, brought up to date, and locked against a second run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from filelock import FileLock, Timeout

from mindo import Coverage
from mindo.settings import SOURCE_NAME

from .defaults import register_defaults
from .errors import DestinationError, destination_line

PIPELINE_NAME = "mindo"
DEFAULT_DATASET = "mindo"
DEFAULT_DESTINATION = "duckdb"
_WRITE_BITS = 0o222


class Warehouse:
    """A destination's dataset, and the dlt pipeline that loads it.

    Args:
        destination: Name of a dlt destination; its credentials come from dlt's configuration.
        dataset: Name of the dataset (schema) that holds the tables.

    Raises:
        DestinationError: If dlt knows no such destination or can't read its credentials.
    """

    def __init__(self, destination: str | None = None, dataset: str | None = None) -> None:
        register_defaults()
        self.destination = destination or DEFAULT_DESTINATION
        self.dataset = dataset or DEFAULT_DATASET
        root = Path(str(dlt.config.get("pipelines_dir"))).absolute()
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            client = self._open_pipeline(root).destination_client()
            self.location = str(client.config)
            self.file = _database_file(client)
            # a folder of its own for each warehouse: unfinished packages and state must never go to another one
            self._folder = root / hashlib.sha256(f"{self.location} {self.dataset}".encode()).hexdigest()[:12]
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self.pipeline = self._open_pipeline(self._folder)
        except Exception as error:
            raise DestinationError(f"destination {self.destination}: {destination_line(error)}.") from error

    def _open_pipeline(self, folder: Path) -> dlt.Pipeline:
        return dlt.pipeline(
            PIPELINE_NAME, destination=self.destination, dataset_name=self.dataset, pipelines_dir=str(folder)
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the warehouse for one writer: checks that it can be written, then finishes what a killed run left.

        Afterwards the local state is the destination's: a warehouse restored from a backup, or deleted, is read as it is.

        Raises:
            DestinationError: If another run is writing, or the destination can't be written.
        """
        try:
            with FileLock(self._folder / "run.lock", timeout=0):
                self._check_file()
                try:
                    self._catch_up()
                except Exception as error:
                    raise DestinationError(f"{self.location}: {destination_line(error)}.") from error
                yield
        except Timeout:
            raise DestinationError(f"{self.location}: another mindo run is writing to it; wait for its end.") from None

    def reading(self) -> None:
        """Brings the local copy of the state up to date without writing to the destination.

        Raises:
            DestinationError: If the destination can't be read.
        """
        if self.file is not None and not self.file.exists():
            return
        try:
            self.pipeline.sync_destination()
        except Exception as error:
            raise DestinationError(f"{self.location}: {destination_line(error)}.") from error

    @property
    def coverage(self) -> Coverage:
        """What was read completely, as of the last `writing` or `reading`."""
        sources = self.pipeline.state.get("sources", {})
        return Coverage(sources.get(SOURCE_NAME, {}).get("resources", {}).get("messages", {}))

    def query(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """Runs a query in which `{table}` stands for a qualified table name; no rows where a table is missing.

        Raises:
            DestinationError: If the destination can't be read.
        """
        if self.file is not None and not self.file.exists():
            return []
        try:
            with self.pipeline.sql_client() as client:
                qualified = sql.format_map(_QualifiedNames(client))
                with client.execute_query(qualified, *parameters) as cursor:
                    names = [column[0] for column in cursor.description]
                    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except DestinationUndefinedEntity:
            return []
        except Exception as error:
            raise DestinationError(f"{self.location}: {destination_line(error)}.") from error

    def count_rows(self, tables: Sequence[str]) -> dict[str, int]:
        """Rows of tables; a table that is not there has none."""
        counts = {}
        for table in tables:
            rows = self.query(f"SELECT count(*) AS n FROM {{{table}}}")
            counts[table] = int(rows[0]["n"]) if rows else 0
        return counts

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
        if self.pipeline.has_pending_data:
            if self.pipeline.list_extracted_load_packages():
                self.pipeline.normalize()
            self.pipeline.load()
        self.pipeline = self.pipeline.drop()
        self.pipeline.sync_destination()


class _QualifiedNames(dict[str, str]):
    """Looks table names up with their dataset, quoted as the destination needs it."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self._client = client

    def __missing__(self, table: str) -> str:
        return str(self._client.make_qualified_table_name(table))


def _database_file(client: Any) -> Path | None:
    """The file of a DuckDB warehouse, or `None` for any other destination."""
    if type(client).__module__.startswith("dlt.destinations.impl.duckdb"):
        database = str(client.config.credentials.database)
        return None if database in ("", ":memory:") else Path(database)
    return None
