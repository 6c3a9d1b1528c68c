"""What of our own lines may leave the machine: never a key, nor a value that somebody typed in its place."""

from __future__ import annotations

import re
from typing import Final

from ..console import clean

_KEY: Final = re.compile(r"\bmindo_(?:global_\w+|\w*\d\w*)")
"""A global key, or a company's own: names of tables and variables have no digits."""
_TYPED: Final = re.compile(
    r"'[^']*'|\"[^\"]*\"|\w+://\S*|(?<=argument )\(.*\)|(?<=arguments )\(.*\)|(?<=argument\(s\) )\(.*\)"
)
_LEFT_OUT: Final = "…"


def without_keys(line: str) -> str:
    """A line of ours without anything that looks like a key, control characters made visible."""
    return _KEY.sub(f"mindo_{_LEFT_OUT}", clean(line))


def without_typed_values(line: str) -> str:
    """The same without what it quotes: a wrong option's value can be a secret that was meant for another one."""
    return without_keys(_TYPED.sub(f"'{_LEFT_OUT}'", line))
