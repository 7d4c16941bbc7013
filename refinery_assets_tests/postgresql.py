"""A real PostgreSQL for tests: a server of its own on a Unix socket in a new folder, ended with the tests.

Here: starting and ending it. Not here: what is stored in it.
"""

from __future__ import annotations

import os
import shutil
import signal
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


def _as_user(*command: str) -> list[str]:
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


@contextmanager
def postgresql_server() -> Iterator[Path]:
    """Run a server; gives the folder of its socket; who connects by it needs no password, and `ADMIN` is superuser."""
    initdb, postgres = program("initdb"), program("postgres")
    # Not below pytest's folders, which nobody else may enter; and a socket's path has to be short.
    with tempfile.TemporaryDirectory(prefix="refinery-pg-") as folder:
        data = Path(folder, "data")
        data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
            shutil.chown(data, "postgres")
        made = _as_user(initdb, "-D", str(data), "-A", "trust", "-U", ADMIN, "--no-sync")
        subprocess.run(made, cwd=folder, check=True, capture_output=True, timeout=_SECONDS)
        command = _as_user(postgres, "-D", str(data), "-k", folder, "-h", "", "-c", "fsync=off")
        server = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            assert server.stderr is not None
            # Its log goes on into the pipe; the little that follows fits.
            assert any("ready to accept connections" in line for line in server.stderr)
            yield Path(folder)
        finally:
            # Of root it is runuser that was started, and its child that ends.
            os.killpg(server.pid, signal.SIGINT)
            server.wait(_SECONDS)
            if server.stderr is not None:
                server.stderr.close()


def create_database(socket: Path, name: str) -> None:
    """Make an empty database."""
    run_sql(socket, "postgres", f'CREATE DATABASE "{name}"')


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
    return {
        "DAGSTER_PG_URL": f"postgresql+psycopg2://{user}:{PASSWORD}@/{database}?host={socket}",
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
    }
