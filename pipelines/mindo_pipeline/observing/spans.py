"""OpenTelemetry spans of a run and its windows, sent over OTLP/HTTP where the environment says so."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_BSP_MAX_QUEUE_SIZE, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context

from mindo.extraction import LoadedWindow
from mindo.reader import WindowRead
from mindo.windows import format_time

from ..exit_codes import ExitCode
from ..report import failed_status
from .figures import Figures
from .observer import Observer
from .redacting import without_keys, without_typed_values

_QUEUE: Final = 65_536
"""A load can hold thousands of windows without a message, whose spans come all at once."""
_FLUSH_SECONDS: Final = 3.0


class Spans(Observer):
    """A span for the command, and within it one for each window that was read, with the window's own times.

    The SDK's own variables hold: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS and the others.

    Args:
        command: Name of the command.
        started: When it began.
    """

    def __init__(self, command: str, started: datetime) -> None:
        # what can't be sent is nobody's trouble here, and a log of it could hold the collector's headers
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        release = version("mindo-connector")
        is_named = OTEL_SERVICE_NAME in os.environ or SERVICE_NAME in os.environ.get(OTEL_RESOURCE_ATTRIBUTES, "")
        names = {} if is_named else {SERVICE_NAME: "mindo"}
        self._provider = TracerProvider(
            resource=Resource.create({**names, SERVICE_VERSION: release}), shutdown_on_exit=False
        )
        size = None if OTEL_BSP_MAX_QUEUE_SIZE in os.environ else _QUEUE
        self._exporter = OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter, max_queue_size=size))
        self._tracer = self._provider.get_tracer("mindo", release)
        self._run: Span = self._tracer.start_span(f"mindo {command}", start_time=_nanoseconds(started))
        self._within = set_span_in_context(self._run)

    def began(self, run_id: str) -> None:
        """Names the run."""
        self._run.set_attribute("mindo.run_id", run_id)

    def loaded(self, complete: Sequence[LoadedWindow], incomplete: Sequence[WindowRead]) -> None:
        """Their spans are told at once, so that those of a run that is killed are there."""
        for read in (*(window.read for window in complete), *incomplete):
            self._tell_window(read)

    def _tell_window(self, read: WindowRead) -> None:
        window = read.window
        span = self._tracer.start_span(
            "mindo window",
            self._within,
            start_time=_nanoseconds(read.started),
            attributes={
                "mindo.company_id": window.company_id,
                "mindo.window.start": format_time(window.start),
                "mindo.window.end": format_time(window.end),
                "mindo.window.status": failed_status(read) if read.error else "complete",
                "mindo.messages": read.rows,
                "mindo.pages": read.page_count,
                "mindo.requests": read.requests,
                "mindo.retries": read.retries,
                "mindo.bytes": read.bytes,
            },
        )
        if read.error:
            span.set_status(Status(StatusCode.ERROR, without_keys(str(read.error))))
        span.end(_nanoseconds(read.finished))

    def ended(self, document: dict[str, Any]) -> None:
        """Ends the command's span and sends what was not sent yet, for some seconds at most."""
        figures = Figures.of(document)
        self._run.set_attributes(
            {
                "mindo.status": document["status"],
                "mindo.exit_code": document["exit_code"],
                "mindo.messages": figures.messages,
                "mindo.requests": figures.requests,
                "mindo.retries": figures.retries,
                **{f"mindo.windows.{status}": count for status, count in figures.windows.items()},
            }
        )
        if document["exit_code"] != ExitCode.COMPLETE:
            self._run.set_status(Status(StatusCode.ERROR, without_typed_values(document["message"])))
        self._run.end(_nanoseconds(datetime.fromisoformat(document["finished_at"])))
        # the provider's own way to end waits for half a minute
        end = threading.Thread(target=self._provider.shutdown, daemon=True)
        end.start()
        end.join(_FLUSH_SECONDS)
        # ends the exporter's waits between its tries
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000) * 1_000
