"""The README, or another page, as a test sees it: its blocks, its tables, its links."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"

# the programs that make the site are scripts beside each other, and not a package
sys.path.append(str(ROOT / "scripts"))

import docs_markdown  # noqa: E402
import docs_reference  # noqa: E402
from docs_markdown import Block, codes  # noqa: E402

__all__ = [
    "README",
    "ROOT",
    "Block",
    "anchors",
    "blocks",
    "codes",
    "docs_markdown",
    "docs_reference",
    "links",
    "prose",
    "read",
    "table",
]


@cache
def read(path: Path = README) -> str:
    return path.read_text(encoding="utf-8")


def blocks(language: str, path: Path = README) -> list[Block]:
    """The fenced blocks of a language, in order."""
    return docs_markdown.blocks(read(path), language)


def table(heading: str, number: int = 0, path: Path = README) -> list[list[str]]:
    """The rows of a table below a heading, its header left out; cells without outer blanks."""
    slug = next(h.slug for h in docs_markdown.headings(read(path)) if h.text == heading)
    return docs_markdown.tables(docs_markdown.section(read(path), slug)[1])[number]


def prose(path: Path = README) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^ +$", "", docs_markdown.without_blocks(read(path)), flags=re.MULTILINE)


def links(path: Path = README) -> list[str]:
    """Targets of the links of a page."""
    return list(docs_markdown.links(read(path)))


def anchors() -> set[str]:
    """The anchors that the README's headings have."""
    return {heading.slug for heading in docs_markdown.headings(read())}
