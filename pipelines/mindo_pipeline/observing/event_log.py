"""Standard error for machines: one JSON object per line."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import MutableMapping, Sequence
from typing import IO, Any, Final, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger

from mindo import Window
from mindo.extraction import LoadedWindow
from mindo.reader import WindowRead
from mindo.windows import format_time

from ..exit_codes import ExitCode
from ..report import ranges_not_loaded
from .figures import Figures
from .observer import Events
from .redacting import without_keys

_FIRST: Final = ("timestamp", "level", "event", "command", "run_id")
_TEXTS: Final = ("message", "error")


def open_event_log(stream: IO[str], command: str, quiet: bool) -> FilteringBoundLogger:
    """A logger that writes each event as one line of JSON, in ASCII, with the time in UTC.

    Args:
        stream: Standard error.
        command: Named in every event.
        quiet: Whether only warnings and errors are written.
    """
    logger = structlog.wrap_logger(
        structlog.WriteLogger(cast(TextIO, _LastingStream(stream))),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _in_order,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING if quiet else logging.INFO),
    )
    return cast(FilteringBoundLogger, logger.bind(command=command))


class _LastingStream:
    """A stream whose reader may leave: a load must not end because nobody listens."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Writes, as long as somebody reads."""
        with contextlib.suppress(BrokenPipeError):
            self._stream.write(text)

    def flush(self) -> None:
        """The same."""
        with contextlib.suppress(BrokenPipeError):
            self._stream.flush()


def _in_order(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What every event has comes first; texts are without keys."""
    texts = {name: without_keys(event[name]) for name in _TEXTS if isinstance(event.get(name), str)}
    return {name: event[name] for name in _FIRST if name in event} | dict(event) | texts


class EventLog(Events):
    """Writes what a command does as events.

    Args:
        log: From `open_event_log`.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self.log = log

    def began(self, run_id: str) -> None:
        """Every later event names the run."""
        self.log = self.log.bind(run_id=run_id)
        self.log.info("run_started")

    def planned(self, windows: Sequence[Window]) -> None:
        """How much there is to read."""
        companies = {window.company_id for window in windows}
        span = {"start": min(w.start for w in windows), "end": max(w.end for w in windows)} if windows else {}
        self.log.info(
            "windows_planned",
            windows=len(windows),
            companies=len(companies),
            **{name: format_time(moment) for name, moment in span.items()},
        )

    def loaded(self, complete: Sequence[LoadedWindow], incomplete: Sequence[WindowRead]) -> None:
        """What is in the load."""
        rows: dict[str, int] = {}
        for window in complete:
            for table, count in window.rows.items():
                rows[table] = rows.get(table, 0) + count
        self.log.info("load_committed", windows=len(complete), windows_incomplete=len(incomplete), rows=rows)

    def ended(self, document: dict[str, Any]) -> None:
        """New columns, windows that are not loaded, and how the command ended."""
        for change in document.get("schema_changes", []):
            self.log.info("schema_changed", **change)
        for missing in ranges_not_loaded(document.get("windows", [])):
            self.log.warning(f"window_{missing.status}", **missing.document)
        figures = Figures.of(document)
        write = self.log.info if document["exit_code"] == ExitCode.COMPLETE else self.log.error
        write(
            "run_ended",
            **{name: document[name] for name in ("status", "exit_code", "message", "duration_seconds")},
            windows=dict(figures.windows),
            rows=figures.rows,
            messages_written=figures.written,
            requests=figures.requests,
            retries=figures.retries,
            bytes=figures.bytes,
            watermarks=document.get("watermarks", {}),
            **{name: document[name] for name in ("notified",) if name in document},
        )
