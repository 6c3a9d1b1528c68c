"""Private folders on disk: the spool, where pages wait until their window is proven complete, and other scratch space.

They hold personal text, so only their owner can read them, and nothing in them outlives the run. What a killed run left is
removed by the next one: a run holds a lock on each of its folders, and the system lets go of it whatever ends the run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from filelock import FileLock, Timeout

from .exceptions import SpoolError

PREFIX: Final = "mindo-run-"
_UNLOCKED_PREFIX: Final = "mindo-new-"
_LOCK: Final = ".lock"


class PrivateFolder:
    """A new folder (mode 0700), removed on `close` or when nobody refers to it any more.

    Args:
        parent: Where it is made; by default the system's folder for temporary files.

    Raises:
        OSError: If it can't be made.
    """

    def __init__(self, parent: str | None = None) -> None:
        remove_abandoned(Path(parent or tempfile.gettempdir()))
        made = Path(tempfile.mkdtemp(prefix=_UNLOCKED_PREFIX, dir=parent))
        lock = FileLock(made / _LOCK, mode=0o600, thread_local=False)
        lock.acquire()
        # only now it gets the name by which abandoned ones are found, so nobody can take its lock away from it
        self.path = made.rename(made.with_name(made.name.replace(_UNLOCKED_PREFIX, PREFIX)))
        self._remove = weakref.finalize(self, _remove, self.path, lock)

    def close(self) -> None:
        """Removes the folder and all that is in it."""
        self._remove()


def remove_abandoned(parent: Path) -> None:
    """Removes the private folders in `parent` whose owner is dead; those of others are left alone."""
    for folder in parent.glob(f"{PREFIX}*"):
        lock = folder / _LOCK
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with FileLock(lock, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):
            continue


def open_private(path: Path) -> IO[bytes]:
    """Opens a file for writing that only its owner can read, whatever the umask."""
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _remove(folder: Path, lock: FileLock) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()


class Spool:
    """A private folder for the pages of a run.

    Args:
        parent: Where it is made; by default the system's folder for temporary files.

    Raises:
        SpoolError: If it can't be made.
    """

    def __init__(self, parent: str | None = None) -> None:
        try:
            if parent:
                Path(parent).mkdir(parents=True, exist_ok=True)
            self._private = PrivateFolder(parent)
        except OSError as error:
            raise self.error(error, parent or tempfile.gettempdir()) from None
        self.folder = self._private.path

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
        self._private.close()

    def __enter__(self) -> Spool:
        """Gives the spool itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the folder."""
        self.close()
