"""What a file that the demo wrote is known by, to distinguish it from one that somebody has changed.

Not here: which files have a stamp, and what becomes of those that do not fit theirs (`demo_folder.py`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple


class Stamp(NamedTuple):
    """Size, time of change and digest of a file.

    Attributes:
        size: Its size.
        changed_at: When it was changed; where that is another time, it may still have been copied.
        digest: Of its content; empty in the list of an older version.
    """

    size: int
    changed_at: int
    digest: str = ""

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The stamp of a file that is there."""
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns, _digest(path))

    def fits(self, path: Path) -> bool:
        """Whether the file is the one that was stamped, or a copy of it."""
        found = path.stat()
        if found.st_size != self.size:
            return False
        return found.st_mtime_ns == self.changed_at or _digest(path) == self.digest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
