"""The read copy: a second file with all that the warehouse holds, for those who only read.

Here: renewing it, whole or not at all. Not here: when that is done, and where it lies (`Settings.read_copy`).

DuckDB lets one process write a file or many read it, so an analyst who has the warehouse open keeps every run
out of it. The copy is a file of its own: it is replaced by one rename, and whoever has the old one open
keeps reading that.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_CHUNK_BYTES = 2**20
_ANY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
# The file system cannot copy inside the kernel, or not between these two places.
_COPY_THE_PLAIN_WAY = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS}
# What DuckDB has yet to write into the file lies in these, beside it.
_LOGS = (".wal", ".wal.checkpoint", ".wal.recovery")


class ReadCopyError(Exception):
    """The read copy was not renewed; the older one, if any, stays, and the warehouse is as it was."""

    def __init__(self, copy: Path, why: str, recovery: str) -> None:
        super().__init__(f"The read copy {copy} was not renewed: {why}. {recovery}; the next run renews it.")


def is_current(warehouse: Path, copy: Path) -> bool:
    """Whether the copy holds what the warehouse holds: it has its size and its time of last change.

    Raises:
        OSError: One of them cannot be looked at.
    """
    try:
        original, found = warehouse.stat(), copy.stat()
    except FileNotFoundError:
        return False
    return (
        stat.S_ISREG(found.st_mode)
        and (original.st_size, original.st_mtime_ns) == (found.st_size, found.st_mtime_ns)
        and not _logs(warehouse)
    )


def renew_read_copy(warehouse: Path, copy: Path) -> int | None:
    """Put a copy of the warehouse in the place of the older one, unless that is current.

    Call it when the connection that wrote to the warehouse is closed, and while this process has no other:
    closing a file ends every lock that the process has on it, DuckDB's own as well.

    Returns:
        The bytes copied; None when the copy was current.

    Raises:
        ReadCopyError: The copy could not be renewed; the message is one sentence for the operator.
    """
    try:
        if is_current(warehouse, copy):
            return None
        with warehouse.open("rb") as source:
            _keep_writers_out(source, warehouse, copy)
            if logs := _logs(warehouse):
                raise ReadCopyError(
                    copy,
                    f"{logs[0]} holds changes that are yet to be written into the warehouse",
                    "The next run that opens the warehouse writes them",
                )
            _demand_a_free_place(copy)
            # Under the lock to the end, so that no copy of an older state can replace one of a newer.
            return _replace(source, copy)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        raise ReadCopyError(
            copy,
            f"{error.strerror or error}{place}",
            f"See to the rights and the room in {copy.parent}, or set REFINERY_READ_COPY to another place",
        ) from error


def _logs(warehouse: Path) -> list[Path]:
    places = [warehouse.with_name(warehouse.name + ending) for ending in _LOGS]
    return [place for place in places if place.exists()]


def _keep_writers_out(source: BinaryIO, warehouse: Path, copy: Path) -> None:
    """Take the lock that a reading DuckDB takes: others may read meanwhile, nobody may write."""
    try:
        fcntl.lockf(source, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise ReadCopyError(
            copy,
            f"another process is writing to the warehouse {warehouse}",
            "If that is no run, close the file there",
        ) from error


def _demand_a_free_place(copy: Path) -> None:
    """Refuse to replace what is not a read copy: a read copy is a file, and nobody may write to it."""
    with suppress(FileNotFoundError):
        found = copy.stat().st_mode
        what = "something other than a file" if not stat.S_ISREG(found) else "a file that may be written to"
        if not stat.S_ISREG(found) or found & _ANY_WRITE:
            raise ReadCopyError(
                copy,
                f"{what} is there, which is not a copy that the refinery made",
                "Move it away, or set REFINERY_READ_COPY to another place",
            )


def _replace(source: BinaryIO, copy: Path) -> int:
    copy.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(copy)
    descriptor, name = tempfile.mkstemp(prefix=f".{copy.name}.", suffix=".partial", dir=copy.parent)
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as target:
            # The lock tells a renewal at work from one that was killed.
            fcntl.flock(target, fcntl.LOCK_EX)
            _copy_bytes(source, target)
            original = os.fstat(source.fileno())
            _take_over_rights(target, original)
            os.utime(target.fileno(), ns=(original.st_atime_ns, original.st_mtime_ns))
            # On the disk before it has the name: after a loss of power, size and time alone would call an
            # empty file current.
            os.fsync(target.fileno())
            # Changes that somebody made to the old copy; DuckDB would refuse to open the new one with them.
            for log in _logs(copy):
                log.unlink(missing_ok=True)
            beside.replace(copy)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    folder = os.open(copy.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return original.st_size


def _copy_bytes(source: BinaryIO, target: BinaryIO) -> None:
    if sys.platform == "linux":
        # Without a detour through this process; where the file system can, both files share their blocks.
        try:
            while os.copy_file_range(source.fileno(), target.fileno(), sys.maxsize):
                pass
        except OSError as error:
            if error.errno not in _COPY_THE_PLAIN_WAY:
                raise
    shutil.copyfileobj(source, target, _CHUNK_BYTES)
    target.flush()


def _take_over_rights(target: BinaryIO, original: os.stat_result) -> None:
    """Whoever may read the warehouse may read the copy; nobody may write to it.

    Opened for writing by mistake, it would shut out the other readers.
    """
    mode = stat.S_IMODE(original.st_mode) & ~_ANY_WRITE
    try:
        os.fchown(target.fileno(), -1, original.st_gid)
    except PermissionError:
        # Not a member of that group, so its rights would go to another one.
        mode &= ~stat.S_IRWXG
    os.fchmod(target.fileno(), mode)


def _remove_leftovers(copy: Path) -> None:
    """Delete what renewals left behind that were killed."""
    for leftover in copy.parent.glob(f".{glob.escape(copy.name)}.*.partial"):
        # One that cannot be deleted takes room and does no harm.
        with suppress(OSError), leftover.open("rb") as file:
            # A renewal that has just begun may not have its lock yet.
            if os.fstat(file.fileno()).st_size:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
