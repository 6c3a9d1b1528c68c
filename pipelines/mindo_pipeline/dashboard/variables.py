"""The variables of the dbt package that also decide what the pages show: one place to set them, `[dbt.vars]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from mindo import ConfigurationError

from ..transforming.project import PROJECT, find_project, resolve_vars


@dataclass(frozen=True)
class Variables:
    """What they are set to, or else their defaults.

    Attributes:
        tool_error_statuses: In lower case.
        langfuse_project: `None` where there are no links to traces.
    """

    tool_error_statuses: tuple[str, ...]
    tool_error_column: str
    tool_duration_column: str
    extraction_field_column: str
    extraction_value_column: str
    langfuse_host: str
    langfuse_project: str | None

    @classmethod
    def resolve(cls) -> Variables:
        """Reads them.

        Raises:
            ConfigurationError: If one can't be used.
        """
        defaults = yaml.safe_load((find_project() / "dbt_project.yml").read_text(encoding="utf-8"))["vars"][PROJECT]
        found: dict[str, Any] = {**defaults, **resolve_vars(None)}
        host = str(found["mindo_langfuse_host"]).rstrip("/")
        if urlsplit(host).scheme not in ("http", "https"):
            raise ConfigurationError("dbt.vars: mindo_langfuse_host is no URL; its form is https://cloud.langfuse.com.")
        project = found["mindo_langfuse_project"]
        statuses = found["mindo_tool_error_statuses"]
        return cls(
            tuple(str(status).lower() for status in (statuses if isinstance(statuses, list) else [statuses])),
            str(found["mindo_tool_error_column"]),
            str(found["mindo_tool_duration_column"]),
            str(found["mindo_extraction_field_column"]),
            str(found["mindo_extraction_value_column"]),
            host,
            str(project) if project else None,
        )

    def is_failed(self, status: str | None, error: object) -> bool:
        """Whether a tool call failed."""
        return (status or "").lower() in self.tool_error_statuses or error is not None

    def trace_url(self, trace_id: str | None) -> str | None:
        """The page of a trace on Langfuse."""
        if not trace_id or not self.langfuse_project:
            return None
        return f"{self.langfuse_host}/project/{quote(self.langfuse_project, safe='')}/traces/{quote(trace_id, safe='')}"
