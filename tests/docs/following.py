"""A page of the site as somebody follows it: its shell lines, programs, settings and queries, in order, in the current folder."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib.metadata import metadata
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from tests.docs.page import ROOT, Block, docs_markdown, docs_reference, read
from tests.mindo_pipeline.harness import Result, mindo

DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)): path for path in sorted(DOCS.rglob("*.md"))}
COMMANDS = docs_reference.all_commands()
EMULATOR = "http://127.0.0.1:8765"
"""Where pages say that the emulator is."""

_ID = re.compile(r"\b(ctc|conv|msg)_[0-9a-f]{24}\b")
_ASSIGNMENT = re.compile(r"^(\w+)=(.*)$", re.DOTALL)
_TARGET = re.compile(r"^([a-z]+):.*## ", re.MULTILINE)

Ask = Callable[[str], list[tuple[Any, ...]]]


def shell_lines(text: str) -> list[list[str]]:
    """The words of every shell line of a page, comments left out."""
    shell = "".join(block.text.replace("\\\n", " ") for block in docs_markdown.blocks(text, "sh"))
    return [words for line in shell.splitlines() if (words := shlex.split(line, comments=True))]


def called(words: Sequence[str]) -> list[str] | None:
    """The arguments that a shell line gives to `mindo`; None if it calls something else."""
    rest = list(words)
    while rest and _ASSIGNMENT.match(rest[0]):
        rest = rest[1:]
    if rest[:2] == ["sudo", "-u"]:
        rest = rest[3:]
    return rest[1:] if rest and Path(rest[0]).name == "mindo" else None


def named_command(words: Sequence[str]) -> Any:
    """The command that words begin with; its name has one word or two."""
    name = next((name for length in (2, 1) if (name := " ".join(words[:length])) in COMMANDS), None)
    assert name is not None, f"no command: {words}"
    return COMMANDS[name]


def accept(arguments: Sequence[str]) -> None:
    """Lets the command look at arguments; one that it does not take is an exception."""
    if arguments[0] != "--version":
        command = named_command(arguments)
        is_member = " ".join(arguments[:2]) in COMMANDS
        command.make_context(command.name, list(arguments[2 if is_member else 1 :]))


def ask_duckdb(sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect("warehouse.duckdb", read_only=True) as connection:
        return connection.execute(sql).fetchall()


@dataclass
class Reader:
    """Follows pages.

    Attributes:
        patch: Takes what the page exports.
        emulator: Where it really is.
        demo: The warehouse that `make demo` leaves.
        ask: Who answers queries.
        instead: Of texts of the page, what this reader writes in their place, such as a password.
        only_looked_at: Commands whose arguments are checked, and which another test runs.
        codes: Exit codes other than 0 that the page announces, by line, for each time that the line is given.
        results: What `mindo` printed, in order.
        answers: What queries answered, in order.
    """

    patch: pytest.MonkeyPatch
    emulator: str
    demo: Path
    ask: Ask = ask_duckdb
    instead: Mapping[str, str] = field(default_factory=dict)
    only_looked_at: tuple[str, ...] = ("dashboard",)
    codes: dict[str, list[int]] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    answers: list[list[tuple[Any, ...]]] = field(default_factory=list)

    def follow(self, page: str) -> None:
        for block in docs_markdown.blocks(read(PAGES[page])):
            getattr(self, f"_{block.language}", self._leave)(block)
        assert not any(self.codes.values()), "the page says otherwise"

    def _leave(self, block: Block) -> None:
        assert block.language in ("text", "cron", "json", "yaml"), block.language

    def _sql(self, block: Block) -> None:
        self.answers.append(self.ask(block.text))
        assert self.answers[-1], block.text

    def _python(self, block: Block) -> None:
        Path(block.title).write_text(self._translated(block.text))

    def _toml(self, block: Block) -> None:
        Path(".dlt").mkdir(exist_ok=True)
        tables = tomllib.loads(block.text)
        name = "secrets.toml" if {"destination"} & {*tables} else "config.toml"
        with (Path(".dlt") / name).open("a") as file:
            file.write(block.text)
        Container()[PluggableRunContext].reload()

    def _sh(self, block: Block) -> None:
        for words in shell_lines(f"```sh\n{block.text}```\n"):
            with pytest.MonkeyPatch.context() as patch:
                while words and (assignment := _ASSIGNMENT.match(words[0])):
                    patch.setenv(assignment[1], assignment[2])
                    words = words[1:]
                self._line([self._translated(word) for word in words])

    def _translated(self, text: str) -> str:
        for written, meant in {EMULATOR: self.emulator, **self.instead}.items():
            text = text.replace(written, meant)
        return _ID.sub(lambda example: self._seen(example[1]) or example[0], text)

    def _seen(self, kind: str) -> str | None:
        """The latest id of a kind that a query showed: a page's example stands for it."""
        cells = (cell for rows in reversed(self.answers) for row in rows for cell in row)
        return next((cell for cell in cells if isinstance(cell, str) and cell.startswith(f"{kind}_")), None)

    def _line(self, words: list[str]) -> None:
        arguments = called(words)
        if arguments is not None:
            self._mindo(arguments)
        else:
            _PROGRAMS[words[0]](self, words[1:])

    def _mindo(self, arguments: list[str]) -> None:
        accept(arguments)
        if " ".join(arguments).startswith((*self.only_looked_at, "emulator")):
            return
        # who reads the page is asked, and says yes
        consent = ["--yes"] if arguments[0] == "forget" and "--yes" not in arguments else []
        result = mindo(*arguments, *consent)
        wanted = self.codes.get(" ".join(["mindo", *arguments]), [])
        assert result.code == (wanted.pop(0) if wanted else 0), f"{arguments}\n{result.err}"
        self.results.append(result)

    def export(self, assignments: list[str]) -> None:
        for assignment in assignments:
            name, _, value = assignment.partition("=")
            self.patch.setenv(name, value)

    def unset(self, names: list[str]) -> None:
        for name in names:
            self.patch.delenv(name)

    def make(self, targets: list[str]) -> None:
        assert set(targets) <= set(_TARGET.findall(read(ROOT / "Makefile")))
        if "demo" in targets:
            shutil.copy(self.demo, "warehouse.duckdb")

    def python(self, arguments: list[str]) -> None:
        with redirect_stdout(StringIO()):
            runpy.run_path(arguments[0])

    def install(self, arguments: list[str]) -> None:
        assert arguments[0] == "install"
        for requirement in arguments[1:]:
            name, _, extra = requirement.rstrip("]").partition("[")
            assert not extra or extra in (metadata(name).get_all("Provides-Extra") or ()), requirement

    def copy(self, arguments: list[str]) -> None:
        shutil.copy(*arguments)

    def crontab(self, arguments: list[str]) -> None:
        assert (ROOT / arguments[-1]).is_file()

    def airflow(self, arguments: list[str]) -> None:
        program = read(ROOT / "pipelines/schedules/airflow/mindo_dags.py")
        named = arguments[2]
        assert f'"{named}"' in program or f"def {named}" in program, named

    def leave(self, _: list[str]) -> None:
        """What only prepares a terminal or a clone."""


_PROGRAMS: dict[str, Callable[[Reader, list[str]], None]] = {
    "export": Reader.export,
    "unset": Reader.unset,
    "make": Reader.make,
    "python": Reader.python,
    "pip": Reader.install,
    "cp": Reader.copy,
    "crontab": Reader.crontab,
    "airflow": Reader.airflow,
    ".": Reader.leave,
    "git": Reader.leave,
}


def environment(**values: str) -> Iterator[tuple[str, str]]:
    """Settings of a reader's configuration, as the environment has them."""
    return ((f"SOURCES__MINDO__{name.upper()}", value) for name, value in values.items())
