"""Who is measured. Each has a folder with a load program, and an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ..environments import pinned, python_of
from ..places import CONTENDERS, SHARED
from ..truth import Api


@dataclass(frozen=True)
class Contender:
    """One way from the API to the four tables.

    Attributes:
        name: The folder below `contenders/`.
        title: What it is called in the results.
        program: The load program in that folder, for `sh` or Python.
        packages: Whose versions are shown.
        is_ours: Whether it runs in the project's own environment.
        tools: Other programs whose versions are shown, as far as they are there.
    """

    name: str
    title: str
    program: str
    packages: tuple[str, ...]
    is_ours: bool = False
    tools: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return CONTENDERS / self.name

    def python(self) -> Path:
        """The Python of its environment, which is made if need be; raises `NotInstalled`."""
        return Path(sys.executable) if self.is_ours else python_of(self.folder)

    def versions(self) -> dict[str, str]:
        found = {name: version(name) for name in self.packages} if self.is_ours else pinned(self.folder, self.packages)
        for tool in filter(shutil.which, self.tools):
            answer = subprocess.run([tool, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout
            found[tool] = answer.split()[1]
        return found

    def command(self) -> list[str]:
        program = str(self.folder / self.program)
        return ["sh", program] if self.program.endswith(".sh") else [str(self.python()), program]

    def environment(self, api: Api, folder: Path, database: Path) -> dict[str, str]:
        """What its program finds in the environment: the API, where the database goes, and nothing of the user's home."""
        # The modules that a user adds to every Python are not the contender's.
        path = {} if self.is_ours else {"PYTHONPATH": str(SHARED)}
        return {
            **os.environ,
            **path,
            "PATH": os.pathsep.join([str(self.python().parent), os.environ.get("PATH", os.defpath)]),
            "HOME": str(folder),
            "TMPDIR": str(folder),
            # Where dlt keeps its packages; of root's runs it is no part of the home folder.
            "DLT_DATA_DIR": str(folder / "dlt"),
            "BENCH_URL": api.url,
            "BENCH_KEY": api.key,
            "BENCH_COMPANIES": api.companies,
            "BENCH_FROM": api.start,
            "BENCH_TO": api.end,
            "BENCH_DATABASE": str(database),
            # Nothing is sent to anyone but the API.
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "DO_NOT_TRACK": "1",
        }


OURS = Contender("ours", "mindo backfill", "load.sh", ("mindo-connector", "dlt", "duckdb"), is_ours=True)
DLT_PLAIN = Contender("dlt_plain", "dlt, plain", "load.py", ("dlt", "duckdb"))
DLT_TUNED = Contender("dlt_tuned", "dlt, tuned", "load.py", ("dlt", "duckdb"))
DLT_REWRITTEN = Contender("dlt_rewritten", "dlt, rewritten for speed", "load.py", ("dlt", "duckdb"))
SINGER = Contender("singer", "Singer: Meltano SDK, target-duckdb", "load.sh", ("singer-sdk", "target-duckdb", "duckdb"))
AIRBYTE = Contender("airbyte", "Airbyte low-code, PyAirbyte", "load.py", ("airbyte", "airbyte-cdk", "duckdb"))
FLOOR = Contender("floor", "floor: curl, DuckDB SQL", "load.sh", ("duckdb",), tools=("curl",))

CONTENDERS_IN_ORDER = (OURS, DLT_PLAIN, DLT_TUNED, DLT_REWRITTEN, SINGER, AIRBYTE, FLOOR)
PEERS = (DLT_PLAIN, DLT_TUNED, DLT_REWRITTEN, SINGER, AIRBYTE)
