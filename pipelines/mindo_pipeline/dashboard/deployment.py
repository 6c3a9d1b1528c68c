"""What the pages of this process are served over: marimo runs a page for each visitor, all of them in this process."""

from __future__ import annotations

from dataclasses import dataclass

from .reader import Reader
from .variables import Variables


@dataclass(frozen=True)
class Deployment:
    """A warehouse, and how to show it."""

    reader: Reader
    variables: Variables


_served: list[Deployment] = []


def serve(deployment: Deployment) -> None:
    """Sets what is served."""
    _served[:] = [deployment]


def served() -> Deployment:
    """What is served."""
    return _served[0]
