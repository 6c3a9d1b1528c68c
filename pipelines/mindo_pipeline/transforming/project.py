"""The dbt project that the package ships: where it is, what it needs, and the variables that can be set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import dlt
import yaml

from mindo import ConfigurationError

PROJECT: Final = "mindo"
"""The name of the project, and of its profile."""

_SETTINGS: Final = "dbt_project.yml"
_SECTION: Final = "dbt.vars"
_INSTALLED: Final = Path(__file__).parents[1] / "dbt"
_IN_REPOSITORY: Final = Path(__file__).parents[3] / "dbt"


def find_project() -> Path:
    """The folder of the dbt project: part of the installed package, or beside it in a clone that is installed editable."""
    return _INSTALLED if (_INSTALLED / _SETTINGS).exists() else _IN_REPOSITORY


def require_dbt(adapter: str) -> None:
    """Finds out whether dbt is installed, without importing it: that takes seconds.

    Raises:
        ConfigurationError: If a package is missing.
    """
    try:
        for package in ("dbt-core", f"dbt-{adapter}"):
            version(package)
    except PackageNotFoundError:
        raise ConfigurationError(
            "dbt: needs packages that are not installed; pip install 'mindo-connector[dbt]'."
        ) from None


def resolve_vars(typed: str | None) -> dict[str, Any]:
    """The variables of the package that are set: by `[dbt.vars]` of dlt's configuration, and over it by an option.

    Args:
        typed: What `--vars` says, YAML as dbt takes it.

    Raises:
        ConfigurationError: If it is no mapping, or names a variable that the package doesn't have.
    """
    configured: Any = dlt.config.get(_SECTION)
    if isinstance(configured, str):
        # from the environment
        configured = _parsed(configured)
    found = {**_checked(_SECTION, {} if configured is None else configured), **_checked("vars", _parsed(typed))}
    # dates of TOML and YAML become text, as dbt has no others
    return dict(json.loads(json.dumps(found, default=str)))


def _parsed(typed: str | None) -> Any:
    try:
        parsed = yaml.safe_load(typed or "{}")
    except yaml.YAMLError:
        parsed = None
    return parsed


def _checked(origin: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"{origin}: is not a table of variables; its form is {{mindo_session_gap_minutes: 60}}, as YAML or JSON."
        )
    known = declared_vars()
    for name in given:
        if name not in known:
            close = "".join(f" ({found}?)" for found in get_close_matches(str(name), known, 1))
            raise ConfigurationError(
                f"{origin}: {str(name)!r} is not a variable of the package{close}; .dlt/config.toml of `mindo init` lists them."
            )
    return given


def declared_vars() -> list[str]:
    """The variables that the project declares."""
    settings = yaml.safe_load((find_project() / _SETTINGS).read_text(encoding="utf-8"))
    return list(settings["vars"][PROJECT])
