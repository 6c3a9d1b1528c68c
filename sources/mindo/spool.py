"""The spool: a private folder on disk where pages wait until their window is proven complete."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from .exceptions import SpoolError


class Spool:
    """A temporary folder (mode 0700) that is removed on leaving, whatever happened.

    Pages hold personal text, so the folder is readable by its owner only and nothing in it outlives the run.
    """

    def __init__(self, parent: str | None = None) -> None:
        try:
            if parent:
                Path(parent).mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix="mindo-spool-", dir=parent))
        except OSError as error:
            raise self.error(error, parent or tempfile.gettempdir()) from None

    @staticmethod
    def error(error: OSError, folder: Path | str) -> SpoolError:
        """The one line for a spool that can't be written."""
        return SpoolError(
            f"spool: can't write to {folder} ({os.strerror(error.errno or 0)}); free some space or set spool_dir to another folder."
        )

    def page_path(self, name: str) -> Path:
        """Where a page of that name goes."""
        return self.folder / f"{name}.ndjson"

    def close(self) -> None:
        """Removes the folder and all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Spool:
        """Gives the spool itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the folder."""
        self.close()
