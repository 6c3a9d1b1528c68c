"""Our command, as the growth, latency and start-up measures call it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .emulator import KEY
from .measuring import FINISHED, Limits, Measure, measure

COMMAND = str(Path(sys.executable).with_name("mindo"))
DATABASE = "warehouse.duckdb"


class MindoFailed(Exception):
    """The command did not do what had to be measured; the text says what it did."""


def mindo(
    folder: Path,
    url: str,
    companies: str,
    *arguments: str,
    options: Mapping[str, str] = MappingProxyType({}),
    environment: Mapping[str, str] = MappingProxyType({}),
    limits: Limits | None = None,
) -> Measure:
    """Runs `mindo` in a folder against an API. Options are the source's, such as `{"workers": "16"}`.

    Anything else that dlt has to be told goes into the environment.

    Raises:
        MindoFailed: If it does not end with exit code 0.
    """
    told = {
        **os.environ,
        "HOME": str(folder),
        "SOURCES__MINDO__BASE_URL": url,
        "SOURCES__MINDO__API_KEY": KEY,
        "SOURCES__MINDO__COMPANY_IDS": companies,
        **{f"SOURCES__MINDO__{name.upper()}": value for name, value in options.items()},
        **environment,
    }
    measured = measure([COMMAND, *arguments], folder, told, limits)
    if measured.outcome != FINISHED:
        raise MindoFailed(f"mindo {arguments[0]}: {measured.outcome}, {measured.reason}")
    return measured


def report_of(measured: Measure) -> dict[str, Any]:
    """What the command printed with `--json`."""
    document: dict[str, Any] = json.loads(measured.output)
    return document
