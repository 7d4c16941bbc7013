"""What is said of a lake that cannot be opened, or not be made: the cause, and what to do about it."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from refinery_assets.cli import app
from refinery_assets.contract.lake import Catalog, Lake
from refinery_assets.warehouse import lake_faults
from refinery_assets.warehouse.export import export_months
from refinery_assets.warehouse.lake import open_lake
from refinery_assets.warehouse.lake_maintenance import Maintained
from refinery_assets.warehouse.lake_snapshots import what_is_kept
from refinery_assets.warehouse.lake_tables import LakeError, make_lake
from refinery_assets.warehouse.storage import WarehouseUnusableError, open_warehouse
from refinery_assets_tests.installation import files_of_at_most
from refinery_assets_tests.lakes import Postgres, publish_in_lake
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, MARCH, Sandbox


def _said(lake: Lake) -> str:
    with pytest.raises(WarehouseUnusableError) as refused, open_lake(lake, read_only=True, wait_seconds=0.0):
        pass
    return str(refused.value)


@pytest.mark.lake
def test_a_catalog_that_nobody_answers_for_is_told_apart_from_one_that_is_misnamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "none"))
    with socket.socket() as taken:
        # Bound, and not listening.
        taken.bind(("127.0.0.1", 0))
        closed = Lake(Catalog.POSTGRES, f"dbname=x host=127.0.0.1 port={taken.getsockname()[1]} user=me", tmp_path)
        said = _said(closed)
    assert said.startswith(f"The catalog of the lake {closed} cannot be reached: ")
    assert "Connection refused. Check host= and port= in REFINERY_WAREHOUSE" in said
    unknown = Lake(Catalog.POSTGRES, "service=nix", tmp_path)
    assert _said(unknown).startswith(f"The catalog of the lake {unknown} cannot be opened: ")


@pytest.mark.lake
@pytest.mark.slow
def test_a_role_or_a_database_that_postgresql_does_not_know_is_named_with_its_setting(
    postgres: Postgres, tmp_path: Path
) -> None:
    stranger = Lake(Catalog.POSTGRES, f"dbname=postgres host={postgres.socket} user=stranger", tmp_path)
    assert f"the catalog of the lake {stranger}: connection to server" in (said := _said(stranger))
    assert 'role "stranger" does not exist. Check user= in REFINERY_WAREHOUSE' in said
    nowhere = Lake(Catalog.POSTGRES, f"dbname=nowhere host={postgres.socket} user=admin", tmp_path)
    assert _said(nowhere).endswith('database "nowhere" does not exist. Check what REFINERY_WAREHOUSE names.')


def test_other_faults_are_told_cause_first() -> None:
    lake = Lake(Catalog.SQLITE, "/srv/c.sqlite", Path("/srv/lake"))

    said = str(lake_faults.unusable(lake, duckdb.IOException("IO Error: No space left on device")))

    assert said == (
        "The lake ducklake:sqlite:/srv/c.sqlite cannot be used, and holds what was published before. DuckDB says: IO "
        "Error: No space left on device. Check that its catalog answers, and the permissions and free space in "
        "/srv/lake, then run again."
    )


def test_a_user_of_the_machine_who_may_not_write_the_data_is_told_whose_it_is() -> None:
    lake = Lake(Catalog.POSTGRES, "dbname=refinery", Path("/srv/lake"))
    file = "/srv/lake/main/audits/ducklake-01a2.parquet"

    said = lake_faults.may_not(lake, duckdb.IOException(f'IO Error: Cannot open file "{file}": Permission denied'))

    assert f'what is published is unchanged: Cannot open file "{file}": Permission denied. Make, write' in str(said)
    assert lake_faults.may_not(lake, duckdb.IOException("IO Error: No space left on device")) is None


@pytest.mark.parametrize(
    ("said", "is_of_others"),
    [
        ('Cannot open file "/mnt/.out.7-ab.partial": Permission denied', True),
        ('Could not write file "/tmp/refinery-x/duckdb_temp_storage_DEFAULT-0.tmp": No space left on device', True),
        ('Failed to create directory "/srv/lake2": Permission denied', True),
        (
            'Async write failed: {"exception_message":"Could not write file \\"/mnt/.out.partial\\": File too large"}',
            True,
        ),
        ('Could not write all bytes to file "/srv/lake/main/audits/ducklake-01a2.parquet": wanted=9 wrote=1', False),
        ('Failed to create directory "/srv/lake": Permission denied', False),
        ('Cannot open file "/srv/c.sqlite-journal": Permission denied', False),
        ('Unable to connect to Postgres at "host=db": root certificate file "/root.crt" does not exist', False),
    ],
)
def test_a_file_that_is_not_the_lakes_is_named_and_the_lakes_data_is_not_blamed(
    said: str, *, is_of_others: bool
) -> None:
    lake = Lake(Catalog.SQLITE, "/srv/c.sqlite", Path("/srv/lake"))

    told = lake_faults.lies_elsewhere(lake, duckdb.IOException(f"IO Error: {said}"))

    assert (told is not None) == is_of_others
    if is_of_others:
        path = re.search(r"/[^\"\\]+", said)
        assert path is not None
        assert str(told).startswith(
            f"DuckDB cannot use {path[0]}, which is not the lake's, and the lake {lake} is unchan"
        )


@pytest.mark.lake
@pytest.mark.slow
def test_a_disk_that_is_full_where_duckdb_spills_or_an_export_goes_is_not_the_lakes_fault(
    lake_sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = lake_sandbox.settings
    publish_in_lake(lake_sandbox, JANUARY)
    little = {"memory_limit": "24MiB", "threads": 1}

    with (
        pytest.raises(
            WarehouseUnusableError, match=r"cannot use \S+duckdb_temp\S+, which is not the lake's, .* TMPDIR"
        ),
        open_warehouse(settings.place, read_only=True, wait_seconds=0.0, config=little) as connection,
        files_of_at_most(100_000),
    ):
        connection.execute("CREATE TEMP TABLE spilt AS SELECT i, hash(i) AS h FROM range(2_000_000) t(i) ORDER BY h")

    with (
        pytest.raises(OSError, match=r"File too large: '\S+\.out\.\S+\.partial'"),
        open_warehouse(settings.place, read_only=True, wait_seconds=0.0) as connection,
        files_of_at_most(1000),
    ):
        list(export_months(connection, [JANUARY], tmp_path / "out"))


@pytest.mark.lake
def test_an_inventory_that_cannot_be_taken_in_is_named_and_is_not_the_lakes_fault(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    lake = Lake(Catalog.DUCKDB, str(tmp_path / "c.ducklake"))
    settings = replace(sandbox.settings, lake=lake, lake_data=tmp_path / "lake")
    lacking, junk = tmp_path / "hostsbad.csv", tmp_path / "junk.duckdb"
    lacking.write_text("node_name,scenario\na,BURST\n")
    junk.write_bytes(b"no database" * 999)

    with pytest.raises(LakeError) as refused:
        make_lake(settings, lacking)
    assert str(refused.value) == (
        f"The inventory {lacking} cannot be taken in: it lacks variant. Its columns are node_name, scenario."
    )
    with pytest.raises(LakeError, match=rf"^The inventory {junk} cannot be read\. DuckDB says: IO Error"):
        make_lake(settings, junk)


def test_an_inventory_in_the_format_of_a_later_duckdb_is_told_with_what_to_do() -> None:
    error = duckdb.IOException(
        "IO Error: Trying to read a database file with version number 999, but we can only read versions between 64 "
        "and 68.\nThe database file was created with an newer version of DuckDB."
    )

    said = lake_faults.inventory_unreadable(Path("/srv/capacity.duckdb"), "hosts", error)

    assert said.startswith(
        f"The inventory /srv/capacity.duckdb is in a format that DuckDB {duckdb.__version__} does not"
    )
    assert "COPY hosts TO 'hosts.parquet'" in said
    assert "STORAGE_VERSION 'v1.4.0'" in said


@pytest.mark.lake
@pytest.mark.parametrize(
    "command", [("status",), ("run", "2024-01"), ("plan", "all"), ("explain", "2024-01"), ("lake", "maintain")]
)
@pytest.mark.parametrize("fault", ["no lake", "other data"])
def test_without_its_lake_no_command_blames_a_month(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Sequence[str], fault: str
) -> None:
    lake = Lake(Catalog.DUCKDB, str(tmp_path / "c.ducklake"))
    for name in ("feed", "telemetry", "reports", "alert_log", "first_month", "last_month"):
        monkeypatch.setenv(f"REFINERY_{name.upper()}", str(getattr(sandbox.settings, name)))
    monkeypatch.setenv("REFINERY_WAREHOUSE", str(lake))
    monkeypatch.setenv("REFINERY_LAKE_DATA", str(tmp_path / "other"))
    if fault == "other data":
        with open_lake(replace(lake, data=tmp_path / "lake"), read_only=False, wait_seconds=0.0, make=True):
            pass
        told = f"The lake {lake} keeps its data in {tmp_path}/lake, and REFINERY_LAKE_DATA is {tmp_path}/other; set "
    else:
        told = f"There is no lake {lake} yet; make it with: refinery lake init"

    result = CliRunner().invoke(app, command)

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith(told)
    assert "OVERRIDE" not in result.stderr


@pytest.mark.parametrize(
    ("snapshots", "asked", "told"),
    [
        ([], "5", "none is"),
        ([4], "5", "kept is the snapshot 4"),
        ([4, 7, 8], "5", "kept are the snapshots 4, 7 and 8"),
        ([4, 7, 8], "0d80", "kept are the snapshots 4, 7 and 8"),
        (range(10, 40, 2), "21", "of 15 snapshots, 16, 18, 20, 22, 24 and 26 are the nearest"),
        (range(10, 40, 2), "abcd", "of 15 snapshots, 28, 30, 32, 34, 36 and 38 are the nearest"),
    ],
)
def test_of_a_publication_that_is_not_kept_those_are_named_that_are(
    snapshots: Sequence[int], asked: str, told: str
) -> None:
    assert what_is_kept(snapshots, asked) == told


@pytest.mark.parametrize(
    ("proved", "broken", "told"),
    [
        ([JANUARY, FEBRUARY], [], "2 published months sum to their receipts."),
        ([JANUARY, FEBRUARY], [MARCH], "2 published months sum to their receipts, and 1 does not."),
        ([JANUARY], [FEBRUARY, MARCH], "1 published month sums to its receipt, and 2 do not."),
    ],
)
def test_the_proof_after_maintenance_counts_the_months_that_fail_it(
    proved: list[object], broken: list[object], told: str
) -> None:
    assert Maintained(0, 0, 0, 0, proved, broken).proof == told  # type: ignore[arg-type]
