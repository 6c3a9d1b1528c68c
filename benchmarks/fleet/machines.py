"""Processes that share nothing but addresses: each with a home, a working folder and temporary files of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from ..measuring import end_session
from ..places import ROOT

DEPLOYMENT: Final = ROOT / "pipelines" / "schedules" / "dagster-celery"
"""The files that a fleet has, as they are documented."""
_PROGRAMS: Final = Path(sys.executable).parent
_PATIENCE_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 20.0
_LINES_SHOWN: Final = 30


class NotInTime(Exception):
    """Something that had to come did not; says what."""


def wait_until(what: str, is_so: Callable[[], bool], seconds: float = _PATIENCE_SECONDS, every: float = 0.5) -> None:
    """Asks again and again.

    Raises:
        NotInTime: If it is not so in time.
    """
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise NotInTime(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Machine:
    """A folder that stands for a machine, and the processes on it.

    Attributes:
        folder: Nothing else writes there.
        environment: What its processes are told, besides their own home and folders.
    """

    folder: Path
    environment: Mapping[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Sets the machine up: home, temporary folder, and a `DAGSTER_HOME` with the documented files."""
        for name in ("home", "tmp", "dagster", "work"):
            (self.folder / name).mkdir(parents=True)
        for path in DEPLOYMENT.glob("*.yaml"):
            shutil.copy(path, self.folder / "dagster")

    def start(self, program: str, *arguments: str) -> None:
        """Starts one of the environment's programs, in a session of its own."""
        with (self.folder / f"{program}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(_PROGRAMS / program), *arguments],
                cwd=self.folder / "work",
                env=self._told(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)

    def output(self, program: str, *arguments: str) -> str:
        """What a program prints that ends by itself.

        Raises:
            subprocess.CalledProcessError: If it fails.
        """
        with (self.folder / f"{program}.log").open("ab") as log:
            done = subprocess.run(
                [str(_PROGRAMS / program), *arguments],
                cwd=self.folder / "work",
                env=self._told(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                check=True,
                text=True,
            )
        return done.stdout

    def _told(self) -> dict[str, str]:
        return {
            # nothing of the caller's configuration, home or current folder
            **{name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ},
            "PATH": f"{_PROGRAMS}{os.pathsep}{os.defpath}",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "DAGSTER_HOME": str(self.folder / "dagster"),
            **self.environment,
        }

    def ports(self) -> set[int]:
        """Local ports of the connections that its processes have."""
        ports = set()
        for process in self.processes:
            with suppress(psutil.Error):
                everyone = [known := psutil.Process(process.pid), *known.children(recursive=True)]
                ports |= {c.laddr.port for member in everyone for c in member.net_connections("tcp")}
        return ports

    def kill(self) -> None:
        """Ends all processes of the machine at once, by SIGKILL; as if its power were cut."""
        for process in self.processes:
            end_session(process.pid)
            process.wait()
        self.processes.clear()

    def stop(self) -> None:
        """Asks all processes to end, and kills those that do not."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
        self.kill()

    def logs(self) -> str:
        """The ends of what its programs printed."""
        ends = []
        for path in sorted(self.folder.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-_LINES_SHOWN:]
            ends.append("\n".join([f"--- {path.stem} on {self.folder.name}", *lines]))
        return "\n".join(ends)


@contextmanager
def machine_room(folder: Path, environment: Mapping[str, str]) -> Iterator[Callable[[str], Machine]]:
    """Gives a function that sets up a machine by its name; all are stopped at the end."""
    machines: list[Machine] = []

    def set_up(name: str) -> Machine:
        machines.append(Machine(folder / name, environment))
        return machines[-1]

    try:
        yield set_up
    finally:
        for machine in reversed(machines):
            machine.stop()


def start_worker(machine: Machine) -> None:
    """A Celery worker with one process, as documented."""
    celery_yaml = str(machine.folder / "dagster" / "celery.yaml")
    machine.start("dagster-celery", "worker", "start", "-A", "dagster_celery.app", "-y", celery_yaml,
                  "--name", machine.folder.name, "--", "--concurrency", "1")  # fmt: skip


def start_control(machine: Machine, module: str) -> str:
    """Dagster's code server, daemon and UI; gives the URL of the UI."""
    code_port, ui_port = free_port(), free_port()
    machine.start(
        "dagster", "code-server", "start", "--module-name", module, "--port", str(code_port), "--host", "127.0.0.1"
    )
    workspace = machine.folder / "dagster" / "workspace.yaml"
    workspace.write_text(f"load_from:\n  - grpc_server: {{host: 127.0.0.1, port: {code_port}, location_name: mindo}}\n")
    wait_until("Dagster's code server", lambda: _listens(code_port))
    machine.start("dagster-daemon", "run", "--workspace", str(workspace))
    machine.start("dagster-webserver", "--workspace", str(workspace), "--port", str(ui_port), "--host", "127.0.0.1")
    wait_until("Dagster's UI", lambda: _listens(ui_port))
    return f"http://127.0.0.1:{ui_port}"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tell(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)
