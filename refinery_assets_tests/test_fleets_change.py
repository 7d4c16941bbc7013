"""Fleets change: hosts come, go and come back, and each month is held against the hosts that were due in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import duckdb
import pytest

from refinery_assets.checks.rules import Outcome
from refinery_assets.contract.families import Encoding
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import feed_file
from refinery_assets.reports.report_data import read_report_data
from refinery_assets.warehouse.explain import explain
from refinery_assets.warehouse.facts import Inventory, MonthOfTable
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.month_status import Inputs
from refinery_assets.warehouse.plan import make_plan
from refinery_assets.warehouse.publish_checks import PUBLISH_RULES
from refinery_assets.warehouse.reaudit import reaudit
from refinery_assets.warehouse.status import read_status
from refinery_assets.warehouse.unknown_hosts import Occurrences, UnknownHosts
from refinery_assets_tests.inventories import contract_with, publish_months, settings_with, verdict_of
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, MARCH

pytestmark = pytest.mark.slow

ALL = (JANUARY, FEBRUARY, MARCH)
HOST = "srv-00005"


def query(settings: Settings, sql: str, parameters: object = None) -> list[tuple[Any, ...]]:
    with duckdb.connect(settings.warehouse) as connection:
        return connection.execute(sql, parameters).fetchall()


def retire(settings: Settings, hosts: Sequence[str], day: str) -> None:
    query(settings, "UPDATE hosts SET valid_to = $day::DATE WHERE list_contains($hosts, node_name)",
          {"day": day, "hosts": list(hosts)})  # fmt: skip


def leave_out(settings: Settings, month: Month, host: str, first: int, last: int) -> None:
    """Take days of a host out of all files of the month."""
    days = {f"{month}-{day:02d},{host}" for day in range(first, last + 1)}
    for family in settings.contract.families:
        path = feed_file(settings, family, month).path
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("".join(f"{line}\n" for line in lines if ",".join(line.split(",")[:2]) not in days))


def inputs(settings: Settings) -> list[Inputs]:
    with duckdb.connect(settings.warehouse, read_only=True) as connection:
        return [month.inputs for month in read_status(connection, settings, settings.today).months]


@pytest.fixture
def settings(settings_of_copy: Settings) -> Settings:
    """The small fleet, January to March 2024, all of it always there."""
    return replace(settings_of_copy, family_skew=0.1, last_month=MARCH)


# What is refused.


def test_a_reading_after_its_host_was_retired_is_told_with_host_file_line_and_day(settings: Settings) -> None:
    retire(settings, [HOST], "2024-02-20")
    leave_out(settings, FEBRUARY, HOST, 21, 29)
    lines = feed_file(settings, settings.contract.families[0], FEBRUARY).path.read_text().splitlines()
    line = lines.index(next(each for each in lines if each.startswith(f"2024-02-20,{HOST},"))) + 1

    found = publish_months(settings, JANUARY, FEBRUARY)

    assert found[JANUARY].state is State.PUBLISHED
    verdict = verdict_of(found[FEBRUARY], "referential_integrity")
    assert verdict.outcome is Outcome.FAILED
    assert verdict.finding.summary == (
        "1 host on days on which it does not count (4 rows in cpu, disk, memory, network)."
    )
    assert verdict.finding.detail == (
        f"Not in the inventory on that day: {HOST} (retired on 2024-02-20; "
        f"2024/02/cpu_utilization_202402.csv, line {line})."
    )
    # A plan and an explanation say the same, word for word.
    planned = make_plan(settings, [[FEBRUARY]]).results[FEBRUARY]
    assert verdict_of(planned, "referential_integrity").finding.message == verdict.finding.message
    explained = explain(settings, FEBRUARY).now
    assert explained is not None
    assert verdict_of(explained, "referential_integrity").sentence == verdict.sentence


def test_a_reading_before_its_host_was_there_or_while_it_was_away_is_refused(settings: Settings) -> None:
    query(settings, f"UPDATE hosts SET valid_from = '2024-02-10' WHERE node_name = '{HOST}'")
    retire(settings, ["srv-00006"], "2024-02-05")
    query(settings, "INSERT INTO hosts SELECT * REPLACE (DATE '2024-03-01' AS valid_from, NULL AS valid_to) FROM hosts "
                    "WHERE node_name = 'srv-00006'")  # fmt: skip

    verdict = verdict_of(publish_months(settings, FEBRUARY)[FEBRUARY], "referential_integrity")

    assert f"{HOST} (not there before 2024-02-10; " in verdict.finding.detail
    assert "srv-00006 (retired on 2024-02-05, back on 2024-03-01; " in verdict.finding.detail


def test_unknown_hosts_and_hosts_that_do_not_count_are_shown_side_by_side(settings: Settings) -> None:
    query(settings, "DELETE FROM hosts WHERE node_name = 'srv-00006'")
    retire(settings, [HOST], "2024-02-20")

    verdict = verdict_of(publish_months(settings, FEBRUARY)[FEBRUARY], "referential_integrity")

    assert [(row["host_id"], row["why"]) for row in verdict.finding.offenders] == [
        ("srv-00006", None),
        (HOST, "retired on 2024-02-20"),
    ]
    assert verdict.finding.detail.startswith("Unknown: srv-00006 (2024/02/")
    # The UI's tables want the same columns in every row.
    assert len({tuple(row) for row in verdict.finding.offenders}) == 1


def test_names_in_utf_8_that_were_read_as_latin_1_are_told_as_the_hosts_that_they_are(settings: Settings) -> None:
    query(settings, f"INSERT INTO hosts SELECT * REPLACE ('Genève-1' AS node_name) FROM hosts WHERE node_name='{HOST}'")
    with feed_file(settings, settings.contract.families[0], FEBRUARY).path.open("a", encoding="utf-8") as file:
        file.writelines(f"2024-02-01,{name},12.5,8\n" for name in ("genÃ¨ve-1", "zÃ¼ri-1", "büro"))

    verdict = verdict_of(publish_months(settings, FEBRUARY)[FEBRUARY], "referential_integrity")

    assert "3 hosts that the inventory lacks" in verdict.finding.summary
    assert verdict.finding.detail.endswith(" Hosts of the inventory, if the file is UTF-8: genÃ¨ve-1 is Genève-1.")
    assert "wrote their names in UTF-8 twice" in verdict.recovery
    latin = [family.model_copy(update={"encoding": Encoding.LATIN1}) for family in settings.contract.families]
    contract = settings.contract.model_copy(update={"family": tuple(latin)})
    month = MonthOfTable(
        FEBRUARY,
        {},
        None,
        Inventory(0, {}, 0),
        replace(settings, contract=contract),
        unknown_hosts=UnknownHosts(Occurrences(1, 1, ["cpu"]), misread={"genÃ¨ve-1": "Genève-1"}),
    )
    rule = next(rule for rule in PUBLISH_RULES if rule.name == "referential_integrity")
    assert 'where the contract has encoding = "latin-1"' in rule.verdict("processed_data", FEBRUARY, month).recovery


def test_unknown_hosts_and_their_rows_are_counted_beyond_the_sample_each_host_once(settings: Settings) -> None:
    retire(settings, [HOST], "2024-02-29")
    for family, ghosts in zip(settings.contract.families, (["GHOST-00"], ["ghost-00"], range(25)), strict=False):
        names = [name if isinstance(name, str) else f"ghost-{name:02d}" for name in ghosts]
        with feed_file(settings, family, FEBRUARY).path.open("a", encoding="utf-8") as file:
            file.writelines(f"2024-02-{day:02d},{name},12.5,8\n" for name in names for day in (1, 2))

    verdict = verdict_of(publish_months(settings, FEBRUARY)[FEBRUARY], "referential_integrity")

    assert verdict.finding.summary == (
        "25 hosts that the inventory lacks (54 rows in cpu, disk, memory); "
        "1 host on days on which it does not count (4 rows in cpu, disk, memory, network)."
    )
    assert (
        " and 19 more. Not in the inventory on that day: srv-00005 (retired on 2024-02-29; " in verdict.finding.detail
    )
    assert verdict.finding.offenders[0]["resources"] == "cpu, disk, memory"


def test_a_behavior_of_a_host_due_in_the_month_is_missed_and_one_that_is_retired_is_not(settings: Settings) -> None:
    severe = [name for (name,) in query(settings, "SELECT node_name FROM hosts WHERE variant = 'SEVERE' ORDER BY 1")]
    for host in severe:
        leave_out(settings, FEBRUARY, host, 1, 29)

    missed = publish_months(settings, FEBRUARY)[FEBRUARY]
    retire(settings, severe, "2024-02-01")
    gone = publish_months(settings, JANUARY, FEBRUARY)

    assert verdict_of(missed, "behavioral_retention").outcome is Outcome.FAILED
    assert [result.state for result in gone.values()] == [State.PUBLISHED, State.PUBLISHED]
    summaries = [verdict_of(gone[month], "behavioral_retention").finding.summary for month in (JANUARY, FEBRUARY)]
    assert [summary.partition(" retained")[0] for summary in summaries] == ["10 of 10 behaviors", "9 of 9 behaviors"]


# What stays, and what is due.


def test_january_is_rebuilt_the_same_after_a_third_of_its_hosts_was_retired_in_march(settings: Settings) -> None:
    publish_months(settings, *ALL)
    table = "SELECT * FROM processed_data WHERE month(ds) = 1 ORDER BY resource, host_id, ds"
    before = query(settings, table)
    retired = [name for (name,) in query(settings, "SELECT node_name FROM hosts ORDER BY 1 LIMIT 6")]
    retire(settings, retired, "2024-03-11")
    for host in retired:
        leave_out(settings, MARCH, host, 11, 31)

    # Neither January nor February has changed by that.
    assert inputs(settings) == [Inputs.AS_PUBLISHED, Inputs.AS_PUBLISHED, Inputs.CHANGED]
    query(settings, "DELETE FROM processed_data WHERE month(ds) = 1")
    rebuilt = publish_months(settings, *ALL)

    assert [rebuilt[month].state for month in ALL] == [State.PUBLISHED, State.PUBLISHED, State.REFUSED]
    assert query(settings, table) == before
    refused = [verdict.check for verdict in rebuilt[MARCH].verdicts if verdict.failed]
    # That rows go for which hosts no longer count is what an operator is asked about.
    assert refused == ["published_rows_kept"]
    accepted = publish_months(replace(settings, max_loss=1.0), MARCH)[MARCH]
    assert accepted.state is State.PUBLISHED
    coverage = verdict_of(accepted, "fleet_coverage")
    assert (coverage.outcome, coverage.finding.counts["hosts_due"]) == (Outcome.PASSED, 20)
    with duckdb.connect(settings.warehouse, read_only=True) as connection:
        assert not [verdict.sentence for verdict in reaudit(connection, settings).verdicts if verdict.failed]


def test_a_host_is_missing_on_no_day_on_which_it_does_not_count(settings: Settings) -> None:
    query(settings, f"UPDATE hosts SET valid_from = '2024-02-20' WHERE node_name = '{HOST}'")
    leave_out(settings, JANUARY, HOST, 1, 31)
    leave_out(settings, FEBRUARY, HOST, 1, 19)

    found = publish_months(settings, JANUARY, FEBRUARY)

    for month, due in ((JANUARY, 19), (FEBRUARY, 20)):
        verdict = verdict_of(found[month], "fleet_coverage")
        assert verdict.outcome is Outcome.PASSED, verdict.sentence
        assert verdict.finding.counts["hosts_due"] == due
        assert not [each.sentence for each in found[month].verdicts if each.outcome is Outcome.FAILED]


def test_a_host_without_a_reading_all_month_is_named_and_one_that_does_not_count_is_not(settings: Settings) -> None:
    gone, retired = "srv-00003", HOST
    query(settings, f"UPDATE hosts SET valid_to = '2024-02-01' WHERE node_name = '{retired}'")
    for host in (gone, retired):
        leave_out(settings, FEBRUARY, host, 1, 29)

    verdict = verdict_of(publish_months(settings, FEBRUARY)[FEBRUARY], "fleet_coverage")

    assert verdict.outcome is Outcome.WARNING
    assert verdict.finding.summary.endswith("; 1 host due has none in cpu, memory, disk, network.")
    assert verdict.finding.detail == f"Without a reading: {gone}."
    assert verdict.finding.offenders == [{"host_id": gone, "missing_in": "cpu, memory, disk, network"}]


def test_status_says_when_the_inventory_as_it_is_would_have_every_month_refused(settings: Settings) -> None:
    publish_months(settings, JANUARY)

    def problem() -> str:
        with duckdb.connect(settings.warehouse, read_only=True) as connection:
            return read_status(connection, settings, settings.today).inventory_problem

    assert problem() == ""
    query(settings, "UPDATE hosts SET node_name = ' ' WHERE node_name = $host", {"host": HOST})
    assert problem().startswith("20 hosts, 1 without a name, ")
    query(settings, "ALTER TABLE hosts RENAME TO others")
    assert problem().startswith("the warehouse has no table hosts. ")
    assert "Load the inventory into the table hosts" in problem()


def test_a_host_that_comes_after_the_newest_day_is_not_due_yet(settings: Settings) -> None:
    query(settings, f"UPDATE hosts SET valid_from = '2024-03-20' WHERE node_name = '{HOST}'")
    for host in [name for (name,) in query(settings, "SELECT node_name FROM hosts")]:
        leave_out(settings, MARCH, host, 1 if host == HOST else 11, 31)

    verdict = verdict_of(publish_months(settings, MARCH)[MARCH], "fleet_coverage")

    assert (verdict.outcome, verdict.finding.counts["hosts_due"]) == (Outcome.PASSED, 19)


def test_days_between_two_periods_are_filled_as_any_gap_and_are_no_readings(settings: Settings) -> None:
    retire(settings, [HOST], "2024-02-10")
    query(settings, "INSERT INTO hosts SELECT * REPLACE (DATE '2024-02-12' AS valid_from, NULL AS valid_to) FROM hosts "
                    f"WHERE node_name = '{HOST}'")  # fmt: skip
    leave_out(settings, FEBRUARY, HOST, 10, 11)

    found = publish_months(settings, FEBRUARY)[FEBRUARY]

    assert found.state is State.PUBLISHED
    assert query(settings, "SELECT count(*) FROM processed_data WHERE is_imputed") == [(8,)]
    assert query(settings, "SELECT count(*), count(DISTINCT unique_id) FROM series") == [(80, 80)]
    assert query(settings, "SELECT count(*) FROM forecast_panel") == [(20 * 29 * 4,)]


def test_hosts_are_compared_without_regard_to_case_and_take_the_inventorys_spelling(settings: Settings) -> None:
    query(
        settings, f"UPDATE hosts SET node_name = upper(node_name), valid_to = '2024-02-01' WHERE node_name = '{HOST}'"
    )
    leave_out(settings, FEBRUARY, HOST, 2, 29)

    found = publish_months(settings, JANUARY, FEBRUARY)

    assert query(settings, "SELECT DISTINCT host_id FROM processed_data WHERE host_id ILIKE 'srv-00005'") == [
        (HOST.upper(),)
    ]
    detail = verdict_of(found[FEBRUARY], "referential_integrity").finding.detail
    assert f"{HOST.upper()} (retired on 2024-02-01; 2024/02/cpu_utilization_202402.csv, line " in detail


def test_a_warehouse_without_the_two_columns_counts_every_host_always(settings: Settings) -> None:
    publish_months(settings, JANUARY)
    with_columns = query(settings, "SELECT input_digest FROM publications")
    query(settings, "ALTER TABLE hosts DROP COLUMN valid_from")
    query(settings, "ALTER TABLE hosts DROP COLUMN valid_to")

    assert publish_months(settings, FEBRUARY)[FEBRUARY].state is State.PUBLISHED

    assert query(settings, "SELECT DISTINCT valid_from, valid_to FROM series") == [(None, None)]
    publish_months(settings, JANUARY)
    assert query(settings, "SELECT DISTINCT input_digest FROM publications WHERE month = '2024-01'") == with_columns


# What planners see.


def test_views_give_the_attributes_of_today_or_of_the_latest_period_once_for_each_series(settings: Settings) -> None:
    today = settings.today
    periods: dict[str, list[tuple[str, str | None, str | None]]] = {
        "srv-00001": [("old", None, "2024-05-01"), ("new", "2024-06-01", None)],
        "srv-00002": [("old", None, "2024-05-01"), ("last", "2024-05-01", "2024-06-01")],
        "srv-00003": [("now", None, str(today + timedelta(days=9))), ("soon", str(today + timedelta(days=9)), None)],
    }
    query(settings, "CREATE TABLE others AS FROM hosts WHERE node_name > 'srv-00003'")
    for host, rows in periods.items():
        for department, begin, end in rows:
            query(
                settings,
                "INSERT INTO others SELECT * REPLACE ($department AS department, $begin::DATE AS valid_from, "
                "$end::DATE AS valid_to) FROM hosts WHERE node_name = $host",
                {"department": department, "begin": begin, "end": end, "host": host},
            )
    query(settings, "CREATE OR REPLACE TABLE hosts AS FROM others")

    assert publish_months(settings, JANUARY)[JANUARY].state is State.PUBLISHED

    for view in ("series", "forecast_panel"):
        shown = query(
            settings,
            f"SELECT DISTINCT host_id, department, valid_from::VARCHAR, valid_to::VARCHAR FROM {view} "
            "WHERE host_id <= 'srv-00003' ORDER BY 1",
        )
        assert [row[:2] for row in shown] == [("srv-00001", "new"), ("srv-00002", "last"), ("srv-00003", "now")]
        assert shown[1][2:] == ("2024-05-01", "2024-06-01")
    assert query(settings, "SELECT count(*) FROM forecast_panel") == [(20 * 31 * 4,)]
    assert query(settings, "SELECT count(*) FROM series") == [(80,)]


def test_a_capacity_change_is_an_event_and_demand_does_not_fall_by_it(settings: Settings) -> None:
    family = settings.contract.families[1]
    path = feed_file(settings, family, FEBRUARY).path
    lines = [line.split(",") for line in path.read_text().splitlines()]
    for fields in lines[1:]:
        if fields[1] == HOST:
            # Twice the memory from the 15th on, the same used; one day before, the export states none.
            fields[2:] = ["20.0", "128"] if fields[0] >= "2024-02-15" else ["40.0", "64"]
        if fields[:2] == ["2024-02-14", HOST]:
            fields[3] = ""
    path.write_text("".join(",".join(fields) + "\n" for fields in lines))

    publish_months(settings, FEBRUARY)

    assert query(
        settings, "SELECT host_id, resource, day::VARCHAR, capacity_before, capacity_after FROM capacity_changes"
    ) == [(HOST, "memory", "2024-02-15", 64.0, 128.0)]
    demand = "FROM forecast_panel WHERE host_id = $host AND resource = 'memory'"
    assert query(settings, f"SELECT DISTINCT demand {demand} ORDER BY 1", {"host": HOST}) == [(25.6,), (None,)]
    assert query(settings, "SELECT count(demand) FROM forecast_panel WHERE capacity IS NULL") == [(0,)]


def test_a_reports_coverage_is_of_the_days_due(settings: Settings) -> None:
    (behavior, host), *_ = query(settings, "SELECT scenario || '/' || variant, node_name FROM hosts ORDER BY node_name")
    query(settings, f"UPDATE hosts SET valid_from = '2024-02-20' WHERE node_name = '{host}'")
    leave_out(settings, JANUARY, host, 1, 31)
    leave_out(settings, FEBRUARY, host, 1, 19)
    publish_months(settings, *ALL)

    with duckdb.connect(settings.warehouse, read_only=True) as connection:
        history = read_report_data(connection, ALL, settings.contract).history

    assert [history.due[behavior, month] for month in ALL] == [(1, 31), (2, 29 + 10), (2, 62)]
    assert [history.coverage(behavior, month) for month in ALL] == [1.0, 1.0, 1.0]
    assert [history.cells[behavior, month].series for month in ALL] == [4, 8, 8]


def test_a_file_with_other_names_and_no_behaviors_publishes_and_carries_its_attributes(settings: Settings) -> None:
    folder = settings.warehouse.parent / "lists"
    folder.mkdir()
    hosts = [name for (name,) in query(settings, "SELECT node_name FROM hosts")]
    rows = "".join(f"{host};;rack {number}\n" for number, host in enumerate(hosts[:-1]))
    (folder / "assets.csv").write_text(f"Server;Gone;Rack\n{rows}{hosts[-1]};2024-02-01;rack 99\n")
    query(settings, "DROP TABLE hosts")
    inventory = 'source = "assets.csv"\nhost = "server"\nbehavior = []\nvalid_to = "gone"\nattributes = ["rack"]'
    own = settings_with(settings, contract_with(folder, inventory))

    found = publish_months(own, JANUARY, FEBRUARY)

    assert [found[month].state for month in (JANUARY, FEBRUARY)] == [State.PUBLISHED, State.REFUSED]
    assert "names no column of behaviors" in verdict_of(found[JANUARY], "behavioral_retention").finding.summary
    assert (
        f"{hosts[-1]} (retired on 2024-02-01; " in verdict_of(found[FEBRUARY], "referential_integrity").finding.detail
    )
    assert query(own, "SELECT count(*), min(rack), max(valid_to)::VARCHAR FROM series") == [
        (80, "rack 0", "2024-02-01")
    ]
    # The plan works on copies elsewhere, and reads the same file.
    assert make_plan(own, [[JANUARY]]).results[JANUARY].state is State.UNCHANGED
    assert inputs(own)[0] is Inputs.AS_PUBLISHED
