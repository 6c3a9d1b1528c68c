"""How a run tells how far it is: a bar on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from rich import progress as bars
from rich.console import Console
from rich.table import Column
from rich.text import Text

from mindo import Window
from mindo.extraction import LoadedWindow
from mindo.pages import Page
from mindo.reader import WindowRead

from .console import counted, duration

LINE_SECONDS: Final = 5.0


class Progress:
    """Counts what a run has read. Shows nothing itself; a context manager around the run.

    Attributes:
        total: Windows of the plan.
        companies: How many they belong to.
        messages: Messages read so far.
        on_load: Called after each load that was committed.
    """

    def __init__(self) -> None:
        self.on_load: Callable[[], None] = lambda: None
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
        self.on_load()
        with self._lock:
            self._done.update(window.read.window for window in complete)
            self._done.update(read.window for read in incomplete)
            self._show()

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


def make_progress(console: Console, write: Callable[[str], None], quiet: bool) -> Progress:
    """The progress that suits standard error.

    Args:
        console: Standard error.
        write: Writes a line to it.
        quiet: Whether nothing should be shown.
    """
    if quiet:
        return Progress()
    return BarProgress(console) if console.is_terminal else LineProgress(write)
