"""The command as a test calls it: in this process where it can be, as a process of its own where it must be."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from mindo_emulator import GLOBAL_DEMO_KEY, Emulator, World
from mindo_pipeline.cli import call

COMMAND = Path(sys.executable).parent / "mindo"
TABLES = ("messages", "messages__classifications", "messages__extractions", "messages__tool_calls")
COMPANIES = (42, 57, 63)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output, which has to be one JSON object and nothing else."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    @property
    def error(self) -> str:
        """The one line of a failure, which has to be all there is on standard error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, lines
        return lines[0]


def mindo(*arguments: str) -> Result:
    """Calls the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = call(arguments)
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return Result(int(code), out.getvalue(), err.getvalue())


def spawn(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Starts the command as a process of its own."""
    return subprocess.Popen(
        [str(COMMAND), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": str(Path.cwd()), **environment},
    )


def finish(process: subprocess.Popen[str], timeout: float = 60) -> Result:
    """Waits for a command's end."""
    out, err = process.communicate(timeout=timeout)
    assert "Traceback" not in out + err
    return Result(process.returncode, out, err)


def wait_until(condition: Callable[[], bool], timeout: float = 30) -> None:
    """Waits for something to become true."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def midnight() -> datetime:
    """The last midnight, UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def make_world(messages: int = 240, days: int = 4, **arguments: Any) -> World:
    """Some days of messages, up to the last midnight."""
    return World.generate(
        **{"seed": 5, "start": midnight() - days * DAY, "end": midnight(), "messages": messages} | arguments
    )


def settings(emulator: Emulator[Any], **others: str) -> Mapping[str, str]:
    """The environment that makes the command read an emulator."""
    return {
        "SOURCES__MINDO__BASE_URL": emulator.base_url,
        "SOURCES__MINDO__API_KEY": GLOBAL_DEMO_KEY,
        "SOURCES__MINDO__COMPANY_IDS": "42,57,63",
        "SOURCES__MINDO__START_DATE": (midnight() - 4 * DAY).date().isoformat(),
        "SOURCES__MINDO__MAX_ATTEMPTS": "2",
        **others,
    }


def count(table: str = "messages", where: str = "true", file: str = "warehouse.duckdb") -> int:
    """Rows of a table, as any other program sees them; none if it is not there."""
    if not Path(file).exists():
        return 0
    with duckdb.connect(file, read_only=True) as connection:
        try:
            row = connection.execute(f"SELECT count(*) FROM mindo.{table} WHERE {where}").fetchone()
        except duckdb.CatalogException:
            return 0
    assert row is not None
    return int(row[0])


def left_behind() -> list[str]:
    """Everything in the current folder, local state of dlt included."""
    return sorted(str(path) for path in Path().rglob("*"))
