"""The crontab: each of its lines run as cron runs it, by `sh -c` with next to no environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from croniter import croniter

from mindo_emulator import Emulator, World
from mindo_pipeline.exit_codes import ExitCode
from tests.mindo_pipeline.harness import count, settings, wait_until
from tests.schedules.conftest import need
from tests.schedules.places import (
    ENVIRONMENT,
    NIGHTLY,
    RECONCILE,
    SCHEDULES,
    Webhook,
    forget_oldest_message,
    write_settings,
)

CRONTAB = SCHEDULES / "crontab"
_FIELDS = 5


def parse() -> tuple[dict[str, str], dict[str, str]]:
    """The variables that cron sets, and the commands by their time."""
    lines = [line for line in CRONTAB.read_text().splitlines() if line and not line.startswith("#")]
    variables = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    entries = [line.split(None, _FIELDS) for line in lines if not re.match(r"\w+=", line)]
    return variables, {" ".join(entry[:_FIELDS]): entry[_FIELDS] for entry in entries}


VARIABLES, COMMANDS = parse()


@pytest.fixture
def clone(tmp_path: Path, api: Emulator[World], webhook: Webhook) -> Path:
    """What stands for /srv/mindo: the environment, and settings that lead to the emulator and the webhook."""
    folder = tmp_path / "srv"
    write_settings(folder, settings(api), webhook)
    (folder / ".venv").symlink_to(ENVIRONMENT)
    return folder


def start(clone: Path, time: str) -> subprocess.Popen[str]:
    """Starts a line as cron does: a `%` would end it, and there are these variables and no others."""
    command = COMMANDS[time]
    assert "%" not in command
    environment = {"HOME": str(clone), "LOGNAME": "mindo", **VARIABLES}
    return subprocess.Popen(
        [VARIABLES["SHELL"], "-c", command.replace("/srv/mindo", str(clone))],
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code, and what cron would mail."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


def loaded(clone: Path) -> int:
    return count(file=str(clone / "warehouse.duckdb"))


def test_cron_itself_takes_the_file() -> None:
    checked = subprocess.run([need("crontab"), "-n", str(CRONTAB)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_each_night_has_one_run() -> None:
    assert list(COMMANDS) == [NIGHTLY, RECONCILE]
    assert all(croniter.is_valid(time) for time in COMMANDS)
    days = [sorted(set(croniter.expand(time)[0][4])) for time in COMMANDS]
    assert sorted(day for run in days for day in run) == list(range(7))


def test_nights_load_without_a_word_and_the_weekly_run_finds_what_was_deleted_since(
    clone: Path, api: Emulator[World], webhook: Webhook
) -> None:
    assert finish(start(clone, NIGHTLY)) == (ExitCode.COMPLETE, "")
    assert loaded(clone) == 240
    assert webhook.texts == []
    forget_oldest_message(api.world)
    assert finish(start(clone, RECONCILE)) == (ExitCode.COMPLETE, "")
    assert loaded(clone) == 239


def test_a_second_run_beside_the_first_loads_nothing_and_tells(
    clone: Path, api: Emulator[World], webhook: Webhook
) -> None:
    api.faults.add("slow_start", seconds=1, times=None)
    first = start(clone, NIGHTLY)
    # it tries its key before it takes the lock
    wait_until(lambda: any(request.params.get("limit") != "1" for request in api.requests))
    # however long the second one takes
    os.killpg(first.pid, signal.SIGSTOP)
    api.faults.clear()
    code, mail = finish(start(clone, NIGHTLY))
    os.killpg(first.pid, signal.SIGCONT)
    assert code == ExitCode.DESTINATION
    assert "another mindo run is writing to it" in mail
    assert finish(first)[0] == ExitCode.COMPLETE
    assert loaded(clone) == 240
    (text,) = webhook.texts
    assert "exit code 5" in text


def test_an_api_that_is_down_is_mailed_and_told(clone: Path, api: Emulator[World], webhook: Webhook) -> None:
    api.faults.add("server_error", times=None)
    code, mail = finish(start(clone, NIGHTLY))
    assert code == ExitCode.API
    assert mail
    (text,) = webhook.texts
    assert "exit code 3" in text
