"""dlt's DuckDB destination, except that a load's windows are replaced straight from the files of its package.

dlt copies every file into the staging dataset and merges from there. Here a file of the tables in `REPLACED_TABLES` stays
where it is, and when the last of them is there one job replaces the windows in all these tables, in one transaction: a reader
sees a load whole or not at all. All other tables are loaded by dlt as ever. Configured as dlt's `duckdb`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import dlt
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.client import FollowupJobRequest, HasFollowupJobs, LoadJob, RunnableLoadJob
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.storages.load_package import LoadJobInfo, PackageStorage, ParsedLoadJobFileName
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.job_impl import FinalizedLoadJobWithFollowupJobs, ReferenceFollowupJobRequest

from mindo.strategies import REPLACED_TABLES

from .duckdb_replacing import read_parquet, replace_windows
from .resolved_once import ResolvedOnce

_NEW, _STARTED, _COMPLETED = map(
    Path, (PackageStorage.NEW_JOBS_FOLDER, PackageStorage.STARTED_JOBS_FOLDER, PackageStorage.COMPLETED_JOBS_FOLDER)
)


class CopyFileJob(RunnableLoadJob, HasFollowupJobs):
    """Copies a file into its table, as dlt's job does, but from a folder of any name."""

    def run(self) -> None:
        """Copies it.

        Raises:
            DatabaseException: If the table can't take it.
        """
        client = self._job_client.sql_client  # type: ignore[attr-defined]  # dlt gives a job the client that made it
        table = client.make_qualified_table_name(self.load_table_name)
        client.execute_sql(f"INSERT INTO {table} BY NAME SELECT * FROM {read_parquet([Path(self._file_path)])}")


class ReplaceWindowsJob(RunnableLoadJob):
    """Replaces the windows of a load in all tables, from the files whose names its own file lists."""

    def run(self) -> None:
        """Runs all of it in one transaction.

        Raises:
            DatabaseException: If a statement fails; then nothing has changed.
        """
        completed = Path(self._file_path).parents[1] / _COMPLETED
        files: dict[str, list[Path]] = {}
        for name in ReferenceFollowupJobRequest.resolve_references(self._file_path):
            files.setdefault(ParsedLoadJobFileName.parse(name).table_name, []).append(completed / name)
        client = self._job_client.sql_client  # type: ignore[attr-defined]  # dlt gives a job the client that made it
        with client.begin_transaction():
            replace_windows(client.execute_sql, files, client.make_qualified_table_name)


class ReplacingDuckDbClient(DuckDbClient):
    """dlt's client of DuckDB, with the jobs above for the replaced tables."""

    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:
        """Whether dlt copies a table's files to the staging dataset; never those of a replaced table."""
        return table_name not in REPLACED_TABLES and super().should_load_data_to_staging_dataset(table_name)

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        """Makes the job for a file."""
        if ReferenceFollowupJobRequest.is_reference_job(file_path):
            return ReplaceWindowsJob(file_path)
        if table["name"] in REPLACED_TABLES:
            # it stays where it is until all files of the replaced tables are there
            return FinalizedLoadJobWithFollowupJobs(file_path)
        if ParsedLoadJobFileName.parse(file_path).file_format == "parquet":
            return CopyFileJob(file_path)
        return super().create_load_job(table, file_path, load_id, restore)

    def create_table_chain_completed_followup_jobs(
        self,
        table_chain: Sequence[PreparedTableSchema],
        completed_table_chain_jobs: Sequence[LoadJobInfo] | None = None,
    ) -> list[FollowupJobRequest]:
        """Makes the job that replaces the windows, once the last of the replaced tables has all its files."""
        complete = {table["name"] for table in table_chain}
        if complete.isdisjoint(REPLACED_TABLES):
            return super().create_table_chain_completed_followup_jobs(table_chain, completed_table_chain_jobs)
        package = Path(completed_table_chain_jobs[0].file_path).parents[1]  # type: ignore[index]  # a chain has files
        others = set(REPLACED_TABLES) - complete
        if _files(package / _NEW, others) or _files(package / _STARTED, others):
            return []
        # the last file of this chain is still where it was started; dlt moves it before it starts the job that is made here
        names = [*_files(package / _COMPLETED, REPLACED_TABLES), *_files(package / _STARTED, complete)]
        return [ReferenceFollowupJobRequest(min(names), names)]


def _files(folder: Path, tables: Collection[str | None]) -> list[str]:
    """Names of the files with rows of some tables."""
    return [
        file.name for file in folder.glob("*.parquet") if ParsedLoadJobFileName.parse(file.name).table_name in tables
    ]


class ReplacingDuckDb(ResolvedOnce, dlt.destinations.duckdb):
    """dlt's `duckdb` with the client above."""

    @property
    def client_class(self) -> type[DuckDbClient]:
        """The client."""
        return ReplacingDuckDbClient

    @property
    def destination_type(self) -> str:
        """That of dlt's own, whose configuration, state and tables it shares."""
        return "dlt.destinations.duckdb"

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        # the format of a file that lists others, as dlt's filesystem has it for its own table formats
        capabilities.supported_loader_file_formats = [*capabilities.supported_loader_file_formats, "reference"]
        return capabilities
