"""Who may do what in a lake whose catalog is in PostgreSQL, and that no password is left anywhere."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import dropwhile, takewhile
from pathlib import Path

import duckdb
import pytest

from refinery_assets.contract.columns import TABLES
from refinery_assets.contract.lake import Catalog, Lake
from refinery_assets.contract.settings import PROJECT_ROOT, Settings
from refinery_assets.warehouse.lake import open_lake
from refinery_assets.warehouse.lake_maintenance import maintain
from refinery_assets.warehouse.lake_snapshots import kept_publications
from refinery_assets.warehouse.lake_tables import make_lake
from refinery_assets.warehouse.lake_writers import locked
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.storage import WarehouseUnusableError
from refinery_assets.warehouse.tables import utc_now
from refinery_assets_tests.installation import Installation, install
from refinery_assets_tests.lakes import Postgres, publish_in_lake
from refinery_assets_tests.postgresql import ADMIN, create_database, demand_passwords, run_psql, run_tool
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, Sandbox

pytestmark = [pytest.mark.lake, pytest.mark.slow]

_ROLES = PROJECT_ROOT / "deploy" / "postgres" / "lake_roles.sql"
_PASSWORD = "lakes-s3cret"  # noqa: S105 - of a server that lives as long as the tests
_NOBODY = 65534


@dataclass(frozen=True)
class Roles:
    """A server with the roles of `lake_roles.sql`, a member of the analysts, and somebody else."""

    socket: Path

    def lake(self, user: str) -> Lake:
        return Lake(Catalog.POSTGRES, f"dbname=refinery host={self.socket} user={user}")


@pytest.fixture(scope="module")
def roles(postgres: Postgres) -> Roles:
    socket = postgres.socket
    run_psql(socket, "postgres", "-v", f"refinery={_PASSWORD}", "-f", str(_ROLES))
    run_psql(socket, "postgres", "-c", f"CREATE ROLE anna LOGIN PASSWORD '{_PASSWORD}' IN ROLE analysts")
    run_psql(socket, "postgres", "-c", "CREATE ROLE somebody LOGIN")
    demand_passwords(socket, "refinery", "anna")
    return Roles(socket)


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", _PASSWORD)


@contextmanager
def _shared_folder() -> Iterator[Path]:
    """A folder that everybody may read, for pytest's are closed to others."""
    with tempfile.TemporaryDirectory(prefix="refinery-lake-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def _without_right_to_write(folder: Path) -> Iterator[None]:
    """Do something as a user of this machine who may read a folder, and not write it."""
    if os.geteuid() == 0:
        os.seteuid(_NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
        return
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(modes[path] & ~0o222)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(modes[path])


def _fresh(roles: Roles, owner: str = "pg_database_owner") -> None:
    """Take the lake away that another test has made; the schema of the catalog's tables is its database owner's."""
    statements = f"DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION {owner}"
    run_psql(roles.socket, "refinery", "-c", statements)
    # What belongs to the schema went with it, and is made as the operator made it.
    again = _ROLES.read_text().partition("\\connect refinery\n")[2]
    run_psql(roles.socket, "refinery", "-c", again)


_WRITES = [
    "INSERT INTO waivers VALUES ('2024-01', 'x', 'why', 'me', now(), 'd', NULL)",
    "DELETE FROM processed_data WHERE month(ds) = 1",
    "DELETE FROM processed_data WHERE day(ds) = 1",
    "UPDATE processed_data SET y = 0",
    "CREATE TABLE own (a INT)",
    "DROP TABLE waivers",
    "CALL ducklake_expire_snapshots('lake', older_than => now()::TIMESTAMPTZ)",
    "CALL ducklake_delete_orphaned_files('lake', cleanup_all => true)",
]


@pytest.mark.usefixtures("password")
def test_the_writer_needs_no_superuser_and_an_analyst_reads_all_and_writes_nothing(
    sandbox: Sandbox, roles: Roles
) -> None:
    _fresh(roles)
    superuser = "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = 'refinery'"
    assert run_psql(roles.socket, "postgres", "-c", superuser) == "f"
    with _shared_folder() as shared:
        data, telemetry = shared / "lake", sandbox.settings.telemetry
        settings = replace(sandbox.settings, lake=roles.lake("refinery"), lake_data=data, telemetry=telemetry)
        assert make_lake(settings, sandbox.settings.warehouse).hosts == 20
        writer = replace(sandbox, settings=settings)
        assert writer.refine(JANUARY).success
        assert writer.refine(FEBRUARY).success
        assert maintain(settings).proved == [JANUARY, FEBRUARY]
        before = writer.processed()
        left_over = data / "processed_data" / "about_to_be_published.parquet"
        left_over.write_bytes(b"PAR1")
        files = sorted(data.rglob("*.parquet"))

        as_anna = replace(settings, lake=roles.lake("anna"))
        analyst = replace(sandbox, settings=as_anna)
        # The socket's folder is closed to other users of the machine, too.
        roles.socket.chmod(0o755)
        with _without_right_to_write(data):
            assert analyst.processed() == before
            for name in ("series", "host_inventory", *(table.name for table in TABLES)):
                assert analyst.query(f"SELECT count(*) FROM {name}") == writer.query(f"SELECT count(*) FROM {name}")
            kept = kept_publications(as_anna)
            assert [each.months for each in kept] == [[JANUARY], [FEBRUARY]]
            as_of = analyst.query(f"SELECT count(*) FROM processed_data_as_of({kept[0].snapshot})")
            assert as_of == [(sum(row[0].month == 1 for row in before),)]
            # By PostgreSQL, or by the file system where a statement begins with a file.
            denied = r"(?i)permission denied|does not let this role|cannot open file"
            for statement in _WRITES:
                with pytest.raises((duckdb.Error, WarehouseUnusableError), match=denied):
                    analyst.execute(statement)
                with pytest.raises(duckdb.Error, match=r"read-?only"), _open(as_anna, read_only=True) as reader:
                    reader.execute(statement)
        assert sorted(data.rglob("*.parquet")) == files
        assert writer.processed() == before


@contextmanager
def _open(settings: Settings, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    assert settings.lake is not None
    with open_lake(settings.lake, read_only=read_only, wait_seconds=0.0) as connection:
        yield connection


def test_the_documented_statements_are_those_of_the_file() -> None:
    statements = [line for line in _ROLES.read_text().splitlines() if line and not line.startswith("--")]
    documented = (PROJECT_ROOT / "docs" / "many-machines.md").read_text()

    assert len(statements) == 11
    assert "".join(f"        {line}\n" for line in statements) in documented


@pytest.mark.usefixtures("password")
def test_a_catalog_that_a_superuser_made_is_handed_over_by_the_documented_statements(
    sandbox: Sandbox, roles: Roles, tmp_path: Path
) -> None:
    run_psql(roles.socket, "postgres", "-c", "DROP DATABASE refinery WITH (FORCE)")
    create_database(roles.socket, "refinery")
    as_admin = replace(sandbox.settings, lake=roles.lake(ADMIN), lake_data=tmp_path / "lake")
    make_lake(as_admin, sandbox.settings.warehouse)
    publish_in_lake(replace(sandbox, settings=as_admin), JANUARY)
    settings = replace(as_admin, lake=roles.lake("refinery"))
    for user in ("refinery", "anna"):
        with pytest.raises(WarehouseUnusableError, match="does not let this role do that in the lake"):
            replace(sandbox, settings=replace(settings, lake=roles.lake(user))).processed()

    documented = (PROJECT_ROOT / "docs" / "many-machines.md").read_text().partition("created without these roles")[2]
    lines = list(takewhile(lambda line: line, dropwhile(lambda line: not line.startswith(" "), documented.split("\n"))))
    assert len(lines) == 10
    (tmp_path / "hand_over.sql").write_text("\n".join(line.strip() for line in lines))
    run_psql(roles.socket, "postgres", "-f", str(tmp_path / "hand_over.sql"))

    made = make_lake(settings, sandbox.settings.warehouse)
    assert (made.tables, made.hosts, made.taken_in) == ((), 20, None)
    writer = replace(sandbox, settings=settings)
    results = publish_in_lake(writer, JANUARY, FEBRUARY)
    assert {each.state for each in results.values()} == {State.PUBLISHED}
    assert maintain(settings).proved == [JANUARY, FEBRUARY]
    analyst = replace(sandbox, settings=replace(settings, lake=roles.lake("anna")))
    assert analyst.processed() == writer.processed()
    assert {ds.month for ds, *_ in analyst.processed()} == {1, 2}
    with pytest.raises(WarehouseUnusableError, match="does not let this role do that in the lake"):
        analyst.execute(_WRITES[0])
    with pytest.raises(subprocess.CalledProcessError, match="returned non-zero"):
        run_psql(roles.socket, "refinery", "-c", "SELECT 1", user="somebody")


def test_postgresql_itself_keeps_an_analyst_from_writing_and_others_out(roles: Roles) -> None:
    _fresh(roles)
    run_psql(
        roles.socket, "refinery", "-c", "CREATE TABLE made_later AS SELECT 1 AS a", user="refinery", password=_PASSWORD
    )

    def refusal(statement: str, user: str, password: str = "") -> str:
        with pytest.raises(subprocess.CalledProcessError) as refused:
            run_psql(roles.socket, "refinery", "-c", statement, user=user, password=password)
        return str(refused.value.stderr)

    read = "SELECT a FROM made_later"
    assert run_psql(roles.socket, "refinery", "-c", read, user="anna", password=_PASSWORD) == "1"
    for statement in (
        "INSERT INTO made_later VALUES (2)",
        "DELETE FROM made_later",
        "TRUNCATE made_later",
        "CREATE TABLE own (a INT)",
        "CREATE TEMP TABLE own (a INT)",
        "GRANT refinery TO anna",
    ):
        told = refusal(statement, "anna", _PASSWORD)
        assert "permission denied" in told or "must have admin option" in told, told
    assert "must be owner" in refusal("DROP TABLE made_later", "anna", _PASSWORD)
    assert "permission denied for database" in refusal(read, "somebody")
    assert "permission denied" in refusal("CREATE ROLE friend", "refinery", _PASSWORD)


def test_the_writer_makes_tables_where_the_schema_is_a_superusers(roles: Roles) -> None:
    # As it is before PostgreSQL 15.
    _fresh(roles, owner=ADMIN)

    as_refinery = {"user": "refinery", "password": _PASSWORD}
    run_psql(roles.socket, "refinery", "-c", "CREATE TABLE made AS SELECT 1 AS a", **as_refinery)

    read = "SELECT a FROM made"
    assert run_psql(roles.socket, "refinery", "-c", read, user="anna", password=_PASSWORD) == "1"
    with pytest.raises(subprocess.CalledProcessError, match="returned non-zero"):
        run_psql(roles.socket, "refinery", "-c", "CREATE TABLE own (a INT)", user="anna", password=_PASSWORD)


@pytest.mark.usefixtures("password")
def test_a_role_that_may_not_write_is_told_in_one_sentence(sandbox: Sandbox, roles: Roles) -> None:
    _fresh(roles)
    data = sandbox.settings.warehouse.parent / "lake"
    settings = replace(sandbox.settings, lake=roles.lake("refinery"), lake_data=data)
    as_anna = replace(settings, lake=roles.lake("anna"))
    with pytest.raises(WarehouseUnusableError, match=r"does not let this role.*permission denied for schema public"):
        make_lake(as_anna, sandbox.settings.warehouse)
    make_lake(settings, sandbox.settings.warehouse)

    for attempt in (
        lambda: make_lake(as_anna, sandbox.settings.warehouse),
        lambda: replace(sandbox, settings=as_anna).execute(_WRITES[0]),
        lambda: maintain(as_anna, now=utc_now() + timedelta(days=settings.lake_keep_days)),
    ):
        with pytest.raises(WarehouseUnusableError, match="does not let this role do that in the lake") as refused:
            attempt()
        assert "INSERT" not in str(refused.value)
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize("way", ["PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE"])
def test_a_password_comes_by_each_of_libpqs_ways(
    sandbox: Sandbox, roles: Roles, way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _fresh(roles)
    lake = replace(roles.lake("refinery"), data=tmp_path / "lake")
    file = tmp_path / "secret"
    if way == "PGPASSWORD":
        monkeypatch.setenv(way, _PASSWORD)
    elif way == "PGPASSFILE":
        file.write_text(f"*:*:*:refinery:{_PASSWORD}\n")
        monkeypatch.setenv(way, str(file))
    else:
        file.write_text(f"[lake]\nhost={roles.socket}\ndbname=refinery\nuser=refinery\npassword={_PASSWORD}\n")
        monkeypatch.setenv(way, str(file))
        lake = replace(lake, place="service=lake")
    if file.exists():
        file.chmod(0o600)
    settings = replace(sandbox.settings, lake=lake, lake_data=lake.data)
    make_lake(settings, sandbox.settings.warehouse)

    with (
        _open(settings, read_only=False) as connection,
        locked(connection, lake, [JANUARY], alone=True, wait_seconds=0),
    ):
        assert connection.execute("SELECT count(*) FROM hosts").fetchall() == [(20,)]
        shown = connection.execute("SELECT * FROM duckdb_databases()").fetchall()
    assert _PASSWORD not in str(shown)


def _said(installation: Installation, *words: str) -> tuple[int, str]:
    process = installation.start("refinery", *words)
    said, _ = process.communicate(timeout=240)
    return process.returncode, said


def test_no_password_is_left_by_runs_that_succeed_and_that_fail(
    sandbox: Sandbox, roles: Roles, tmp_path: Path, dagster_home: Path
) -> None:
    _fresh(roles)
    lake = roles.lake("refinery")
    installation = install(
        tmp_path,
        sandbox.settings,
        home=dagster_home,
        REFINERY_WAREHOUSE=str(lake),
        PGPASSWORD=_PASSWORD,
        PYTHONPATH=str(PROJECT_ROOT),
    )
    told = []
    for words, expected in (
        (("lake", "init", "--inventory", str(sandbox.settings.warehouse)), 0),
        (("run", "2024-01"), 0),
        (("status",), 0),
        (("lake", "publications"), 0),
        (("lake", "maintain"), 0),
    ):
        code, said = _said(installation, *words)
        assert code == expected, said
        told.append(said)
    as_anna = {"REFINERY_WAREHOUSE": str(roles.lake("anna"))}
    reading = replace(installation, variables=installation.variables | as_anna)
    for looking in (
        ("status",),
        ("explain", "2024-01"),
        ("lake", "publications"),
        ("export", "--to", str(tmp_path / "out")),
    ):
        code, said = _said(reading, *looking)
        assert (code, "2024-01" in said) == (0, True), said
        told.append(said)
    # A wrong one, and a role that may not write.
    for variables, failing in (
        ({"PGPASSWORD": f"{_PASSWORD}-mistyped"}, ("status",)),
        ({"PGPASSWORD": f"{_PASSWORD}-mistyped"}, ("run", "2024-02")),
        (as_anna, ("run", "2024-02")),
    ):
        changed = replace(installation, variables=installation.variables | variables)
        code, said = _said(changed, *failing)
        assert code not in {0, 2}, said
        assert "password authentication failed" in said or "does not let this role" in said
        told.append(said)
    told.append(run_tool(roles.socket, "pg_dump", "refinery"))
    assert "ducklake_snapshot" in told[-1]

    assert [text for text in told if _PASSWORD in text] == []
    left = [path for path in tmp_path.rglob("*") if path.is_file() and _PASSWORD.encode() in path.read_bytes()]
    assert left == []
    # What was looked through is what runs leave.
    found = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert {".db", ".parquet", ".md"} <= found, found
