"""The read copy: a second copy of the warehouse, for those who only read.

Here: renewing it, whole or not at all. Not here: when that is done, and where it lies (`Settings.read_copy`).

DuckDB lets one process write a file or many read it, so an analyst who has the warehouse open keeps every run
out of it. Of the copy there is a file for each state, none of which is ever written again:

    capacity.read.duckdb -> .capacity.read.duckdb/capacity.read.k3x7.duckdb

What readers open is a link, exchanged by one rename. It is not the file itself that is renamed: DuckDB 2.0
opens a file twice, once for its header and once for its blocks, and a rename between the two would mix two
states; a link it follows once, before both.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from refinery_assets.feed.atomic_write import sync_folder

GRACE_SECONDS = 10.0
"""How long a state stays after it was replaced: a reader may have followed the link and not opened it yet."""

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
    same = (original.st_size, original.st_mtime_ns) == (found.st_size, found.st_mtime_ns)
    return same and not _logs(warehouse)


def renew_read_copy(warehouse: Path, copy: Path) -> int | None:
    """Give readers what the warehouse holds now, unless the copy is current.

    Call it when the connection that wrote to the warehouse is closed, and while this process has no other:
    closing a file ends every lock that the process has on it, DuckDB's own as well.

    Returns:
        The bytes copied; None when the copy was current.

    Raises:
        ReadCopyError: The copy could not be renewed; the message says why, and what to do.
    """
    try:
        _remove_replaced(copy)
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
            if os.path.lexists(copy) and _state(copy) is None:
                raise ReadCopyError(
                    copy,
                    "something that the refinery did not make is there",
                    "Move it away, or set REFINERY_READ_COPY to another place",
                )
            # Under the lock to the end, so that no copy of an older state can replace one of a newer.
            return _replace(source, copy)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        raise ReadCopyError(
            copy,
            f"{error.strerror or error}{place}",
            f"See to the rights and the room in {copy.parent}, or set REFINERY_READ_COPY to another place",
        ) from error


def _states(copy: Path) -> Path:
    """The folder of the files that the link leads to, one after the other."""
    return copy.with_name(f".{copy.name}")


def _state(copy: Path) -> Path | None:
    """The file that the link leads to; None when there is no link of ours."""
    if not copy.is_symlink():
        return None
    state = copy.parent / copy.readlink()
    return state if state.parent == _states(copy) else None


def _logs(file: Path) -> list[Path]:
    places = [file.with_name(file.name + ending) for ending in _LOGS]
    return [place for place in places if place.exists()]


def _keep_writers_out(source: BinaryIO, warehouse: Path, copy: Path) -> None:
    """Take the lock that a reading DuckDB takes: others may read meanwhile, nobody may write."""
    try:
        fcntl.lockf(source, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise ReadCopyError(
            copy,
            f"another process is writing to the warehouse {warehouse}",
            "If that is not a run, close the file there",
        ) from error


def _replace(source: BinaryIO, copy: Path) -> int:
    states = _states(copy)
    if not states.is_dir():
        states.mkdir(parents=True, exist_ok=True)
        # Who may read is up to the files in it.
        states.chmod(0o755)
    # DuckDB names a database by its file, up to the first dot: by either name the copy is the same database.
    descriptor, name = tempfile.mkstemp(prefix=f"{copy.stem}.", suffix=copy.suffix, dir=states)
    new, link = Path(name), Path(f"{name}.link")
    try:
        with os.fdopen(descriptor, "wb") as target:
            # Distinguishes a renewal in progress from one that was killed.
            fcntl.flock(target, fcntl.LOCK_EX)
            size = _copy_file(source, target)
            # On the disk before anybody sees it: after a loss of power, size and time alone would call an
            # empty file current.
            os.fsync(target.fileno())
            sync_folder(states)
            link.symlink_to(Path(states.name) / new.name)
            # DuckDB before 1.5 keeps a log beside the link and not beside the file. Changes that somebody
            # forced into the old state would keep it from opening the new one.
            for log in _logs(copy):
                log.unlink(missing_ok=True)
            if (replaced := _state(copy)) is not None and replaced.exists():
                # From now on its time says when it was replaced.
                os.utime(replaced)
            link.replace(copy)
    except BaseException:
        for unfinished in (link, new):
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
        raise
    sync_folder(copy.parent)
    return size


def _copy_file(source: BinaryIO, target: BinaryIO) -> int:
    """Copy bytes, rights and times."""
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
    original = os.fstat(source.fileno())
    # Whoever may read the warehouse may read the copy. Nobody may write to it: opened for writing by mistake,
    # it would shut the other readers out.
    mode = stat.S_IMODE(original.st_mode) & ~_ANY_WRITE
    try:
        os.fchown(target.fileno(), -1, original.st_gid)
    except PermissionError:
        # Not a member of that group, so its rights would go to another one.
        mode &= ~stat.S_IRWXG
    os.fchmod(target.fileno(), mode)
    os.utime(target.fileno(), ns=(original.st_atime_ns, original.st_mtime_ns))
    return original.st_size


def _remove_replaced(copy: Path) -> None:
    """Delete what was replaced a while ago, and what renewals left behind that were killed.

    Whoever has such a file open goes on reading it.
    """
    states = _states(copy)
    if not states.is_dir():
        return
    current = _state(copy)
    for old in states.iterdir():
        # What cannot be deleted takes room and does no harm.
        with suppress(OSError):
            if old == current or time.time() - old.lstat().st_mtime < GRACE_SECONDS:
                continue
            if old.is_symlink():
                old.unlink()
                continue
            with old.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                old.unlink()
