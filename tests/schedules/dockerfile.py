"""A Dockerfile as its builder reads it: stages of instructions."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

_INSTRUCTION = re.compile(r"([A-Z]+)\s+(.*)", re.DOTALL)
_FLAG = re.compile(r"--([a-z]+)=(\S+)\s+")


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        name: Such as `RUN`.
        value: What follows, without flags, lines joined.
        flags: Such as `from` and `chown`.
    """

    name: str
    value: str
    flags: dict[str, str]

    @property
    def words(self) -> list[str]:
        """The value as a list, written as JSON or not."""
        return json.loads(self.value) if self.value.startswith("[") else shlex.split(self.value)

    @property
    def pairs(self) -> dict[str, str]:
        """What `ENV`, `ARG` or `LABEL` sets."""
        return dict(word.split("=", 1) for word in self.words)


@dataclass
class Stage:
    """What stands between one `FROM` and the next."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        """The instructions of a kind, in order."""
        return [instruction for instruction in self.instructions if instruction.name == name]

    @property
    def environment(self) -> dict[str, str]:
        """What its `ENV` instructions set."""
        return {name: value for instruction in self.all("ENV") for name, value in instruction.pairs.items()}


def read_dockerfile(path: Path) -> tuple[dict[str, str], list[Stage]]:
    """The arguments before the first stage, and the stages. No heredocs and no escapes but line ends."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _INSTRUCTION.fullmatch(line)
        assert match, f"no instruction: {line}"
        value, flags = match[2], {}
        while flag := _FLAG.match(value):
            flags[flag[1]] = flag[2]
            value = value[flag.end() :]
        instruction = Instruction(match[1], re.sub(r"\s{2,}", " ", value.strip()), flags)
        if instruction.name == "FROM":
            base, _, name = instruction.value.partition(" AS ")
            stages.append(Stage(base, name))
        elif stages:
            stages[-1].instructions.append(instruction)
        else:
            assert instruction.name == "ARG"
            arguments |= instruction.pairs
    return arguments, stages
