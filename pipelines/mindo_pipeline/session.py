"""How every command begins and ends: signals, what goes to which stream, one line and one exit code for any failure."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any, Final, NamedTuple, NoReturn, TextIO

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from .console import clean, make_console
from .exit_codes import ExitCode

DEBUG_VARIABLE: Final = "MINDO_DEBUG"
_STATUSES: Final = {
    ExitCode.COMPLETE: "complete",
    ExitCode.GUARD: "refused",
    ExitCode.DIFFERENT: "different",
    ExitCode.INTERRUPTED: "interrupted",
}


class Verdict(NamedTuple):
    """How a command ended: the exit code and the one line."""

    code: ExitCode
    message: str


class CommandFailed(Exception):
    """A command can't go on; the line says what is wrong and what to do."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Session:
    """One command as it runs.

    Attributes:
        command: Its name.
        as_json: Whether standard output is for one JSON object only.
        quiet: Whether only failures are told.
        document: What the JSON object holds besides how the command ended.
        out: Standard output.
        err: Standard error.
        started: When it began.
    """

    command: str
    as_json: bool = False
    quiet: bool = False
    document: dict[str, Any] = field(default_factory=dict)
    out: Console = field(default_factory=lambda: make_console(sys.stdout))
    err: Console = field(default_factory=lambda: make_console(sys.stderr))
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _told: bool = False

    @property
    def elapsed(self) -> timedelta:
        """Time since the command began."""
        return datetime.now(UTC) - self.started

    def show(self, *parts: RenderableType) -> None:
        """Prints results for people, tables with a line of space; with --json they are in the object instead."""
        if not self.as_json and not self.quiet:
            for part in parts:
                self.out.print(part, soft_wrap=isinstance(part, str | Text))
                if isinstance(part, Table):
                    self.out.print()

    def note(self, text: str) -> None:
        """Tells something on standard error that isn't a result."""
        if not self.quiet:
            self.err.print(text, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Tells something on standard error that should not be missed."""
        self.err.print(Text(text, "yellow"), soft_wrap=True)

    def tell(self, verdict: Verdict) -> None:
        """Prints the one line; once, whoever asks for it first."""
        line = clean(verdict.message)
        if self._told or not line:
            return
        self._told = True
        if verdict.code is ExitCode.COMPLETE:
            (self.note if self.as_json else self.show)(line)
            return
        status = self.status(verdict.code)
        prefix = "error" if status == "failed" else status
        self.err.print(Text.assemble((f"{prefix}: ", "bold red"), line), soft_wrap=True)

    def finish(self, verdict: Verdict) -> None:
        """Prints the one line, and with --json the object."""
        self.tell(verdict)
        if self.as_json:
            write_json(self.out.file, self.ended(verdict))

    def status(self, code: ExitCode) -> str:
        """The exit code as a word."""
        statuses = {window["status"] for window in self.document.get("windows", [])}
        if code is ExitCode.API and "incomplete" in statuses:
            return "incomplete"
        return _STATUSES.get(code, "failed")

    def ended(self, verdict: Verdict) -> dict[str, Any]:
        """The whole JSON object."""
        finished = datetime.now(UTC)
        return {
            "command": self.command,
            "status": self.status(verdict.code),
            "exit_code": int(verdict.code),
            "message": verdict.message,
            "started_at": json_time(self.started),
            "finished_at": json_time(finished),
            "duration_seconds": round((finished - self.started).total_seconds(), 3),
            **self.document,
        }


def execute(command: str, body: Callable[[Session], Verdict], as_json: bool = False, quiet: bool = False) -> NoReturn:
    """Runs the body of a command and ends with its exit code, whatever happens in it.

    Raises:
        typer.Exit: Always.
    """
    session = Session(command, as_json, quiet)
    try:
        with _terminable(), _libraries_kept_quiet():
            verdict = body(session)
    except BaseException as error:
        verdict = explain_failure(error)
    with contextlib.suppress(BrokenPipeError):
        session.finish(verdict)
    raise typer.Exit(int(verdict.code))


def explain_failure(error: BaseException) -> Verdict:
    """The verdict for anything that a command raised."""
    if os.environ.get(DEBUG_VARIABLE):
        _print_frames(error)
    if isinstance(error, CommandFailed):
        return Verdict(error.code, str(error))
    if isinstance(error, KeyboardInterrupt):
        return Verdict(ExitCode.INTERRUPTED, "stopped before anything was done.")
    from .errors import explain

    return Verdict(*explain(error))


def write_json(stream: Any, document: dict[str, Any]) -> None:
    """Writes one JSON object, in ASCII."""
    stream.write(json.dumps(document, indent=2) + "\n")
    stream.flush()


def json_time(value: datetime | None) -> str | None:
    """A time as in the API's parameters: ISO-8601 in UTC."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value else None


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Makes SIGTERM end a command as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def _libraries_kept_quiet() -> Iterator[None]:
    """Nothing that a library prints may reach standard output; nothing that it logs or warns of, anybody: it may quote rows."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    real: TextIO = sys.stderr
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(real):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().removeHandler(handler)


def _print_frames(error: BaseException) -> None:
    """The way to an error, without the text of any exception: that could quote a message or a key."""
    link: BaseException | None = error
    while link is not None:
        print(f"{type(link).__module__}.{type(link).__qualname__}", file=sys.stderr)
        print("".join(traceback.format_tb(link.__traceback__)), file=sys.stderr)
        link = link.__cause__ or link.__context__
