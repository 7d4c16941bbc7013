"""Where files may lie: in a folder of this machine, or below a prefix of an object store's bucket.

Here: the addresses. Not here: what is done there (`feed/store.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_SCHEME = "s3://"
# Some stores still have buckets with capitals and underscores; none has a letter that would need quoting.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


@dataclass(frozen=True)
class ObjectPrefix:
    """The objects of a bucket whose keys begin with a prefix.

    Attributes:
        bucket: The bucket.
        prefix: The prefix without a slash at either end; empty for the whole bucket.
    """

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> ObjectPrefix:
        """Read `s3://bucket/prefix`.

        Raises:
            ValueError: It is not of this form.
        """
        bucket, _, rest = text.removeprefix(_SCHEME).partition("/")
        prefix = rest.rstrip("/")
        is_plain = not prefix or not {"", ".", ".."} & set(prefix.split("/"))
        if not (cls.is_meant(text) and _BUCKET.fullmatch(bucket) and is_plain):
            raise ValueError(text)
        return cls(bucket, prefix)

    @staticmethod
    def is_meant(text: str) -> bool:
        """Whether the text names an object store."""
        return text.startswith(_SCHEME)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.prefix}".rstrip("/")


Place = Path | ObjectPrefix
"""A folder of this machine, or a prefix of a bucket."""


def place_of(text: str) -> Place:
    """The place that a setting names.

    Raises:
        ValueError: It begins like an object store's address and is none.
    """
    return ObjectPrefix.parse(text) if ObjectPrefix.is_meant(text) else Path(text)
