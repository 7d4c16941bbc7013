"""Atomic writes: a reader of a path sees the old file or the new one, whole, even after a power cut.

    atomic_write(path, content)            # where the bytes are at hand
    with atomic_path(path) as temporary:   # where a library writes a file by itself
        frame.write_parquet(temporary)

Here: how any file of the refinery comes into its place. Not here: what is in it.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SUFFIX = ".partial"

# What a killed process left must go some day, and what another process is writing must stay. Process numbers
# cannot tell the two apart, because containers and machines share folders. Age can: a run is ended after half
# a day (max_runtime_seconds in dagster.yaml), so nothing that is a day old is still being written.
_STALE_SECONDS = 24 * 60 * 60


def atomic_write(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all.

    Raises:
        OSError: The folder or the file cannot be written; what stood there before still does.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_if_changed(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically, unless that is what stands there.

    Raises:
        OSError: The folder or the file cannot be written; what stood there before still does.
    """
    if not path.is_file() or path.read_bytes() != content:
        atomic_write(path, content)


@contextmanager
def atomic_path(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """Give a temporary path to write to; on leaving, its file replaces `path`.

    The name is used by nobody else, so that any number of processes may write one path at a time: the last
    one to finish wins. When the block raises, the temporary file goes and `path` stays as it was.

    Args:
        path: The file to replace; its folder is made if it is missing.
        beside: Beside what to put the temporary file, on the same file system; None: beside `path`. Needed
            where readers take every file that they find in a folder.

    Raises:
        OSError: The folder or the file cannot be written; what stood there before still does.
    """
    near = beside or path
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(near)
    temporary = near.with_name(f".{near.name}.{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}")
    try:
        yield temporary
        # The data first: a rename that outlives a power cut must not lead to a file that does not.
        _sync(temporary)
        temporary.replace(path)
    finally:
        # Gone already after the rename. If it cannot be removed, what went wrong first is what to report.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _remove_stale(near: Path) -> None:
    """Remove what killed writers of the same path left; what cannot be removed does no harm."""
    with suppress(OSError), os.scandir(near.parent) as entries:
        for entry in entries:
            if entry.name.startswith(f".{near.name}.") and entry.name.endswith(_SUFFIX):
                with suppress(OSError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE_SECONDS:
                        Path(entry).unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, so that a rename in it outlives a power cut."""
    try:
        _sync(folder)
    except OSError as error:
        # Some network file systems cannot sync a folder, and order a rename by themselves.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
