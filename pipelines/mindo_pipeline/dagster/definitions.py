"""The code location: `dagster dev -m mindo_pipeline.dagster.definitions`, or `python_module` in a workspace."""

from __future__ import annotations

from .assembling import make_definitions

defs = make_definitions()
