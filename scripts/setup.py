"""Makes `.venv` with the pinned environment and the project itself, editable. Called by `make setup`.

A stamp inside `.venv` holds a digest of everything the environment was made from. If it matches there is nothing to
do; if a file changed, the environment is brought up to date in place; if it is missing (first call, or an earlier one
was interrupted) or Python changed, the environment is made anew.

Runs on the standard library of any Python 3.11 or newer.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
COMMAND = VENV / "bin" / "mindo"
STAMP = VENV / ".stamp"
LOCK = ROOT / ".venv.lock"
REQUIREMENTS = ROOT / "requirements" / "dev.txt"
# From inside `.venv` this is the Python it was made with.
BASE_PYTHON: str = getattr(sys, "_base_executable", None) or sys.executable


def say(message: str) -> None:
    print(f"setup: {message}", file=sys.stderr, flush=True)


def stamp_lines() -> list[str]:
    """What `.venv` is made from: first what it cannot outlive, then the packages, then the rest."""
    # Scripts inside an environment hold its full path: a moved one is of no use.
    base = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor} {VENV}"
    digests = [
        f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in (REQUIREMENTS, ROOT / "pyproject.toml", Path(__file__).resolve())
    ]
    return [base, *digests]


def read_stamp() -> list[str]:
    """The lines of the stamp; none if `.venv` is missing, half-made or broken."""
    try:
        subprocess.run([VENV_PYTHON, "-c", ""], check=True, capture_output=True)
        return STAMP.read_text(encoding="utf-8").splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []


def write_stamp(lines: list[str]) -> None:
    STAMP.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def create_venv() -> None:
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    create = [BASE_PYTHON, "-m", "venv", "--clear", str(VENV)]
    first = subprocess.run(create, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if first.returncode == 0:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if subprocess.run([BASE_PYTHON, "-c", "from ensurepip import bootstrap"], capture_output=True).returncode == 0:
        sys.exit(f"setup: {BASE_PYTHON} -m venv failed:\n{first.stdout}{first.stderr}")

    # Debian and Ubuntu ship Python without what `venv` needs.
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if shutil.which("apt-get") and os.geteuid() == 0:
        say(f"this Python cannot make environments yet: apt-get install {package}")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        try:
            apt_get = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
            subprocess.run([*apt_get, "update"], check=True, stdin=subprocess.DEVNULL, env=env)
            install = [*apt_get, "install", "-y", "--no-install-recommends", package]
            subprocess.run(install, check=True, stdin=subprocess.DEVNULL, env=env)
            subprocess.run(create, check=True, stdin=subprocess.DEVNULL)
        except subprocess.CalledProcessError:
            sys.exit(f"setup: could not install {package}; install it, then call make again.")
        return
    sys.exit(
        f"setup: {BASE_PYTHON} cannot make environments (no ensurepip). Install it "
        f"(Debian, Ubuntu: sudo apt-get install {package}), then call make again."
    )


def pip(*arguments: str) -> None:
    """`pip install`, silent unless it fails."""
    command = [str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        last_lines = "\n".join(done.stdout.splitlines()[-15:])
        sys.exit(f"{last_lines}\nsetup: failed, exit code {done.returncode}: {' '.join(command)}")


def main() -> None:
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once: the second finds the work done
        wanted, present = stamp_lines(), read_stamp()
        if present == wanted and COMMAND.is_file():
            return
        started = time.monotonic()
        base, packages = wanted[:2]
        if present[:1] != [base]:
            say(f"making .venv with Python {sys.version.split()[0]} ({BASE_PYTHON})")
            create_venv()
        if present[:2] != [base, packages]:
            say("installing the pinned packages of requirements/dev.txt (a minute or two the first time)")
            STAMP.unlink(missing_ok=True)
            # the file is complete; pip would look for what packages ask for with an extra under that very name
            pip("--require-hashes", "--no-deps", "--requirement", str(REQUIREMENTS))
        write_stamp([base, packages])
        say("installing mindo-connector, editable")
        pip("--no-deps", "--no-build-isolation", "--editable", str(ROOT))
        write_stamp(wanted)
        say(f"done in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
