"""The dashboard as a process of its own, over a warehouse of made-up messages, and a browser to look at it with."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from mindo_emulator import Emulator, World
from tests.mindo_pipeline.harness import DAY, midnight, mindo, settings, spawn

REPOSITORY = Path(__file__).parents[2]
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE = "<img src=http://evil.example/x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
MARKUP = "**bold** [link](javascript:alert(1)) $x^2$ {{ 7*7 }} {table} %s \u202egnitset\u202c"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PHONE = {"width": 375, "height": 740}
DESK = {"width": 1280, "height": 900}
TIMEOUT = 60_000


def zones(world: World) -> str:
    """Names and time zones, as a global key's configuration has them."""
    return json.dumps({str(c.id): {"name": c.name, "timezone": c.timezone} for c in world.companies.values()})


def hostile_world() -> World:
    """Three weeks of messages, one conversation of which tries everything, and a long one."""
    world = World.generate(seed=7, start=midnight() - 21 * DAY, end=midnight(), messages=900)
    at = midnight() - DAY / 2
    tool = {"name": HOSTILE, "status": "error", "arguments": {HOSTILE: MARKUP}, "result": HOSTILE, "error": HOSTILE}
    world.add_message(
        42,
        at,
        HOSTILE,
        conversation_id="conv_hostile",
        message_id="msg_hostile",
        channel=HOSTILE,
        classifications=[{"label": HOSTILE, "value": MARKUP}],
        extractions=[{"field": HOSTILE, "value": MARKUP}],
        tool_calls=[tool],
        trace_id=TRACE,
    )
    world.add_message(42, at, MARKUP, conversation_id="conv_hostile", direction="outbound", agent={"name": HOSTILE})
    for number in range(230):
        world.add_message(57, at - DAY + number * DAY / 1000, f"line {number}", conversation_id="conv_long")
    return world


@contextmanager
def loaded_folder(folder: Path) -> Iterator[Path]:
    """Loads the world above into a folder, with what a dashboard needs to be told."""
    world = hostile_world()
    with pytest.MonkeyPatch.context() as patch, Emulator(world) as emulator:
        patch.chdir(folder)
        told = settings(emulator, SOURCES__MINDO__START_DATE=(midnight() - 21 * DAY).date().isoformat())
        for name, value in {**told, "SOURCES__MINDO__COMPANIES": zones(world)}.items():
            patch.setenv(name, value)
        assert mindo("run", "--quiet").code == 0
    (folder / ".dlt").mkdir(exist_ok=True)
    (folder / ".dlt" / "config.toml").write_text('[dbt.vars]\nmindo_langfuse_project = "it\'s <mine>"\n')
    yield folder


@contextmanager
def dashboard(*arguments: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Starts `mindo dashboard` in the current folder, on a free port.

    Yields:
        The URL it prints, and the process.
    """
    process = spawn("dashboard", "--no-browser", "--port", "0", *arguments, **environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "The dashboard is on http" in line, line + (process.stderr.read() if process.stderr else "")
        yield line.split(" on ")[1].split(". Ctrl-C")[0].strip(), process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def chromium() -> str:
    """Debian's Chromium, installed if it is missing.

    Raises:
        AssertionError: If it can't be.
    """
    with FileLock("/tmp/mindo-install-browser.lock"):
        found = shutil.which("chromium")
        if found is None:
            done = subprocess.run([str(REPOSITORY / "scripts" / "install-browser")], capture_output=True, text=True)
            assert done.returncode == 0, f"the tests of the dashboard need a browser: {done.stderr.strip()}"
            found = shutil.which("chromium")
    assert found is not None
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser that reaches nothing but this machine by itself."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            yield started
        finally:
            started.close()


@dataclass
class Visit:
    """A page that is watched: what it asks for, and what goes wrong in it."""

    context: BrowserContext
    url: str
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    page: Page = field(init=False)

    def __post_init__(self) -> None:
        self.page = self.context.new_page()
        self.page.set_default_timeout(TIMEOUT)
        self.page.on("console", lambda message: self._noted(message.type, message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)
        self.page.on("websocket", lambda socket: self.hosts.add(socket.url.split("/")[2]))

    def open(self, query: str = "") -> Page:
        """Opens a page of the dashboard, and waits until it shows what was asked for."""
        self.page.goto(f"{self.url}/{query}", wait_until="commit")
        return self.settled()

    def settled(self) -> Page:
        """Waits until nothing is being asked any more."""
        self.page.wait_for_selector(".mindo.tiles, .mindo.results, .mindo.thread, .mindo.notice")
        self.page.wait_for_function("!document.body.innerText.includes('Asking the warehouse')")
        return self.page

    def was_clean(self) -> None:
        """Makes sure that nothing went wrong, and no other host was asked for anything."""
        assert not self.errors
        assert self.hosts <= {self.url.split("/")[2]}
        assert self.page.title() != "owned"

    def _noted(self, kind: str, text: str) -> None:
        if kind == "error":
            self.errors.append(text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.hosts.add(request.url.split("/")[2])


@contextmanager
def visit(browser: Browser, url: str, **settings: Any) -> Iterator[Visit]:
    """A visitor of their own, with a screen of their own."""
    context = browser.new_context(**{"viewport": DESK, "color_scheme": "light", **settings})
    try:
        yield Visit(context, url)
    finally:
        context.close()


def wait_for_port_to_close(process: subprocess.Popen[str], seconds: float = 20) -> int:
    """Waits for the end of a process; gives its exit code."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    code = process.poll()
    assert code is not None
    return code
