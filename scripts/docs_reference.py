"""The parts of the site that are made from the code: commands, settings, columns, models, codes and lines of errors."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, Final

import typer
import yaml
from docs_markdown import blocks, codes, section, tables

from mindo.columns import DECLARED, PRIMARY_KEYS
from mindo.configuration import MindoConfiguration
from mindo.settings import ASSUMPTIONS
from mindo_pipeline import exit_codes
from mindo_pipeline.cli import app
from mindo_pipeline.dagster.settings import Settings as DagsterSettings
from mindo_pipeline.defaults import DEFAULTS, DUCKDB_DEFAULTS
from mindo_pipeline.exit_codes import ExitCode
from mindo_pipeline.observing.notifying import NotifyConfiguration

ROOT: Final = Path(__file__).parents[1]
_CODE_FOLDERS: Final = ("sources/mindo", "pipelines/mindo_pipeline")
_LONGEST_LINE: Final = 300
_LAYERS: Final = ("marts", "intermediate", "staging")
_TEMPLATES: Final = ROOT / "pipelines/mindo_pipeline/templates"


def readme(slug: str) -> str:
    """A section of the README, without its heading."""
    return section((ROOT / "README.md").read_text(encoding="utf-8"), slug)[1]


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(header)
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _code(value: Any) -> str:
    return f"`` {value} ``" if "`" in str(value) else f"`{value}`"


# --- commands ------------------------------------------------------------------------------------------------------


def all_commands() -> dict[str, Any]:
    """Every command by its name, those of groups like `state show`."""
    commands = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        members = getattr(command, "commands", None)
        commands |= {f"{name} {member}": own for member, own in members.items()} if members else {name: command}
    return commands


def _prose(text: str | None) -> str:
    # typer's help is rich's markup, where a bracket that is meant has a backslash
    return (text or "").replace("\\[", "[").replace("<", "&lt;")


def _default(option: Any) -> str:
    given = option.default
    if given is None or given is False or given in ("", ()) or callable(given) or not option.show_default:
        return ""
    shown = option.show_default if isinstance(option.show_default, str) else given
    return f" By default {_code(shown)}."


def _options(command: Any) -> Iterator[list[str]]:
    for option in command.params:
        if option.name != "help" and not option.hidden:
            names = ", ".join(_code(f"{name} {option.metavar or ''}".strip()) for name in option.opts)
            yield [names, _prose(option.help) + _default(option)]


def commands() -> str:
    """Every command with its help and its options."""
    parts = []
    groups = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in all_commands().items():
        group, _, member = name.partition(" ")
        if member and member == next(iter(groups[group].commands)):
            parts.append(f"## mindo {group}\n\n{_prose(groups[group].help)}\n")
        parts.append(f"{'###' if member else '##'} mindo {name}\n\n{_prose(command.help)}\n")
        options = list(_options(command))
        if options:
            parts.append(_table(["option", ""], options))
    return "\n".join(parts)


# --- configuration -------------------------------------------------------------------------------------------------


def _setting(name: str, section_name: str, default: Any, meaning: str) -> list[str]:
    variable = f"{section_name.replace('.', '__')}__{name}".upper()
    shown = "" if default in (None, "") else _code(str(default).lower() if isinstance(default, bool) else default)
    return [f"{_code(name)}<br>{_code(variable)}", shown, meaning]


_SETTING_HEADER: Final = ("key, and environment variable", "default", "")


@cache
def _meanings() -> dict[str, tuple[str, str]]:
    """Of every setting in the README's tables: its default in words, and what it means."""
    found = {}
    for rows in tables(readme("configuration")):
        for row in rows:
            found[codes(row[0])[0]] = ("" if len(row) < 4 else row[2], row[-1])
    return found


def _described(section_name: str, spec: Iterable[tuple[str, Any]]) -> str:
    rows = []
    for name, default in spec:
        in_words, meaning = _meanings()[name]
        names, shown, _ = _setting(name, section_name, default, meaning)
        rows.append([names, shown or in_words, meaning])
    return _table(_SETTING_HEADER, rows)


def source_settings() -> str:
    """`[sources.mindo]`."""
    own = MindoConfiguration.__annotations__
    return _described("sources.mindo", ((f.name, f.default) for f in fields(MindoConfiguration) if f.name in own))


def notify_settings() -> str:
    """`[notify]`."""
    own = NotifyConfiguration.__annotations__
    return _described("notify", ((f.name, f.default) for f in fields(NotifyConfiguration) if f.name in own))


def _documented_attributes(text: str) -> dict[str, str]:
    """The paragraph `Attributes:` of a docstring in Google's style."""
    return dict(re.findall(r"^\s+(\w+): (.+)$", text.partition("Attributes:")[2], re.MULTILINE))


def dagster_settings() -> str:
    """`[dagster]`."""
    meanings = _documented_attributes(DagsterSettings.__doc__ or "")
    return _table(
        _SETTING_HEADER, (_setting(f.name, "dagster", f.default, meanings[f.name]) for f in fields(DagsterSettings))
    )


def _flat(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def dlt_settings() -> str:
    """Settings of dlt that the command gives other defaults."""
    whole = dict(_flat(DEFAULTS)) | dict(_flat(DUCKDB_DEFAULTS))
    rows = []
    for key, value in sorted(whole.items()):
        shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
        rows.append([_code(key), _code(shown), _meanings()[key][1]])
    return _table(("key", "default of the command", "why"), rows)


def template(name: str) -> str:
    """A file as `mindo init` writes it."""
    return f"```toml\n{(_TEMPLATES / name).read_text(encoding='utf-8')}```\n"


# --- tables and models ---------------------------------------------------------------------------------------------


def columns() -> str:
    """Every table with every column that always exists."""
    parts = []
    for name, declared in DECLARED.items():
        rows = (
            [
                f"**{_code(column.name)}**" if column.name in PRIMARY_KEYS[name] else _code(column.name),
                column.data_type,
                column.description,
            ]
            for column in declared
        )
        parts.append(f"## {name}\n\n{_table(('column', 'type', ''), rows)}")
    return "\n".join(parts)


def joins() -> str:
    """Which table joins which, by which columns, as the README's diagram has it."""
    (diagram,) = blocks(readme("the-tables"), "mermaid")
    found = re.findall(r'(\w+) \|\|--o\{ (\w+) : "([^"]+)"', diagram.text)
    rows = ([_code(one), _code(many), ", ".join(map(_code, by.split(", ")))] for one, many, by in found)
    return _table(("one row of", "has any number in", "by"), rows)


def _models(layer: str) -> list[dict[str, Any]]:
    documents = (
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "dbt/models" / layer).glob("*.yml")
    )
    return [model for document in documents for model in document["models"]]


def dbt_models() -> str:
    """Every dbt model with every column."""
    parts = []
    for layer in _LAYERS:
        parts.append(f"## {layer.capitalize()}\n")
        for model in _models(layer):
            rows = ([_code(column["name"]), " ".join(column["description"].split())] for column in model["columns"])
            parts.append(f"### {model['name']}\n\n{model['description']}\n\n{_table(('column', ''), rows)}")
    return "\n".join(parts)


# --- exit codes, lines of errors, assumptions ----------------------------------------------------------------------


@cache
def _exit_code_meanings() -> dict[str, str]:
    """The text below each exit code in its module."""
    (found,) = (
        node for node in ast.parse(Path(exit_codes.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    )  # fmt: skip
    return {
        name.targets[0].id: " ".join(text.value.value.split())  # type: ignore[attr-defined]
        for name, text in zip(found.body, found.body[1:], strict=False)
        if isinstance(name, ast.Assign)
    }


def exit_code_table() -> str:
    """Every exit code and what it means."""
    meanings = _exit_code_meanings()
    return _table(("code", "name", ""), ([str(code.value), _code(code.name), meanings[code.name]] for code in ExitCode))


def assumptions() -> str:
    """What the contract leaves open, and what is taken to be true."""
    return _table(("open point", "assumption"), ASSUMPTIONS.items())


@cache
def _texts_of_the_code() -> list[str]:
    """Every text in the code that is no docstring, with an ellipsis for what is put into it."""
    found = []
    for path in (path for folder in _CODE_FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in (node for node in ast.walk(tree) if id(node) not in docstrings):
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            else:
                continue
            if len(text) <= _LONGEST_LINE:
                found.append(" ".join(text.split()))
    return list(dict.fromkeys(found))


def whole_lines(fragment: str) -> list[str]:
    """The texts of the code that hold a part of an error's line; parts of one another are left out."""
    holding = [text for text in _texts_of_the_code() if fragment in text]
    return [text for text in holding if not any(text != other and text in other for other in holding)]


def error_lines() -> list[tuple[str, str, str]]:
    """Of each line in the README's table: what it contains, its exit code, what to do."""
    (rows,) = tables(readme("when-something-goes-wrong"))
    return [(codes(row[0])[0], row[1], row[2]) for row in rows]


@cache
def explanations() -> dict[str, str]:
    """What lines of errors mean, where the line alone does not say it."""
    return dict(tomllib.loads((ROOT / "docs/troubleshooting.toml").read_text(encoding="utf-8")))


def troubleshooting() -> str:
    """Every line of an error: the whole of it, what it means, what to do; by exit code."""
    heads = {
        str(code.value): f"## Exit code {code.value}\n\n{_code(code.name)}. {_exit_code_meanings()[code.name]}\n"
        for code in ExitCode
    }
    lines = error_lines()
    parts = []
    for code in sorted({code for _, code, _ in lines}, key=lambda code: (not code.isdigit(), code)):
        parts.append(heads.get(code, "## Warnings\n\nThey change no exit code.\n"))
        for fragment, _, remedy in (line for line in lines if line[1] == code):
            parts.append(f"### {_code(fragment)}\n")
            parts += [f"> {_code(line)}\n" for line in whole_lines(fragment) if line != fragment]
            if fragment in explanations():
                parts.append(f"{explanations()[fragment]}\n")
            parts.append(f"**What to do:** {remedy}.\n")
    return "\n".join(parts)


PARTS: Final[dict[str, Callable[[], str]]] = {
    "commands": commands,
    "source-settings": source_settings,
    "notify-settings": notify_settings,
    "dagster-settings": dagster_settings,
    "dlt-settings": dlt_settings,
    "config-template": lambda: template("config.toml"),
    "secrets-template": lambda: template("example.secrets.toml"),
    "columns": columns,
    "joins": joins,
    "dbt-models": dbt_models,
    "exit-codes": exit_code_table,
    "assumptions": assumptions,
    "troubleshooting": troubleshooting,
}
"""What `<!-- generate … -->` in a page stands for."""
