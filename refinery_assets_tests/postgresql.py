"""A real PostgreSQL for tests: a server of its own on a Unix socket in a new folder, ended with the tests.

Here: starting and ending it. Not here: what is stored in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ADMIN = "admin"
_SECONDS = 60
PASSWORD = "asked-of-nobody"  # noqa: S105 - of a server that trusts its socket
"""What the URL has for a password."""


def program(name: str) -> str:
    """PostgreSQL's own programs; Debian keeps them off the path.

    They refuse to run as root, so root runs them as the user that the package brings.
    """
    packaged = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = str(packaged[-1]) if packaged else shutil.which(name)
    if found is None:
        pytest.skip(f"PostgreSQL's {name} is not installed here (Debian: apt-get install postgresql)")
    return found


def _run_as_user(folder: str, *command: str) -> None:
    if os.geteuid() == 0:
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no runuser")
        command = ("runuser", "-u", "postgres", "--", *command)
    # Not captured: a server that is started would hold the pipes open.
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=_SECONDS)


@contextmanager
def postgresql_server(*, durable: bool = False) -> Iterator[Path]:
    """Run a server; gives the folder of its socket; who connects by it needs no password, and `ADMIN` is superuser.

    Args:
        durable: Whether a commit waits for the disk, as everywhere but in tests.
    """
    initdb, control = program("initdb"), program("pg_ctl")
    # Not below pytest's folders, which nobody else may enter; and a socket's path has to be short.
    with tempfile.TemporaryDirectory(prefix="refinery-pg-") as folder:
        data = Path(folder, "data")
        data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
            shutil.chown(data, "postgres")
        _run_as_user(folder, initdb, "-D", str(data), "-A", "trust", "-U", ADMIN, "--no-sync")
        server = (control, "-D", str(data), "-w", "-l", str(Path(folder, "log")))
        fsync = "on" if durable else "off"
        _run_as_user(folder, *server, "-o", f"-k {folder} -h '' -c fsync={fsync}", "start")
        try:
            yield Path(folder)
        finally:
            _run_as_user(folder, *server, "-m", "fast", "stop")


def restart(socket: Path) -> None:
    """Restart the server as an administrator would, who waits for nobody."""
    control = (program("pg_ctl"), "-D", str(socket / "data"), "-w", "-l", str(socket / "log"))
    _run_as_user(str(socket), *control, "-m", "fast", "restart")


def create_database(socket: Path, name: str) -> None:
    """Make an empty database; without a Python client, which not every environment of the tests has."""
    run_tool(socket, "createdb", name)


def run_tool(socket: Path, name: str, *options: str) -> str:
    """Run one of PostgreSQL's own programs that connect; gives what it says.

    Raises:
        subprocess.CalledProcessError: It fails; `stderr` says why.
    """
    command = [program(name), "-h", str(socket), "-U", ADMIN, *options]
    return subprocess.run(command, cwd=socket, check=True, capture_output=True, text=True, timeout=_SECONDS).stdout


def run_psql(socket: Path, database: str, *options: str, user: str = ADMIN, password: str = "") -> str:
    """Run PostgreSQL's own client; gives what it says.

    Raises:
        subprocess.CalledProcessError: The server refuses; `stderr` says why.
    """
    command = [program("psql"), "-qXAt", "-v", "ON_ERROR_STOP=1", "-h", str(socket), "-U", user, *options, database]
    environment = os.environ | {"PGPASSWORD": password}
    done = subprocess.run(
        command, cwd=socket, env=environment, check=True, capture_output=True, text=True, timeout=_SECONDS
    )
    return done.stdout.strip()


def demand_passwords(socket: Path, *users: str) -> None:
    """Have the server ask these users for their passwords from now on."""
    rules = socket / "data" / "pg_hba.conf"
    asked = "".join(f"local all {user} scram-sha-256\n" for user in users)
    # The first rule that fits is the one that counts.
    rules.write_text(asked + rules.read_text(encoding="utf-8"), encoding="utf-8")
    run_psql(socket, "postgres", "-c", "SELECT pg_reload_conf()")


def run_sql(socket: Path, database: str, statement: str, *, user: str = ADMIN) -> list[tuple[Any, ...]]:
    """Execute a statement, and give back its rows.

    Raises:
        psycopg2.Error: The server refuses.
    """
    import psycopg2  # noqa: PLC0415 - an extra

    connection = psycopg2.connect(host=str(socket), user=user, dbname=database)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def dagster_variables(socket: Path, database: str, *, user: str = ADMIN) -> dict[str, str]:
    """The variables that `deploy/*/dagster.yaml` takes."""
    return {"DAGSTER_PG_URL": f"postgresql+psycopg2://{user}:{PASSWORD}@/{database}?host={socket}"}
