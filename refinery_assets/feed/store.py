"""A store of files under one root: a folder of this machine, or a prefix of an object store.

    store = open_store(settings.feed, "REFINERY_FEED")
    store.read("2024/05/cpu_utilization_202405.csv")

Here: what a store can be asked, and the folder. Not here: objects (`object_store.py`), and what lies where
(`files.py`).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from refinery_assets.contract.places import Place


class UnreadableError(Exception):
    """Something stands in a file's place and cannot be read; the message is the end of a sentence."""


class StoreError(Exception):
    """A store cannot be reached or used at all; the message says what was tried, and what to check."""


@dataclass(frozen=True)
class Found:
    """What can be seen of a file without reading it.

    Attributes:
        size: Its bytes.
        modified_ns: When it was last written, in nanoseconds of the epoch.
        version: What names its content, where the store knows it (an ETag).
    """

    size: int
    modified_ns: int
    version: str | None = None


class Store(Protocol):
    """Files under one root; their names are relative to it, with forward slashes."""

    def __str__(self) -> str:
        """The root, as messages name it."""

    @property
    def root_problem(self) -> str | None:
        """Why nothing at all can be found in it, as the end of a sentence; None where something may be."""

    def is_there(self, name: str) -> bool:
        """Whether anything stands in the file's place, be it readable or not."""

    def look(self, name: str) -> Found | None:
        """What can be seen of the file; None where nothing can be seen."""

    def read(self, name: str) -> bytes:
        """All bytes of the file.

        Raises:
            FileNotFoundError: Nothing stands in its place.
            UnreadableError: What stands there cannot be read.
            StoreError: The store cannot be reached.
        """

    def names(self, folder: str, most: int) -> tuple[list[str], bool]:
        """The files that lie in a folder itself, in order, and whether there may be more than `most` entries."""

    def as_of_now(self) -> Store:
        """The same for a look at many files at once, as they lie there now."""


@dataclass(frozen=True)
class Folder:
    """A folder of this machine.

    A symbolic link that leads out of it is refused, unless `follow_links` allows it: who may write to a feed
    need not be one who may read all of this machine.
    """

    root: Path
    follow_links: bool = False

    def __str__(self) -> str:
        return str(self.root)

    @property
    def root_problem(self) -> str | None:
        """As `Store.root_problem`."""
        return None if self.root.is_dir() else "is not a folder"

    def is_there(self, name: str) -> bool:
        """As `Store.is_there`."""
        try:
            (self.root / name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def look(self, name: str) -> Found | None:
        """As `Store.look`."""
        try:
            found = (self.root / name).stat()
        except OSError:
            return None
        return Found(found.st_size, found.st_mtime_ns)

    def read(self, name: str) -> bytes:
        """As `Store.read`."""
        path = self.root / name
        try:
            # A FIFO or a device would block or never end, so it is not even opened.
            if not stat.S_ISREG(path.stat().st_mode):
                raise UnreadableError("is not a regular file; put the exported file there.")
            if not self.follow_links and not path.resolve().is_relative_to(self.root.resolve()):
                raise UnreadableError(
                    "leads out of the feed's root by a symbolic link; put the file itself there, or set "
                    "REFINERY_FOLLOW_LINKS=yes."
                )
            return path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise UnreadableError(
                f"cannot be read ({error.strerror}); mend its permissions or export it again."
            ) from error

    def names(self, folder: str, most: int) -> tuple[list[str], bool]:
        """As `Store.names`."""
        path = self.root / folder
        try:
            with os.scandir(path) as entries:
                looked_at = list(islice(entries, most + 1))
                inside = path.relative_to(self.root)
                names = sorted(
                    (inside / entry.name).as_posix() for entry in looked_at if entry.is_file(follow_symlinks=False)
                )
        # A folder that is not there, or cannot be listed, shows by the files that are missing from it.
        except OSError:
            return [], False
        return names, len(looked_at) > most

    def as_of_now(self) -> Folder:
        """The folder itself: to look at a file costs next to nothing."""
        return self


def open_store(place: Place, variable: str, *, follow_links: bool = False) -> Store:
    """The store at a place.

    Args:
        place: Its root.
        variable: The setting that names it, for messages.
        follow_links: Whether a symbolic link may lead out of a folder.
    """
    if isinstance(place, Path):
        return Folder(place, follow_links)
    # The library for it is an extra.
    from refinery_assets.feed.object_store import open_bucket  # noqa: PLC0415

    return open_bucket(place, variable)
