"""dbt's manifest of the package: parsed once, and again when the project, its variables or the place of the tables change.

A private folder keeps it from one process to the next, that of DAGSTER_HOME or else one for temporary files. It holds names and
SQL, no rows and nothing secret. An image that is built with it has it from the start; see docs/dagster.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from ..exit_codes import ExitCode
from ..session import CommandFailed
from ..transforming.process import dbt_called
from ..transforming.profile import adapter_of, make_profile
from ..transforming.project import find_project, require_dbt, resolve_vars
from ..transforming.results import wrong_setting
from ..warehouse import Warehouse

_MANIFEST: Final = "manifest.json"
_HOME: Final = "DAGSTER_HOME"
_FOLDER: Final = "mindo-manifests"
_OTHERS: Final = 0o077
_GENERATED: Final = frozenset({"target", "logs", "dbt_packages"})


def read_manifest(warehouse: Warehouse) -> dict[str, Any]:
    """The manifest of the package for a warehouse. The warehouse is not asked.

    Raises:
        ConfigurationError: If dbt can't build on such a destination, or a variable is wrong.
        CommandFailed: If dbt can't read the project.
    """
    adapter = adapter_of(warehouse)
    require_dbt(adapter)
    variables = resolve_vars(None)
    folder = _folder()
    versions = [version("dbt-core"), version(f"dbt-{adapter}")]
    # the names of the tables are in it
    place = [warehouse.file.stem if warehouse.file else warehouse.location, warehouse.dataset]
    name = f"{_digest([adapter, *versions, *place, json.dumps(variables, sort_keys=True)])}.json"
    if folder is not None:
        with suppress(OSError, ValueError):
            return dict(json.loads((folder / name).read_text(encoding="utf-8")))
    with dbt_called(["parse"], make_profile(warehouse, 1), variables) as invocation:
        manifest = invocation.document(_MANIFEST)
        if invocation.code or not manifest:
            reason = wrong_setting(invocation) or "see `mindo dbt build`"
            raise CommandFailed(ExitCode.DBT, f"dbt: the project can't be read; {reason}.")
    if folder is not None:
        with suppress(OSError):
            _write(folder / name, manifest)
    return manifest


def _digest(parts: list[str]) -> str:
    found = hashlib.sha256("\0".join(parts).encode())
    project = find_project()
    for path in sorted(project.rglob("*")):
        relative = path.relative_to(project)
        if path.is_file() and relative.parts[0] not in _GENERATED:
            found.update(f"\0{relative}\0".encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:24]


def _folder() -> Path | None:
    """A folder that nobody else can write to, or nothing: who could, would say what is run as the models."""
    home = os.environ.get(_HOME)
    folder = Path(home) / _FOLDER if home else Path(tempfile.gettempdir()) / f"{_FOLDER}-{os.getuid()}"
    with suppress(OSError):
        if not (home and os.access(folder, os.R_OK)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
        if home or (about.st_uid == os.getuid() and not about.st_mode & _OTHERS):
            return folder
    return None


def _write(path: Path, manifest: dict[str, Any]) -> None:
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(json.dumps(manifest), encoding="utf-8")
    new.replace(path)
