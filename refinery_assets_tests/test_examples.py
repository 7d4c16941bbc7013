"""The feeds in examples/: refined by their contracts, and by the contracts that are proposed for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from refinery_assets.contract.contract_file import read_contract
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.infer.proposal import propose_contract
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.plan import make_plan
from refinery_assets_tests.examples import EXAMPLES, FIRST, HOSTS, SECOND, percent
from refinery_assets_tests.scenario import Rows, Sandbox

EXPORTS_OF_DAYS = "semicolons-with-gpu"
RESOURCES = {
    EXPORTS_OF_DAYS: ("cpu", "memory", "disk", "network", "gpu"),
    "cpu-only": ("cpu",),
    "wide-parquet": ("cpu", "memory", "disk"),
    "fractions-by-epoch": ("cpu", "memory"),
}


def settings_of(example: str, folder: Path) -> Settings:
    """What its README says, with all that is written in `folder`."""
    return replace(
        Settings.from_environment({
            "REFINERY_CONTRACT": str(EXAMPLES / example / "contract.toml"),
            "REFINERY_FEED": str(EXAMPLES / example / "feed"),
            "REFINERY_WAREHOUSE": str(folder / "warehouse.duckdb"),
        }),
        telemetry=folder / "telemetry",
        reports=folder / "reports",
        alert_log=folder / "alerts.jsonl",
    )  # fmt: skip


def expected(example: str) -> Rows:
    """Resource, host, day, utilization and whether it was imputed, in order."""
    rows: Rows = []
    for place, resource in enumerate(RESOURCES[example]):
        for number, host in enumerate(HOSTS):
            for day in [*FIRST.days, *SECOND.days]:
                y, name, is_imputed = percent(day, number, place), host, False
                if example == EXPORTS_OF_DAYS:
                    # The export ends early; and hosts are taken into service and out of it.
                    if str(day) > "2024-03-05" or (number == 7 and str(day) >= "2024-02-20"):
                        continue
                    if number == 6 and str(day) < "2024-02-15":
                        continue
                    y, name = round(y, 1), f"Büro-{host}"
                    if (str(day), number, resource) == ("2024-02-09", 3, "gpu"):
                        around = [round(percent(day.replace(day=near), number, place), 1) for near in (8, 10)]
                        y, is_imputed = sum(around) / 2, True
                rows.append((resource, name, day, pytest.approx(y, abs=0.0051), is_imputed))
    return sorted(rows, key=lambda row: row[:3])


@pytest.mark.slow
@pytest.mark.parametrize("example", RESOURCES)
def test_an_example_is_refined_to_the_rows_that_it_was_made_of(tmp_path: Path, example: str) -> None:
    settings = settings_of(example, tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        sandbox = Sandbox(settings, instance)
        outcome = sandbox.refine(FIRST, SECOND)

        assert (outcome.message, outcome.failed_checks) == ("", set())
        assert sandbox.query(
            "SELECT resource, host_id, ds::DATE, y, is_imputed FROM processed_data ORDER BY resource, host_id, ds"
        ) == expected(example)
        faults = sandbox.query("SELECT source_file, source_line, resource, fault FROM quarantined_rows")
        assert faults == (
            [("2024/02/auslastung_20240209.csv.gz", 5, "gpu", "missing_value")] if example == EXPORTS_OF_DAYS else []
        )
        assert sandbox.query("SELECT DISTINCT contract_digest FROM publications") == [(settings.contract.digest,)]
        if example == "cpu-only":
            assert outcome.verdict("processed_data", "capacity_known") == "passed"


@pytest.mark.slow
@pytest.mark.parametrize("example", RESOURCES)
def test_the_contract_that_is_proposed_for_an_example_reads_it_as_its_own_does(tmp_path: Path, example: str) -> None:
    file = tmp_path / "contract.toml"
    text = propose_contract([EXAMPLES / example], file)
    declared = settings_of(example, tmp_path)
    proposed = replace(declared, contract=read_contract(text, file), feed=EXAMPLES / example, behaviors=0)

    of_declared, of_proposed = (make_plan(settings, [[FIRST, SECOND]]) for settings in (declared, proposed))

    assert {result.state for result in of_proposed.results.values()} == {State.PUBLISHED}
    for month in (FIRST, SECOND):
        ours, theirs = of_declared.results[month], of_proposed.results[month]
        assert theirs.figures == pytest.approx(ours.figures)
