"""An environment per contender, made once for each content of its pinned requirements."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from .places import CHART, CONTENDERS, KEPT, ROOT

_LOCK_COMMAND = "make bench ARGS=lock"


class NotInstalled(Exception):
    """An environment can't be made; the text says why, in a line."""


def python_of(folder: Path) -> Path:
    """The Python of the environment that a folder's `requirements.txt` pins.

    Raises:
        NotInstalled: If the packages can't be installed.
    """
    requirements = folder / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    environments = KEPT / "environments"
    place = environments / f"{folder.name}-{digest}"
    python, complete = place / "bin" / "python", place / "complete"
    if complete.exists():
        return python
    for outdated in environments.glob(f"{folder.name}-*"):
        shutil.rmtree(outdated)
    print(f"installing the packages of {folder.relative_to(ROOT)}", file=sys.stderr)
    _run([sys.executable, "-m", "venv", str(place)])
    # The file is complete. Resolving it again, pip would ask for hashes of a package with an extra and of the one without.
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    _run([str(python), "-m", "pip", "install", *options, "--requirement", str(requirements)])
    complete.touch()
    return python


def pinned(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Versions that a folder's `requirements.txt` pins, of these packages."""
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split(" ")[0].split("==", 1) for line in lines if "==" in line and not line.startswith((" ", "#")))
    return {name: pins[name] for name in names if name in pins}


def lock(arguments: tuple[str, ...] = ()) -> None:
    """Compiles every `requirements.txt` anew."""
    uv = Path(sys.executable).with_name("uv")
    for inputs in sorted([*CONTENDERS.glob("*/requirements.in"), CHART / "requirements.in"]):
        command = [str(uv), "--no-config", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
        command += ["--generate-hashes", "--no-emit-index-url", "--no-emit-find-links"]
        command += ["--custom-compile-command", _LOCK_COMMAND, "--output-file", "requirements.txt", inputs.name]
        subprocess.run([*command, *arguments], cwd=inputs.parent, check=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.startswith("ERROR")] or ["exit code"]
        raise NotInstalled(f"its packages can't be installed: {lines[-1].removeprefix('ERROR: ')}")
