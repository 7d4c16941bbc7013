"""What Dagster knows of each month after one run over many; a small graph whose months are good or bad."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionResolvedStatus,
)
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from refinery_assets.assets.month_events import (
    SILENT,
    JudgedMonth,
    MaterializedMonth,
    is_last_step,
    log_months,
    monthly_check_spec,
    silent_outputs,
)
from refinery_assets.contract.months import Month
from refinery_assets.operations.event_log import KeptOpenEventLog
from refinery_assets.operations.partitions import ONE_RUN, range_tags
from refinery_assets_tests.installation import opened

MONTHS = dg.MonthlyPartitionsDefinition("2024-01", fmt="%Y-%m", end_date="2024-07")
ALL = ("2024-01", "2024-02", "2024-03", "2024-04", "2024-05", "2024-06")
BAD = ("2024-03", "2024-05")
GOOD = tuple(month for month in ALL if month not in BAD)
ASSETS = ("feed", "family", "table")
SOUND = {asset: dg.AssetCheckKey(dg.AssetKey(asset), "sound") for asset in ASSETS}


@dataclass
class Graph:
    """Three assets in a row, the second through an IO manager; the months of `bad` are refused by all."""

    instance: dg.DagsterInstance
    bad: Sequence[str] = BAD
    written: list[Any] = field(default_factory=list)
    last_steps: list[str] = field(default_factory=list)

    def run(self, *months: str, selection: dg.AssetSelection | None = None) -> dg.ExecuteInProcessResult:
        """Run over the range from the first month to the last, or over no month."""
        tags = range_tags(Month.parse(months[0]), Month.parse(months[-1])) if months else {}
        job = dg.define_asset_job("refine", selection or dg.AssetSelection.all())
        definitions = dg.Definitions(
            assets=[self._feed(), self._family(), self._table()],
            jobs=[job],
            resources={"io_manager": dg.IOManagerDefinition.hardcoded_io_manager(_Collecting(self.written))},
            executor=dg.in_process_executor,
        )
        return definitions.resolve_job_def("refine").execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def _feed(self) -> dg.AssetsDefinition:
        @dg.multi_asset(
            name="feed",
            specs=[dg.AssetSpec("feed")],
            check_specs=[_sound("feed")],
            partitions_def=MONTHS,
            backfill_policy=ONE_RUN,
        )
        def feed(context: dg.AssetExecutionContext) -> Iterator[Any]:
            yield from silent_outputs(context)
            yield from self._judge(context, "feed", context.partition_keys)

        return feed

    def _family(self) -> dg.AssetsDefinition:
        @dg.multi_asset(
            name="family",
            outs={"family": dg.AssetOut(dagster_type=dg.Any)},
            deps=["feed"],
            check_specs=[_sound("family")],
            partitions_def=MONTHS,
            backfill_policy=ONE_RUN,
        )
        def family(context: dg.AssetExecutionContext) -> Iterator[Any]:
            yield from silent_outputs(context, value=iter(context.partition_keys))
            yield from self._judge(context, "family", context.partition_keys)

        return family

    def _table(self) -> dg.AssetsDefinition:
        @dg.multi_asset(
            name="table",
            specs=[dg.AssetSpec("table", deps=["family"])],
            check_specs=[_sound("table")],
            partitions_def=MONTHS,
            backfill_policy=ONE_RUN,
            can_subset=True,
        )
        def table(context: dg.AssetExecutionContext) -> Iterator[Any]:
            yield from silent_outputs(context)
            if context.selected_asset_keys:
                yield from self._judge(context, "table", context.partition_keys)
            else:
                yield from log_months(context, "table", [], self.verdicts("table", GOOD))

        return table

    def _judge(self, context: dg.AssetExecutionContext, asset: str, months: Sequence[str]) -> Iterator[Any]:
        materialized = [
            MaterializedMonth(month, f"digest of {month}", {"rows": 7}) for month in months if month not in self.bad
        ]
        yield from log_months(context, asset, materialized, self.verdicts(asset, months))
        if is_last_step(context):
            self.last_steps.append(asset)
            if refused := [month for month in months if month in self.bad]:
                raise dg.Failure(f"Refused: {', '.join(refused)}.", allow_retries=False)

    def verdicts(self, asset: str, months: Sequence[str]) -> list[JudgedMonth]:
        return [
            JudgedMonth(
                asset,
                "sound",
                month,
                passed=month not in self.bad,
                severity=dg.AssetCheckSeverity.ERROR,
                description=f"{month} is {'bad' if month in self.bad else 'good'}.",
                metadata={"recovery": "mend it"},
            )
            for month in months
        ]

    def history(self, asset: str) -> Sequence[AssetCheckExecutionRecord]:
        return self.instance.event_log_storage.get_asset_check_execution_history(SOUND[asset], limit=1000)

    def months_shown(self, asset: str) -> dict[str, set[str]]:
        """What the UI shows of the asset's partitions."""
        cached = get_and_update_asset_status_cache_value(self.instance, dg.AssetKey(asset), MONTHS)
        assert cached
        return {
            "materialized": set(cached.deserialize_materialized_partition_subsets(MONTHS).get_partition_keys()),
            "failed": set(cached.deserialize_failed_partition_subsets(MONTHS).get_partition_keys()),
        }

    def verdicts_shown(self, asset: str) -> dict[str, set[str]]:
        """What the UI shows of the check's partitions."""
        key = SOUND[asset]
        states = self.instance.event_log_storage.get_asset_check_state([(key, MONTHS)])
        return {
            status.value.lower(): set(found)
            for status, subset in states[key].subsets.items()
            if (found := list(subset.subset_value.get_partition_keys()))
            and isinstance(status, AssetCheckExecutionResolvedStatus)
        }


class _Collecting(dg.IOManager):
    def __init__(self, written: list[Any]) -> None:
        self.written = written

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:  # noqa: ARG002
        self.written.extend(obj)

    def load_input(self, context: dg.InputContext) -> None:
        raise NotImplementedError


def _sound(asset: str) -> dg.AssetCheckSpec:
    return monthly_check_spec("sound", asset, MONTHS, description="Is it?", blocking=True)


STORAGES = ("in memory", pytest.param("stock files", marks=pytest.mark.heavy), "files of this project")


@contextmanager
def graph_over(storage: str, folder: Path, dagster_home: Path) -> Iterator[Graph]:
    if storage == "files of this project":
        shutil.copytree(dagster_home, folder / "dagster")
        with opened(folder / "dagster") as instance:
            assert isinstance(instance.event_log_storage, KeptOpenEventLog)
            yield Graph(instance)
    elif storage == "stock files":
        with dg.DagsterInstance.local_temp(str(folder)) as instance:
            yield Graph(instance)
    else:
        with dg.DagsterInstance.ephemeral() as instance:
            yield Graph(instance)


@pytest.fixture(params=STORAGES)
def graph(request: pytest.FixtureRequest, tmp_path: Path, dagster_home: Path) -> Iterator[Graph]:
    with graph_over(request.param, tmp_path, dagster_home) as graph:
        yield graph


@dataclass
class Ran:
    """A graph that ran once over all months, and nothing since."""

    graph: Graph
    result: dg.ExecuteInProcessResult


@pytest.fixture(scope="module", params=STORAGES)
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, dagster_home: Path) -> Iterator[Ran]:
    with graph_over(request.param, tmp_path_factory.mktemp("ran"), dagster_home) as graph:
        yield Ran(graph, graph.run(*ALL))


@pytest.mark.slow
def test_bad_months_of_a_range_fail_and_the_others_are_materialized(ran: Ran) -> None:
    graph = ran.graph

    assert not ran.result.success
    assert graph.last_steps == ["table"]
    for asset in ASSETS:
        assert graph.months_shown(asset) == {"materialized": set(GOOD), "failed": set(BAD)}
        assert graph.verdicts_shown(asset) == {"succeeded": set(GOOD), "failed": set(BAD)}


@pytest.mark.slow
def test_every_evaluation_belongs_to_a_month_and_no_planned_one_is_left(ran: Ran) -> None:
    for asset in ASSETS:
        history = ran.graph.history(asset)
        assert sorted(str(record.partition) for record in history) == list(ALL)
        assert {record.status.value for record in history} == {"SUCCEEDED", "FAILED"}


@pytest.mark.slow
def test_a_materialized_month_carries_its_metadata_and_its_data_version(ran: Ran) -> None:
    for asset in ASSETS:
        records = ran.graph.instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
        assert {
            record.partition_key: (
                record.asset_materialization.tags["dagster/data_version"],
                record.asset_materialization.metadata["rows"].value,
            )
            for record in records
            if record.asset_materialization and record.asset_materialization.tags
        } == {month: (f"digest of {month}", 7) for month in GOOD}
        assert len(records) == len(GOOD)


@pytest.mark.slow
def test_the_result_of_a_run_in_process_holds_the_events(ran: Ran) -> None:
    result = ran.result

    assert len(result.get_asset_check_evaluations()) == len(ASSETS) * len(ALL)
    assert len(result.get_asset_materialization_events()) == len(ASSETS) * len(GOOD)
    stored = ran.graph.instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    assert {(entry.step_key, entry.job_name) for entry in stored} == {(asset, "refine") for asset in ASSETS}


@pytest.mark.slow
def test_an_asset_that_failed_a_month_is_among_those_that_a_rerun_from_failed_assets_takes(
    ran: Ran,
) -> None:
    # It takes an asset that was materialized for any month only when a blocking check of it failed.
    failed = [found for found in ran.result.get_asset_check_evaluations() if not found.passed]
    assert {found.asset_key.to_user_string() for found in failed} == set(ASSETS)
    assert all(found.blocking for found in failed)


@pytest.mark.slow
def test_repaired_months_turn_good(graph: Graph) -> None:
    graph.run(*ALL)
    graph.bad = ()

    assert graph.run("2024-03").success
    assert graph.run("2024-05").success

    for asset in ASSETS:
        assert graph.months_shown(asset) == {"materialized": set(ALL), "failed": set()}
        assert graph.verdicts_shown(asset) == {"succeeded": set(ALL)}


@pytest.mark.slow
def test_a_published_month_that_is_refused_later_fails_and_keeps_what_it_was(graph: Graph) -> None:
    graph.bad = ()
    graph.run(*ALL)
    graph.bad = ("2024-02",)

    graph.run("2024-02")

    for asset in ASSETS:
        assert graph.months_shown(asset)["failed"] == {"2024-02"}
        assert graph.verdicts_shown(asset) == {"succeeded": set(ALL) - {"2024-02"}, "failed": {"2024-02"}}
        assert graph.instance.get_materialized_partitions(dg.AssetKey(asset)) == set(ALL)


@pytest.mark.slow
def test_a_month_refused_for_the_first_time_fails_on_its_own(graph: Graph) -> None:
    graph.run("2024-03")

    for asset in ASSETS:
        assert graph.months_shown(asset) == {"materialized": set(), "failed": {"2024-03"}}
        assert graph.verdicts_shown(asset) == {"failed": {"2024-03"}}


@pytest.mark.slow
def test_checks_executed_alone_judge_months_that_no_one_planned(graph: Graph) -> None:
    graph.run(*ALL)
    ran = graph.run(selection=dg.AssetSelection.checks_for_assets("table"))

    assert ran.success
    of_run = [record for record in graph.history("table") if record.run_id == ran.run_id]
    assert [record.partition for record in of_run] == [*reversed(GOOD), None]
    assert {record.status.value for record in of_run} == {"SUCCEEDED"}
    assert of_run[-1].evaluation
    assert of_run[-1].evaluation.description == "4 months judged, all passed."
    assert graph.verdicts_shown("table") == {"succeeded": set(GOOD), "failed": set(BAD)}


@pytest.mark.slow
def test_checks_executed_alone_that_fail_name_the_months(graph: Graph) -> None:
    graph.bad = ()
    graph.run(*ALL)
    graph.bad = ("2024-01",)
    graph.run(selection=dg.AssetSelection.checks_for_assets("table"))

    summed_up = next(record for record in graph.history("table") if record.partition is None)
    assert summed_up.evaluation
    assert not summed_up.evaluation.passed
    assert summed_up.evaluation.description == "4 months judged, 1 not passed: 2024-01."
    assert graph.verdicts_shown("table")["failed"] == {"2024-01"}


@pytest.mark.slow
def test_a_step_is_the_last_one_where_no_step_of_the_run_waits_for_it(graph: Graph) -> None:
    graph.bad = ()
    graph.run("2024-01", selection=dg.AssetSelection.assets("feed", "family"))
    graph.run("2024-01", selection=dg.AssetSelection.assets("feed", "table"))

    assert graph.last_steps[0] == "family"
    assert sorted(graph.last_steps[1:]) == ["feed", "table"]


@pytest.mark.slow
def test_checks_of_an_external_asset_have_verdicts_for_the_months_of_the_run(graph: Graph) -> None:
    inventory = dg.AssetSpec("inventory", partitions_def=MONTHS)

    @dg.multi_asset_check(name="inventory_checks", specs=[_sound("inventory")])
    def inventory_checks(context: dg.AssetCheckExecutionContext) -> Iterator[Any]:
        months = context.op_execution_context.partition_keys
        yield from silent_outputs(context)
        yield from log_months(context, "inventory", [], graph.verdicts("inventory", months))
        graph.last_steps += ["inventory"] if is_last_step(context) else []

    @dg.asset(deps=[inventory], partitions_def=MONTHS)
    def waiting() -> None: ...

    definitions = dg.Definitions(
        assets=[inventory, waiting],
        asset_checks=[inventory_checks],
        jobs=[
            dg.define_asset_job("refine", dg.AssetSelection.all() | dg.AssetSelection.checks_for_assets("inventory")),
            dg.define_asset_job("assets_alone", dg.AssetSelection.all()),
        ],
        executor=dg.in_process_executor,
    )
    dg.Definitions.validate_loadable(definitions)
    jobs = (definitions.resolve_job_def(name) for name in ("refine", "assets_alone"))
    both, alone = (
        job.execute_in_process(instance=graph.instance, tags=range_tags(Month(2024, 1), Month(2024, 6))) for job in jobs
    )

    assert [event.step_key for event in both.get_step_success_events()] == ["inventory_checks", "waiting"]
    assert [event.step_key for event in alone.get_step_success_events()] == ["waiting"]
    assert not graph.last_steps
    key = dg.AssetCheckKey(dg.AssetKey("inventory"), "sound")
    found = graph.instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    assert sorted(str(record.partition) for record in found) == list(ALL)


def test_dagster_notes_nothing_for_a_silent_output_and_its_value_is_still_written(graph: Graph) -> None:
    written: list[str] = []

    @dg.multi_asset(outs={"silent": dg.AssetOut(dagster_type=dg.Any)}, partitions_def=MONTHS, backfill_policy=ONE_RUN)
    def silent() -> Iterator[dg.MaterializeResult[Iterator[str]]]:
        yield dg.MaterializeResult(value=iter(["a frame"]), metadata=SILENT)

    ran = dg.materialize(
        [silent],
        instance=graph.instance,
        resources={"io_manager": _Collecting(written)},
        tags=range_tags(Month(2024, 1), Month(2024, 6)),
    )

    assert ran.success
    assert written == ["a frame"]
    assert not graph.instance.get_materialized_partitions(dg.AssetKey("silent"))
