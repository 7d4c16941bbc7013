"""Rules and verdicts in Dagster's terms: specs, evaluations, and the failure that ends a run.

Here: the translation, once for all assets. Not here: any rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from refinery_assets.assets.month_events import JudgedMonth, RefusedMonth, monthly_check_spec
from refinery_assets.checks.rules import (
    SAMPLE_SIZE,
    Outcome,
    Row,
    Rule,
    Verdict,
    counted,
    listing,
    refusals,
    shortened,
)
from refinery_assets.contract.columns import Column, in_the_words_of
from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.months import Month
from refinery_assets.reports.figures import rounded
from refinery_assets.warehouse.month_state import State

MOST_RECOVERIES = 10
"""How many things to do the failure of a run names."""

LONGEST_CELL = 200
"""A raw line may be as long as its file; the event log keeps the beginning of it."""

_WARNINGS = {Outcome.WARNING, Outcome.NOT_JUDGED}


def check_specs(
    asset: str, rules: Iterable[Rule[Any]], partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetCheckSpec]:
    """One spec per rule; each has a verdict per month, and stops the month that fails."""
    return [
        monthly_check_spec(rule.name, asset, partitions, description=rule.description, blocking=True) for rule in rules
    ]


def judged(verdict: Verdict) -> JudgedMonth:
    """The verdict as the UI shows it; passing verdicts carry the same figures as failing ones."""
    finding = verdict.finding
    metadata: dict[str, Any] = {
        "recovery": dg.MetadataValue.text(verdict.recovery),
        "summary": dg.MetadataValue.text(finding.message),
        **{name: rounded(value) for name, value in finding.counts.items() if value is not None},
    }
    tables = {**finding.tables, "sample": finding.offenders[:SAMPLE_SIZE]}
    metadata |= {name: table(rows) for name, rows in tables.items() if rows}
    return JudgedMonth(
        asset=verdict.asset,
        check=verdict.check,
        month=str(verdict.month),
        passed=verdict.outcome is Outcome.PASSED,
        severity=dg.AssetCheckSeverity.WARN if verdict.outcome in _WARNINGS else dg.AssetCheckSeverity.ERROR,
        # The page sorts metadata by name, so what to do stands here, too, above all of it.
        description=finding.summary
        if verdict.outcome is Outcome.PASSED
        else f"{finding.summary} What to do: {verdict.recovery}",
        metadata=metadata,
    )


def refused_months(verdicts: Iterable[Verdict]) -> list[RefusedMonth]:
    """What the page of an asset says of each month that any of the verdicts refuses."""
    return [
        RefusedMonth(
            str(month),
            # The page sorts them by name.
            {
                "recovery": "\n".join(dict.fromkeys(verdict.recovery for verdict in failed)),
                "state": str(State.REFUSED),
                "summary": "\n".join(verdict.sentence for verdict in failed),
            },
        )
        for month, failed in refusals(verdicts).items()
    ]


def table(rows: Sequence[Row]) -> dg.TableMetadataValue:
    """Rows as a table, which the UI shows as data: nothing in a cell is read as Markdown or HTML."""
    # Of rows that have not all the same columns, each gets all of them: Dagster takes no others.
    shown = list(dict.fromkeys(name for row in rows for name in row))
    types = {name: type(value) for row in rows for name, value in row.items() if value is not None}
    names: dict[type, str] = {bool: "bool", int: "int", float: "float"}
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    name: shortened(value, LONGEST_CELL) if isinstance(value, str) else rounded(value)
                    for name, value in ((name, row.get(name)) for name in shown)
                }
            )
            for row in rows
        ],
        schema=dg.TableSchema([dg.TableColumn(name, names.get(types.get(name, str), "string")) for name in shown]),
    )


def column_schema(contract: Contract, columns: Iterable[Column]) -> dg.TableSchema:
    """The declared columns, for the asset's page."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                column.type_name,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.sql_type == column.type_name),
            )
            for column in in_the_words_of(contract, columns)
        ]
    )


def refusal(refused: Mapping[Month, Sequence[Verdict]], good: int = 0, *, audited: bool = False) -> dg.Failure:
    """The failure that ends a run: one sentence for each refused month, or for all alike, and what to do.

    Args:
        refused: The failed verdicts of each refused month.
        good: How many other months the run brought through.
        audited: Whether the months are published ones that were audited again.
    """
    sentences = {str(month): f"{month}: {_sentence(failed)}" for month, failed in refused.items()}
    # What is wrong with the inventory is the same of all months.
    months: dict[str, list[Month]] = {}
    for month, failed in refused.items():
        months.setdefault(_sentence(failed), []).append(month)
    lines = [f"{listing(of, len(of))}: {sentence}" for sentence, of in months.items()]
    if audited:
        headline = f"{counted(len(refused), 'published month')} did not pass the audit."
    else:
        stays = "was refused and stays as it was" if len(refused) == 1 else "were refused and stay as they were"
        headline = f"{counted(len(refused), 'month')} {stays}."
    if good:
        headline += f" {counted(good, 'other month is', 'other months are')} fine."
    return dg.Failure(
        description="\n".join([headline, *lines, *_what_to_do(refused)]),
        metadata={"refused": dg.MetadataValue.json({month: [sentence] for month, sentence in sentences.items()})},
        # The same input gives the same verdict, so running the step again by itself changes nothing.
        allow_retries=False,
    )


def still_refused(sentences: Mapping[str, Sequence[str]]) -> dg.Failure:
    """The failure of a run that only reports months which an earlier run has refused."""
    count = counted(len(sentences), "month is", "months are")
    them = "it" if len(sentences) == 1 else "them"
    return dg.Failure(
        description="\n".join(
            [f"{count} still refused; run {them} again.", *(lines[0] for lines in sentences.values())]
        ),
        metadata={"refused": dg.MetadataValue.json(dict(sentences))},
        allow_retries=False,
    )


def _what_to_do(refused: Mapping[Month, Sequence[Verdict]]) -> list[str]:
    """A line for each distinct recovery, with its months: a run from a script shows nothing but the failure's text."""
    months: dict[str, list[Month]] = {}
    for month, failed in refused.items():
        for recovery in dict.fromkeys(verdict.recovery for verdict in failed):
            months.setdefault(recovery, []).append(month)
    lines = [f"What to do about {listing(of)}: {recovery}" for recovery, of in months.items()]
    if (more := len(lines) - MOST_RECOVERIES) > 0:
        rest = f"{counted(more, 'further thing')} to do: see the checks that failed, or refinery explain MONTH."
        return [*lines[:MOST_RECOVERIES], rest]
    return lines


def _sentence(failed: Sequence[Verdict]) -> str:
    first, *others = failed
    also = ", ".join(f"{verdict.asset} {verdict.check}" for verdict in others)
    return first.sentence + (f" Also failed: {also}." if also else "")
