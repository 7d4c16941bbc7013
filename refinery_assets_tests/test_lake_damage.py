"""A lake that loses a file, or its catalog in the middle: the months are named, and what to do is what helps."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from refinery_assets.build import build_defs
from refinery_assets.contract.settings import Settings
from refinery_assets.operations.alerts import describe_failure
from refinery_assets.operations.runs import start_run
from refinery_assets.warehouse.lake_maintenance import maintain
from refinery_assets.warehouse.lake_tables import make_lake
from refinery_assets.warehouse.reaudit import reaudit
from refinery_assets.warehouse.storage import WarehouseUnusableError, open_warehouse
from refinery_assets.warehouse.tables import utc_now
from refinery_assets_tests.lakes import Postgres, make_lake_in, publish_in_lake
from refinery_assets_tests.postgresql import postgresql_server, run_psql
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, Sandbox

pytestmark = [pytest.mark.lake, pytest.mark.slow]

_FILES = "SELECT data_file FROM ducklake_list_files('lake', 'processed_data') ORDER BY ALL"


def _audit(settings: Settings) -> None:
    with open_warehouse(settings.place, read_only=True, wait_seconds=0.0) as connection:
        reaudit(connection, settings)


def test_a_month_whose_file_is_missing_is_named_by_all_that_read_it_and_put_right_by_what_they_say(
    lake_sandbox: Sandbox,
) -> None:
    settings = lake_sandbox.settings
    publish_in_lake(lake_sandbox, JANUARY, FEBRUARY)
    expected = lake_sandbox.processed()
    file = Path(next(name for (name,) in lake_sandbox.query(_FILES) if "/month=2/" in name))
    file.unlink()
    told = (
        f"2024-02 cannot be read in the lake {settings.lake}: {file} is missing or damaged. Put back what is missing "
        "from a backup of REFINERY_LAKE_DATA; without one, DROP TABLE processed_data in the lake, then refinery lake "
        "init and refinery run all, which publish from the feed (docs/many-machines.md, A missing file)."
    )

    for look in (maintain, _audit):
        with pytest.raises(WarehouseUnusableError) as unusable:
            look(settings)
        assert str(unusable.value) == told
    nightly = start_run(lake_sandbox.instance, build_defs(settings), "lake_maintenance")
    run = lake_sandbox.instance.get_run_by_id(nightly.run_id)
    assert run is not None
    assert describe_failure(lake_sandbox.instance, run)["problems"] == [told]
    outcome = lake_sandbox.refine(FEBRUARY, force=True)
    assert not outcome.success
    assert told in outcome.message

    lake_sandbox.execute("DROP TABLE processed_data")
    assert make_lake(settings).tables == ("processed_data",)
    assert lake_sandbox.refine(JANUARY, FEBRUARY).success
    assert lake_sandbox.processed() == expected
    assert lake_sandbox.audit().success
    done = maintain(settings, grace=timedelta(0), now=utc_now() + timedelta(days=settings.lake_keep_days))
    assert (done.proved, done.broken) == ([JANUARY, FEBRUARY], [])
    assert lake_sandbox.processed() == expected


def test_a_file_that_is_cut_or_spoilt_is_named_with_its_month(lake_sandbox: Sandbox) -> None:
    publish_in_lake(lake_sandbox, JANUARY)
    file = Path(lake_sandbox.query(_FILES)[0][0])
    content = file.read_bytes()

    for spoilt in (content[:-3], content[:-4] + b"\0\0\0\0"):
        file.write_bytes(spoilt)
        with pytest.raises(
            WarehouseUnusableError, match=rf"^2024-01 cannot be read .*{file.name} is missing or damaged"
        ):
            _audit(lake_sandbox.settings)

    file.write_bytes(content)
    _audit(lake_sandbox.settings)


_HELD = """
import sys
from pathlib import Path
from refinery_assets.contract.lake import Catalog, Lake
from refinery_assets.contract.months import Month
from refinery_assets.warehouse.lake import open_lake
from refinery_assets.warehouse.lake_writers import locked
from refinery_assets.warehouse.storage import WarehouseHeldError
from refinery_assets.warehouse.tables import transaction
from refinery_assets_tests.postgresql import restart

place, data, socket = sys.argv[1:]
lake = Lake(Catalog.POSTGRES, place, Path(data))
for statement in ("SELECT count(*) FROM hosts", "DELETE FROM hosts", None):
    try:
        with open_lake(lake, read_only=False, wait_seconds=0.0) as connection:
            with locked(connection, lake, [Month(2024, 1)], alone=False, wait_seconds=0.0), transaction(connection):
                connection.execute("UPDATE hosts SET region = 'x'")
                restart(Path(socket))
                if statement:
                    connection.execute(statement)
    except WarehouseHeldError as error:
        print(error)
"""


def test_a_restart_of_postgresql_in_a_transaction_ends_in_one_sentence_and_leaves_the_lake_as_it_was(
    sandbox: Sandbox,
) -> None:
    # A server of its own, for others must not be restarted; and a process of its own, which once was aborted by it.
    with postgresql_server() as socket:
        settings = make_lake_in(sandbox.settings, Postgres(socket).new_lake())
        lake = settings.lake
        assert lake is not None
        lost = replace(sandbox, settings=settings)
        before = lost.query("SELECT * FROM hosts ORDER BY node_name")

        done = subprocess.run(
            [sys.executable, "-c", _HELD, lake.place, str(lake.data), str(socket)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

        assert done.returncode == 0, done.stderr
        told = (
            f"The catalog of the lake {lake} dropped the connection, as it does when PostgreSQL restarts. "
            "Published months are intact; the write in progress was rolled back, unless its commit had already "
            "arrived. Check that PostgreSQL is up, then run again. DuckDB says: "
        )
        lines = done.stdout.splitlines()
        assert [line.startswith(told) and len(line) > len(told) for line in lines] == [True, True, True], lines
        assert lost.query("SELECT * FROM hosts ORDER BY node_name") == before
        publish_in_lake(lost, JANUARY)
        assert maintain(settings).proved == [JANUARY]


def test_what_postgresql_answers_is_told_as_its_answer_and_not_as_a_restart(
    sandbox: Sandbox, postgres: Postgres
) -> None:
    settings = make_lake_in(sandbox.settings, postgres.new_lake())
    lake = settings.lake
    assert lake is not None
    name = lake.place.partition("dbname=")[2].partition(" ")[0]
    full = 'could not extend file "base/16384/24576": No space left on device'
    # The words and the code of a disk that is full, when the catalog takes a new file.
    run_psql(
        postgres.socket,
        name,
        "-c",
        f"CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION '{full}' "
        "USING ERRCODE = '53100'; END$$; CREATE TRIGGER full_disk BEFORE INSERT ON ducklake_data_file "
        "EXECUTE FUNCTION full_disk()",
    )

    with pytest.raises(WarehouseUnusableError) as told:
        replace(sandbox, settings=settings).execute("INSERT INTO hosts FROM hosts LIMIT 1")

    assert str(told.value) == (
        f"PostgreSQL cannot do what is asked of it in the catalog of the lake {lake}, which holds what was published "
        f"before: {full}. Mend that there (its log says more), then run again."
    )
