"""A workflow of GitHub Actions, its steps done in order as a runner does them: `run` by bash, `uses` as far as it is used here."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.schedules.places import ENVIRONMENT, ROOT

_TEMPLATE = re.compile(r"\$\{\{(.*?)\}\}")
_NAME = re.compile(r"\b(github|secrets|steps)((?:\.\w+)+)")
_STATUS_FUNCTIONS = ("always()", "failure()", "cancelled()", "success()")
_TRACKED = (
    "Makefile",
    "scripts",
    "requirements",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "sources",
    "pipelines",
    "dbt",
)


@dataclass
class Runner:
    """Runs jobs one after the other, each on a machine of its own; what the cache keeps is all that they share.

    Args:
        folder: For the machines, the cache and the artifacts.
        secrets: Of the repository; one that is not there is empty.
        environment: Of each machine.
        replaced: Values of `env` to use instead of those in the file.
    """

    folder: Path
    secrets: Mapping[str, str]
    environment: Mapping[str, str]
    replaced: Mapping[str, str] = field(default_factory=dict)
    machines: int = 0

    def run(self, job: Mapping[str, Any], schedule: str) -> Job:
        """Runs a job to its end.

        Args:
            job: From the workflow.
            schedule: The entry of `on.schedule` that is due.
        """
        self.machines += 1
        machine = self.folder / f"machine-{self.machines}"
        machine.mkdir(parents=True)
        context = {
            "github": {
                "event": {"schedule": schedule},
                "run_id": str(self.machines),
                "run_attempt": "1",
                "repository": "owner/name",
                "server_url": "https://github.example",
            },
            "secrets": dict(self.secrets),
            "steps": {},
        }
        done = Job(self, machine, context)
        for step in job["steps"]:
            done.do(step)
        return done


@dataclass
class Job:
    """A job as it runs.

    Attributes:
        failed: Whether a step has failed.
        outcomes: How each step ended, by its name, or else its action or command.
        output: What the steps printed.
    """

    runner: Runner
    machine: Path
    context: dict[str, Any]
    failed: bool = False
    outcomes: dict[str, str] = field(default_factory=dict)
    output: str = ""

    def do(self, step: Mapping[str, Any]) -> None:
        """Does a step, if its condition holds."""
        condition = str(step.get("if", "success()"))
        if not any(function in condition for function in _STATUS_FUNCTIONS):
            condition = f"success() && ({condition})"
        name = step.get("name") or step.get("uses") or step["run"]
        if not self.evaluate(condition):
            self.outcomes[name] = "skipped"
            return
        given = {key: self.fill(value) for key, value in step.get("with", {}).items()}
        succeeded = self.execute(step) if "run" in step else self.act(step["uses"], given)
        self.outcomes[name] = "success" if succeeded else "failure"
        self.failed |= not succeeded

    def execute(self, step: Mapping[str, Any]) -> bool:
        """What `run` says, by `bash -e`."""
        outputs = self.machine.with_suffix(".outputs")
        outputs.write_text("")
        own = {name: self.fill(value) for name, value in step.get("env", {}).items()} | {
            name: value for name, value in self.runner.replaced.items() if name in step.get("env", {})
        }
        done = subprocess.run(
            ["bash", "-e", "-c", self.fill(step["run"])],
            cwd=self.machine,
            env={
                "CI": "true",
                "HOME": str(self.machine),
                "GITHUB_OUTPUT": str(outputs),
                **self.runner.environment,
                **own,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        self.output += done.stdout
        found = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
        self.context["steps"][step.get("id", "")] = {"outputs": found}
        return done.returncode == 0

    def act(self, action: str, given: Mapping[str, str]) -> bool:
        """What an action does, as documented for the version that is named."""
        cache, artifacts = self.runner.folder / "cache", self.runner.folder / "artifacts"
        match action:
            case "actions/checkout@v4":
                for name in _TRACKED:
                    (self.machine / name).symlink_to(ROOT / name)
            case "actions/setup-python@v5":
                # `make setup` then makes it; here it is there already
                (self.machine / ".venv").symlink_to(ENVIRONMENT)
            case "actions/cache/restore@v4":
                saved = sorted(cache.glob(f"{given['restore-keys']}*"), key=lambda path: path.stat().st_mtime)
                if saved:
                    shutil.copytree(saved[-1], self.machine, dirs_exist_ok=True)
            case "actions/cache/save@v4":
                self._keep(given["path"], cache / given["key"])
            case "actions/upload-artifact@v4":
                self._keep(given["path"], artifacts / f"{given['name']}-{self.machine.name}")
            case _:
                raise AssertionError(f"nobody knows here what {action} does")
        return True

    def _keep(self, patterns: str, target: Path) -> None:
        target.mkdir(parents=True)
        for pattern in patterns.split():
            for path in self.machine.glob(pattern):
                place = target / path.relative_to(self.machine)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, place)

    def fill(self, value: Any) -> str:
        """A text with its expressions replaced."""
        return _TEMPLATE.sub(lambda match: str(self.evaluate(match[1])), str(value))

    def evaluate(self, expression: str) -> Any:
        """An expression, in which `&&` and `||` give one of their operands, as `and` and `or` do."""

        def value(match: re.Match[str]) -> str:
            found: Any = self.context[match[1]]
            for part in match[2].strip(".").split("."):
                found = found.get(part, "") if isinstance(found, dict) else ""
            return repr(found)

        python = _NAME.sub(value, expression.strip()).replace("&&", " and ").replace("||", " or ")
        functions = {
            "always": lambda: True,
            "failure": lambda: self.failed,
            "success": lambda: not self.failed,
            "cancelled": lambda: False,
        }
        return eval(python, {"__builtins__": {}}, functions)
