"""The image without a container engine: bubblewrap does what the Dockerfile says, on this machine's Python as the base image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.schedules.conftest import need
from tests.schedules.dockerfile import Stage

_BASE = Path(sys.base_prefix)
# a build reaches the package index as this machine does
_NETWORK = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_", "REQUESTS_")


@dataclass
class Image:
    """What a stage has written, each top folder by its own.

    Args:
        root: Where it is kept.
    """

    root: Path
    folder: str = "/"
    environment: dict[str, str] = field(default_factory=dict)

    def build(self, stage: Stage, context: Path, others: Mapping[str, Image]) -> None:
        """Does what a stage says, in order."""
        for instruction in stage.instructions:
            match instruction.name:
                case "ENV":
                    self.environment |= instruction.pairs
                case "WORKDIR":
                    self.folder = instruction.value
                    self.inside(self.folder).mkdir(parents=True, exist_ok=True)
                case "COPY":
                    origin = others[instruction.flags["from"]].root if "from" in instruction.flags else context
                    *sources, target = instruction.words
                    for source in sources:
                        self._copy(origin / source.lstrip("/"), target, instruction.flags.get("chown"))
                case "RUN":
                    self._execute(instruction.value)
                case "LABEL" | "VOLUME" | "USER" | "STOPSIGNAL" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                    pass
                case other:
                    raise AssertionError(f"nobody knows here what {other} does")

    def inside(self, path: str) -> Path:
        """Where a path of the image is kept."""
        return self.root / Path(self.folder, path).relative_to("/")

    def _copy(self, source: Path, target: str, owner: str | None) -> None:
        place = self.inside(target)
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "target", "logs")
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True, ignore=ignored)
        else:
            place = place / source.name if target.endswith("/") else place
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place)
        if owner and os.geteuid() == 0:
            user, group = map(int, owner.split(":"))
            for path in (place, *place.rglob("*")):
                os.chown(path, user, group, follow_symlinks=False)

    def _execute(self, command: str) -> None:
        # the folders at the top into which a build may install
        tops = {"opt", *(path.name for path in self.root.iterdir())}
        binds = [part for top in sorted(tops) for part in ("--bind", str(self.root / top), f"/{top}")]
        for top in tops:
            (self.root / top).mkdir(exist_ok=True)
        network = {name: value for name, value in os.environ.items() if name.upper().startswith(_NETWORK)}
        environment = {"PATH": f"{_BASE}/bin:/usr/bin:/bin", "HOME": "/tmp", **network, **self.environment}
        done = subprocess.run(
            [*base(environment), *binds, "--chdir", self.folder, "sh", "-e", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}"


def base(environment: Mapping[str, str]) -> list[str]:
    """A bubblewrap in which this machine's system and Python stand for the base image, and an empty /tmp for its files."""
    # in its own place, as it looks there for its libraries; bubblewrap would let only root pass the folders above it
    python = [] if _BASE.is_relative_to("/usr") else ["--ro-bind", str(_BASE), str(_BASE)]
    above = [part for parent in reversed(_BASE.parents[:-1]) for part in ("--perms", "0755", "--dir", str(parent))]
    links = [
        part
        for name in ("bin", "sbin", "lib", "lib64")
        for part in (
            ["--symlink", f"usr/{name}", f"/{name}"]
            if Path(f"/{name}").is_symlink()
            else ["--ro-bind-try", f"/{name}", f"/{name}"]
        )
    ]
    variables = [part for name, value in environment.items() for part in ("--setenv", name, value)]
    return [
        *(need("bwrap"), "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--clearenv"),
        *("--ro-bind", "/usr", "/usr", *links, "--ro-bind", "/etc", "/etc", "--proc", "/proc"),
        # as engines do it, /dev/shm is for everybody: semaphores are in there
        *("--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm", "--tmpfs", "/tmp", *variables),
        *(above if python else ()),
        *python,
    ]


def can_make_namespaces() -> bool:
    """Whether this machine lets a process have a root of its own; some containers don't."""
    probe = [*base({}), "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def container(
    image: Image, stage: Stage, arguments: Sequence[str], user: int, mounts: Mapping[str, tuple[Path | None, bool]]
) -> list[str]:
    """The command that runs a container with a read-only root, no capabilities and no way to new ones.

    Args:
        image: Of the last stage.
        stage: The last stage.
        arguments: Of the entry point.
        user: Who runs it; its group has the same number.
        mounts: By path: which folder is there, None for an empty one in memory, and whether it is read-only.
    """
    binds = [part for path in sorted(image.root.iterdir()) for part in ("--ro-bind", str(path), f"/{path.name}")]
    for path, (source, is_read_only) in mounts.items():
        if (image.root / Path(path).parts[1]).exists():
            # an engine makes it before it takes away the right to write
            image.inside(path).mkdir(exist_ok=True)
        # as root in a container: everybody may write to an empty folder in memory
        empty = ["--perms", "1777", "--tmpfs", path]
        binds += ["--ro-bind" if is_read_only else "--bind", str(source), path] if source else empty
    (entry,) = stage.all("ENTRYPOINT")
    become: list[Any] = ["--unshare-user", "--uid", user, "--gid", user, "--as-pid-1"]
    drop: list[Any] = []
    if os.geteuid() == 0:
        become = ["--as-pid-1"]
        drop = [need("setpriv"), f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs",
                "--inh-caps=-all", "--bounding-set=-all", "--"]  # fmt: skip
    command = [
        *base(stage.environment), *become, *binds, "--remount-ro", "/", "--chdir", image.folder,
        *drop, *entry.words, *arguments,
    ]  # fmt: skip
    return [str(part) for part in command]
