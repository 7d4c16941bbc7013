"""The read copy: readers and runs never wait for each other, and a copy that fails harms no publication."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import pytest

from refinery_assets.contract.columns import HOSTS, TABLES, VIEWS
from refinery_assets.contract.contract_file import packaged_contract
from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets.warehouse.read_copy import GRACE_SECONDS, ReadCopyError, is_current, renew_read_copy
from refinery_assets.warehouse.tables import ensure_table
from refinery_assets.warehouse.views import make_views
from refinery_assets_tests.readers import MONTHS, publish, state

# REFINERY_READERS asks for more of them by hand, and for more publications with them.
READERS = int(os.environ.get("REFINERY_READERS", "8"))
PUBLICATIONS = 4 * READERS
PROCESSES = 2

PUT_ON_PATH = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}

RENEW = """
import resource, signal, sys
from pathlib import Path
from refinery_assets.warehouse.read_copy import ReadCopyError, renew_read_copy
if limit := int(sys.argv[3]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if sys.argv[4] == "dies":
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
try:
    renew_read_copy(Path(sys.argv[1]), Path(sys.argv[2]))
except ReadCopyError as error:
    sys.exit(str(error))
"""

WRITE_AND_DIE = """
import os, signal, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("CREATE TABLE scratch AS SELECT 1")
os.kill(os.getpid(), signal.SIGKILL)
"""

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reading")
print("held", flush=True)
sys.stdin.read()
"""

LOCK = """
import fcntl, sys
file = open(sys.argv[1], "rb")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""

RENEW_OFTEN = """
import os, sys
from pathlib import Path
from refinery_assets.warehouse.read_copy import renew_read_copy
for _ in range(20):
    os.utime(sys.argv[1])
    renew_read_copy(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """All months are published in it, by the publications 0 to 2."""
    path = tmp_path / "capacity.duckdb"
    for number in range(MONTHS):
        publish(path, number)
    return path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "capacity.read.duckdb"


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, env=PUT_ON_PATH, capture_output=True, text=True, check=False)


@contextmanager
def running(*command: object) -> Iterator[subprocess.Popen[str]]:
    """Another process that has said its first line; it ends when its input does."""
    with subprocess.Popen(
        [sys.executable, *map(str, command)],
        env=PUT_ON_PATH,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline()
        yield process
        process.stdin.close()


def state_of(file: Path) -> int:
    with duckdb.connect(file, read_only=True) as connection:
        return state(connection)


def states(copy: Path) -> list[Path]:
    """The files behind the link, the current one first."""
    current = copy.parent / copy.readlink()
    others = set(copy.with_name(f".{copy.name}").iterdir()) - {current}
    return [current, *sorted(others)]


def let_the_grace_end(file: Path) -> None:
    past = file.stat().st_mtime - GRACE_SECONDS
    os.utime(file, (past, past))


def test_a_disk_that_is_full_leaves_the_older_copy_and_is_told_in_one_sentence(warehouse: Path, copy: Path) -> None:
    renew_read_copy(warehouse, copy)
    publish(warehouse, 3)

    renewed = run(RENEW, warehouse, copy, warehouse.stat().st_size // 2, "lives")

    assert renewed.stderr == (
        f"The read copy {copy} was not renewed: File too large. See to the rights and the room in "
        f"{copy.parent}, or set REFINERY_READ_COPY to another place; the next run renews it.\n"
    )
    assert (state_of(copy), state_of(warehouse)) == (2, 3)
    assert len(states(copy)) == 1


def test_a_renewal_that_is_killed_leaves_the_older_copy_and_the_next_one_clears_up(warehouse: Path, copy: Path) -> None:
    renew_read_copy(warehouse, copy)
    publish(warehouse, 3)

    # The kernel ends it by a signal, in the middle of the file.
    killed = run(RENEW, warehouse, copy, warehouse.stat().st_size // 2, "dies")

    assert killed.returncode < 0
    _, left = states(copy)
    assert left.stat().st_size == warehouse.stat().st_size // 2
    assert state_of(copy) == 2
    let_the_grace_end(left)
    renew_read_copy(warehouse, copy)
    assert state_of(copy) == 3
    assert left not in states(copy)


def test_a_renewal_that_is_at_work_in_another_process_is_left_alone(warehouse: Path, copy: Path) -> None:
    renew_read_copy(warehouse, copy)
    unfinished = states(copy)[0].with_name("capacity.read.abc.duckdb")
    unfinished.write_bytes(b"half")
    let_the_grace_end(unfinished)

    with running("-c", LOCK, unfinished):
        renew_read_copy(warehouse, copy)
        assert unfinished.exists()

    renew_read_copy(warehouse, copy)
    assert not unfinished.exists()


@contextmanager
def without_the_right_to_write(folder: Path) -> Iterator[None]:
    """Take away the right to make files in a folder, from the superuser too where the file system can."""
    if os.geteuid() == 0:
        if subprocess.run(["chattr", "+i", str(folder)], check=False, capture_output=True).returncode:
            pytest.skip("the superuser may write everywhere here: no immutable attribute")
        try:
            yield
        finally:
            subprocess.run(["chattr", "-i", str(folder)], check=True)
    else:
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)


def test_a_folder_that_may_not_be_written_is_named(warehouse: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "capacity.duckdb"
    renew_read_copy(warehouse, copy)
    publish(warehouse, 3)

    with (
        without_the_right_to_write(copy.parent),
        pytest.raises(ReadCopyError, match=f"rights and the room in {copy.parent}, or set REFINERY_READ_COPY"),
    ):
        renew_read_copy(warehouse, copy)

    assert state_of(copy) == 2


def test_a_folder_in_the_copys_place_is_left_there(warehouse: Path, copy: Path) -> None:
    (copy / "mine").mkdir(parents=True)

    with pytest.raises(ReadCopyError, match="something that the refinery did not make is there"):
        renew_read_copy(warehouse, copy)

    assert (copy / "mine").is_dir()


@pytest.mark.parametrize("is_link", [False, True], ids=["a file", "a link to a file"])
def test_a_file_that_the_refinery_did_not_make_is_left_there(warehouse: Path, copy: Path, *, is_link: bool) -> None:
    mine = copy.with_name("mine.duckdb") if is_link else copy
    with duckdb.connect(mine) as connection:
        connection.execute("CREATE TABLE my_work AS SELECT 1 AS hours")
    if is_link:
        copy.symlink_to(mine)

    with pytest.raises(ReadCopyError, match="something that the refinery did not make is there"):
        renew_read_copy(warehouse, copy)

    with duckdb.connect(copy, read_only=True) as connection:
        assert connection.execute("FROM my_work").fetchall() == [(1,)]


def test_a_warehouse_that_is_not_there_is_named(tmp_path: Path, copy: Path) -> None:
    missing = tmp_path / "none.duckdb"

    with pytest.raises(ReadCopyError, match=rf"No such file or directory \({missing}\)"):
        renew_read_copy(missing, copy)

    assert not copy.exists()


def test_changes_that_a_killed_process_left_in_the_log_are_told_and_copied_after_the_next_run(
    warehouse: Path, copy: Path
) -> None:
    renew_read_copy(warehouse, copy)
    run(WRITE_AND_DIE, warehouse)

    assert not is_current(warehouse, copy)
    with pytest.raises(ReadCopyError, match=f"{warehouse}.wal holds changes that are yet to be written"):
        renew_read_copy(warehouse, copy)
    assert state_of(copy) == 2

    publish(warehouse, 3)
    renew_read_copy(warehouse, copy)
    with duckdb.connect(copy, read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM scratch").fetchall() == [(1,)]


def test_a_warehouse_that_another_process_is_writing_to_is_not_copied(warehouse: Path, copy: Path) -> None:
    with (
        running("-c", HOLD, warehouse, "writing"),
        pytest.raises(ReadCopyError, match=f"another process is writing to the warehouse {warehouse}"),
    ):
        renew_read_copy(warehouse, copy)


def test_a_reader_of_the_warehouse_does_not_hinder_the_copy(warehouse: Path, copy: Path) -> None:
    with running("-c", HOLD, warehouse, "reading"):
        renew_read_copy(warehouse, copy)

    assert state_of(copy) == 2


def test_what_somebody_wrote_into_the_copy_by_force_does_not_spoil_the_next_one(warehouse: Path, copy: Path) -> None:
    renew_read_copy(warehouse, copy)
    copy.chmod(0o600)
    run(WRITE_AND_DIE, copy)
    # Where older versions of DuckDB leave it.
    (log,) = copy.with_name(f".{copy.name}").glob("*.wal")
    log.replace(copy.with_name(f"{copy.name}.wal"))

    publish(warehouse, 3)
    renew_read_copy(warehouse, copy)

    assert state_of(copy) == 3
    assert list(copy.parent.rglob("*.wal")) == []


def test_whoever_may_read_the_warehouse_may_read_the_copy_and_nobody_may_write_to_it(
    warehouse: Path, copy: Path
) -> None:
    warehouse.chmod(0o664)
    renew_read_copy(warehouse, copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o444
    assert copy.stat().st_gid == warehouse.stat().st_gid

    warehouse.chmod(0o600)
    publish(warehouse, 3)
    renew_read_copy(warehouse, copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o400


def test_a_current_copy_is_not_renewed_and_a_missing_one_is_made(warehouse: Path, copy: Path) -> None:
    assert not is_current(warehouse, copy)
    assert renew_read_copy(warehouse, copy) == warehouse.stat().st_size
    made = states(copy)
    with duckdb.connect(warehouse) as connection:
        state(connection)

    assert renew_read_copy(warehouse, copy) is None
    assert states(copy) == made

    made[0].unlink()
    assert renew_read_copy(warehouse, copy) == warehouse.stat().st_size
    copy.unlink()
    assert renew_read_copy(warehouse, copy) == warehouse.stat().st_size
    assert state_of(copy) == 2


def test_a_state_stays_for_a_while_after_it_was_replaced_and_is_deleted_by_a_later_renewal(
    warehouse: Path, copy: Path
) -> None:
    renew_read_copy(warehouse, copy)
    (oldest,) = states(copy)
    for number in (3, 4):
        publish(warehouse, number)
        renew_read_copy(warehouse, copy)
    assert len(states(copy)) == 3

    let_the_grace_end(oldest)
    assert renew_read_copy(warehouse, copy) is None

    assert len(states(copy)) == 2
    assert oldest not in states(copy)


def test_a_copy_on_another_file_system_is_made_too(warehouse: Path) -> None:
    memory = Path("/dev/shm")  # noqa: S108 - a file system of its own is wanted
    if not memory.is_dir() or memory.stat().st_dev == warehouse.stat().st_dev:
        pytest.skip("there is no second file system here")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        copy = Path(folder) / "capacity.read.duckdb"
        renew_read_copy(warehouse, copy)
        assert copy.read_bytes() == warehouse.read_bytes()


def test_renewals_in_several_processes_at_once_leave_one_whole_copy(warehouse: Path, copy: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda _: run(RENEW_OFTEN, warehouse, copy), range(4)))

    assert [each.stderr for each in ended] == [""] * 4
    assert copy.read_bytes() == warehouse.read_bytes()
    assert all(each.read_bytes() == warehouse.read_bytes() for each in states(copy))


def test_the_views_are_in_the_copy(tmp_path: Path, copy: Path) -> None:
    warehouse = tmp_path / "capacity.duckdb"
    with duckdb.connect(warehouse) as connection:
        for table in (HOSTS, *TABLES):
            ensure_table(connection, table)
        connection.execute("INSERT INTO hosts (node_name) VALUES ('srv-1')")
        connection.execute(
            "INSERT INTO processed_data VALUES (TIMESTAMP '2024-05-01', 'srv-1', 'cpu', 42, 100, 8, false), "
            "(TIMESTAMP '2024-05-02', 'srv-1', 'cpu', 42, 100, 16, false)"
        )
        make_views(connection, packaged_contract())

    renew_read_copy(warehouse, copy)

    with duckdb.connect(copy, read_only=True) as connection:
        for view in VIEWS:
            host = "node_name" if view.name == "host_inventory" else "host_id"
            assert connection.execute(f"SELECT DISTINCT {host} FROM {view.name}").fetchall() == [("srv-1",)]


@pytest.mark.slow
def test_readers_see_whole_publications_only_and_never_meet_a_lock_or_hold_one_against_a_run(
    warehouse: Path, copy: Path
) -> None:
    renew_read_copy(warehouse, copy)
    last = MONTHS - 1 + PUBLICATIONS
    with ExitStack() as stack:
        held = stack.enter_context(running("-c", HOLD_AND_ASK, copy))
        readers = [
            stack.enter_context(running("-m", "refinery_assets_tests.readers", copy, READERS // PROCESSES))
            for _ in range(PROCESSES)
        ]
        # Neither opening the warehouse nor renewing the copy is ever tried twice.
        for number in range(MONTHS, last + 1):
            publish(warehouse, number)
            assert renew_read_copy(warehouse, copy) == warehouse.stat().st_size
        seen = [json.loads(reader.communicate()[0]) for reader in readers]
        assert held.communicate()[0] == f"{MONTHS - 1}\n"

    assert [reader.returncode for reader in (held, *readers)] == [0] * (PROCESSES + 1)
    assert all(each["states"] > 1 for each in seen)
    assert state_of(copy) == last


def test_a_program_that_keeps_the_copy_open_finds_the_new_state_when_it_opens_the_copy_again(
    warehouse: Path, copy: Path
) -> None:
    renew_read_copy(warehouse, copy)
    with duckdb.connect(copy, read_only=True) as held:
        publish(warehouse, 3)
        renew_read_copy(warehouse, copy)

        assert state_of(copy) == 3
        assert state(held) == 2


HOLD_AND_ASK = """
import sys, duckdb
from refinery_assets_tests.readers import state
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    print(state(connection), flush=True)
    sys.stdin.read()
    print(state(connection))
"""
