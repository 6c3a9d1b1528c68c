"""The README as a test sees it: its blocks, its tables, its links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block and the heading that it stands under."""

    language: str
    heading: str
    text: str


@cache
def read(path: Path = README) -> str:
    return path.read_text(encoding="utf-8")


def blocks(language: str) -> list[Block]:
    """The fenced blocks of a language, in order."""
    text = read()
    found = []
    for match in _BLOCK.finditer(text):
        if match[1] == language:
            before = _BLOCK.sub("", text[: match.start()])
            heading = [h[1] for line in before.splitlines() if (h := _HEADING.match(line))][-1]
            found.append(Block(language, heading, match[2]))
    return found


def table(heading: str, number: int = 0, path: Path = README) -> list[list[str]]:
    """The rows of a table below a heading, its header left out; cells without outer blanks."""
    lines = _BLOCK.sub("", read(path)).splitlines()
    start = next(i for i, line in enumerate(lines) if (h := _HEADING.match(line)) and h[1] == heading)
    tables: list[list[list[str]]] = []
    inside = False
    for line in lines[start + 1 :]:
        if _HEADING.match(line):
            break
        if line.startswith("|") and not inside:
            tables.append([])
        inside = line.startswith("|")
        if inside:
            tables[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return tables[number][2:]


def codes(cell: str) -> list[str]:
    """What stands in backticks in a cell."""
    return _CODE.findall(cell)


def prose() -> str:
    """The page without its fenced blocks."""
    return _BLOCK.sub("", read())


def links(path: Path = README) -> list[str]:
    """Targets of the links of a page."""
    return re.findall(r"\]\(([^)]+)\)", _BLOCK.sub("", read(path)))


def anchors() -> set[str]:
    """The anchors that the README's headings have."""
    headings = [h[1] for line in _BLOCK.sub("", read()).splitlines() if (h := _HEADING.match(line))]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
