"""Which observers a command has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from mindo import ConfigurationError

from ..session import Session
from .observer import Observer

if TYPE_CHECKING:
    from .event_log import EventLog

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_JSON: Final = "json"
_LOG_FORMATS: Final = ("text", _JSON)
_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http"


def add_observers(session: Session, notify: bool, metrics_file: str | None) -> None:
    """Gives a session all its observers; those that can be had are there even if another one can't.

    Raises:
        ConfigurationError: If one of them can't do its work.
    """
    failure: ConfigurationError | None = None
    for make in _makers(session, notify, metrics_file):
        try:
            session.observers.append(make())
        except ConfigurationError as error:
            failure = failure or error
    if failure:
        raise failure


def _makers(session: Session, notify: bool, metrics_file: str | None) -> Iterator[Callable[[], Observer]]:
    """In the order in which they are told of the end: quick ones first, those that may have to wait for a server later."""
    if metrics_file is not None:
        from .metrics import MetricsFile

        yield lambda: MetricsFile(metrics_file)
    if wants_spans():
        yield lambda: _spans(session)
    if notify:
        from .notifying import Notification

        yield lambda: Notification(session)


def _spans(session: Session) -> Observer:
    try:
        from .spans import Spans

        return Spans(session.command, session.started)
    except Exception as error:
        # the variables are often set for all programs of a machine
        session.warn(
            f"spans: none are sent, because OpenTelemetry can't be set up ({type(error).__name__}); see its variables OTEL_…."
        )
        return Observer()


def open_events(session: Session, log_format: str | None) -> EventLog | None:
    """What writes standard error as JSON, if that is asked for.

    Raises:
        ConfigurationError: If there is no such format.
    """
    if log_format not in (None, *_LOG_FORMATS):
        raise ConfigurationError(f"log_format: {log_format!r} is not one of {', '.join(_LOG_FORMATS)}.")
    if log_format != _JSON:
        return None
    from .event_log import EventLog, open_event_log

    return EventLog(open_event_log(session.err.file, session.command, session.quiet))


def wants_spans() -> bool:
    """Whether the environment names a collector, and the packages of the extra `otel` are there."""
    if not any(os.environ.get(name) for name in _ENDPOINTS) or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    try:
        return find_spec(_EXPORTER) is not None and find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:
        return False
