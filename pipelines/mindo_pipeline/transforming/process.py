"""One call of dbt: a process of its own, in a private folder that is gone afterwards, and nothing of its output is shown."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mindo import ConfigurationError
from mindo.spool import PrivateFolder

from .profile import Profile
from .project import find_project

_CHILD: Final = "mindo_pipeline.transforming.until_parent_ends"
_PARSED: Final = "partial_parse.msgpack"
_FOREIGN: Final = "DBT_"
_SECONDS_TO_STOP: Final = 10
_FATAL: Final = "MainEncounteredError"


@dataclass(frozen=True)
class Invocation:
    """What a call of dbt left behind, as long as its folder is there.

    Attributes:
        code: dbt's own exit code.
        target: The folder with dbt's results.
        events: What dbt reported, from warnings on, in order.
    """

    code: int
    target: Path
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def failure(self) -> str | None:
        """Why dbt ended before its time. Its text can quote rows."""
        texts = [str(data.get("exc", "")) for data in self.events_named(_FATAL)]
        return texts[0] if texts else None

    def events_named(self, name: str) -> Iterator[dict[str, Any]]:
        """The data of the events of a kind."""
        return (event["data"] for event in self.events if event["info"]["name"] == name)

    def document(self, name: str) -> dict[str, Any]:
        """One of dbt's JSON files; empty if dbt didn't come to write it."""
        try:
            return dict(json.loads((self.target / name).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}


@contextmanager
def dbt_called(
    arguments: Sequence[str],
    profile: Profile,
    variables: dict[str, Any],
    artifacts: Path | None = None,
    cache: Path | None = None,
) -> Iterator[Invocation]:
    """Calls dbt on the project of the package, and stops it if this process is stopped.

    Args:
        arguments: The command with its options.
        profile: Where to build.
        variables: Of the project.
        artifacts: Where dbt's own files are kept: results, compiled SQL and the log.
        cache: A folder that keeps the parsed project for the next call, which saves a second or two.

    Raises:
        ConfigurationError: If the folder for dbt's own files can't be written.
    """
    if artifacts is not None:
        _make_folder(artifacts)
    private = PrivateFolder()
    try:
        target, logs = private.path / "target", private.path / "logs"
        target.mkdir()
        profile.write(private.path)
        if cache is not None:
            with contextlib.suppress(OSError):
                shutil.copyfile(cache / _PARSED, target / _PARSED)
        options = {
            "--project-dir": find_project(),
            "--profiles-dir": private.path,
            "--target-path": target,
            "--log-path": logs,
            "--vars": json.dumps(variables),
            "--log-format": "json",
            "--log-level": "warn",
            # the log has all statements, and errors with rows in them
            "--log-level-file": "none" if artifacts is None else "debug",
        }
        command = [*arguments, *(str(part) for option in options.items() for part in option)]
        try:
            code = _run(
                [*command, "--no-send-anonymous-usage-stats", "--no-version-check", "--no-print"], profile, private.path
            )
        finally:
            if artifacts is not None:
                _keep(private.path, artifacts)
        if cache is not None:
            _keep_parsed(target, cache)
        yield Invocation(code, target, list(_events(private.path / "stdout")))
    finally:
        private.close()


def _run(arguments: Sequence[str], profile: Profile, folder: Path) -> int:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            # -P: whatever is called dbt in the current folder is not meant
            [sys.executable, "-P", "-m", _CHILD, *arguments],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            env={**environment, **profile.environment, "DO_NOT_TRACK": "1"},
            # Ctrl-C is for this process, which passes it on
            start_new_session=True,
        )
        try:
            return process.wait()
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends dbt, which rolls back what it is at; does nothing if it has ended."""
    try:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(_SECONDS_TO_STOP)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _events(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        # a library may print
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and {"data", "info"} <= event.keys():
                yield event


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".mindo"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"folder: can't write to {folder} ({os.strerror(error.errno or 0)}); choose another one."
        ) from None


def _keep(private: Path, artifacts: Path) -> None:
    for name in ("target", "logs"):
        with contextlib.suppress(OSError):
            shutil.copytree(
                private / name, artifacts / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns(_PARSED)
            )


def _keep_parsed(target: Path, cache: Path) -> None:
    # only a gain of time; several may do it at once
    with contextlib.suppress(OSError):
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = cache / f"{_PARSED}.{os.getpid()}"
        shutil.copyfile(target / _PARSED, new)
        new.replace(cache / _PARSED)
