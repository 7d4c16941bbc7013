"""The way to an object store: how it is reached, and what a failure of it is called.

Keys, endpoint and region come from the environment, in the variables that all tools for S3 take (AWS_ACCESS_KEY_ID,
AWS_ENDPOINT_URL and so on). Here: the connection, and the sentence that an error of the library becomes. Not here: what
is done with objects (`object_store.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import S3Store

from refinery_assets.contract.places import ObjectPrefix
from refinery_assets.feed.store import StoreError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

Given = TypeVar("Given")

# Of these the library takes the first that is set.
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
"""The variables of the keys, in a message."""

# A run waits about a minute for a store that does not answer; a read that goes on is not cut off.
_CLIENT: ClientConfig = {"connect_timeout": "5s", "read_timeout": "20s", "timeout": "15m"}
_RETRIES: RetryConfig = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5)},
}
_FORBIDDEN = frozenset({401, 403})
# Where the library looks for keys when the environment has none: the metadata services of AWS.
_METADATA_SERVICES = ("169.254.169.254", "169.254.170.2", "169.254.170.23")
_BAD_NAME = re.compile(r"invalid path|parse path|parsing path", re.IGNORECASE)
_LIBRARYS_OWN = (BaseError, OSError, ValueError)


class DeniedError(StoreError):
    """The keys are good, and may not do this."""


@dataclass(frozen=True)
class Connection:
    """The way to the objects below a prefix.

    Attributes:
        place: The bucket and the prefix.
        variable: The setting that names it.
        objects: The library's store.
    """

    place: ObjectPrefix
    variable: str
    objects: S3Store = field(compare=False)

    @classmethod
    def open(cls, place: ObjectPrefix, variable: str) -> Connection:
        """Prepare the way; nothing is sent yet, and all that ask for a place share what is open to it.

        Raises:
            StoreError: The endpoint is no web address.
        """
        return cls(place, variable, _connect(place, frozenset(aws_variables().items())))

    def ask(self, done: str, request: Callable[[S3Store], Given], name: str | None = None) -> Given:
        """Send a request; what goes wrong is raised as a sentence.

        Args:
            done: What is done to the object or the prefix, for messages.
            request: Sends it.
            name: The object that it is for.

        Raises:
            FileNotFoundError: There is no such object.
            StoreError: It cannot be done.
        """
        try:
            return request(self.objects)
        except _LIBRARYS_OWN as error:
            raise self._trouble(error, done, name) from error

    def _trouble(self, error: Exception, done: str, name: str | None) -> Exception:
        """What to raise instead of an error of the library."""
        answer = Answer.read(error)
        what = f"{self.place}/{name}" if name else str(self.place)
        if name is not None and isinstance(error, FileNotFoundError) and answer.code != "NoSuchBucket":
            return FileNotFoundError(what)
        kind = DeniedError if answer.code == "AccessDenied" else StoreError
        return kind(f"{what} could not be {done}: {self._cause(answer)}, then run again.")

    def _cause(self, answer: Answer) -> str:
        """What went wrong, and what to check."""
        name, server = endpoint(aws_variables()) or ("AWS_REGION", "AWS S3")
        times = f" {answer.attempts} times" if answer.attempts > 1 else ""
        cause = f"{server} was tried{times} and did not answer, or broke off; see that it runs and check {name}"
        if answer.code == "NoSuchBucket":
            cause = f"{server} has no bucket {self.place.bucket}; create it, or correct {self.variable}"
        elif answer.lacks_keys:
            cause = f"there are no keys for it; set {KEYS}"
        elif answer.status in _FORBIDDEN:
            cause = (
                f"{server} refused the keys ({answer.summary}); check {KEYS}, and what they may do in the bucket of "
                f"{self.variable}"
            )
        elif answer.status is not None:
            cause = f"{server} answered with {answer.summary}; look at its log, check AWS_REGION and {self.variable}"
        elif answer.bad_name:
            cause = f"an object there has a name that cannot be used ({answer.bad_name}); rename it"
        return cause


def aws_variables() -> dict[str, str]:
    """What the library reads of the environment."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_") and value}


def endpoint(variables: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable that names the server, and the address; None where it is that of AWS.

    Raises:
        StoreError: It is no web address.
    """
    for name in _ENDPOINTS:
        if name in variables:
            parts = urlsplit(variables[name])
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise StoreError(
                    f"{name} is '{variables[name]}'; expected an address that begins with http:// or https://."
                )
            return name, variables[name]
    return None


@lru_cache(maxsize=8)
def _connect(place: ObjectPrefix, variables: frozenset[tuple[str, str]]) -> S3Store:
    options = _CLIENT
    if server := endpoint(dict(variables)):
        options = {**_CLIENT, "allow_http": urlsplit(server[1]).scheme == "http"}
    return S3Store(place.bucket, prefix=place.prefix or None, client_options=options, retry_config=_RETRIES)


@dataclass(frozen=True)
class Answer:
    """What an error of the library says of the server's answer.

    Attributes:
        status: The HTTP status; None where there was no answer.
        code: The code of S3, such as NoSuchBucket.
        attempts: How often it was asked.
        lacks_keys: Whether there was nothing to sign the request with.
        bad_name: What is wrong with the name of an object; None where nothing is.
    """

    status: int | None
    code: str | None
    attempts: int
    lacks_keys: bool
    bad_name: str | None

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
            bad_name=text.partition("\n")[0] if _BAD_NAME.search(text) else None,
        )

    @property
    def summary(self) -> str:
        """Status and code, as far as there are."""
        return " ".join(str(each) for each in (self.status, self.code) if each is not None)
