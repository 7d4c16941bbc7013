"""Files in an object store that speaks S3: AWS, Cloudflare R2, MinIO, SeaweedFS and others.

Here: objects as a `Store`. Not here: how the store is reached (`object_connection.py`), and what is in the objects.
"""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from refinery_assets.contract.places import ObjectPrefix
from refinery_assets.feed.atomic_write import atomic_write
from refinery_assets.feed.object_connection import Answer, Connection, DeniedError
from refinery_assets.feed.store import Found, StoreError, UnreadableError

if TYPE_CHECKING:
    from obstore import ObjectMeta

Asked = TypeVar("Asked")
Given = TypeVar("Given")

_REQUESTS_AT_ONCE = 8
# Holds a footer with the stats of a month; a longer one is asked for once more.
_FOOTER_BYTES = 2**16
_FOOTER_END = 8
_NOTHING_IN_RANGE = 416


@dataclass(frozen=True)
class Bucket:
    """The objects below a prefix, as an `OwnStore`."""

    connection: Connection

    @classmethod
    def open(cls, place: ObjectPrefix, variable: str) -> Bucket:
        """The store at a place; `variable` is the setting that names it."""
        return cls(Connection.open(place, variable))

    def __str__(self) -> str:
        return str(self.connection.place)

    @property
    def root_problem(self) -> str | None:
        """As `Store.root_problem`."""
        first = self._ask("listed", lambda objects: next(iter(objects.list(chunk_size=1)), None))
        return None if first else "holds no objects"

    def is_there(self, name: str) -> bool:
        """As `Store.is_there`."""
        return self.look(name) is not None

    def look(self, name: str) -> Found | None:
        """As `Store.look`."""
        try:
            return _found(self._ask("read", lambda objects: objects.head(name), name))
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        """As `Store.read`; an object is read in one request, so it is one version of it."""
        try:
            return self.read_back(name)
        except DeniedError as error:
            raise UnreadableError("cannot be read (AccessDenied); allow these keys to.") from error

    def names(self, folder: str, most: int) -> tuple[list[str], bool]:
        """As `Store.names`."""
        folder = _key(folder)
        inside = sorted(name for name in self._within(folder) if "/" not in name)
        return [f"{folder}/{name}".lstrip("/") for name in inside[:most]], len(inside) > most

    def as_of_now(self, folders: Sequence[str] = ()) -> Listing:
        """The objects, listed once: to ask for each would take as many requests as there are."""

        def request(objects: S3Store) -> dict[str, Found]:
            return {each["path"]: _found(each) for each in _all(objects, folders)}

        return Listing(self, self._ask("listed", request))

    def read_back(self, name: str) -> bytes:
        """As `OwnStore.read_back`."""
        content: bytes = self._ask("read", lambda objects: objects.get(name).bytes().to_bytes(), name)
        return content

    def write(self, name: str, content: bytes) -> None:
        """As `OwnStore.write`: an object is replaced whole, and one that did not arrive whole is none."""
        self._ask("written", lambda objects: objects.put(name, content), name)

    @contextmanager
    def writing(self, name: str) -> Iterator[io.BytesIO]:
        """As `OwnStore.writing`."""
        whole = io.BytesIO()
        yield whole
        self.write(name, whole.getvalue())

    @contextmanager
    def creating(self, name: str) -> Iterator[io.BytesIO]:
        """As `OwnStore.creating`, which the store itself sees to (If-None-Match), whoever else writes there."""
        whole = io.BytesIO()
        yield whole
        content = whole.getvalue()
        if self._ask("written", lambda objects: _create(objects, name, content), name):
            return
        # A request whose answer was lost is repeated, and then finds what it has written itself.
        if self.read_back(name) != content:
            raise StoreError(
                f"{self}/{name} could not be written: its name is used once, and another object has it; see who else "
                f"writes below {self.connection.variable}, then run again."
            )

    def footer(self, name: str) -> io.BytesIO:
        """The end of the object, which readers of Parquet begin with."""
        end = self._end(name, _FOOTER_BYTES)
        if len(end) == _FOOTER_BYTES:
            length = int.from_bytes(end[-_FOOTER_END : -_FOOTER_END // 2], "little") + _FOOTER_END
            if length > _FOOTER_BYTES:
                end = self._end(name, length)
        return io.BytesIO(end)

    def _end(self, name: str, size: int) -> bytes:
        def request(objects: S3Store) -> bytes:
            try:
                found = objects.get(name, options={"range": {"suffix": size}})
            except BaseError as error:
                if Answer.read(error).status == _NOTHING_IN_RANGE:
                    return b""
                raise
            return bytes(found.bytes())

        return self._ask("read", request, name)

    def path_of(self, name: str) -> Path:
        """As `OwnStore.path_of`."""
        place = self.connection.place
        return _copies() / place.bucket / place.prefix / name

    def fetch(self, names: Sequence[str]) -> None:
        """As `OwnStore.fetch`."""
        self.ask_all(lambda name: self._copy(name, self.path_of(name)), names)

    def lay_out(self, name: str, target: Path) -> None:
        """A copy of the object."""
        if not target.exists():
            self._copy(name, target)

    def _copy(self, name: str, target: Path) -> None:
        try:
            atomic_write(target, self.read_back(name))
        except FileNotFoundError:
            target.unlink(missing_ok=True)

    def release(self) -> None:
        """As `OwnStore.release`."""
        shutil.rmtree(self.path_of(""), ignore_errors=True)

    def remove(self, name: str) -> None:
        """As `OwnStore.remove`."""
        with suppress(FileNotFoundError):
            self._ask("removed", lambda objects: objects.delete(name), name)

    def remove_folder(self, folder: str) -> None:
        """As `OwnStore.remove_folder`."""
        with suppress(StoreError, FileNotFoundError):
            names = [f"{folder}/{name}" for name in self._within(folder)]
            self._ask("removed", lambda objects: objects.delete(names), folder)

    def folders(self, folder: str) -> list[tuple[str, float]]:
        """As `OwnStore.folders`."""
        newest: dict[str, float] = {}
        for name, found in self._within(folder).items():
            inside, _, _ = name.partition("/")
            newest[inside] = max(newest.get(inside, 0.0), found.modified_ns / 1e9)
        return sorted(newest.items())

    def ask_all(self, question: Callable[[Asked], Given], about: Iterable[Asked]) -> list[Given]:
        """Some at the same time."""
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            return list(pool.map(question, about))

    def _within(self, folder: str) -> dict[str, Found]:
        """The objects below a folder, by their names in it."""
        listed = self._ask("listed", lambda objects: list(chain(*objects.list(folder or None))))
        return {each["path"].removeprefix(f"{folder}/"): _found(each) for each in listed}

    def _ask(self, done: str, request: Callable[[S3Store], Given], name: str | None = None) -> Given:
        """As `Connection.ask`."""
        return self.connection.ask(done, request, name)


@dataclass(frozen=True)
class Listing:
    """The objects of a bucket as they were when it was listed; what is read is read now.

    Attributes:
        bucket: The bucket.
        found: What was found, by name.
    """

    bucket: Bucket
    found: Mapping[str, Found]

    def __str__(self) -> str:
        return str(self.bucket)

    @property
    def root_problem(self) -> str | None:
        """As `Store.root_problem`."""
        return None if self.found else "holds no objects"

    def is_there(self, name: str) -> bool:
        """As `Store.is_there`."""
        return name in self.found

    def look(self, name: str) -> Found | None:
        """As `Store.look`."""
        return self.found.get(name)

    def read(self, name: str) -> bytes:
        """As `Store.read`."""
        if name not in self.found:
            raise FileNotFoundError(f"{self}/{name}")
        return self.bucket.read(name)

    def names(self, folder: str, most: int) -> tuple[list[str], bool]:
        """As `Store.names`."""
        inside = self._by_folder.get(_key(folder), [])
        return inside[:most], len(inside) > most

    def as_of_now(self, folders: Sequence[str] = ()) -> Listing:  # noqa: ARG002 - as of a bucket
        """The listing itself."""
        return self

    @cached_property
    def _by_folder(self) -> Mapping[str, list[str]]:
        folders: dict[str, list[str]] = {}
        for name in sorted(self.found):
            folders.setdefault(name.rpartition("/")[0], []).append(name)
        # Some tools leave an empty object where a folder would be.
        return {folder: [name for name in names if name not in folders] for folder, names in folders.items()}


def _all(objects: S3Store, folders: Sequence[str]) -> Iterator[ObjectMeta]:
    """All objects in folders, or without these in all. They are listed side by side: a request gives a thousand."""
    if not folders:
        top = objects.list_with_delimiter()
        yield from top["objects"]
        # Mostly years.
        folders = top["common_prefixes"]
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        for found in pool.map(lambda folder: list(chain(*objects.list(folder))), folders):
            yield from found


def _create(objects: S3Store, name: str, content: bytes) -> bool:
    """Put an object where there is none; whether there was none."""
    try:
        objects.put(name, content, mode="create")
    except AlreadyExistsError:
        return False
    return True


@cache
def _copies() -> Path:
    """Where this process keeps copies of objects, to its end at the latest."""
    folder = tempfile.mkdtemp(prefix="refinery-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _key(folder: str) -> str:
    """A folder as keys begin with it; the root's is empty."""
    return "" if folder == "." else folder


def _found(meta: Mapping[str, Any]) -> Found:
    return Found(meta["size"], int(meta["last_modified"].timestamp()) * 10**9, meta["e_tag"])
