"""Whose turn it is to write: folders on this machine, each for one run at a time, and a lock at the destination."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from mindo import ConfigurationError

from .errors import DestinationError

_RUNS_AT_ONCE: Final = 64

MakeLock = Callable[[], AbstractContextManager[None]]


class Turns:
    """Keeps the writers of a dataset apart.

    Args:
        location: Where the dataset is, for error lines.
        root: The folder of a run that has the dataset for itself; runs that share it have one beside it each.
        make_lock: Holds the destination, waiting for others first; `None` where there is no lock.

    Attributes:
        can_be_shared: Whether several writers can take turns, load by load.
        folder: The folder that was taken last.
    """

    def __init__(self, location: str, root: Path, make_lock: MakeLock | None) -> None:
        self.can_be_shared = make_lock is not None
        self.folder = root
        self._location = location
        self._root = root
        self._make_lock = make_lock
        self._is_held = False

    @contextmanager
    def taken_folder(self, is_shared: bool = False) -> Iterator[None]:
        """Takes a folder: the one for all, or any that is free.

        Raises:
            DestinationError: If another run has it.
            ConfigurationError: If it can't be written.
        """
        for folder in self._folders() if is_shared else [self._root]:
            with _lock_on(folder) as is_free:
                if is_free:
                    self.folder = folder
                    yield
                    return
        raise DestinationError(f"{self._location}: another mindo run is writing to it; wait for its end.")

    def abandoned_folders(self) -> Iterator[Path]:
        """The other folders whose runs have ended, each kept from new ones while it is looked at."""
        for folder in self._folders():
            if folder != self.folder and folder.exists():
                with _lock_on(folder) as is_free:
                    if is_free:
                        yield folder

    def check_folder(self) -> None:
        """Finds out whether a run has the folder for all.

        Raises:
            DestinationError: If there is one.
        """
        if self._root.exists():
            with self.taken_folder():
                pass

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other writers away, as far as there is a lock. May be nested.

        Raises:
            DestinationError: If the lock can't be had, or was not kept to the end.
        """
        if self._is_held or self._make_lock is None:
            yield
            return
        with self._make_lock():
            self._is_held = True
            try:
                yield
            finally:
                self._is_held = False

    def _folders(self) -> list[Path]:
        others = range(1, _RUNS_AT_ONCE) if self.can_be_shared else ()
        return [self._root, *(self._root.with_name(f"{self._root.name}-{number}") for number in others)]


@contextmanager
def _lock_on(folder: Path) -> Iterator[bool]:
    """Takes a folder if it is free, and tells whether it was."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(folder / "run.lock", timeout=0)
        lock.acquire()
    except Timeout:
        yield False
        return
    except OSError:
        raise ConfigurationError(
            f"pipelines_dir: can't write to {folder}; make it writable or set pipelines_dir to another folder."
        ) from None
    try:
        yield True
    finally:
        lock.release()
