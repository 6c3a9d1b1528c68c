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
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Protocol, TextIO

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from .console import clean, json_time, make_console
from .exit_codes import ExitCode

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from .observing.observer import Events, Observer

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


class Observation(Protocol):
    """How machines watch a command, as it was asked for."""

    @property
    def wants_events(self) -> bool:
        """Whether standard error is for JSON only."""

    def begin(self, session: Session) -> None:
        """Gives the session its observers.

        Raises:
            ConfigurationError: If they can't do their work.
        """


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
        observers: Who else is told of it, in the order in which they are told.
        events: Takes over standard error, if that is for JSON only.
    """

    command: str
    as_json: bool = False
    quiet: bool = False
    document: dict[str, Any] = field(default_factory=dict)
    out: Console = field(default_factory=lambda: make_console(sys.stdout))
    err: Console = field(default_factory=lambda: make_console(sys.stderr))
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    observers: list[Observer] = field(default_factory=list)
    events: Events | None = None
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

    @property
    def log(self) -> FilteringBoundLogger | None:
        """Writes events to standard error, if that is for those only."""
        return self.events.log if self.events else None

    def note(self, text: str, event: str = "note") -> None:
        """Tells something on standard error that isn't a result.

        Args:
            text: The line.
            event: Its name, where standard error is for JSON only.
        """
        if self.log:
            self.log.info(event, message=text)
        elif not self.quiet:
            self.err.print(text, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Tells something on standard error that should not be missed."""
        if self.log:
            self.log.warning("warning", message=text)
        else:
            self.err.print(Text(text, "yellow"), soft_wrap=True)

    def tell(self, verdict: Verdict) -> None:
        """Prints the one line; once, whoever asks for it first."""
        line = clean(verdict.message)
        if self._told or not line:
            return
        self._told = True
        if verdict.code is ExitCode.COMPLETE and not self.as_json:
            self.show(line)
            return
        if self.events:
            # its last event holds the line
            return
        if verdict.code is ExitCode.COMPLETE:
            self.note(line)
            return
        status = self.status(verdict.code)
        prefix = "error" if status == "failed" else status
        self.err.print(Text.assemble((f"{prefix}: ", "bold red"), line), soft_wrap=True)

    def finish(self, verdict: Verdict) -> None:
        """Prints the one line, tells the observers, and with --json prints the object. What goes wrong in it changes nothing."""
        with _readers_may_leave():
            self.tell(verdict)
        document = self.ended(verdict)
        for observer in self.observers:
            with _readers_may_leave():
                self._tell_end(observer, document)
        if self.as_json:
            with _readers_may_leave():
                write_json(self.out.file, document)

    def _tell_end(self, observer: Observer, document: dict[str, Any]) -> None:
        try:
            observer.ended(document)
        except BrokenPipeError:
            raise
        except (Exception, KeyboardInterrupt) as error:
            # a second Ctrl-C ends the wait for a server
            reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            self.warn(f"{type(observer).__name__}: the end could not be told ({reason}); the exit code stays as it is.")

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


def execute(
    command: str,
    body: Callable[[Session], Verdict],
    as_json: bool = False,
    quiet: bool = False,
    observation: Observation | None = None,
) -> NoReturn:
    """Runs the body of a command and ends with its exit code, whatever happens in it.

    Args:
        command: Its name.
        body: What it does.
        as_json: See `Session`.
        quiet: See `Session`.
        observation: How machines watch it; `None` for commands that they don't.

    Raises:
        typer.Exit: Always.
    """
    session = Session(command, as_json, quiet)
    drops_prints = observation is not None and observation.wants_events
    try:
        with terminable(), libraries_kept_quiet(drops_prints):
            if observation:
                observation.begin(session)
            verdict = body(session)
    except BaseException as error:
        verdict = explain_failure(error)
    with terminable(), libraries_kept_quiet(drops_prints):
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


@contextlib.contextmanager
def terminable() -> Iterator[None]:
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
def _readers_may_leave() -> Iterator[None]:
    """Whoever reads a pipe may have enough of it."""
    with contextlib.suppress(BrokenPipeError):
        yield


@contextlib.contextmanager
def libraries_kept_quiet(drops_prints: bool = False) -> Iterator[None]:
    """Nothing that a library prints may reach standard output; nothing that it logs or warns of, anybody: it may quote rows.

    Args:
        drops_prints: Whether it may not reach standard error either.
    """
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    with contextlib.ExitStack() as stack:
        stack.callback(logging.getLogger().removeHandler, handler)
        real: TextIO = sys.stderr
        if drops_prints:
            real = stack.enter_context(Path(os.devnull).open("w"))
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(contextlib.redirect_stdout(real))
        warnings.simplefilter("ignore")
        yield


def _print_frames(error: BaseException) -> None:
    """The way to an error, without the text of any exception: that could quote a message or a key."""
    link: BaseException | None = error
    while link is not None:
        print(f"{type(link).__module__}.{type(link).__qualname__}", file=sys.stderr)
        print("".join(traceback.format_tb(link.__traceback__)), file=sys.stderr)
        link = link.__cause__ or link.__context__
