"""Errors of the source. No message of any of them ever holds an API key or message text."""

from typing import Self


class MindoError(Exception):
    """Base of all errors of the source: one line that says what is wrong and what to do."""


class ConfigurationError(MindoError):
    """An option, a date range, a URL or a key is unusable as configured. Retrying can't help."""


class AccessError(ConfigurationError):
    """The API refused the key (401) or the key may not read the company (403)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type[Self], tuple[str, int]]:
        """Both values, so that it can come from another process."""
        return type(self), (str(self), self.status)


class ApiError(MindoError):
    """The API could not be reached, broke its contract, or kept limiting the rate."""


class CursorRefused(ApiError):
    """The API no longer accepts a cursor that it issued: the window has to start again."""


class PageBroken(ApiError):
    """A page arrived that can't be proven whole. Requesting the same page again may help."""


class SpoolError(MindoError):
    """Pages can't be written to the spool folder (no space, no permission), or are no longer what was written."""


class WindowShrunk(MindoError):
    """A window would lose more of its stored messages than the shrink guard allows; nothing of it was loaded."""


class WindowsIncomplete(ApiError):
    """Some planned windows could not be proven complete; nothing of them was extracted."""
