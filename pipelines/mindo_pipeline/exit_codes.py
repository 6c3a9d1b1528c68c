"""Exit codes of the command: documented, stable, and the same for every sub-command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a run's end means to whoever started it."""

    COMPLETE = 0
    """Every planned window is complete."""
    CONFIGURATION = 2
    """An option, a key, a company, a range or the spool is unusable. Retrying can't help."""
    API = 3
    """The API was unreachable, broken or rate limited: what was complete is loaded, the rest is named. Retry later."""
    GUARD = 4
    """A window would have lost too many messages; it was refused."""
    DESTINATION = 5
    """The destination can't be written, or another run is writing."""
    DIFFERENT = 6
    """`mindo verify` found that the warehouse does not hold what the API returns."""
    DBT = 7
    """A model could not be built, a test of dbt failed, or a source is too old."""
    INTERRUPTED = 130
    """Stopped by the user (Ctrl-C) or by SIGTERM."""
