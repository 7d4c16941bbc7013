"""A store of files under one root: a folder of this machine, or a prefix of an object store.

    store = open_store(settings.feed, "REFINERY_FEED")
    store.read("2024/05/cpu_utilization_202405.csv")

What the refinery itself writes comes into its place whole or not at all, in a folder as in an object store.

Here: what a store can be asked, and the folder. Not here: objects (`object_store.py`), and what lies where
(`files.py`).
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

from refinery_assets.contract.places import Place
from refinery_assets.feed.atomic_write import atomic_path, atomic_write

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


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

    def as_of_now(self, folders: Sequence[str] = ()) -> Store:
        """The same for a look at many files at once, as they lie there now; of some folders, if any are named."""


class OwnStore(Store, Protocol):
    """A store that the refinery alone writes to.

    All of these raise `StoreError` where an object store cannot be reached, and `OSError` where a folder cannot be
    read or written.
    """

    def read_back(self, name: str) -> bytes:
        """All bytes of a file; FileNotFoundError where there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""

    def writing(self, name: str) -> AbstractContextManager[Path | io.BytesIO]:
        """Where a library is to write a file to; on leaving it is put in its place, whole or not at all."""

    def creating(self, name: str) -> AbstractContextManager[Path | io.BytesIO]:
        """As `writing`, for a name that is used once: what stands there already is an error.

        In an object store whoever writes at the same time; in a folder, what stood there before.
        """

    def footer(self, name: str) -> Path | io.BytesIO:
        """What shows the footer of a Parquet file; FileNotFoundError where there is none."""

    def path_of(self, name: str) -> Path:
        """Where the file, or its copy once it is fetched, lies on this machine."""

    def fetch(self, names: Sequence[str]) -> None:
        """Have files on this machine, as far as they are there."""

    def lay_out(self, name: str, target: Path) -> None:
        """Let `target` be the file, or a copy, if there is one and nothing stands there."""

    def release(self) -> None:
        """Let go of the copies that were fetched."""

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all that is in it, as far as that can be done."""

    def folders(self, folder: str) -> list[tuple[str, float]]:
        """The folders in a folder, in order, and when something was last written into each."""

    def ask_all(self, question: Callable[[Asked], Answer], about: Iterable[Asked]) -> list[Answer]:
        """Ask of many files, at the same time where an answer is long in coming."""


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
                f"cannot be read ({error.strerror}); fix its permissions or export it again."
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

    def as_of_now(self, folders: Sequence[str] = ()) -> Folder:  # noqa: ARG002 - as of a bucket
        """The folder itself: to look at a file costs next to nothing."""
        return self

    def read_back(self, name: str) -> bytes:
        """As `OwnStore.read_back`."""
        return self.path_of(name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """As `OwnStore.write`."""
        atomic_write(self.path_of(name), content)

    def writing(self, name: str) -> AbstractContextManager[Path | io.BytesIO]:
        """As `OwnStore.writing`."""
        return atomic_path(self.path_of(name))

    @contextmanager
    def creating(self, name: str) -> Iterator[Path]:
        """As `OwnStore.creating`; looked for before it is put in its place, for not every file system can refuse it."""
        path = self.path_of(name)
        with atomic_path(path) as temporary:
            yield temporary
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))

    def footer(self, name: str) -> Path:
        """The file itself."""
        return self.path_of(name)

    def path_of(self, name: str) -> Path:
        """As `OwnStore.path_of`."""
        return self.root / name

    def fetch(self, names: Sequence[str]) -> None:
        """Nothing: they are here."""

    def lay_out(self, name: str, target: Path) -> None:
        """A link to the file."""
        source = self.path_of(name)
        if source.exists() and not target.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source.resolve())

    def release(self) -> None:
        """Nothing: there are no copies."""

    def remove(self, name: str) -> None:
        """As `OwnStore.remove`."""
        self.path_of(name).unlink(missing_ok=True)

    def remove_folder(self, folder: str) -> None:
        """As `OwnStore.remove_folder`."""
        shutil.rmtree(self.path_of(folder), ignore_errors=True)

    def folders(self, folder: str) -> list[tuple[str, float]]:
        """As `OwnStore.folders`."""
        found = []
        for path in sorted(self.path_of(folder).glob("*")):
            try:
                found.append((path.name, path.stat().st_mtime))
            except FileNotFoundError:
                # Somebody has just removed it.
                continue
        return found

    def ask_all(self, question: Callable[[Asked], Answer], about: Iterable[Asked]) -> list[Answer]:
        """One after the other."""
        return [question(each) for each in about]


def open_store(place: Place, variable: str, *, follow_links: bool = False) -> OwnStore:
    """The store at a place.

    Args:
        place: Its root.
        variable: The setting that names it, for messages.
        follow_links: Whether a symbolic link may lead out of a folder.
    """
    if isinstance(place, Path):
        return Folder(place, follow_links)
    # The library for it is an extra.
    from refinery_assets.feed.object_store import Bucket  # noqa: PLC0415

    return Bucket.open(place, variable)


def telemetry_store(telemetry: Place) -> OwnStore:
    """The store that the families' partitions lie in."""
    return open_store(telemetry, "REFINERY_TELEMETRY")
