"""From any exception to one line and an exit code. No line quotes an exception whose text we did not write."""

from __future__ import annotations

from collections.abc import Iterator

from dlt.common.configuration.exceptions import ConfigurationException

from mindo import ApiError, ConfigurationError, SpoolError

from .exit_codes import ExitCode


class DestinationError(Exception):
    """The destination can't be opened, written or read; one line that says what to do."""


_EXIT_CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (ConfigurationError, ExitCode.CONFIGURATION),
    (SpoolError, ExitCode.CONFIGURATION),
    (ApiError, ExitCode.API),
    (DestinationError, ExitCode.DESTINATION),
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
)

# what a message of the database says (lower case), and what we say of it
_DESTINATION_LINES = (
    ("could not set lock", "another process has the database open; close it or wait, then run again"),
    ("read-only", "the database is read-only; make it writable"),
    ("permission denied", "no permission to write the database; make it writable or choose another file"),
    ("no space left", "the disk of the database is full; free some space and run again"),
    ("cannot open file", "the database file can't be opened; check its folder and its permissions"),
    ("not a valid duckdb database", "the file exists but is no DuckDB database; choose another file"),
    ("ambiguous", "the DuckDB file's stem must differ from the dataset's name; rename one of them"),
    ("older version", "the database was written by another version of DuckDB"),
)


def explain(error: BaseException) -> tuple[ExitCode, str]:
    """The exit code and the one line for an error, found along its causes."""
    chain = list(causes(error))
    for link in chain:
        for kind, code in _EXIT_CODES:
            if isinstance(link, kind):
                return code, str(link) or "interrupted"
    for link in chain:
        if isinstance(link, ConfigurationException):
            return ExitCode.CONFIGURATION, f"configuration: a value of dlt's is missing or unreadable ({_name(link)})."
    return ExitCode.DESTINATION, f"destination: {destination_line(error)}."


def destination_line(
    error: BaseException, otherwise: str = "the load failed; nothing is lost, the next run goes on"
) -> str:
    """What is wrong with the destination, in our words; the database's own could quote a row.

    Args:
        error: What was raised.
        otherwise: What to say of anything that is not known; the types of the errors are added.
    """
    for link in causes(error):
        text = _text(link).lower()
        for sign, line in _DESTINATION_LINES:
            if sign in text:
                return line
    names = " < ".join(dict.fromkeys(_name(link) for link in causes(error)))
    return f"{otherwise} ({names})"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        # dlt's message for a missing value fails where a provider has no file
        return ""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it, the last first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _name(error: BaseException) -> str:
    return type(error).__name__
