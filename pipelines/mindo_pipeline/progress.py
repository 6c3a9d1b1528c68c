"""How a run tells how far it is: a bar on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from rich import progress as bars
from rich.console import Console
from rich.table import Column
from rich.text import Text

from mindo import Window
from mindo.extraction import LoadedWindow
from mindo.pages import Page
from mindo.reader import WindowRead

from .console import counted, duration

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

LINE_SECONDS: Final = 5.0


class Progress:
    """Counts what a run has read. Shows nothing itself; a context manager around the run.

    Attributes:
        total: Windows of the plan.
        companies: How many they belong to.
        messages: Messages read so far.
        on_plan: Called with the windows of the plan.
        on_load: Called after each load that was committed, with the windows that are in it and those that can't be.
    """

    def __init__(self) -> None:
        self.on_plan: Callable[[Sequence[Window]], None] = lambda _: None
        self.on_load: Callable[[Sequence[LoadedWindow], Sequence[WindowRead]], None] = lambda _, __: None
        self.total = 0
        self.companies = 0
        self.messages = 0
        self._done: set[Window] = set()
        self._lock = threading.Lock()
        self._started = self._last_page = time.monotonic()

    def planned(self, windows: Sequence[Window]) -> None:
        """The run will read these windows."""
        self.total = len(windows)
        self.companies = len({window.company_id for window in windows})
        self._started = self._last_page = time.monotonic()
        self.on_plan(windows)
        self._show()

    def page_read(self, window: Window, page: Page) -> None:
        """A page was proven; called from the reader's threads."""
        with self._lock:
            self.messages += page.rows
            self._last_page = time.monotonic()
            if page.next_cursor is None:
                self._done.add(window)
            self._show()

    def windows_ended(self, complete: Sequence[LoadedWindow], incomplete: Sequence[WindowRead]) -> None:
        """These windows are loaded, and those can't be."""
        self.on_load(complete, incomplete)
        with self._lock:
            self._done.update(window.read.window for window in complete)
            self._done.update(read.window for read in incomplete)
            self._show()

    def batch_ended(self, complete: Sequence[LoadedWindow], incomplete: Sequence[WindowRead]) -> None:
        """Another process has loaded these windows, or could not."""
        with self._lock:
            self.messages += sum(window.read.rows for window in complete)
            self._last_page = time.monotonic()
        self.windows_ended(complete, incomplete)

    @property
    def done(self) -> int:
        """Windows that are read to their end."""
        return len(self._done)

    @property
    def rate(self) -> float:
        """Messages per second, from the plan to the last page."""
        return self.messages / max(0.001, self._last_page - self._started)

    @property
    def time_left(self) -> timedelta | None:
        """How long the rest will take, if it goes on like this."""
        if not self.done:
            return None
        return timedelta(seconds=(time.monotonic() - self._started) * (self.total - self.done) / self.done)

    def _show(self) -> None:
        """Called after every change."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends what is shown."""


class LineProgress(Progress):
    """A line every few seconds at most, and a last one.

    Args:
        write: Takes a line.
        every: Seconds between two lines.
    """

    def __init__(self, write: Callable[[str], None], every: float = LINE_SECONDS) -> None:
        super().__init__()
        self._write = write
        self._every = every
        self._next = time.monotonic() + every
        self._last = ""

    def _show(self) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            left = self.time_left
            self._tell(self._line() + (f", about {duration(left)} left" if left else ""))

    def _tell(self, line: str) -> None:
        if line != self._last:
            self._last = line
            self._write(line)

    def _line(self) -> str:
        windows = f"{self.done:,} of {counted(self.total, 'window')}"
        companies = counted(self.companies, "company", "companies")
        return f"{windows} of {companies} read, {counted(self.messages, 'message')}, {self.rate:,.0f} messages/s"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Writes the last line."""
        if self.total:
            self._tell(self._line())


class EventProgress(LineProgress):
    """The same as events.

    Args:
        log: Takes an event.
        every: Seconds between two events.
    """

    def __init__(self, log: FilteringBoundLogger, every: float = LINE_SECONDS) -> None:
        super().__init__(self._write_event, every)
        self._log = log

    def _write_event(self, _: str) -> None:
        left = self.time_left
        self._log.info(
            "progress",
            windows_done=self.done,
            windows=self.total,
            companies=self.companies,
            messages=self.messages,
            messages_per_second=round(self.rate),
            seconds_left=round(left.total_seconds()) if left else None,
        )


class BarProgress(Progress):
    """A bar on a terminal.

    Args:
        console: Standard error.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._bar = bars.Progress(
            bars.SpinnerColumn(),
            bars.BarColumn(bar_width=16),
            bars.MofNCompleteColumn(),
            _Figures(self),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=None)

    def _show(self) -> None:
        self._bar.update(self._task, total=self.total, completed=self.done)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away; the summary follows."""
        self._bar.stop()


class _Figures(bars.ProgressColumn):
    def __init__(self, progress: Progress) -> None:
        super().__init__(Column(no_wrap=True))
        self._progress = progress

    def render(self, task: bars.Task) -> Text:
        """The figures beside the bar."""
        progress = self._progress
        if task.total is None:
            return Text("asking the API", "dim")
        companies = counted(progress.companies, "company", "companies")
        parts = [companies, counted(progress.messages, "message"), f"{progress.rate:,.0f}/s"]
        left = progress.time_left
        if progress.done >= progress.total:
            parts.append("loading")
        elif left is not None:
            parts.append(f"{duration(timedelta(seconds=round(left.total_seconds())))} left")
        return Text(" · ".join(parts))


def make_progress(
    console: Console, write: Callable[[str], None], quiet: bool, log: FilteringBoundLogger | None = None
) -> Progress:
    """The progress that suits standard error.

    Args:
        console: Standard error.
        write: Writes a line to it.
        quiet: Whether nothing should be shown.
        log: Writes events to it, if it is for those.
    """
    if quiet:
        return Progress()
    if log:
        return EventProgress(log)
    return BarProgress(console) if console.is_terminal else LineProgress(write)
