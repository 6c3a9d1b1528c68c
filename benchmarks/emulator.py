"""The emulator of the API, in a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

KEY = "mindo_global_demo"


@dataclass(frozen=True)
class World:
    """What is served: so many messages, spread over companies and over the days of `[start, end)`."""

    messages: int
    start: str = "2026-04-01"
    end: str = "2026-05-31"
    companies: str = "42,57,63"


@contextlib.contextmanager
def serve(world: World, *options: str) -> Iterator[str]:
    """Serves a world; gives the base URL. Further options are the emulator's.

    Raises:
        SystemExit: If the emulator ends instead, with what it said.
    """
    command = [sys.executable, "-m", "mindo_emulator", "--bulk", "--messages", str(world.messages), "--port", "0"]
    command += ["--start", world.start, "--end", world.end, "--companies", world.companies, *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = ""
            for line in process.stderr:
                said += line
                if url := next((word for word in line.split() if word.startswith("http://")), None):
                    break
            else:
                raise SystemExit(f"the emulator did not start: {said.strip()}")
            yield url
        finally:
            process.terminate()
