"""What `REFINERY_WAREHOUSE` takes where the warehouse is a lake, and that no password gets through it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from refinery_assets.contract.lake import Catalog, Lake, without_passwords
from refinery_assets.contract.months import Month
from refinery_assets.contract.places import ObjectPrefix, place_of
from refinery_assets.contract.settings import PROJECT_ROOT, SettingError, Settings
from refinery_assets.warehouse.lake_maintenance import Maintained
from refinery_assets_tests.scenario import FEBRUARY, JANUARY

HIDDEN = "s3cret'"


@pytest.mark.parametrize(
    ("address", "catalog", "place"),
    [
        ("ducklake:postgres:dbname=refinery host=db", Catalog.POSTGRES, "dbname=refinery host=db"),
        ("ducklake:postgres:service=refinery", Catalog.POSTGRES, "service=refinery"),
        ("ducklake:postgres:", Catalog.POSTGRES, ""),
        ("ducklake:postgres:postgresql://me@db:5432/refinery", Catalog.POSTGRES, "postgresql://me@db:5432/refinery"),
        ("ducklake:sqlite:/srv/catalog.sqlite", Catalog.SQLITE, "/srv/catalog.sqlite"),
        ("ducklake:/srv/catalog.ducklake", Catalog.DUCKDB, "/srv/catalog.ducklake"),
        ("ducklake:data/catalog.ducklake", Catalog.DUCKDB, str(PROJECT_ROOT / "data" / "catalog.ducklake")),
    ],
)
def test_a_lake_is_named_by_its_catalog(address: str, catalog: Catalog, place: str) -> None:
    settings = Settings.from_environment({"REFINERY_WAREHOUSE": address, "REFINERY_TELEMETRY": "/srv/telemetry"})

    assert settings.lake is not None
    assert (settings.lake.catalog, settings.lake.place) == (catalog, place)
    assert settings.lake.data == settings.lake_data == Path("/srv/lake")
    assert settings.place is settings.lake
    assert settings.read_copy is None
    assert settings.lake.takes_many_writers is (catalog is Catalog.POSTGRES)


def test_without_a_lake_the_warehouse_is_the_file() -> None:
    settings = Settings.from_environment({"REFINERY_WAREHOUSE": "/srv/capacity.duckdb"})

    assert settings.lake is None
    assert settings.place == settings.warehouse == Path("/srv/capacity.duckdb")
    assert settings.read_copy == Path("/srv/capacity.read.duckdb")


@pytest.mark.parametrize(
    "address", ["ducklake:", "ducklake:mysql:db=x", "ducklake:postgres:refinery", "ducklake:s3://bucket/catalog"]
)
def test_an_address_that_names_no_catalog_is_refused_in_one_sentence(address: str) -> None:
    with pytest.raises(SettingError) as refused:
        Settings.from_environment({"REFINERY_WAREHOUSE": address})

    assert str(refused.value).startswith(
        f"REFINERY_WAREHOUSE is {address!r}; expected a DuckDB file on this machine, or"
    )


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("postgres:dbname=refinery host=db", "ducklake:postgres:dbname=refinery host=db"),
        ("postgresql://me@db/refinery", "ducklake:postgres:postgresql://me@db/refinery"),
        ("dbname=refinery host=db", "ducklake:postgres:dbname=refinery host=db"),
        ("sqlite:/srv/catalog.sqlite", "ducklake:sqlite:/srv/catalog.sqlite"),
        ("postgres:dbname=refinery password=***", "ducklake:postgres:dbname=refinery password=***"),
        ("md:refinery", None),
        ("s3://bucket/refinery.duckdb", None),
    ],
)
def test_an_address_without_ducklake_is_no_file_and_what_was_probably_meant_is_named(
    address: str, meant: str | None
) -> None:
    with pytest.raises(SettingError) as refused:
        Settings.from_environment({"REFINERY_WAREHOUSE": address.replace("***", "s3cret")})

    told = f"did you mean {meant!r}? Expected is" if meant else "expected"
    assert str(refused.value).startswith(f"REFINERY_WAREHOUSE is {address!r}; {told} a DuckDB file on this machine, or")


@pytest.mark.parametrize("file", ["./md:refinery", "/srv/a:b.duckdb", "of 2024: all.duckdb"])
def test_a_file_may_have_a_colon_in_its_name(file: str) -> None:
    assert Settings.from_environment({"REFINERY_WAREHOUSE": file}).warehouse == PROJECT_ROOT / file


@pytest.mark.parametrize(
    "address",
    [
        f"ducklake:postgres:dbname=x password={HIDDEN} host=db",
        "ducklake:postgres:dbname=x password = 's3cret\\' with blanks' host=db",
        f"ducklake:postgres:PASSWORD={HIDDEN}",
        f"ducklake:postgres:postgresql://me:{HIDDEN}@db/x",
        "ducklake:postgres:postgresql://me:s3cret/with@both@db/x",
        f"ducklake:postgres:postgresql://db/x?user=me&password={HIDDEN}",
        f"ducklake:sqlite:password={HIDDEN}",
    ],
)
def test_a_password_in_the_address_is_refused_and_in_no_message(address: str) -> None:
    with pytest.raises(SettingError, match=r"\*\*\*.*PGPASSWORD") as refused:
        Settings.from_environment({"REFINERY_WAREHOUSE": address})

    assert "s3cret" not in str(refused.value)
    assert "blanks" not in str(refused.value)
    assert "both" not in str(refused.value)


def test_a_text_without_a_password_stays_as_it_is() -> None:
    text = 'Unable to connect at "dbname=x host=db user=me": password authentication failed for user "me"'

    assert without_passwords(text) == text


@pytest.mark.parametrize(
    ("proved", "broken", "said"),
    [
        ([], [], "No month is published."),
        ([JANUARY], [], "1 published month sums to its receipt."),
        ([JANUARY, FEBRUARY], [], "2 published months sum to their receipts."),
        ([], [JANUARY], "0 published months sum to their receipts, and 1 does not."),
    ],
)
def test_what_maintenance_proved_fits_its_count(proved: list[Month], broken: list[Month], said: str) -> None:
    assert Maintained(0, 0, 0, 0, proved, broken).proof == said


def test_a_read_copy_of_a_lake_is_refused() -> None:
    variables = {"REFINERY_WAREHOUSE": "ducklake:/srv/c.ducklake", "REFINERY_READ_COPY": "/srv/copy.duckdb"}

    with pytest.raises(SettingError, match=r"REFINERY_READ_COPY is '/srv/copy\.duckdb'; expected off"):
        Settings.from_environment(variables)
    assert Settings.from_environment({**variables, "REFINERY_READ_COPY": "off"}).read_copy is None


def test_data_in_a_bucket_is_of_a_lake_alone_and_wants_the_library_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"REFINERY_WAREHOUSE": "ducklake:/srv/c.ducklake", "REFINERY_LAKE_DATA": "s3://refinery/lake/"}
    bucket = ObjectPrefix("refinery", "lake")
    pytest.importorskip("obstore")
    lake = Settings.from_environment(variables).lake
    assert lake is not None
    assert lake.data == lake.bucket == bucket
    # As the resources of a run hand it on.
    assert place_of(str(lake.data)) == bucket
    assert Lake(lake.catalog, lake.place, Path("/srv/lake")).bucket is None

    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(SettingError, match=r"REFINERY_LAKE_DATA is 's3://refinery/lake', .* pip install"):
        Settings.from_environment(variables)
    assert Settings.from_environment({**variables, "REFINERY_WAREHOUSE": "/srv/c.duckdb"}).lake is None
