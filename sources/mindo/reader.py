"""Reads windows into proven pages: many at a time, given out in the order of the plan."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from itertools import count, islice
from pathlib import Path
from threading import Lock

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.runtime import signals

from .client import Attempts, MindoClient
from .configuration import Options
from .engine import open_engine
from .exceptions import ApiError, ConfigurationError, CursorRefused, MindoError, WindowShrunk, WindowsIncomplete
from .members import KnownMembers
from .pages import Ids, Page, drop_superseded_lines, prove_page, read_ids
from .selection import Selection
from .spool import Spool
from .windows import Window

_UNFINISHED_PER_WORKER = 2
_WINDOWS_AHEAD = 256
"""However little they hold: each takes a file, and is looked at whenever another one is done."""

_MESSAGES_AHEAD = 250_000
_MESSAGES_AHEAD_WHILE_TAKEN = 60_000
"""Windows are read ahead until this many messages wait in the spool: many while a load runs, which leaves a core to do it,
and few while windows are taken, because then shaping needs the cores."""

_WINDOW_ATTEMPTS = 3
_SIGNAL_CHECK_SECONDS = 0.2
_CLOSE_SECONDS = 2.0
_SECOND = timedelta(seconds=1)
_ROWS_THAT_SHOW_AN_ORDER = 1_000
"""So many messages in the order of their time are no accident."""


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


@dataclass(frozen=True)
class _Request:
    """A page to ask for; `limit` is the most messages in it, by default the configured page size."""

    window: Window
    cursor: str | None = None
    limit: int | None = None


class Order(Enum):
    """How the messages of a window came: by their time, or not; `UNKNOWN` if they have no two times."""

    EARLIEST_FIRST = auto()
    LATEST_FIRST = auto()
    NONE = auto()
    UNKNOWN = auto()


def order_of(pages: Sequence[Page]) -> Order:
    """The order of the messages of pages that follow each other."""
    times = pa.chunked_array([page.times for page in pages]).combine_chunks().cast(pa.int64())
    steps = pc.subtract(times[1:], times[:-1]) if len(times) > 1 else times[:0]
    lowest, highest = (value or 0 for value in pc.min_max(steps).as_py().values())
    if lowest < 0 < highest:
        return Order.NONE
    if lowest == highest == 0:
        return Order.UNKNOWN
    return Order.EARLIEST_FIRST if highest > 0 else Order.LATEST_FIRST


def end_of_window(window: Window, pages: Sequence[Page], order: Order, page_size: int) -> _Request | None:
    """The request for the end of a window, in the order in which its pages came; `None` if they have none.

    It reaches from the last message's second to the window's end (or from its start, if the API gives the latest message
    first) and has room for one message more than is known of it.
    """
    if order not in (Order.EARLIEST_FIRST, Order.LATEST_FIRST):
        return None
    last = next(page for page in reversed(pages) if page.rows).times[-1].as_py().replace(microsecond=0)
    if order is Order.EARLIEST_FIRST:
        end = replace(window, start=max(window.start, last))
    else:
        end = replace(window, end=min(window.end, last + _SECOND))
    known = sum(
        pc.sum(pc.and_(pc.greater_equal(p.times, end.start), pc.less(p.times, end.end))).as_py() or 0 for p in pages
    )
    return _Request(end, limit=min(known + 1, page_size))


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
        self.options = options
        self.selection: Selection = options.selection
        self._client = MindoClient(options)
        self._on_page = on_page
        self._windows = iter(windows)
        self._names = count()
        self._worker_count = options.workers
        self._reads: deque[Future[WindowRead]] = deque()
        self._lock = Lock()
        self._is_taken = False
        self._is_closed = False
        self._members = KnownMembers()
        self._newline_missing_is_usual = False
        self._serves_unsorted = False
        self._rows_in_order = 0
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
        self._is_taken = True
        try:
            while not self.exhausted:
                # while a pipeline runs dlt only takes note of Ctrl-C, so that a wait of ours has to look for it
                while not wait([self._reads[0]], _SIGNAL_CHECK_SECONDS).done:
                    signals.raise_if_signalled()
                with self._lock:
                    read = self._reads.popleft()
                yield read.result()
        finally:
            self._is_taken = False
            self._fill()

    def read_ahead(self, messages: int) -> None:
        """Waits until the next windows are read, so that whoever takes them need not wait for the API.

        Args:
            messages: How many messages are enough; it can be fewer, as no more is read ahead than has room.
        """
        self._fill()
        while True:
            with self._lock:
                reads = list(self._reads)
            pending = [read for read in reads if not read.done()]
            ready = sum(read.result().rows for read in reads if read.done() and not read.exception())
            if not pending or ready >= messages:
                return
            wait(pending, _SIGNAL_CHECK_SECONDS, FIRST_COMPLETED)
            signals.raise_if_signalled()

    def close(self) -> None:
        """Ends all reading and removes the spool. A request that hangs is not waited for."""
        with self._lock:
            self._is_closed = True
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
        with self._lock:
            if self._is_closed:
                return
            done = [read for read in self._reads if read.done()]
            waiting = sum(read.result().rows for read in done if not read.exception())
            enough = _MESSAGES_AHEAD_WHILE_TAKEN if self._is_taken else _MESSAGES_AHEAD
            free = self._worker_count * _UNFINISHED_PER_WORKER - (len(self._reads) - len(done))
            room = 1 if waiting >= enough else _WINDOWS_AHEAD
            free = min(free, room - len(self._reads))
            submitted = [self._workers.submit(self._read, window) for window in islice(self._windows, max(0, free))]
            self._reads.extend(submitted)
        for read in submitted:
            # whoever takes windows may be busy with the last one
            read.add_done_callback(lambda _: self._fill())

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
        cursors: list[str | None] = [None]
        contradicted = 0
        try:
            while True:
                page = self._read_page(_Request(window, cursors[-1]), attempts, connection)
                pages.append(page)
                if self._on_page:
                    self._on_page(window, page)
                if page.next_cursor is not None:
                    if page.next_cursor in cursors:
                        raise CursorRefused("the API gave the same cursor twice")
                    cursors.append(page.next_cursor)
                    continue
                if not self.options.confirm_windows or self._is_confirmed(
                    pages, _Request(window, cursors[-1]), attempts
                ):
                    break
                contradicted += 1
                attempts.retries += 1
                if contradicted == _WINDOW_ATTEMPTS:
                    raise ApiError(
                        f"page {len(pages)} ends without a next_cursor, but the API has more; {contradicted} times"
                    )
                self._client.pause(contradicted)
                pages.pop().path.unlink(missing_ok=True)
            pages = _unique(pages)
        except BaseException:
            for page in pages:
                page.path.unlink(missing_ok=True)
            raise
        return pages

    def _is_confirmed(self, pages: list[Page], last: _Request, attempts: Attempts) -> bool:
        """Asks once more whether the last page is the last.

        An answer that a proxy ended cleanly behind a line, before the sentinel, looks like a last page. What is missing is
        the end of the window in the order in which the API gives it, so that end is asked for. Until so many messages came in
        order that it is no accident, and where there is no order, the last page is read again as well.
        """
        order = order_of(pages)
        end = end_of_window(last.window, pages, order, self.options.limit)
        self._serves_unsorted |= order is Order.NONE
        if end is not None:
            self._rows_in_order += sum(page.rows for page in pages)
        known = pa.chunked_array([page.ids for page in pages])
        if end is not None and not self._serves_unsorted:
            if not self._holds_only(known, end, attempts):
                return False
            if self._rows_in_order >= _ROWS_THAT_SHOW_AN_ORDER:
                return True
        try:
            return self._holds_only(known, last, attempts)
        except CursorRefused:
            # a cursor that is good for once only: the window has to be asked for from its start
            return self._holds_only(known, _Request(last.window), attempts)

    def _holds_only(self, known: pa.ChunkedArray, request: _Request, attempts: Attempts) -> bool:
        """Whether the API has nothing but these ids from a page on."""
        seen = {request.cursor}
        while True:
            answer = self._ask_ids(request, attempts)
            if not pc.all(pc.is_in(pa.array(answer.ids, pa.string()), known), min_count=0).as_py():
                return False
            if answer.next_cursor is None:
                return True
            if answer.next_cursor in seen:
                return False
            seen.add(answer.next_cursor)
            request = replace(request, cursor=answer.next_cursor)

    def _ask_ids(self, asked: _Request, attempts: Attempts) -> Ids:
        path = self._new_path()
        try:
            return self._client.spool_page(
                asked.window, self.selection.params(), asked.cursor, path, read_ids, attempts, asked.limit
            )
        finally:
            path.unlink(missing_ok=True)

    def _new_path(self) -> Path:
        return self._spool.page_path(str(next(self._names)))

    def _read_page(self, asked: _Request, attempts: Attempts, connection: duckdb.DuckDBPyConnection) -> Page:
        params = self.selection.params()
        path = self._new_path()
        window = asked.window

        def request() -> Page:
            return self._client.spool_page(
                window,
                params,
                asked.cursor,
                path,
                lambda body: prove_page(body, window, connection, self._members),
                attempts,
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


def message_ids(reads: Sequence[WindowRead]) -> pa.Table:
    """The ids of complete windows: `window_no` (position in `reads`), `company_id` and `message_id`."""
    pages = [(number, read.window.company_id, page.ids) for number, read in enumerate(reads) for page in read.pages]
    return pa.table(
        {
            "window_no": _repeated([(number, len(ids)) for number, _, ids in pages]),
            "company_id": _repeated([(company_id, len(ids)) for _, company_id, ids in pages]),
            "message_id": pa.chunked_array([ids for _, _, ids in pages], pa.string()),
        }
    )


def _repeated(runs: Sequence[tuple[int, int]]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.repeat(pa.scalar(value, pa.int64()), length) for value, length in runs], pa.int64())


def raise_incomplete(incomplete: list[WindowRead], postponed: list[Window]) -> None:
    """Raises one error that names every window which can't be loaded.

    Raises:
        WindowsIncomplete: Always.
    """
    reasons = [f"{read.window}: {read.error}" for read in incomplete]
    reasons += [f"{window}: a message moved into it while the run was reading; run again" for window in postponed]
    has_shrunk = any(isinstance(read.error, WindowShrunk) for read in incomplete)
    advice = " If the messages are really gone, pass accept_deletions=True." if has_shrunk else ""
    raise WindowsIncomplete(
        f"{len(reasons)} window(s) could not be read completely, so nothing was loaded. {'; '.join(reasons)}.{advice}"
    )
