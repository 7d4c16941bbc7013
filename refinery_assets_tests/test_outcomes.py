"""Why a run failed: refused months, and causes that may pass; told apart over runs made for it."""

# Dagster reads the annotation of a context, so none is a text here.
from collections.abc import Mapping, Sequence

import dagster as dg

from refinery_assets.assets.checks import MOST_RECOVERIES, refusal
from refinery_assets.checks.rules import Finding, Outcome, Verdict
from refinery_assets.contract.months import Month
from refinery_assets.operations.alerts import describe_failure
from refinery_assets.operations.outcomes import Outcome as RunOutcome
from refinery_assets.operations.outcomes import read_outcome
from refinery_assets.operations.partitions import month_tags, months_in
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, MARCH

MONTHS = (JANUARY, FEBRUARY, MARCH)
REFUSED = {
    "2024-02": ["2024-02: cpu_utilization_202402.csv ends in mid-line."],
    "2024-03": ["Too few rows."],
}


def failed_run(
    instance: dg.DagsterInstance,
    *,
    judged: Sequence[Month | None] = (),
    refused: Mapping[str, list[str]] | None = None,
    months: Sequence[Month] = MONTHS,
) -> dg.DagsterRun:
    """A run in which a check fails for the months `judged`, and a step, naming the months `refused`."""

    @dg.op
    def refuse(context: dg.OpExecutionContext) -> None:
        for month in judged:
            context.log_event(
                dg.AssetCheckEvaluation(  # type: ignore[arg-type]  # Dagster takes it, and does not say so
                    asset_key=dg.AssetKey("processed_data"),
                    check_name="row_parity",
                    passed=False,
                    metadata={"recovery": "Mend it."},
                    partition=None if month is None else str(month),
                )
            )
        told = {"refused": dg.MetadataValue.json(refused)} if refused else {}
        raise dg.Failure("The step has failed.", metadata=told)

    @dg.job
    def refining() -> None:
        refuse()

    ran = refining.execute_in_process(instance=instance, tags=month_tags(months), raise_on_error=False)
    run = instance.get_run_by_id(ran.run_id)
    assert run is not None
    return run


def test_an_alert_of_a_run_that_dagster_starts_again_by_itself_says_so() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = failed_run(instance)
        instance.add_run_tags(run.run_id, {"dagster/will_retry": "true"})
        marked = instance.get_run_by_id(run.run_id)
        assert marked is not None

        before, after = describe_failure(instance, run), describe_failure(instance, marked)

    assert after["recovery"] == ["Dagster starts the run again by itself; look at it only if that one fails, too."]
    assert "starts the run again" not in str(before["recovery"])


def again(outcome: RunOutcome, run: dg.DagsterRun) -> list[str]:
    return [str(month) for month in outcome.months_to_ask_again(months_in(run.tags))]


def verdict(month: Month, check: str, recovery: str) -> Verdict:
    return Verdict("legacy_feed", check, month, Finding(Outcome.FAILED, f"{check} is broken.", {}), recovery)


def test_a_failure_says_what_to_do_once_for_all_months_that_call_for_it() -> None:
    failure = refusal(
        {
            FEBRUARY: [verdict(FEBRUARY, "files", "Export it."), verdict(FEBRUARY, "headers", "Mend the header.")],
            MARCH: [verdict(MARCH, "files", "Export it.")],
        },
        good=1,
    )

    assert (failure.description or "").splitlines() == [
        "2 months were refused and stay as they were. 1 other month is fine.",
        "2024-02: legacy_feed files: files is broken. Also failed: legacy_feed headers.",
        "2024-03: legacy_feed files: files is broken.",
        "What to do about 2024-02, 2024-03: Export it.",
        "What to do about 2024-02: Mend the header.",
    ]
    assert list(failure.metadata) == ["refused"]


def test_a_failure_names_no_more_things_to_do_than_somebody_reads() -> None:
    many = [verdict(MARCH, "files", f"Mend {number}.") for number in range(MOST_RECOVERIES + 2)]

    *_, last_named, further = (refusal({MARCH: many}).description or "").splitlines()

    assert last_named == f"What to do about 2024-03: Mend {MOST_RECOVERIES - 1}."
    assert further.startswith("2 further things to do: ")


def test_refused_months_are_told_one_by_one_in_the_words_of_the_step() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = failed_run(instance, judged=(FEBRUARY, MARCH), refused=REFUSED)

        alert = describe_failure(instance, run)

    assert alert["problems"] == [
        "2024-02: cpu_utilization_202402.csv ends in mid-line.",
        "2024-03: Too few rows.",
    ]
    assert [check["month"] for check in alert["failed_checks"]] == ["2024-02", "2024-03"]
    assert alert["recovery"] == ["Mend it."]


def test_a_run_that_names_its_refused_months_has_published_the_others() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = failed_run(instance, judged=(FEBRUARY, MARCH), refused=REFUSED)

        assert again(read_outcome(instance, run), run) == []


def test_a_failure_that_names_no_month_leaves_those_that_no_check_refused() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = failed_run(instance, judged=(FEBRUARY,))
        outcome = read_outcome(instance, run)

        assert outcome.causes == ["The step has failed."]
        assert again(outcome, run) == ["2024-01", "2024-03"]


def test_a_check_without_a_month_refuses_all_months_of_its_run() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = failed_run(instance, judged=(None,))

        assert again(read_outcome(instance, run), run) == []


def test_the_check_of_a_run_over_one_month_names_it_though_its_verdict_does_not() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = failed_run(instance, judged=(None,), months=(MARCH,))

        (check,) = describe_failure(instance, run)["failed_checks"]

    assert check["month"] == "2024-03"
