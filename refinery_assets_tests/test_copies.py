"""Which of two months with one content is the copy, by what the warehouse holds and what a run changes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import polars as pl

from refinery_assets.checks.plausibility.repeats import month_is_new
from refinery_assets.checks.rules import SAMPLE_SIZE, Outcome
from refinery_assets.contract.columns import SERIES_MONTHS, WAIVERS
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.plausibility import name_fresh_series, read_past
from refinery_assets.warehouse.tables import ensure_table
from refinery_assets_tests.plausibility.fleets import FleetMonth, sample_months

LIFE = sample_months(12, 5, 4, first=Month(2024, 1))
JANUARY, FEBRUARY, MARCH, APRIL = (each.month for each in LIFE)
TRUE = {each.month: each.series for each in LIFE}


def as_if(month: FleetMonth, of: Month) -> pl.DataFrame:
    """A month's series under the dates of another."""
    return month.series.with_columns(month=pl.lit(str(of)))


def verdicts(
    published: Mapping[Month, pl.DataFrame],
    run: Mapping[Month, pl.DataFrame] | None = None,
    accepted: Sequence[Month] = (),
) -> dict[Month, Outcome]:
    """What month_is_new says of a run's months, or of all that is published, before any waiver is applied."""
    names = ", ".join(column.name for column in SERIES_MONTHS.columns)
    with duckdb.connect() as connection:
        ensure_table(connection, SERIES_MONTHS)
        if accepted:
            ensure_table(connection, WAIVERS)
        for month in accepted:
            connection.execute(
                "INSERT INTO waivers (month, check_name, reason, who, accepted_at, input_digest, withdrawn_at) "
                "VALUES (?, 'month_is_new', 'frozen', 'ops', now(), '', now())",
                [str(month)],
            )
        _insert(connection, list(published.values()), names)
        if run is not None:
            new = pl.concat(run.values()).to_arrow()
            connection.execute("CREATE TEMP TABLE _refinery_new_series AS FROM new")
            assert new.num_rows
            name_fresh_series(connection)
            connection.execute(
                "DELETE FROM series_months WHERE month IN (SELECT unnest($months::VARCHAR[]))",
                {"months": [str(month) for month in run]},
            )
            _insert(connection, list(run.values()), names)
        months = list(published if run is None else run)
        past = read_past(connection, months, Settings(feed=Path()), is_published=run is None)
        found = {}
        for month in months:
            evidence = past.evidence(month)
            assert evidence is not None
            assert evidence.other_months == len({*published, *(run or ())}) - 1
            found[month] = month_is_new(evidence).outcome
        return found


def _insert(connection: duckdb.DuckDBPyConnection, frames: Sequence[pl.DataFrame], names: str) -> None:
    rows = pl.concat(frames).to_arrow()
    assert rows.num_rows
    connection.execute(f"INSERT INTO series_months ({names}) SELECT {names} FROM rows")


def test_a_month_that_is_published_again_with_the_content_of_a_later_month_is_refused() -> None:
    assert verdicts(TRUE, {JANUARY: as_if(LIFE[2], JANUARY)}) == {JANUARY: Outcome.FAILED}


def test_of_two_months_of_one_run_the_one_whose_content_changed_is_the_copy() -> None:
    run = {JANUARY: as_if(LIFE[2], JANUARY), MARCH: TRUE[MARCH]}

    assert verdicts(TRUE, run) == {JANUARY: Outcome.FAILED, MARCH: Outcome.PASSED}


def test_of_two_months_that_are_both_new_the_later_one_is_the_copy() -> None:
    run = {FEBRUARY: TRUE[FEBRUARY], MARCH: as_if(LIFE[1], MARCH)}

    assert verdicts({JANUARY: TRUE[JANUARY]}, run) == {FEBRUARY: Outcome.PASSED, MARCH: Outcome.FAILED}


def test_a_month_that_is_published_again_as_it_was_is_not_blamed_for_a_later_copy_of_it() -> None:
    published = {**TRUE, APRIL: as_if(LIFE[0], APRIL)}

    assert verdicts(published, {JANUARY: TRUE[JANUARY]}) == {JANUARY: Outcome.PASSED}
    assert verdicts(published) == {
        JANUARY: Outcome.PASSED, FEBRUARY: Outcome.PASSED, MARCH: Outcome.PASSED, APRIL: Outcome.FAILED
    }  # fmt: skip


def test_of_two_published_months_the_one_that_was_accepted_as_a_copy_is_the_copy_be_it_the_earlier_one() -> None:
    late = {**TRUE, FEBRUARY: as_if(LIFE[2], FEBRUARY)}

    assert verdicts(late)[MARCH] == Outcome.FAILED
    assert verdicts(late, accepted=[FEBRUARY]) == dict.fromkeys(TRUE, Outcome.PASSED) | {FEBRUARY: Outcome.FAILED}
    assert verdicts(late, {MARCH: TRUE[MARCH]}, accepted=[FEBRUARY]) == {MARCH: Outcome.PASSED}
    assert verdicts(late, {FEBRUARY: late[FEBRUARY]}, accepted=[FEBRUARY]) == {FEBRUARY: Outcome.FAILED}
    # What is accepted of one month is not accepted of a third.
    again = {APRIL: as_if(LIFE[2], APRIL)}
    assert verdicts(late, again, accepted=[FEBRUARY]) == {APRIL: Outcome.FAILED}


def test_a_copy_that_is_corrected_together_with_its_source_passes() -> None:
    published = {**TRUE, APRIL: as_if(LIFE[0], APRIL)}

    assert verdicts(published, TRUE) == dict.fromkeys(TRUE, Outcome.PASSED)


def test_a_month_is_found_to_hold_parts_of_an_earlier_one_by_what_the_tables_say() -> None:
    y = LIFE[3].y.copy()
    y[:, 14:] = LIFE[0].y[:, 14:30]
    half = FleetMonth(APRIL, LIFE[3].hosts, y, LIFE[3].capacity)

    assert verdicts(TRUE, {APRIL: half.series}) == {APRIL: Outcome.FAILED}
    assert verdicts(TRUE, {APRIL: TRUE[APRIL]}) == {APRIL: Outcome.PASSED}


def test_one_host_that_a_published_month_repeats_does_not_hide_a_month_that_is_copied_from_it_in_half() -> None:
    y = LIFE[3].y.copy()
    y[:, 14:] = LIFE[0].y[:, 14:30]
    y[:, :, 0] = LIFE[3].y[:, :, 0]
    half = FleetMonth(APRIL, LIFE[3].hosts, y, LIFE[3].capacity)
    first = LIFE[0].y.copy()
    first[:, :30, 0] = LIFE[3].y[:, :30, 0]
    repeats = FleetMonth(JANUARY, LIFE[0].hosts, first, LIFE[0].capacity)

    # April's one host is new in January: January is the copy of it, and April that of January's days.
    found = verdicts({**TRUE, APRIL: TRUE[APRIL]}, {JANUARY: repeats.series, APRIL: half.series})

    assert found == {JANUARY: Outcome.WARNING, APRIL: Outcome.FAILED}


def test_a_fleet_that_reads_the_same_on_all_hosts_is_paired_host_by_host_and_not_each_with_all() -> None:
    names = ", ".join(column.name for column in SERIES_MONTHS.columns)
    one = TRUE[JANUARY].head(1)
    with duckdb.connect(config={"memory_limit": "150MB", "temp_directory": ""}) as connection:
        ensure_table(connection, SERIES_MONTHS)
        for month in (JANUARY, FEBRUARY):
            hosts = pl.DataFrame({"host_id": [f"srv-{number:04}" for number in range(2_000)]})
            alike = hosts.join(one.drop("host_id", "month"), how="cross").with_columns(month=pl.lit(str(month)))
            _insert(connection, [alike], names)

        past = read_past(connection, [FEBRUARY], Settings(feed=Path()), is_published=True)

    (copies,) = past.copies[FEBRUARY]
    assert (copies.other_month, copies.series) == (str(JANUARY), 2_000)
    assert list(copies.hosts) == [(f"srv-{number:04}", f"srv-{number:04}") for number in range(SAMPLE_SIZE)]
