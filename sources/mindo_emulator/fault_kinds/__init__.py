"""The kinds of faults, one small function each; `KINDS` holds them by name."""

from . import content, paging, replies, wire
from .registry import KINDS, Kind

__all__ = ["KINDS", "Kind", "content", "paging", "replies", "wire"]
