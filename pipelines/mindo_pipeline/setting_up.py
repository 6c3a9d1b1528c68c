"""`mindo init`: writes commented configuration for a real key into the current folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Final

from .console import clean, typed_as
from .exit_codes import ExitCode
from .session import CommandFailed, Session, Verdict

_FOLDER: Final = ".dlt"
_IGNORED: Final = (".dlt/secrets.toml", ".dlt/secrets.toml.*", ".dlt/.var/", "warehouse.duckdb*")


@dataclass(frozen=True)
class _Template:
    source: str
    target: str
    mode: int


TEMPLATES: Final = (
    _Template("config.toml", "config.toml", 0o644),
    _Template("example.secrets.toml", "secrets.toml", 0o600),
)


def template_text(name: str) -> str:
    """A template that the package ships."""
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def init_command(session: Session, force: bool) -> Verdict:
    """Writes the templates; files that are there stay, or with `force` are kept under another name."""
    written: list[str] = []
    kept: list[str] = []
    backups: list[str] = []
    session.document |= {"written": written, "kept": kept, "backups": backups}
    try:
        folder = Path.cwd() / _FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        for template in TEMPLATES:
            path = folder / template.target
            name = f"{_FOLDER}/{template.target}"
            if path.exists() or path.is_symlink():
                if not force:
                    kept.append(name)
                    session.show(f"kept     {name} (it is there already; --force replaces it and keeps a copy)")
                    continue
                backup = _backup_path(path)
                path.rename(backup)
                backups.append(f"{_FOLDER}/{backup.name}")
                session.show(f"moved    {name} to {_FOLDER}/{backup.name}")
            _write_new(path, template_text(template.source), template.mode)
            written.append(name)
            session.show(f"written  {name}")
        if _ignore_secrets(Path.cwd()):
            written.append(".gitignore")
            session.show("written  .gitignore (keys, local state and data stay out of git)")
    except OSError as error:
        raise CommandFailed(
            ExitCode.CONFIGURATION, f"init: can't write to {clean(Path.cwd())} ({os.strerror(error.errno or 0)})."
        ) from error
    mindo = typed_as("mindo")
    session.show(
        "",
        "Next, two lines:",
        "  1. put your key into .dlt/secrets.toml:                 api_key",
        "  2. for a global key, name companies in .dlt/config.toml: company_ids",
        f"then `{mindo} check` tells whether it works, and `{mindo} run` loads the last 30 days.",
    )
    return Verdict(ExitCode.COMPLETE, "")


def _backup_path(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    return path.with_name(f"{path.name}.{stamp}.bak")


def _write_new(path: Path, text: str, mode: int) -> None:
    # O_EXCL: never through a link that someone else put there, and never with wider permissions for a moment
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        target.write(text)


def _ignore_secrets(folder: Path) -> bool:
    """Adds what must not be committed to .gitignore, in a git repository; tells whether there was something to add."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return False
    path = folder / ".gitignore"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    present = {line.strip().lstrip("/") for line in text.splitlines()}
    missing = [line for line in _IGNORED if line not in present]
    if not missing:
        return False
    gap = "" if not text or text.endswith("\n") else "\n"
    with path.open("a", encoding="utf-8") as target:
        target.write(f"{gap}# mindo: keys, local state, data\n" + "\n".join(missing) + "\n")
    return True
