"""The settings and the calendar: what is taken, and the one sentence that refuses the rest."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import pytest

from refinery_assets.contract.months import Month
from refinery_assets.contract.places import ObjectPrefix
from refinery_assets.contract.settings import PROJECT_ROOT, SettingError, Settings


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("REFINERY_FIRST_MONTH", "2024-13", "a month written as YYYY-MM"),
        ("REFINERY_LAST_MONTH", "May 2024", "a month written as YYYY-MM"),
        ("REFINERY_BEHAVIORS", "-1", "a whole number, 0 or more"),
        ("REFINERY_MAX_GAP_DAYS", "-1", "a whole number of days, 0 or more"),
        ("REFINERY_QUARANTINE_TOLERANCE", "1 %", "a share between 0 and 1"),
        ("REFINERY_OVERSHOOT", "nan", "percentage points above 100"),
        ("REFINERY_FAMILY_SKEW", "1.5", "a share between 0 and 1"),
        ("REFINERY_MIN_COVERAGE", "-0.1", "a share between 0 and 1"),
        ("REFINERY_TELEMETRY", "gs://bucket/telemetry", "a folder on this machine, or s3://bucket/prefix"),
        ("REFINERY_FEED", "s3://", "a folder on this machine, or s3://bucket/prefix"),
        ("REFINERY_FEED", "s3://bucket//feed", "a folder on this machine, or s3://bucket/prefix"),
        ("REFINERY_FEED", "s3://bucket/feed/..", "a folder on this machine, or s3://bucket/prefix"),
        ("REFINERY_READ_COPY", "s3://bucket/copy.duckdb", "a DuckDB file on this machine, or off"),
        ("REFINERY_TIMEZONE", "Mars/Olympus", "the name of a time zone"),
        ("REFINERY_TIMEZONE", "../../etc/passwd", "the name of a time zone"),
        ("REFINERY_TIMEZONE", "Europe", "the name of a time zone"),
        ("REFINERY_LATE_DAYS", "few", "a whole number of days, 0 or more"),
        ("REFINERY_QUIET_SECONDS", "inf", "a number of seconds, 0 or more"),
        ("REFINERY_FOLLOW_LINKS", "maybe", "yes or no"),
        ("REFINERY_MEMORY_MIB", "1GB", "a number of MiB, 256 or more"),
        ("REFINERY_LOCK_WAIT_SECONDS", "-1", "a number of seconds, 0 or more"),
        ("REFINERY_LOCK_RETRIES", "1.5", "a whole number, 0 or more"),
        ("REFINERY_LOCK_RETRY_SECONDS", "soon", "a number of seconds, 0 or more"),
        ("REFINERY_MONTHS_PER_RUN", "0", "a whole number of months, 1 or more"),
        ("REFINERY_MONTHS_PER_RUN", "all", "a whole number of months, 1 or more"),
        ("REFINERY_LAKE_DATA", "s3://", "a folder on this machine, or s3://bucket/prefix"),
        ("REFINERY_LAKE_KEEP_DAYS", "0", "a whole number of days, 1 or more"),
        ("REFINERY_KEEP_RUNS_DAYS", "0", "a whole number of days, 1 or more"),
    ],
)
def test_a_bad_setting_is_refused_by_name_value_and_expectation(variable: str, value: str, expected: str) -> None:
    with pytest.raises(SettingError) as refused:
        Settings.from_environment({variable: value})

    assert str(refused.value).startswith(f"{variable} is {value!r}; expected {expected}")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("REFINERY_MAX_GAP", "did you mean REFINERY_MAX_GAP_DAYS?"),
        ("REFINERY_WAREHOSE", "did you mean REFINERY_WAREHOUSE?"),
        ("REFINERY_SERVICE_HOST", "unset it; docs/reference.md has all settings."),
    ],
)
@pytest.mark.parametrize("in_file", [False, True], ids=["environment", ".env"])
def test_a_variable_that_sets_nothing_is_refused_with_the_one_that_it_resembles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str, *, in_file: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    if in_file:
        (tmp_path / ".env").write_text(f"{name}=token-4711\n")

    with pytest.raises(SettingError) as refused:
        Settings.from_environment({} if in_file else {name: "token-4711"})

    assert str(refused.value) == f"{name}, set in the environment or in the file .env, is no setting; {told}"


def test_what_kubernetes_sets_for_a_service_of_that_name_is_no_setting_and_is_no_trouble() -> None:
    of_service = {
        "REFINERY_SERVICE_HOST": "10.0.0.7",
        "REFINERY_SERVICE_PORT": "3030",
        "REFINERY_SERVICE_PORT_GRPC": "3030",
        "REFINERY_PORT": "tcp://10.0.0.7:3030",
        "REFINERY_PORT_3030_TCP": "tcp://10.0.0.7:3030",
        "REFINERY_PORT_3030_TCP_ADDR": "10.0.0.7",
    }
    in_a_pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "REFINERY_BEHAVIORS": "7"}

    assert Settings.from_environment(of_service | in_a_pod).behaviors == 7
    with pytest.raises(SettingError, match=r"REFINERY_PORTS, .* is no setting"):
        Settings.from_environment(in_a_pod | {"REFINERY_PORTS": "3030"})


def test_an_alert_address_that_cannot_be_used_is_refused_without_its_token() -> None:
    with pytest.raises(SettingError, match="REFINERY_ALERT_URL is set to something else") as refused:
        Settings.from_environment({"REFINERY_ALERT_URL": "hooks.example/token-4711"})

    assert "4711" not in str(refused.value)
    settings = Settings.from_environment({"REFINERY_ALERT_URL": "https://hooks.example/token-4711"})
    assert settings.alert_url == "https://hooks.example/token-4711"
    assert "4711" not in repr(settings)


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(SettingError, match="REFINERY_LAST_MONTH is '2022-12'"):
        Settings.from_environment({"REFINERY_LAST_MONTH": "2022-12"})


@pytest.mark.parametrize("value", ["capacity.duckdb", "data/../capacity.duckdb", str(PROJECT_ROOT / "capacity.duckdb")])
def test_a_read_copy_that_would_replace_the_warehouse_is_refused(value: str) -> None:
    with pytest.raises(SettingError, match=r"REFINERY_READ_COPY is .*, which is the warehouse itself"):
        Settings.from_environment({"REFINERY_WAREHOUSE": "capacity.duckdb", "REFINERY_READ_COPY": value})


def test_the_read_copy_lies_beside_the_warehouse_unless_placed_elsewhere_or_turned_off() -> None:
    warehouse = {"REFINERY_WAREHOUSE": "/srv/capacity.duckdb"}

    def read_copy(value: str) -> Path | None:
        return Settings.from_environment({**warehouse, "REFINERY_READ_COPY": value}).read_copy

    assert read_copy("") == Path("/srv/capacity.read.duckdb")
    assert Settings(warehouse=Path("/srv/capacity.db")).read_copy == Path("/srv/capacity.read.duckdb")
    assert read_copy("copies/capacity.duckdb") == PROJECT_ROOT / "copies" / "capacity.duckdb"
    assert read_copy("off") is None
    assert read_copy("OFF") is None


def test_unset_and_empty_variables_take_the_contracts_defaults() -> None:
    settings = Settings.from_environment({"REFINERY_BEHAVIORS": " "})

    assert settings == Settings()
    assert settings.feed == PROJECT_ROOT / "data" / "legacy" / "inputs"
    assert settings.warehouse == PROJECT_ROOT / "data" / "refinery.duckdb"
    assert settings.read_copy == PROJECT_ROOT / "data" / "refinery.read.duckdb"
    assert settings.telemetry == PROJECT_ROOT / "data" / "telemetry"
    assert (settings.first_month, settings.last_month) == (Month(2023, 1), None)
    assert (settings.behaviors, settings.max_gap_days) == (10, 3)
    assert (settings.quarantine_tolerance, settings.overshoot) == (0.01, 0.0)
    assert (settings.family_skew, settings.min_coverage) == (0.01, 0.8)


def test_a_bad_value_in_the_file_of_the_working_folder_is_refused_like_one_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("REFINERY_MAX_LOSS=much\n")

    with pytest.raises(SettingError, match=r"^REFINERY_MAX_LOSS is 'much'; expected a share between 0 and 1"):
        Settings.from_environment({})


def test_the_file_of_the_working_folder_sets_what_the_environment_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(
        "# the team's\nexport REFINERY_MAX_GAP_DAYS=5\nREFINERY_OVERSHOOT='20'\nREFINERY_LATE_DAYS=9\n"
        "REFINERY_BEHAVIORS=\nDAGSTER_HOME=/srv/dagster\n"
    )

    settings = Settings.from_environment({"REFINERY_OVERSHOOT": "30", "REFINERY_LATE_DAYS": ""})

    assert settings.max_gap_days == 5
    assert settings.overshoot == 30.0
    # Set to nothing in the environment, it is the default, so that a shell can shut the file out.
    assert settings.late_days == Settings.late_days
    assert settings.behaviors == Settings.behaviors


def test_relative_paths_start_at_the_project_and_absolute_ones_stand() -> None:
    settings = Settings.from_environment({"REFINERY_FEED": "exports", "REFINERY_WAREHOUSE": "/srv/w.duckdb"})

    assert settings.feed == PROJECT_ROOT / "exports"
    assert settings.warehouse == Path("/srv/w.duckdb")


def test_a_month_knows_its_days_and_its_neighbours() -> None:
    february = Month.parse("2024-02")

    assert (str(february), february.last_day, len(february.days)) == ("2024-02", date(2024, 2, 29), 29)
    assert [str(month) for month in Month.span(Month(2023, 12), february)] == [
        "2023-12",
        "2024-01",
        "2024-02",
    ]
    assert list(Month.span(february, Month(2024, 1))) == []


def test_an_object_store_is_a_bucket_and_a_prefix() -> None:
    pytest.importorskip("obstore")
    settings = Settings.from_environment(
        {"REFINERY_FEED": "s3://exports/fleet/daily/", "REFINERY_TELEMETRY": "s3://own"}
    )

    assert settings.feed == ObjectPrefix("exports", "fleet/daily")
    assert settings.telemetry == ObjectPrefix("own")
    assert (str(settings.feed), str(settings.telemetry)) == ("s3://exports/fleet/daily", "s3://own")


def test_an_object_store_without_its_library_is_refused_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)

    with pytest.raises(SettingError, match=r"REFINERY_FEED is 's3://exports', .* pip install '\.\[s3\]'"):
        Settings.from_environment({"REFINERY_FEED": "s3://exports"})
