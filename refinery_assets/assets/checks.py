"""Rules and verdicts in Dagster's terms: specs, results, and the failure that ends a step.

Here: the translation, once for all assets. Not here: any rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from refinery_assets.checks.rules import SAMPLE_SIZE, Outcome, Row, Rule, Verdict, shortened
from refinery_assets.contract.columns import Column

LONGEST_CELL = 200
"""A raw line may be as long as its file; the event log keeps the beginning of it."""


def check_specs(asset: str, rules: Iterable[Rule[Any]], *, blocking: bool = False) -> list[dg.AssetCheckSpec]:
    """One spec per rule."""
    return [
        dg.AssetCheckSpec(rule.name, asset=asset, description=rule.description, blocking=blocking)
        for rule in rules
    ]


def check_result(asset: str, verdict: Verdict) -> dg.AssetCheckResult:
    """The verdict as the UI shows it; passing verdicts carry the same figures as failing ones."""
    finding = verdict.finding
    metadata: dict[str, Any] = {
        "summary": dg.MetadataValue.text(finding.told),
        "recovery": dg.MetadataValue.text(verdict.recovery),
        **finding.counts,
    }
    tables = {**finding.tables, "by_month": finding.by_month, "sample": finding.offenders[:SAMPLE_SIZE]}
    metadata |= {name: table(rows) for name, rows in tables.items() if rows}
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=verdict.check,
        passed=finding.outcome is Outcome.PASSED,
        severity=dg.AssetCheckSeverity.WARN
        if finding.outcome is Outcome.WARNING
        else dg.AssetCheckSeverity.ERROR,
        description=finding.summary,
        metadata=metadata,
    )


def table(rows: Sequence[Row]) -> dg.TableMetadataValue:
    """Rows as a table, which the UI shows as data: nothing in a cell is read as Markdown or HTML."""
    columns = {name: type(value) for row in rows for name, value in row.items() if value is not None}
    names: dict[type, str] = {bool: "bool", int: "int", float: "float"}
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    name: shortened(value, LONGEST_CELL) if isinstance(value, str) else value
                    for name, value in row.items()
                }
            )
            for row in rows
        ],
        schema=dg.TableSchema(
            [dg.TableColumn(name, names.get(columns.get(name, str), "string")) for name in rows[0]]
        ),
    )


def column_schema(columns: Iterable[Column]) -> dg.TableSchema:
    """The declared columns, for the asset's page."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                column.type_name,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.sql_type == column.type_name),
            )
            for column in columns
        ]
    )


def refusal(headline: str, problems: Sequence[str], verdicts: Iterable[Verdict] = ()) -> dg.Failure:
    """The failure that ends a step: every reason at once, and what to do."""
    recoveries = {verdict.check: verdict.recovery for verdict in verdicts if verdict.failed}
    return dg.Failure(
        description=f"{headline} " + " | ".join(problems),
        metadata={
            "problems": dg.MetadataValue.json(list(problems)),
            "recovery": dg.MetadataValue.json(recoveries),
        },
        # The same input gives the same verdict, so running the step again by itself changes nothing.
        allow_retries=False,
    )
