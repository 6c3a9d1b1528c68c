"""Asks before something is taken away."""

from __future__ import annotations

import sys

from .exit_codes import ExitCode
from .session import CommandFailed, Session


def confirm(session: Session, question: str, is_confirmed: bool) -> None:
    """Asks y/N at the terminal, unless it was confirmed already.

    Args:
        session: Where it is asked, on standard error.
        question: Without the question mark.
        is_confirmed: Whether `--yes` was given.

    Raises:
        CommandFailed: If the answer is not yes, or if there is no terminal to ask at.
    """
    if is_confirmed:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(ExitCode.CONFIGURATION, "yes: there is no terminal to ask at; add --yes to confirm.")
    session.err.print(f"{question}? [y/N] ", end="", soft_wrap=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandFailed(ExitCode.INTERRUPTED, "declined; nothing was changed.")
