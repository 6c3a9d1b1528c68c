"""The units: judged by systemd's own programs, and their commands executed as systemd does, without a shell."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from mindo_emulator import Emulator, World
from mindo_pipeline.exit_codes import ExitCode
from tests.mindo_pipeline.harness import count, settings
from tests.schedules.conftest import need
from tests.schedules.places import ENVIRONMENT, ROOT, SCHEDULES, Webhook, forget_oldest_message, write_settings

UNITS = SCHEDULES / "systemd"
SERVICES = ("mindo-nightly", "mindo-reconcile")
ALERT = "mindo-alert@"
_MOST_EXPOSURE = "2.0"
"""Exposure as `systemd-analyze security` counts it: 0 is a unit that can do nothing, 9.6 one without any protection."""


def parse(name: str) -> dict[str, list[str]]:
    """The settings of a unit; some can be given several times."""
    found = defaultdict(list)
    for line in (UNITS / name).read_text().splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            found[match[1]].append(match[2])
    return found


def setting(unit: str, name: str) -> str:
    (value,) = parse(unit)[name]
    return value


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with the paths of this clone, so that systemd finds what they start."""
    folder = tmp_path / "units"
    folder.mkdir()
    for path in UNITS.iterdir():
        (folder / path.name).write_text(path.read_text().replace("/srv/mindo", str(ROOT)))
    return folder


@pytest.fixture
def state(tmp_path: Path, api: Emulator[World]) -> Path:
    """What stands for /var/lib/mindo, with settings but no key."""
    folder = tmp_path / "state"
    write_settings(folder, {name: value for name, value in settings(api).items() if "API_KEY" not in name})
    return folder


def execute(unit: str, state: Path, api: Emulator[World]) -> subprocess.CompletedProcess[str]:
    """Executes a service's command with the environment that systemd gives it, the key from its EnvironmentFile."""
    command = setting(f"{unit}.service", "ExecStart").replace("/var/lib/mindo", str(state))
    assert "%" not in command
    assert setting(f"{unit}.service", "EnvironmentFile") == "/etc/mindo/mindo.env"
    environment = {
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
        "USER": "mindo",
        "LOGNAME": "mindo",
        "HOME": str(state),
        "STATE_DIRECTORY": str(state),
        "SOURCES__MINDO__API_KEY": settings(api)["SOURCES__MINDO__API_KEY"],
    }
    return subprocess.run(
        shlex.split(command.replace("/srv/mindo/.venv", str(ENVIRONMENT))),
        env=environment,
        cwd=state,
        umask=int(setting(f"{unit}.service", "UMask"), 8),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_systemd_itself_finds_nothing_to_say_about_the_units(units: Path) -> None:
    paths = [str(path) for path in units.iterdir() if path.suffix in (".service", ".timer")]
    assert len(paths) == 5
    checked = subprocess.run([need("systemd-analyze"), "verify", *paths], capture_output=True, text=True, check=False)
    ours = [line for line in checked.stderr.splitlines() if "mindo" in line]
    assert (checked.returncode, ours) == (0, [])


@pytest.mark.parametrize("unit", [*SERVICES, ALERT])
def test_the_services_may_do_little(units: Path, unit: str) -> None:
    command = [need("systemd-analyze"), "security", "--offline=true", f"--threshold={_MOST_EXPOSURE.replace('.', '')}"]
    checked = subprocess.run([*command, str(units / f"{unit}.service")], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_each_night_one_timer_elapses() -> None:
    times = [setting(f"{unit}.timer", "OnCalendar") for unit in SERVICES]
    assert times == ["Mon..Sat 05:17 UTC", "Sun 05:17 UTC"]
    for unit in SERVICES:
        assert setting(f"{unit}.timer", "Persistent") == "true"
        assert setting(f"{unit}.timer", "WantedBy") == "timers.target"
    for time in times:
        subprocess.run([need("systemd-analyze"), "calendar", time], capture_output=True, check=True)


@pytest.mark.parametrize("unit", SERVICES)
def test_tries_end_where_another_one_cannot_help(unit: str) -> None:
    final = {int(code) for code in setting(f"{unit}.service", "RestartPreventExitStatus").split()}
    again = set(ExitCode) - final - {ExitCode.COMPLETE, int(setting(f"{unit}.service", "SuccessExitStatus"))}
    assert again == {ExitCode.API, ExitCode.DESTINATION}
    assert setting(f"{unit}.service", "Restart") == "on-failure"
    assert setting(f"{unit}.service", "OnFailure") == f"{ALERT}%n.service"


def test_the_services_load_and_leave_metrics(state: Path, api: Emulator[World]) -> None:
    nightly = execute("mindo-nightly", state, api)
    assert (nightly.returncode, nightly.stdout, nightly.stderr) == (ExitCode.COMPLETE, "", "")
    assert count(file=str(state / "warehouse.duckdb")) == 240
    metrics = state / "mindo-nightly.prom"
    assert "mindo_last_run_exit_code" in metrics.read_text()
    # whoever scrapes it is another user, and nothing else is for others
    readable = [path.name for path in state.rglob("*") if path.is_file() and path.stat().st_mode & 0o007]
    assert [name for name in readable if not name.endswith(".toml")] == [metrics.name]
    forget_oldest_message(api.world)
    assert execute("mindo-reconcile", state, api).returncode == ExitCode.COMPLETE
    assert count(file=str(state / "warehouse.duckdb")) == 239


def test_the_alert_reaches_the_webhook(tmp_path: Path, webhook: Webhook) -> None:
    credential = setting(f"{ALERT}.service", "LoadCredential")
    assert credential.partition(":")[0] == "webhook"
    (tmp_path / "webhook").write_text(f'url = "{webhook.url}"\n')
    specifiers = {"%d": str(tmp_path), "%i": "mindo-nightly.service", "%H": "host.example"}
    variables = {
        "${MONITOR_SERVICE_RESULT}": "exit-code",
        "${MONITOR_EXIT_CODE}": "exited",
        "${MONITOR_EXIT_STATUS}": "4",
    }
    command = setting(f"{ALERT}.service", "ExecStart")
    for name, value in (specifiers | variables).items():
        command = command.replace(name, value)
    assert not re.search(r"%\w|\$", command)
    arguments = shlex.split(command)
    assert not any(webhook.url in argument for argument in arguments), "everybody can read a command line"
    subprocess.run([need(arguments[0]), *arguments[1:]], check=True, timeout=30, capture_output=True)
    assert webhook.texts == [
        "mindo-nightly.service on host.example has failed: exit-code, exited 4. See journalctl -u mindo-nightly.service"
    ]
