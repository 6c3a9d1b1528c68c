"""Files of measured runs: a JSON object per line, each with where and of what it was measured."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from .places import ROOT

Record = dict[str, Any]
_PRIVATE = ("--url", "--companies")
"""Options whose values say whose API was read."""


class RecordFile:
    """One kind of measures of a folder of results, or only what is printed if nothing is to be written."""

    def __init__(self, folder: Path | None, kind: str, resume: bool = False, program: str = "benchmarks") -> None:
        self._program = program
        self._path = None if folder is None else folder / f"{kind}.jsonl"
        self.records: list[Record] = read(folder, kind) if folder and resume else []
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not resume:
                self._path.write_text("", encoding="utf-8")

    def add(self, figures: Mapping[str, Any]) -> None:
        """Writes a measure at once: a run of hours may be broken off."""
        record = {**figures, **circumstances(self._program)}
        self.records.append(record)
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def has(self, **members: Any) -> bool:
        """Whether there is a record with these members."""
        return any(all(record.get(name) == value for name, value in members.items()) for record in self.records)


def read(folder: Path, kind: str) -> list[Record]:
    """The measures of a kind, none if it was never measured."""
    path = folder / f"{kind}.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def circumstances(program: str = "benchmarks") -> Record:
    """When, of which state of the code, on what, by which program of Python's."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD") if _is_of_this_checkout() else "not of this checkout",
        "changed": bool(
            _git("status", "--porcelain", "--", "sources", "pipelines", "benchmarks", ":!benchmarks/results")
        ),
        "cores": os.cpu_count(),
        "memory_gigabytes": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "command": " ".join([f"python -m {program}", *map(shlex.quote, _without_private(sys.argv[1:]))]),
    }


def _without_private(arguments: Sequence[str]) -> list[str]:
    """Arguments without the values of private options."""
    kept = []
    for previous, argument in pairwise(["", *arguments]):
        name, is_assigned, _ = argument.partition("=")
        if previous in _PRIVATE:
            kept.append("...")
        else:
            kept.append(f"{name}=..." if is_assigned and name in _PRIVATE else argument)
    return kept


def _is_of_this_checkout() -> bool:
    """Whether the code that runs is the code whose commit would be named; PYTHONPATH can lead elsewhere."""
    found = [importlib.util.find_spec(name) for name in ("mindo", "mindo_emulator", "mindo_pipeline")]
    return all(spec and spec.origin and Path(spec.origin).resolve().is_relative_to(ROOT) for spec in found)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None  # a copy without its history
    return done.stdout.strip()
