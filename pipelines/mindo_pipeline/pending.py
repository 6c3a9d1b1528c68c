"""What a killed run left behind in dlt's local folder: packages whose load had begun, or was about to.

dlt resumes a package job by job, which a kill at the wrong moment defeats: a file that was copied to the staging dataset but
not noted as copied is copied again, and its rows are inserted twice; a package that was half moved can't be loaded ever.
So such a package is taken back to its beginning, with an empty staging dataset, and loaded anew: loading it twice gives what
loading it once does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import dlt
from dlt.common.storages import PackageStorage
from dlt.common.versioned_state import json_decode_state
from dlt.destinations.exceptions import DatabaseUndefinedRelation

_STATE_TABLE: Final = "_dlt_pipeline_state"
_LOADS_TABLE: Final = "_dlt_loads"
_MERGE_SUFFIX: Final = ".sql"


def finish_packages(pipeline: dlt.Pipeline, sources: Mapping[str, Any]) -> None:
    """Loads the packages that continue what the destination holds; all others are left, to be dropped.

    A package continues it if it was made from the very state that the destination has. It does not where the destination was
    deleted, restored or loaded from elsewhere since: then its state would claim windows that are not there. Of a package that
    was not normalized yet the destination has nothing, and dlt may lack its new columns: its windows are read again.

    Args:
        pipeline: Whose packages.
        sources: The state of the sources in the destination.
    """
    load_ids = pipeline.list_normalized_load_packages()
    if not load_ids:
        return
    _drop_staging(pipeline)
    packages = pipeline._get_load_storage().normalized_packages
    if all(_continues(packages, load_id, sources) and not _is_loaded(pipeline, load_id) for load_id in load_ids):
        for load_id in load_ids:
            _take_back(pipeline, packages, load_id)
        pipeline.load()


def _continues(packages: PackageStorage, load_id: str, sources: Mapping[str, Any]) -> bool:
    if not packages.can_restore_pipeline_state(load_id):
        return False
    state, _ = packages.load_pipeline_state(load_id)
    made_from = json_decode_state(state).get("sources", {}) if state else {}
    return bool(made_from == sources)


def _is_loaded(pipeline: dlt.Pipeline, load_id: str) -> bool:
    with pipeline.sql_client() as client:
        table = client.make_qualified_table_name(_LOADS_TABLE)
        try:
            return bool(client.execute_sql(f"SELECT 1 FROM {table} WHERE load_id = %s", load_id))
        except DatabaseUndefinedRelation:
            return False


def _take_back(pipeline: dlt.Pipeline, packages: PackageStorage, load_id: str) -> None:
    """Makes all jobs of a package new again; killed in between, it can be repeated."""
    # dlt makes the tables, and empties the staging dataset, only if there is a schema update to apply
    packages.save_schema_updates(load_id, {})
    folder = Path(packages.storage.make_full_path(packages.get_package_path(load_id)))
    for note in (folder / PackageStorage.PENDING_TRANSITIONS_FOLDER).glob("*"):
        note.unlink()
    for state in (PackageStorage.STARTED_JOBS_FOLDER, PackageStorage.COMPLETED_JOBS_FOLDER):
        for job in (folder / state).glob("*"):
            job.rename(folder / PackageStorage.NEW_JOBS_FOLDER / job.name)
    for job in (folder / PackageStorage.NEW_JOBS_FOLDER).glob(f"*{_MERGE_SUFFIX}"):
        # made anew when the files that it merges are staged
        job.unlink()
    with pipeline.sql_client() as client:
        table = client.make_qualified_table_name(_STATE_TABLE)
        try:
            client.execute_sql(f"DELETE FROM {table} WHERE _dlt_load_id = %s", load_id)
        except DatabaseUndefinedRelation:
            return


def _drop_staging(pipeline: dlt.Pipeline) -> None:
    with pipeline.sql_client() as client, client.with_staging_dataset():
        if client.has_dataset():
            client.drop_dataset()
