"""Runs a command and measures it with everything it starts: wall time, CPU time, peak memory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

FINISHED, TIME_LIMIT, MEMORY_LIMIT, FAILED = "finished", "time limit", "memory limit", "failed"
MEGABYTE = 2**20
# Shares take longer to find out than resident memory, and hold the process up.
_SAMPLE_SECONDS, _SAMPLE_SECONDS_OF_SEVERAL = 0.05, 0.1


@dataclass(frozen=True)
class Limits:
    """What a run may take before it is ended: seconds, and megabytes of all its processes together."""

    seconds: float = 600.0
    megabytes: float = psutil.virtual_memory().total * 0.6 / MEGABYTE


@dataclass(frozen=True)
class Measure:
    """One run of a command.

    Attributes:
        outcome: `FINISHED`, or why it did not.
        reason: The last line that a failed command printed, or the limit that it met.
        seconds: From its start to its end.
        cpu_seconds: Of the process and all that it waited for, user and system; `None` if it was ended.
        peak_megabytes: The largest sum over its processes at one time.
        output: What it printed on standard output.
    """

    outcome: str
    reason: str | None
    seconds: float
    cpu_seconds: float | None
    peak_megabytes: float
    output: str

    def figures(self) -> dict[str, object]:
        """What is kept of it in a file of results."""
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "cpu_seconds": None if self.cpu_seconds is None else round(self.cpu_seconds, 3),
            "peak_megabytes": round(self.peak_megabytes, 1),
        }


def measure(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], limits: Limits | None = None
) -> Measure:
    """Runs a command in a folder until it ends or meets a limit; none of its processes is left afterwards."""
    limits = limits or Limits()
    out, err = folder / "standard_output.log", folder / "standard_error.log"
    with out.open("wb") as out_file, err.open("wb") as err_file:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out_file,
            stderr=err_file,
            start_new_session=True,
        )
    # A session of its own: its members are known whatever becomes of their parents.
    watcher = _Watcher(process.pid, started, limits)
    watcher.start()
    try:
        # Blocking: asking again and again would round up the time of a short command.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        watcher.stop()
        end_session(process.pid)
    peak = watcher.peak
    if watcher.most_processes <= 1:
        # What a lone process took between two samples; kilobytes on Linux, bytes on macOS.
        peak = max(peak, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    outcome, reason = watcher.verdict or (FINISHED, None)
    if outcome == FINISHED and process.returncode != 0:
        outcome, reason = FAILED, f"exit code {process.returncode}: {_last_line(err) or _last_line(out)}"
    cpu_seconds = None if watcher.verdict else usage.ru_utime + usage.ru_stime
    output = out.read_text(encoding="utf-8", errors="replace")
    return Measure(outcome, reason, seconds, cpu_seconds, peak / MEGABYTE, output)


def end_session(session: int) -> None:
    """Kills all processes of a session that this process started."""
    while members := _members(session):
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)
        # not for the session's first process: psutil would collect the exit status that `measure` waits for
        psutil.wait_procs([member for member in members if member.pid != session], timeout=5)
        time.sleep(_SAMPLE_SECONDS)


class _Watcher(threading.Thread):
    """Samples the memory of a session and ends it at a limit."""

    def __init__(self, session: int, started: float, limits: Limits) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.most_processes = 0
        self.verdict: tuple[str, str] | None = None
        self._session, self._begun, self._limits = session, started, limits
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS if self.most_processes <= 1 else _SAMPLE_SECONDS_OF_SEVERAL):
            members = _members(self._session)
            self.most_processes = max(self.most_processes, len(members))
            self.peak = max(self.peak, _memory(members))
            if time.monotonic() - self._begun > self._limits.seconds:
                self.verdict = (TIME_LIMIT, f"ended after {self._limits.seconds:,.0f} s")
            elif self.peak > self._limits.megabytes * MEGABYTE:
                self.verdict = (MEMORY_LIMIT, f"ended beyond {self._limits.megabytes:,.0f} MB of memory")
            if self.verdict:
                end_session(self._session)
                return

    def stop(self) -> None:
        self._done.set()
        self.join()


def _members(session: int) -> list[psutil.Process]:
    members = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(pid) == session:
                member = psutil.Process(pid)
                if member.status() != psutil.STATUS_ZOMBIE:
                    members.append(member)
    return members


def _memory(members: list[psutil.Process]) -> int:
    """Bytes in memory: of a lone process its resident set, of several the sum of their shares (PSS), where there is such.

    Summing resident sets would count libraries once for each process.
    """
    total = 0
    for member in members:
        with contextlib.suppress(psutil.Error):
            if len(members) == 1 or not sys.platform.startswith("linux"):
                total += member.memory_info().rss
            else:
                total += member.memory_full_info().pss
    return total


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
