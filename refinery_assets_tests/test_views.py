"""The views: what they show, that they are never stale, and that no feature knows the future."""

from __future__ import annotations

import math
import statistics
from datetime import date, timedelta

import pytest

from refinery_assets.contract.columns import (
    DAILY_FEATURES,
    FEATURE_LAGS,
    FEATURE_WINDOWS,
    HOSTS,
)
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets_tests.scenario import CPU, FEBRUARY, JANUARY, MARCH, MEMORY, GivenPublished, Rows, Sandbox

pytestmark = pytest.mark.slow

FEATURES = [column.name for column in DAILY_FEATURES.columns if column.name.startswith("y_")]


def first_host(sandbox: Sandbox) -> str:
    return sandbox.lines(CPU, FEBRUARY)[1].split(",")[1]


def leave_out(sandbox: Sandbox, host: str, *days: str) -> None:
    """Take days of a host's CPU out of February."""
    kept = [
        line
        for line in sandbox.lines(CPU, FEBRUARY)
        if not any(line.startswith(f"2024-02-{day},{host},") for day in days)
    ]
    sandbox.write_lines(CPU, FEBRUARY, kept)


def features_of(sandbox: Sandbox, host: str, until: str = "2024-12-31") -> Rows:
    return sandbox.query(
        f"SELECT ds, {', '.join(FEATURES)} FROM daily_features "
        "WHERE host_id = ? AND resource = 'cpu' AND ds <= ? ORDER BY ds",
        [host, until],
    )


def test_a_table_under_the_name_of_a_view_is_left_alone_and_nothing_is_published(sandbox: Sandbox) -> None:
    sandbox.execute("CREATE TABLE series (mine INTEGER)")

    outcome = sandbox.refine(JANUARY)

    assert "table series where the refinery keeps a view" in outcome.failures["processed_data"]
    assert sandbox.published_rows() == 0


def test_a_series_tells_its_span_its_gaps_and_its_host(sandbox: Sandbox) -> None:
    host = first_host(sandbox)
    leave_out(sandbox, host, "05", "11", "12", "13", "14")
    assert sandbox.refine(JANUARY, FEBRUARY).success

    assert sandbox.query(
        "SELECT unique_id, first_day::VARCHAR, last_day::VARCHAR, days, imputed, gaps, missing_days "
        "FROM series WHERE host_id = ? AND resource IN ('cpu', 'disk') ORDER BY resource",
        [host],
    ) == [
        (f"{host}/cpu", "2024-01-01", "2024-02-29", 56, 1, 1, 4),
        (f"{host}/disk", "2024-01-01", "2024-02-29", 60, 0, 0, 0),
    ]
    names = ", ".join(column.name for column in HOSTS.columns[1:])
    assert sandbox.query(f"SELECT {names} FROM series WHERE host_id = ? AND resource = 'cpu'", [host]) == sandbox.query(
        f"SELECT {names} FROM hosts WHERE node_name = ?", [host]
    )
    assert sandbox.query("SELECT count(*) FROM series") == [(4 * 20,)]


def test_a_series_shows_the_capacity_that_was_stated_last(sandbox: Sandbox) -> None:
    host = first_host(sandbox)
    lines = sandbox.lines(MEMORY, FEBRUARY)
    grown = [f"{line.rsplit(',', 1)[0]},4711" if line.startswith(f"2024-02-29,{host},") else line for line in lines]
    sandbox.write_lines(MEMORY, FEBRUARY, grown)
    sandbox.refine(JANUARY, FEBRUARY)

    assert sandbox.query("SELECT capacity FROM series WHERE host_id = ? AND resource = 'memory'", [host]) == [(4711.0,)]


def test_the_panel_is_the_table_with_its_limits_and_attributes(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY)

    assert sandbox.query(
        "SELECT host_id || '/' || resource, ds, y, cap, 0.0::DOUBLE FROM processed_data ORDER BY 1, 2"
    ) == sandbox.query("SELECT unique_id, ds, y, cap, floor FROM forecast_panel ORDER BY 1, 2")
    assert sandbox.query("SELECT count(DISTINCT (scenario, variant)) FROM forecast_panel") == [(10,)]


def test_views_follow_the_table_and_the_inventory_without_being_made_again(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY)
    host = first_host(sandbox)
    sandbox.execute("UPDATE hosts SET region = 'the moon' WHERE node_name = ?", [host])
    sandbox.execute("DELETE FROM processed_data WHERE resource <> 'cpu' OR host_id <> ?", [host])

    assert sandbox.query("SELECT unique_id, region FROM series") == [(f"{host}/cpu", "the moon")]


def test_an_inventory_with_the_needed_columns_alone_has_null_attributes(sandbox: Sandbox) -> None:
    sandbox.execute(
        "CREATE OR REPLACE TABLE hosts AS SELECT node_name, scenario, variant, 7::BIGINT AS cpu_cores FROM hosts"
    )

    assert sandbox.refine(JANUARY).success

    assert sandbox.query("SELECT DISTINCT region, department, cpu_cores FROM forecast_panel") == [(None, None, 7)]


def test_features_are_those_computed_by_hand(sandbox: Sandbox) -> None:
    host = first_host(sandbox)
    assert sandbox.refine(JANUARY, FEBRUARY, MARCH).success
    y = {
        ds.date(): value
        for ds, value in sandbox.query(
            "SELECT ds, y FROM processed_data WHERE host_id = ? AND resource = 'cpu'", [host]
        )
    }

    rows = features_of(sandbox, host)

    assert len(rows) == len(y) == 31 + 29 + 31
    for ds, *features in rows:
        found = dict(zip(FEATURES, features, strict=True))
        day: date = ds.date()
        for lag in FEATURE_LAGS:
            assert found[f"y_lag_{lag}"] == y.get(day - timedelta(days=lag))
        for days in FEATURE_WINDOWS:
            past = [y.get(day - timedelta(days=back)) for back in range(1, days + 1)]
            known = [value for value in past if value is not None]
            if len(known) < days:
                assert found[f"y_mean_{days}"] is found[f"y_std_{days}"] is None
            else:
                assert found[f"y_mean_{days}"] == pytest.approx(statistics.fmean(known))
                assert math.isclose(found[f"y_std_{days}"], statistics.stdev(known), rel_tol=1e-6, abs_tol=1e-6)


def test_no_feature_changes_when_the_future_does(sandbox: Sandbox) -> None:
    host = first_host(sandbox)
    # The 10th to the 12th are imputed, between the 9th and a future that will change.
    leave_out(sandbox, host, "10", "11", "12")
    assert sandbox.refine(JANUARY, FEBRUARY, MARCH).success
    before = features_of(sandbox, host, until="2024-02-12")
    for month in (FEBRUARY, MARCH):
        for family in FAMILIES:
            lines = sandbox.lines(family, month)
            sandbox.write_lines(
                family,
                month,
                [lines[0]]
                + [
                    ",".join([day, name, f"{50 + float(y) / 2:.2f}", capacity]) if day > "2024-02-12" else line
                    for line in lines[1:]
                    for day, name, y, capacity in [line.split(",")]
                ],
            )

    assert sandbox.refine(FEBRUARY, MARCH).success

    assert features_of(sandbox, host, until="2024-02-12") == before
    assert features_of(sandbox, host, until="2024-02-14") != before
    assert sandbox.query("SELECT count(*) FROM processed_data WHERE is_imputed AND y > 40 AND host_id = ?", [host]) != [
        (0,)
    ]


def test_a_missing_day_is_a_null_and_not_another_days_value(sandbox: Sandbox) -> None:
    host = first_host(sandbox)
    leave_out(sandbox, host, "11", "12", "13", "14")
    assert sandbox.refine(FEBRUARY).success

    rows = {row[0].day: dict(zip(FEATURES, row[1:], strict=True)) for row in features_of(sandbox, host)}

    assert rows[15]["y_lag_1"] is None
    assert rows[16]["y_lag_1"] is not None
    assert rows[18]["y_lag_7"] is None
    assert rows[21]["y_mean_7"] is None
    assert rows[22]["y_mean_7"] is not None
