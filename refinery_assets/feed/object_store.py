"""Files in an object store that speaks S3: AWS, Cloudflare R2, MinIO, SeaweedFS and others.

Keys, endpoint and region come from the environment, in the variables that all tools for S3 take (AWS_ACCESS_KEY_ID,
AWS_ENDPOINT_URL and so on). Here: objects as a `Store`, and what a failure of the store is called. Not here: what is in
the objects.
"""

from __future__ import annotations

import atexit
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import S3Store

from refinery_assets.contract.places import ObjectPrefix
from refinery_assets.feed.atomic_write import atomic_write
from refinery_assets.feed.store import Found, StoreError, UnreadableError

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, RetryConfig

Asked = TypeVar("Asked")
Given = TypeVar("Given")

# Of these the library takes the first that is set.
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"

# A run waits for a store that does not answer for a minute at the most; a read that goes on is not cut off.
_CLIENT: ClientConfig = {"connect_timeout": "5s", "read_timeout": "20s", "timeout": "15m"}
_RETRIES: RetryConfig = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5)},
}
_REQUESTS_AT_ONCE = 8
# Holds a footer with the stats of a month; a longer one is asked for once more.
_FOOTER_BYTES = 2**16
_FOOTER_END = 8
_NOTHING_IN_RANGE = 416
_FORBIDDEN = frozenset({401, 403})
# Where the library looks for keys when the environment has none: what machines and containers of AWS are told.
_METADATA_SERVICES = ("169.254.169.254", "169.254.170.2", "169.254.170.23")
_LIBRARYS_OWN = (BaseError, OSError, ValueError)


class DeniedError(StoreError):
    """The keys are good, and may not do this."""


def open_bucket(place: ObjectPrefix, variable: str) -> Bucket:
    """The store at a place; connections are shared by all that open it in this process.

    Raises:
        StoreError: The endpoint is no web address.
    """
    return Bucket(place, variable, _connect(place, frozenset(_aws_variables().items())))


def _aws_variables() -> dict[str, str]:
    """What the library reads of the environment."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_") and value}


def _endpoint(variables: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable that names the server, and the address; None where it is that of AWS."""
    return next(((name, variables[name]) for name in _ENDPOINTS if name in variables), None)


@lru_cache(maxsize=8)
def _connect(place: ObjectPrefix, variables: frozenset[tuple[str, str]]) -> S3Store:
    options = _CLIENT
    if endpoint := _endpoint(dict(variables)):
        name, address = endpoint
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise StoreError(f"{name} is '{address}'; expected an address that begins with http:// or https://.")
        options = {**_CLIENT, "allow_http": parts.scheme == "http"}
    return S3Store(place.bucket, prefix=place.prefix or None, client_options=options, retry_config=_RETRIES)


@dataclass(frozen=True)
class Answer:
    """What an error of the library says of the server's answer.

    Attributes:
        status: The HTTP status; None where there was no answer.
        code: The code of S3, such as NoSuchBucket.
        attempts: How often it was asked.
        lacks_keys: Whether there was nothing to sign the request with.
    """

    status: int | None
    code: str | None
    attempts: int
    lacks_keys: bool

    @classmethod
    def read(cls, error: Exception) -> Answer:
        """Read the error's text, which is all that the library gives."""
        text = str(error).partition("\n\nDebug source")[0]
        status = re.search(r"status code: (\d{3})", text)
        code = re.search(r"<Code>(\w+)</Code>", text)
        retries = re.search(r"after (\d+) retries", text)
        return cls(
            status=int(status[1]) if status else None,
            code=code[1] if code else None,
            attempts=int(retries[1]) + 1 if retries else 1,
            lacks_keys=any(address in text for address in _METADATA_SERVICES),
        )

    @property
    def told(self) -> str:
        """Status and code, as far as there are."""
        return " ".join(str(each) for each in (self.status, self.code) if each is not None)


@dataclass(frozen=True)
class Bucket:
    """The objects below a prefix, as a `Store`.

    Attributes:
        place: The bucket and the prefix.
        variable: The setting that names it.
        objects: The connection to it.
    """

    place: ObjectPrefix
    variable: str
    objects: S3Store = field(compare=False)

    def __str__(self) -> str:
        return str(self.place)

    @property
    def root_problem(self) -> str | None:
        """As `Store.root_problem`."""
        first = self._ask("listed", lambda: next(iter(self.objects.list(chunk_size=1)), None))
        return None if first else "holds no objects"

    def is_there(self, name: str) -> bool:
        """As `Store.is_there`."""
        return self.look(name) is not None

    def look(self, name: str) -> Found | None:
        """As `Store.look`."""
        try:
            return _found(self._ask("read", lambda: self.objects.head(name), name))
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
        inside = sorted(name for name in self._within(folder) if "/" not in name)
        return [f"{folder}/{name}" for name in inside[:most]], len(inside) > most

    def as_of_now(self) -> Listing:
        """All objects, listed once: to ask for each would take as many requests as there are."""
        return Listing(self, self._ask("listed", lambda: {each["path"]: _found(each) for each in self._all()}))

    def read_back(self, name: str) -> bytes:
        """As `OwnStore.read_back`."""
        content: bytes = self._ask("read", lambda: self.objects.get(name).bytes().to_bytes(), name)
        return content

    def write(self, name: str, content: bytes) -> None:
        """As `OwnStore.write`: an object is replaced whole, and one that did not arrive whole is none."""
        self._ask("written", lambda: self.objects.put(name, content), name)

    @contextmanager
    def writing(self, name: str) -> Iterator[io.BytesIO]:
        """As `OwnStore.writing`."""
        whole = io.BytesIO()
        yield whole
        self.write(name, whole.getvalue())

    def footer(self, name: str) -> io.BytesIO:
        """The end of the object, which readers of Parquet begin with."""
        end = self._end(name, _FOOTER_BYTES)
        if len(end) == _FOOTER_BYTES:
            length = int.from_bytes(end[-_FOOTER_END : -_FOOTER_END // 2], "little") + _FOOTER_END
            if length > _FOOTER_BYTES:
                end = self._end(name, length)
        return io.BytesIO(end)

    def _end(self, name: str, size: int) -> bytes:
        def request() -> bytes:
            try:
                found = self.objects.get(name, options={"range": {"suffix": size}})
            except BaseError as error:
                if Answer.read(error).status == _NOTHING_IN_RANGE:
                    return b""
                raise
            return bytes(found.bytes())

        return self._ask("read", request, name)

    def path_of(self, name: str) -> Path:
        """As `OwnStore.path_of`."""
        return _copies() / self.place.bucket / self.place.prefix / name

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
            self._ask("removed", lambda: self.objects.delete(name), name)

    def remove_folder(self, folder: str) -> None:
        """As `OwnStore.remove_folder`."""
        with suppress(StoreError):
            names = [f"{folder}/{name}" for name in self._within(folder)]
            self._ask("removed", lambda: self.objects.delete(names), folder)

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
        listed = self._ask("listed", lambda: list(chain(*self.objects.list(folder))))
        return {each["path"].removeprefix(f"{folder}/"): _found(each) for each in listed}

    def _all(self) -> Iterator[ObjectMeta]:
        """All objects below the prefix. Folders, mostly years, are listed side by side: a page has a thousand."""
        top = self.objects.list_with_delimiter()
        yield from top["objects"]
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            for found in pool.map(lambda folder: list(chain(*self.objects.list(folder))), top["common_prefixes"]):
                yield from found

    def _ask(self, done: str, request: Callable[[], Given], name: str | None = None) -> Given:
        """Send a request, and tell in a sentence what goes wrong.

        Args:
            done: What is done to the object or the prefix, for messages.
            request: Sends it.
            name: The object that it is for.
        """
        try:
            return request()
        except _LIBRARYS_OWN as error:
            raise self._trouble(error, done, name) from error

    def _trouble(self, error: Exception, done: str, name: str | None) -> Exception:
        """What to raise instead of an error of the library."""
        answer = Answer.read(error)
        if name is not None and isinstance(error, FileNotFoundError) and answer.code != "NoSuchBucket":
            return FileNotFoundError(f"{self}/{name}")
        what = f"{self}/{name}" if name else str(self)
        kind = DeniedError if answer.code == "AccessDenied" else StoreError
        return kind(f"{what} could not be {done}: {self._cause(answer)}, then run again.")

    def _cause(self, answer: Answer) -> str:
        """What went wrong, and what to check."""
        name, server = _endpoint(_aws_variables()) or ("AWS_REGION", "AWS S3")
        if answer.code == "NoSuchBucket":
            return f"{server} has no bucket {self.place.bucket}; create it, or correct {self.variable}"
        if answer.lacks_keys:
            return f"there are no keys for it; set {_KEYS}"
        if answer.status in _FORBIDDEN:
            return (
                f"{server} refused the keys ({answer.told}); check {_KEYS}, and what they may do in the bucket of "
                f"{self.variable}"
            )
        if answer.status is not None:
            return f"{server} answered with {answer.told}; look at its log, check AWS_REGION and {self.variable}"
        times = f" {answer.attempts} times" if answer.attempts > 1 else ""
        return f"{server} was tried{times} and did not answer, or broke off; see that it runs and check {name}"


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
        inside = self._by_folder.get(folder.removeprefix(".").strip("/"), [])
        return inside[:most], len(inside) > most

    def as_of_now(self) -> Listing:
        """The listing itself."""
        return self

    @cached_property
    def _by_folder(self) -> Mapping[str, list[str]]:
        folders: dict[str, list[str]] = {}
        for name in sorted(self.found):
            folders.setdefault(name.rpartition("/")[0], []).append(name)
        # Some tools leave an empty object where a folder would be.
        return {folder: [name for name in names if name not in folders] for folder, names in folders.items()}


@cache
def _copies() -> Path:
    """Where this process keeps copies of objects, to its end at the latest."""
    folder = tempfile.mkdtemp(prefix="refinery-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _found(meta: Mapping[str, Any]) -> Found:
    return Found(meta["size"], int(meta["last_modified"].timestamp()) * 10**9, meta["e_tag"])
