"""The sandbox of the tests: a small fleet on disk, ways to spoil it, and runs over it through Dagster.

Here: what many test modules share. Not here: fixtures (`conftest.py`) and anything that asserts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from refinery_assets.assets.steps import FORCE_TAG
from refinery_assets.build import build_defs
from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.places import Place
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, feed_extent
from refinery_assets.operations.automation import REFINE
from refinery_assets.operations.partitions import range_tags
from refinery_assets.warehouse.gate import RunSoFar
from refinery_assets.warehouse.ledger import StepRecord
from refinery_assets.warehouse.month_state import MonthResult
from refinery_assets.warehouse.publish import publish
from refinery_assets.warehouse.storage import open_warehouse

JANUARY, FEBRUARY, MARCH = Month(2024, 1), Month(2024, 2), Month(2024, 3)
CPU, MEMORY, DISK, NETWORK = FAMILIES
Rows = list[tuple[Any, ...]]
GivenPublished = Callable[..., None]
"""Lays down what a run over the months named leaves: warehouse, read copy, partitions, reports."""


def settings_in(folder: Path) -> Settings:
    """Settings over a copy of the small fleet."""
    return Settings(
        feed=folder / "legacy" / "inputs",
        warehouse=folder / "refinery.duckdb",
        telemetry=folder / "telemetry",
        reports=folder / "reports",
        alert_log=folder / "alerts.jsonl",
        first_month=JANUARY,
        last_month=Month(2024, 12),
    )


def folder(place: Place) -> Path:
    """A place that is known to be a folder."""
    assert isinstance(place, Path)
    return place


def asset_and_check(name: str) -> tuple[str, str]:
    """The two halves of `asset.check`."""
    asset, _, check = name.partition(".")
    return asset, check


_WORST_FIRST = ("failed", "warning", "passed")


@dataclass(frozen=True)
class Outcome:
    """What Dagster holds after a run.

    Attributes:
        success: Whether the run ended well.
        evaluations: What each check said, by `asset.check` and month; the month is None where a run is for none.
        failures: What steps that failed said.
        run_id: The run.
    """

    success: bool
    evaluations: dict[tuple[str, str | None], dg.AssetCheckEvaluation]
    failures: dict[str, str]
    run_id: str

    @property
    def checks(self) -> dict[str, dg.AssetCheckEvaluation]:
        """The worst that each check said of any month, by `asset.check`."""
        worst: dict[str, dg.AssetCheckEvaluation] = {}
        for (name, _), evaluation in self.evaluations.items():
            others = worst.get(name)
            if others is None or _rank(evaluation) < _rank(others):
                worst[name] = evaluation
        return worst

    @property
    def message(self) -> str:
        """What the step said that failed the run."""
        return "\n".join(self.failures.values())

    def verdict(self, asset: str, check: str, month: Month | None = None) -> str:
        """`passed`, `warning` or `failed`; without a month, the worst of all."""
        return _verdict(self._of(asset, check, month))

    def metadata(self, asset: str, check: str, month: Month | None = None) -> dict[str, Any]:
        """The check's metadata; tables as lists of dictionaries. Without a month, that of the worst."""
        found: dict[str, Any] = {}
        for name, value in self._of(asset, check, month).metadata.items():
            if isinstance(value, dg.TableMetadataValue):
                found[name] = [dict(record.data) for record in value.records]
            else:
                found[name] = value.value
        return found

    def _of(self, asset: str, check: str, month: Month | None) -> dg.AssetCheckEvaluation:
        name = f"{asset}.{check}"
        return self.checks[name] if month is None else self.evaluations[name, str(month)]

    @property
    def failed_checks(self) -> set[str]:
        """`asset.check` of every check that failed as an error."""
        return {name for name, evaluation in self.checks.items() if _verdict(evaluation) == "failed"}


def _verdict(evaluation: dg.AssetCheckEvaluation) -> str:
    if evaluation.passed:
        return "passed"
    return "warning" if evaluation.severity is dg.AssetCheckSeverity.WARN else "failed"


def _rank(evaluation: dg.AssetCheckEvaluation) -> int:
    return _WORST_FIRST.index(_verdict(evaluation))


@dataclass(frozen=True)
class Sandbox:
    """Settings that point into a temporary folder, and the files there."""

    settings: Settings
    instance: dg.DagsterInstance

    @property
    def feed(self) -> Path:
        """The feed's folder."""
        return folder(self.settings.feed)

    @property
    def telemetry(self) -> Path:
        """The folder of the partitions."""
        return folder(self.settings.telemetry)

    def file(self, family: Family, month: Month) -> FeedFile:
        return FeedFile(self.settings.feed, family, month)

    def lines(self, family: Family, month: Month) -> list[str]:
        """The file's lines, the header first, without line ends."""
        return self.file(family, month).path.read_text(encoding="utf-8").removesuffix("\n").split("\n")

    def write_lines(self, family: Family, month: Month, lines: Sequence[str]) -> None:
        self.write_bytes(family, month, "".join(f"{line}\n" for line in lines).encode())

    def write_bytes(self, family: Family, month: Month, data: bytes) -> None:
        path = self.file(family, month).path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def edit_line(self, family: Family, month: Month, number: int, line: str) -> None:
        """Replace line `number`, where the header is 1."""
        lines = self.lines(family, month)
        lines[number - 1] = line
        self.write_lines(family, month, lines)

    def refine(self, *months: Month, force: bool = False, tags: Mapping[str, str] | None = None) -> Outcome:
        """Run the job `refine` over the span of `months` in one run, inventory checks included."""
        return self._execute(None, months, {**(tags or {}), **({FORCE_TAG: "true"} if force else {})})

    def materialize(self, assets: Sequence[str], *months: Month, force: bool = False) -> Outcome:
        """Materialize the assets named, as the UI does: the external inventory's checks are left out."""
        tags = {FORCE_TAG: "true"} if force else {}
        return self._execute(dg.AssetSelection.assets(*assets), months, tags)

    def audit(self, *assets: str) -> Outcome:
        """Execute the checks of the assets alone, of `processed_data` if none is named, as the UI's button does."""
        return self._execute(dg.AssetSelection.checks_for_assets(*(assets or ("processed_data",))), ())

    def publish_again(
        self, *months: Month, records: Mapping[str, StepRecord] | None = None
    ) -> dict[Month, MonthResult]:
        """Publish from the partitions that are there, as a run of `processed_data` does whose earlier steps left these
        records; without Dagster, which costs most of a run.
        """
        run = RunSoFar("by hand", feed_extent(self.settings), self.settings.today, records or {})
        place = self.settings.lake or self.settings.warehouse
        with open_warehouse(place, read_only=False, wait_seconds=60.0) as connection:
            return publish(connection, months, self.settings, run)

    def _execute(
        self, selection: dg.AssetSelection | None, months: Sequence[Month], extra_tags: Mapping[str, str] | None = None
    ) -> Outcome:
        defs = build_defs(self.settings)
        name = REFINE
        if selection is not None:
            name = "adhoc"
            adhoc = dg.define_asset_job(name, selection=selection)
            defs = dg.Definitions.merge(defs, dg.Definitions(jobs=[adhoc]))
        job = defs.resolve_job_def(name)
        tags = dict(extra_tags or {})
        partition_key = None
        if len(months) == 1:
            partition_key = str(months[0])
        elif months:
            tags |= range_tags(min(months), max(months))
        result = job.execute_in_process(
            instance=self.instance,
            partition_key=partition_key,
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        return Outcome(
            success=result.success,
            evaluations={
                (f"{found.asset_key.to_user_string()}.{found.check_name}", found.partition): found
                for found in result.get_asset_check_evaluations()
            },
            failures={
                event.step_key: _reason(event)
                for event in result.all_events
                if event.is_step_failure and event.step_key
            },
            run_id=result.run_id,
        )

    def query(self, sql: str, parameters: object = None) -> Rows:
        """Query the warehouse."""
        if self.settings.lake is not None:
            with open_warehouse(self.settings.lake, read_only=True, wait_seconds=0.0) as connection:
                return connection.execute(sql, parameters).fetchall()
        with duckdb.connect(self.settings.warehouse, read_only=True) as connection:
            return connection.execute(sql, parameters).fetchall()

    def execute(self, sql: str, parameters: object = None) -> None:
        """Change the warehouse."""
        if self.settings.lake is not None:
            with open_warehouse(self.settings.lake, read_only=False, wait_seconds=0.0) as connection:
                connection.execute(sql, parameters)
            return
        with duckdb.connect(self.settings.warehouse) as connection:
            connection.execute(sql, parameters)

    def published_rows(self) -> int:
        """How many rows are published; 0 without a table."""
        tables = self.query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'processed_data'")
        return int(self.query("SELECT count(*) FROM processed_data")[0][0]) if tables == [(1,)] else 0

    def processed(self) -> Rows:
        """Every published row, in an order of its own."""
        return self.query("SELECT * FROM processed_data ORDER BY resource, host_id, ds")

    def quarantined(self) -> Rows:
        """Every quarantined row, in an order of its own."""
        return self.query("SELECT * FROM quarantined_rows ORDER BY month, resource, source_line")

    def published(self) -> tuple[Rows, Rows]:
        """Both published tables, to compare before and after."""
        return self.processed(), self.quarantined()


def _reason(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    failure = data.user_failure_data
    if failure is not None and failure.description:
        return failure.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message if error is not None else ""


def repeat_the_month_before(sandbox: Sandbox, month: Month) -> None:
    """Give a month the files of the month before under new dates: a plausible lie."""
    for family in FAMILIES:
        head, *rows = sandbox.lines(family, month.previous)
        days = {str(day) for day in month.days}
        moved = [row.replace(str(month.previous), str(month), 1) for row in rows]
        sandbox.write_lines(family, month, [head, *(row for row in moved if row[:10] in days)])
