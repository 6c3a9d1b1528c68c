"""The pages on faults and privacy: every fault has a test that exists, and every example can be used."""

from __future__ import annotations

import re
import tomllib

import pytest

from mindo.column_rules import ColumnRules
from mindo_emulator.fault_kinds import KINDS
from tests.docs.page import ROOT
from tests.mindo_pipeline.harness import mindo

FAULTS = (ROOT / "docs/faults.md").read_text()
PRIVACY = (ROOT / "docs/privacy.md").read_text()
ROWS = [line for line in FAULTS.splitlines() if line.startswith("| ") and not line.startswith("| fault")]


def names_of_tests() -> set[str]:
    """Names of all test functions and test modules."""
    paths = list((ROOT / "tests").rglob("test_*.py"))
    functions = {
        name for path in paths for name in re.findall(r"^(?:    )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    return functions | {path.stem for path in paths}


def test_every_fault_names_a_test_that_exists() -> None:
    named = [re.findall(r"`(test_\w+)`", row.rsplit(" | ", 1)[-1]) for row in ROWS]
    assert all(named), "a row without a test"
    assert {name for names in named for name in names} <= names_of_tests()


def test_every_fault_of_the_emulator_is_in_the_table() -> None:
    listed = {kind for row in ROWS for group in re.findall(r"\(([a-z0-9_, ]+)\)", row) for kind in group.split(", ")}
    assert set(KINDS) <= listed


def test_the_example_of_column_rules_is_accepted() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PRIVACY, re.DOTALL)
    rules = ColumnRules.parse(tomllib.loads(block)["sources"]["mindo"]["column_rules"], "a key of some length")
    assert rules.of("messages", "content__text") == "hmac"


@pytest.mark.parametrize("line", re.findall(r"^mindo .+$", PRIVACY, re.MULTILINE))
def test_every_command_of_the_page_is_one_that_the_command_takes(line: str) -> None:
    # it asks for this only when everything else is right
    assert "--yes" in mindo(*line.split()[1:]).err
