"""Reads windows into proven pages: many at a time, given out in the order of the plan."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, islice

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.runtime import signals

from .client import Attempts, MindoClient
from .configuration import Options
from .engine import open_engine
from .exceptions import ApiError, ConfigurationError, CursorRefused, MindoError, WindowsIncomplete
from .pages import Page, drop_superseded_lines, prove_page
from .selection import Selection
from .spool import Spool
from .windows import Window

_WINDOWS_AHEAD_PER_WORKER = 16
_MESSAGES_AHEAD = 250_000
"""Windows are read ahead while a load runs, until this many messages wait in the spool."""

_WINDOW_ATTEMPTS = 3
_SIGNAL_CHECK_SECONDS = 0.2
_CLOSE_SECONDS = 2.0


@dataclass
class WindowRead:
    """A window as it was read.

    Attributes:
        window: What was asked for.
        pages: Proven pages in the spool; together they hold every message once. Empty if incomplete or released.
        page_count: How many pages it took.
        rows: Messages in the window.
        bytes: Size of all pages as received, decompressed.
        ids_digest: MD5 of the sorted message ids, joined by commas.
        requests: HTTP requests sent, retries included.
        retries: How many of them were repeats.
        started: When reading began, UTC.
        finished: When the last page was proven, UTC.
        error: Why the window is incomplete; `None` if it is complete.
    """

    window: Window
    pages: list[Page] = field(default_factory=list)
    page_count: int = 0
    rows: int = 0
    bytes: int = 0
    ids_digest: str = ""
    requests: int = 0
    retries: int = 0
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished: datetime = field(default_factory=lambda: datetime.now(UTC))
    error: MindoError | None = None

    def complete(self, pages: list[Page]) -> None:
        """Takes the proven pages of the whole window."""
        ids = sorted(message_id for page in pages for message_id in page.ids.to_pylist())
        self.pages, self.page_count = pages, len(pages)
        self.rows, self.bytes = len(ids), sum(page.bytes for page in pages)
        self.ids_digest = hashlib.md5(",".join(ids).encode(), usedforsecurity=False).hexdigest()
        self.error = None

    def release(self) -> None:
        """Deletes the pages from the spool."""
        for page in self.pages:
            page.path.unlink(missing_ok=True)
        self.pages = []


class WindowReader:
    """Reads the windows of a plan ahead of their use, on several threads.

    An iterator over `WindowRead`, in the order of the plan; what is not taken yet stays for the next `take`. A context
    manager: leaving it ends all reading and removes the spool.

    Args:
        options: The API, keys, page size and number of workers.
        windows: The plan.
        on_page: Called with window and page after each proven page, from the worker's thread.
    """

    def __init__(
        self,
        options: Options,
        windows: Iterable[Window],
        on_page: Callable[[Window, Page], None] | None = None,
    ) -> None:
        self.selection: Selection = options.selection
        self._client = MindoClient(options)
        self._on_page = on_page
        self._windows = iter(windows)
        self._names = count()
        self._worker_count = options.workers
        self._reads: deque[Future[WindowRead]] = deque()
        self._newline_missing_is_usual = False
        self._spool = Spool(options.spool_dir)
        self._engine = open_engine(self._spool.folder)
        self._workers = ThreadPoolExecutor(options.workers, thread_name_prefix="mindo-reader")

    @property
    def engine(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB that checks pages; whoever shapes them uses a cursor of it."""
        return self._engine

    @property
    def exhausted(self) -> bool:
        """Whether every window of the plan was given out."""
        self._fill()
        return not self._reads

    def __iter__(self) -> Iterator[WindowRead]:
        """Gives the reads that are left, in order."""
        while not self.exhausted:
            # while a pipeline runs dlt only takes note of Ctrl-C, so that a wait of ours has to look for it
            while not wait([self._reads[0]], _SIGNAL_CHECK_SECONDS).done:
                signals.raise_if_signalled()
            yield self._reads.popleft().result()

    def close(self) -> None:
        """Ends all reading and removes the spool. A request that hangs is not waited for."""
        self._client.stop()
        self._workers.shutdown(wait=False, cancel_futures=True)
        wait(self._reads, _CLOSE_SECONDS)
        self._engine.close()
        self._spool.close()

    def __enter__(self) -> WindowReader:
        """Gives the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends all reading and removes the spool."""
        self.close()

    def _fill(self) -> None:
        waiting = sum(read.result().rows for read in self._reads if read.done() and read.exception() is None)
        wanted = 1 if waiting >= _MESSAGES_AHEAD else self._worker_count * _WINDOWS_AHEAD_PER_WORKER
        for window in islice(self._windows, max(0, wanted - len(self._reads))):
            self._reads.append(self._workers.submit(self._read, window))

    def _read(self, window: Window) -> WindowRead:
        """Reads a window; an API that misbehaves makes it incomplete, a wrong configuration raises."""
        read, attempts = WindowRead(window), Attempts()
        with self._engine.cursor() as connection:
            for attempt in range(1, _WINDOW_ATTEMPTS + 1):
                try:
                    read.complete(self._read_pages(window, attempts, connection))
                    break
                except CursorRefused as error:
                    read.error = ApiError(f"{error}, {attempt} times")
                except (ApiError, ConfigurationError) as error:
                    read.error = error
                    break
                except (ValueError, RecursionError, duckdb.Error, pa.ArrowException) as error:
                    # one window that we can't read must not cost the others; the error's text could quote a message
                    read.error = ApiError(f"the pages can't be read ({type(error).__name__})")
                    break
        read.requests, read.retries, read.finished = attempts.requests, attempts.retries, datetime.now(UTC)
        return read

    def _read_pages(self, window: Window, attempts: Attempts, connection: duckdb.DuckDBPyConnection) -> list[Page]:
        pages: list[Page] = []
        try:
            cursor, seen = None, set[str]()
            while True:
                page = self._read_page(window, cursor, attempts, connection)
                pages.append(page)
                if self._on_page:
                    self._on_page(window, page)
                cursor = page.next_cursor
                if cursor is None:
                    break
                if cursor in seen:
                    raise CursorRefused("the API gave the same cursor twice")
                seen.add(cursor)
            pages = _unique(pages)
        except BaseException:
            for page in pages:
                page.path.unlink(missing_ok=True)
            raise
        return pages

    def _read_page(
        self, window: Window, cursor: str | None, attempts: Attempts, connection: duckdb.DuckDBPyConnection
    ) -> Page:
        params = self.selection.params()
        path = self._spool.page_path(str(next(self._names)))

        def request() -> Page:
            return self._client.spool_page(
                window, params, cursor, path, lambda body: prove_page(body, window, connection), attempts
            )

        try:
            page = request()
            if page.newline_missing and not self._newline_missing_is_usual:
                # A body cut exactly behind a line's last character looks like one from a server that never ends its
                # last line; but such a server ends it so every time.
                first, page = page, request()
                if page.newline_missing:
                    if page.rows != first.rows:
                        raise ApiError(f"the answers for company {window.company_id} end in mid-line, each elsewhere")
                    self._newline_missing_is_usual = True
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return page


def _unique(pages: list[Page]) -> list[Page]:
    ids = pa.chunked_array([page.ids for page in pages])
    return pages if pc.count_distinct(ids).as_py() == len(ids) else drop_superseded_lines(pages)


def raise_incomplete(incomplete: list[WindowRead], postponed: list[Window]) -> None:
    """Raises one error that names every window which can't be loaded.

    Raises:
        WindowsIncomplete: Always.
    """
    reasons = [f"{read.window}: {read.error}" for read in incomplete]
    reasons += [f"{window}: a message moved into it while the run was reading; run again" for window in postponed]
    raise WindowsIncomplete(
        f"{len(reasons)} window(s) could not be read completely, so nothing was loaded. {'; '.join(reasons)}"
    )
