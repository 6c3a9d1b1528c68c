"""Markdown as the site and the tests read it: blocks, headings, sections, tables and links."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

FENCE: Final = re.compile(
    r"^(?P<indent> *)(?P<mark>```+)(?P<language>[\w-]*)(?P<attributes>[^\n]*)\n(?P<text>.*?)^(?P=indent)(?P=mark) *$",
    re.MULTILINE | re.DOTALL,
)
HEADING: Final = re.compile(r"^(#+) (.*)$", re.MULTILINE)
LINK: Final = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
_CODE: Final = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_TABLE: Final = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
_LETTER: Final = re.compile(r"[^\n]")
_NO_SLUG: Final = re.compile(r"[^\w\- ]")
_ATTRIBUTE: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Block:
    """A fenced block and the heading that it stands under."""

    language: str
    heading: str
    text: str
    title: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading: how deep, its text, and where its line begins and ends."""

    level: int
    text: str
    start: int
    end: int

    @property
    def slug(self) -> str:
        """The anchor that GitHub and the site give it."""
        return _NO_SLUG.sub("", self.text.lower()).replace(" ", "-")


def without_blocks(text: str) -> str:
    """The text with its fenced blocks blanked, so that every place stays where it was."""
    return FENCE.sub(lambda fence: _LETTER.sub(" ", fence[0]), text)


def headings(text: str) -> list[Heading]:
    return [Heading(len(h[1]), h[2].strip(), h.start(), h.end()) for h in HEADING.finditer(without_blocks(text))]


def blocks(text: str, *languages: str) -> list[Block]:
    """The fenced blocks of the languages, or all of them, in order."""
    titles = headings(text)
    found = []
    for fence in FENCE.finditer(text):
        if not languages or fence["language"] in languages:
            above = [heading.text for heading in titles if heading.start < fence.start()]
            attributes = dict(_ATTRIBUTE.findall(fence["attributes"]))
            body = "".join(line.removeprefix(fence["indent"]) for line in fence["text"].splitlines(keepends=True))
            found.append(Block(fence["language"], above[-1] if above else "", body, attributes.get("title", "")))
    return found


def section(text: str, slug: str) -> tuple[Heading, str]:
    """A heading and all that stands below it, up to the next one of its depth or above.

    Raises:
        LookupError: If there is no such heading.
    """
    titles = headings(text)
    place = next((i for i, heading in enumerate(titles) if heading.slug == slug), None)
    if place is None:
        raise LookupError(f"no heading with the anchor #{slug}")
    heading = titles[place]
    end = next((other.start for other in titles[place + 1 :] if other.level <= heading.level), len(text))
    return heading, text[heading.end : end].strip("\n") + "\n"


def tables(text: str) -> list[list[list[str]]]:
    """The rows of each table, its header left out; cells without outer blanks."""
    found: list[list[list[str]]] = []
    inside = False
    for line in without_blocks(text).splitlines():
        if line.startswith("|") and not inside:
            found.append([])
        inside = line.startswith("|")
        if inside:
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return [rows[2:] for rows in found]


def with_first_table(text: str, table: str) -> str:
    """The text with another table in the place of its first."""
    return _TABLE.sub(lambda _: table, text, count=1)


def codes(cell: str) -> list[str]:
    """What stands in backticks in a cell; in two of them there can be one."""
    return [code[2].strip() for code in _CODE.finditer(cell)]


def links(text: str) -> Iterator[str]:
    return (link[1] for link in LINK.finditer(without_blocks(text)))


def with_links(text: str, change: Callable[[str], str]) -> str:
    """The text with the target of every link changed; what stands in blocks stays."""
    parts, at = [], 0
    for fence in FENCE.finditer(text):
        parts += [LINK.sub(lambda link: change(link[1]), text[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*parts, LINK.sub(lambda link: change(link[1]), text[at:])])


def shifted(text: str, by: int) -> str:
    """The text with every heading so much deeper."""
    for heading in reversed(headings(text)):
        text = f"{text[: heading.start]}{'#' * (heading.level + by)} {heading.text}{text[heading.end :]}"
    return text
