"""From any exception to one line and an exit code. No line quotes an exception whose text we did not write."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.exceptions import DltException

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

_NO_RIGHT = "the user lacks a right; `mindo check` tells which"
_WRONG_USER = "user or password is wrong; correct the credentials"
_UNREACHABLE = "the server can't be reached; see that it runs, and that host and port are right"
_LOST = "the connection to the server broke off; see that it runs, then run again"
_BUSY = "the server takes no more connections; run again later, or let it take more"
_FULL = "the disk of the database is full; free some space and run again"

# SQLSTATE, or its class, and MySQL's numbers
_LINES_BY_CODE = {
    "08": _LOST,
    "25006": "the database is read-only; make it writable",
    "28": _WRONG_USER,
    "3D000": "there is no such database; create it, or correct its name in the credentials",
    "42501": _NO_RIGHT,
    # a schema that the user may not see
    "42P06": _NO_RIGHT,
    "53100": _FULL,
    "53300": _BUSY,
    "57P01": _LOST,
    "57P02": _LOST,
    "57P03": "the server is starting or stopping; run again later",
    1040: _BUSY,
    1044: _NO_RIGHT,
    1045: _WRONG_USER,
    1049: "there is no such database; create it, or correct its name in the credentials",
    1142: _NO_RIGHT,
    1227: _NO_RIGHT,
    1290: "the database is read-only; make it writable",
}
_FIRST_OF_MYSQL, _FIRST_OF_ITS_CLIENTS = 1000, 2000

# what a message says (lower case) that has no code, and what we say of it
_LINES_BY_TEXT = (
    ("could not set lock", "another process has the database open; close it or wait, then run again"),
    ("database is locked", "another process has the database open; close it or wait, then run again"),
    ("read-only", "the database is read-only; make it writable"),
    ("readonly", "the database is read-only; make it writable"),
    ("permission denied", "no permission to write it; make it writable or choose another place"),
    ("no space left", _FULL),
    ("cannot open file", "the database file can't be opened; check its folder and its permissions"),
    ("unable to open database file", "the database file can't be opened; check its folder and its permissions"),
    ("not a valid duckdb database", "the file exists but is no DuckDB database; choose another file"),
    ("file is not a database", "the file exists but is no SQLite database; choose another file"),
    ("ambiguous", "the DuckDB file's stem must differ from the dataset's name; rename one of them"),
    ("older version", "the database was written by another version of DuckDB"),
    ("no pg_hba.conf entry", "the server lets this user in from nowhere here; whoever runs it has to allow it in pg_hba.conf"),
    ("authentication failed", _WRONG_USER),
    ("no password supplied", "the server asks for a password; write it into the credentials"),
    ("could not translate host name", "the host is unknown; correct its name in the credentials"),
    ("name or service not known", "the host is unknown; correct its name in the credentials"),
    ("nodename nor servname", "the host is unknown; correct its name in the credentials"),
    ("name resolution", "the host can't be looked up; see that its name is right and the network is there"),
    ("connection refused", _UNREACHABLE),
    ("no such file or directory\n\tis the server running", _UNREACHABLE),
    ("no such file or directory", "a folder of it is missing or can't be made; see that the place is there and can be written"),
    ("timeout expired", _UNREACHABLE),
    ("timed out", _UNREACHABLE),
    ("no route to host", _UNREACHABLE),
    ("network is unreachable", _UNREACHABLE),
    ("could not connect to the endpoint", "the endpoint can't be reached; see that it runs, and that endpoint_url is right"),
    ("too many clients", _BUSY),
    ("the database system is", "the server is starting or stopping; run again later"),
    ("closed the connection", _LOST),
    ("connection has been closed", _LOST),
    ("connection already closed", _LOST),
    ("no connection to the server", _LOST),
    ("lost connection", _LOST),
    ("terminating connection", _LOST),
    ("can't load plugin: sqlalchemy.dialects", "the connection string names a kind of database that SQLAlchemy doesn't know; correct it, or install its package"),
    ("invalid dsn", "the connection string can't be read; its form is postgresql://user:password@host:5432/database"),
    ("bucket does not exist", "there is no such bucket; create it or correct bucket_url"),
    ("calling the createbucket operation", "there is no such bucket; create it or correct bucket_url"),
    ("nosuchbucket", "there is no such bucket; create it or correct bucket_url"),
    ("access key id you provided does not exist", "the access key is unknown; correct the credentials"),
    ("invalidaccesskeyid", "the access key is unknown; correct the credentials"),
    ("signature we calculated", "the secret access key is wrong; correct the credentials"),
    ("access denied", "access denied; the credentials need the rights to list, read, write and delete"),
    ("accessdenied", "access denied; the credentials need the rights to list, read, write and delete"),
    ("forbidden", "access denied; the credentials need the rights to list, read, write and delete"),
)  # fmt: skip
_MISSING_DATABASE = re.compile(r'(database|role) "[^"]*" does not exist')
_MISSING_EXTENSION = re.compile(r'failed to download extension "(\w+)"')
_ERRORS_OF_ROWS = {"DataError", "IntegrityError"}
"""Of Python's database interface: their text quotes values, and what stands in a value means nothing."""


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
        if line := _line(link):
            return line
    names = " < ".join(dict.fromkeys(_name(link) for link in causes(error)))
    return f"{otherwise} ({names})"


def is_missing_right(error: BaseException) -> bool:
    """Whether a database refused something because its user has no right to it."""
    return destination_line(error) == _NO_RIGHT


def _line(error: BaseException) -> str | None:
    """What is known of one error, without those that led to it."""
    code = _code(error)
    if isinstance(code, str):
        return _LINES_BY_CODE.get(code) or _LINES_BY_CODE.get(code[:2])
    if code is not None and code < _FIRST_OF_ITS_CLIENTS:
        return _LINES_BY_CODE.get(code)
    if _repeats_another(error) or any(kind.__name__ in _ERRORS_OF_ROWS for kind in type(error).__mro__):
        return None
    text = _text(error).lower()
    if found := _MISSING_EXTENSION.search(text):
        return (
            f"DuckDB needs its extension {found[1]} and can't download it; give it access to extensions.duckdb.org,"
            f" or run `INSTALL {found[1]}` in a DuckDB of the same version and copy the folder ~/.duckdb/extensions here"
        )
    if found := _MISSING_DATABASE.search(text):
        return _LINES_BY_CODE["3D000"] if found[1] == "database" else _WRONG_USER
    return known_line(text)


def known_line(text: str) -> str | None:
    """What we say of an error of which only the text is there; nothing of it is quoted."""
    lower = text.lower()
    return next((line for sign, line in _LINES_BY_TEXT if sign in lower), None)


def _code(error: BaseException) -> str | int | None:
    """The code that a driver gives along: of PyMySQL a number, of psycopg2 and ADBC a SQLSTATE."""
    number = error.args[0] if error.args else None
    if isinstance(number, int) and number >= _FIRST_OF_MYSQL:
        return number
    return getattr(error, "pgcode", None) or getattr(error, "sqlstate", None) or None


def _repeats_another(error: BaseException) -> bool:
    """Whether an error of dlt or SQLAlchemy, whose text holds that of its cause, and the statement with its values."""
    return isinstance(error, DltException) or hasattr(error, "orig")


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
        # dlt keeps what made a load's job fail in an attribute only
        error = error.__cause__ or getattr(error, "client_exception", None) or error.__context__


def _name(error: BaseException) -> str:
    return type(error).__name__
