"""What the last run did, in Prometheus' text format: a file for node_exporter's textfile collector, or any other scraper."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from mindo import ConfigurationError

from ..exit_codes import ExitCode
from .figures import STATUSES, Figures
from .observer import Observer

LAST_SUCCESS: Final = "mindo_last_success_timestamp_seconds"
WATERMARK: Final = "mindo_watermark_timestamp_seconds"

_COMPANY: Final = "company_id"
_READABLE: Final = 0o644
"""Only numbers are in the file, and who scrapes it is another user than who loads."""


class MetricsFile(Observer):
    """Writes a metrics file at the end of a command, whatever the end. Readers see the old file or the new one, never a part.

    Args:
        path: The file.

    Raises:
        ConfigurationError: If the file can't be written.
    """

    def __init__(self, path: str) -> None:
        # a link stays one
        self._path = Path(path).resolve()
        if self._path.is_dir():
            raise ConfigurationError(f"metrics_file: {path} is a folder; name a file in it, like {path}/mindo.prom.")
        try:
            with self._replacement():
                pass
        except OSError as error:
            raise ConfigurationError(
                f"metrics_file: can't write to {self._path.parent} ({os.strerror(error.errno or 0)})."
            ) from None

    def ended(self, document: dict[str, Any]) -> None:
        """Writes the file anew.

        Raises:
            OSError: If it can't be written any more.
        """
        registry = CollectorRegistry()
        registry.register(_Families(document, self._path.name, _known(self._path)))
        with self._replacement() as replacement:
            replacement.write_bytes(generate_latest(registry))
            replacement.chmod(_READABLE)
            replacement.replace(self._path)

    @contextlib.contextmanager
    def _replacement(self) -> Iterator[Path]:
        # node_exporter reads all that ends in .prom
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


class _Families(Collector):
    """The metrics of one command.

    Args:
        document: How it ended.
        file: Name of the file; a label, because two files in one folder must not have the same series.
        known: What an earlier file says, by metric and company.
    """

    def __init__(self, document: dict[str, Any], file: str, known: dict[tuple[str, str], float]) -> None:
        self._document = document
        self._figures = Figures.of(document)
        self._known = known
        self._labels = {"command": document["command"], "file": file}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """All of them are gauges: they tell of the last run, and go down as well as up."""
        document, figures = self._document, self._figures
        started, finished = (datetime.fromisoformat(document[f"{name}_at"]) for name in ("started", "finished"))
        yield self._one("last_run_exit_code", "Exit code; 0 if every planned window is complete", document["exit_code"])
        yield self._one("last_run_started_timestamp_seconds", "When the last run began", started.timestamp())
        yield self._one("last_run_finished_timestamp_seconds", "When the last run ended", finished.timestamp())
        yield self._one("last_run_duration_seconds", "How long the last run took", document["duration_seconds"])
        windows = {status: figures.windows[status] for status in STATUSES}
        yield self._by("last_run_windows", "Windows of the last run's plan", "status", windows)
        yield self._by("last_run_rows", "Rows in the complete windows of the last run", "table", figures.rows)
        yield self._one("last_run_messages_read", "Messages in the complete windows of the last run", figures.messages)
        if figures.written is not None:
            yield self._one(
                "last_run_messages_written", "Messages that the last run inserted or changed", figures.written
            )
        yield self._one("last_run_requests", "HTTP requests for windows, retries included", figures.requests)
        yield self._one("last_run_retries", "Repeats among these requests", figures.retries)
        yield self._one("last_run_received_bytes", "Size of the pages of complete windows, decompressed", figures.bytes)
        succeeded = self._known.get((LAST_SUCCESS, ""))
        if document["exit_code"] == ExitCode.COMPLETE:
            succeeded = finished.timestamp()
        if succeeded is not None:
            yield self._one(
                LAST_SUCCESS.removeprefix("mindo_"), "When a run last ended with exit code 0, kept by others", succeeded
            )
        marks = self._watermarks()
        if marks:
            name = WATERMARK.removeprefix("mindo_")
            yield self._by(name, "Up to when a company is loaded without a gap", _COMPANY, marks)

    def _watermarks(self) -> dict[str, float]:
        """As they are now, or as they were where a run could not look."""
        known = {company: value for (name, company), value in self._known.items() if name == WATERMARK}
        marks = self._figures.watermarks
        if not marks:
            return known
        now = {company: mark.timestamp() for company, mark in marks.items() if mark}
        return {company: value for company, value in (known | now).items() if company in marks}

    def _one(self, name: str, text: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"mindo_{name}", f"{text}.", labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family

    def _by(self, name: str, text: str, label: str, values: dict[str, Any]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"mindo_{name}", f"{text}.", labels=[*self._labels, label])
        for key, value in values.items():
            family.add_metric([*self._labels.values(), key], value)
        return family


def _known(path: Path) -> dict[tuple[str, str], float]:
    """What a file of ours says of the past, by metric and company; nothing, if it is not there or is none of ours."""
    try:
        families = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
    return {
        (sample.name, sample.labels.get(_COMPANY, "")): sample.value
        for family in families
        if family.name in (LAST_SUCCESS, WATERMARK)
        for sample in family.samples
    }
