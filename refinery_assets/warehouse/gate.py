"""What must hold before a month may even be written: the inventory, and the families' partitions.

The rules are those that the feed and the families were held to, judged again by what the partitions hold,
whichever steps a run left out. Here: gathering the evidence for them. Not here: the rules themselves
(`inventory.py`, `rows/source_checks.py`, `rows/family.py`), and the publish checks (`publish_checks.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import duckdb

from refinery_assets.checks.ledger import StepRecord
from refinery_assets.checks.rules import Outcome, Verdict, judge
from refinery_assets.contract.families import LEGACY_FEED
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedExtent
from refinery_assets.rows.family import FAMILY_RULES, FamilyMonth, Stats
from refinery_assets.rows.source_checks import ENTRANCE_RULES, FileFacts, MonthOfFeed
from refinery_assets.warehouse.audits import utc_now
from refinery_assets.warehouse.family_partitions import (
    Partition,
    SourceFacts,
    damaged_partitions,
    name_partitions,
    partitions,
    source_facts,
)


@dataclass(frozen=True)
class RunSoFar:
    """What a publication needs to know of its run.

    Attributes:
        run_id: The run.
        records: What the run's steps before this one found, by asset; an asset without a step is missing.
        extent: The first and the newest month of the feed.
        today: The day, in the refinery's time zone.
        force: Whether months are rewritten although nothing has changed.
        moment: When the step began to judge, in UTC: all that it writes carries this time.
    """

    run_id: str
    extent: FeedExtent
    today: date
    records: Mapping[str, StepRecord] = field(default_factory=dict)
    force: bool = False
    moment: datetime = field(default_factory=utc_now)

    def verdicts(self, month: Month) -> list[Verdict]:
        """What the steps before this one said of the month."""
        return [verdict for record in self.records.values() for verdict in record.of(month)]

    def digest_at_entrance(self, month: Month, family: str) -> str | None:
        """The digest of the file that the run's entrance audit saw; None where the run had none."""
        record = self.records.get(LEGACY_FEED)
        return record.digests.get(month, {}).get(family) if record else None


def read_stats(run: RunSoFar, months: Sequence[Month], settings: Settings) -> dict[Month, list[Stats]]:
    """What the partitions of the months say of themselves; `problem` is set for those that cannot be used."""
    found: dict[Month, list[Stats]] = {}
    for partition in partitions(settings.telemetry, months):
        stats = partition.stats()
        at_entrance = run.digest_at_entrance(partition.month, partition.family.name)
        again = f"materialize {partition.family.name} {partition.month} again"
        problem = None
        if refusal := partition.refusal:
            problem = f"{refusal} The partition is of an older file: {again}."
        elif not stats.problem and at_entrance and stats.digest != at_entrance:
            problem = f"{stats.name} was another file when the entrance audit saw it: run the month again."
        elif not stats.problem and not partition.is_complete(stats):
            problem = f"What series_months holds is not of the partition {partition.path}: {again}."
        found.setdefault(partition.month, []).append(replace(stats, problem=problem or stats.problem))
    return found


def scan_partitions(
    connection: duckdb.DuckDBPyConnection, stats: Mapping[Month, Sequence[Stats]], settings: Settings
) -> tuple[dict[Month, list[Stats]], dict[Month, dict[str, SourceFacts]]]:
    """Count what the partitions hold, and hold it against what they say of themselves.

    Names the partitions that can be used in `audit_partitions`.

    Returns:
        The stats, those of partitions that hold something else with a `problem`; and the facts by resource.
    """
    usable = [
        Partition(settings.telemetry, each.family, month)
        for month, of_month in stats.items()
        for each in of_month
        if not each.problem
    ]
    name_partitions(connection, usable)
    broken: dict[tuple[Month, str], str] = {}
    try:
        facts = source_facts(connection, usable)
    except duckdb.Error:
        damaged = damaged_partitions(usable)
        if not damaged:
            raise
        broken = {(file.month, file.family.resource): sentence for file, sentence in damaged.items()}
        usable = [file for file in usable if (file.month, file.family.resource) not in broken]
        name_partitions(connection, usable)
        facts = source_facts(connection, usable)
    checked: dict[Month, list[Stats]] = {}
    by_month: dict[Month, dict[str, SourceFacts]] = {}
    for month, of_month in stats.items():
        for each in of_month:
            found = facts.get((month, each.family.resource), SourceFacts())
            problem = each.problem or broken.get((month, each.family.resource))
            said = (each.landed, each.imputed, each.quarantined)
            if not problem and (found.file_rows, found.imputed, found.quarantined) != said:
                problem = (
                    f"The partition holds {found.file_rows} rows of the file, {found.imputed} imputed and "
                    f"{found.quarantined} quarantined, where {said[0]}, {said[1]} and {said[2]} were written: "
                    f"materialize {each.family.name} {month} again."
                )
            checked.setdefault(month, []).append(replace(each, problem=problem))
            by_month.setdefault(month, {})[each.family.resource] = found
    return checked, by_month


def judge_partitions(
    month: Month,
    stats: Sequence[Stats],
    facts: Mapping[str, SourceFacts] | None,
    run: RunSoFar,
    settings: Settings,
) -> list[Verdict]:
    """The verdicts of `legacy_feed` and the families on a month, by its partitions.

    Args:
        month: The month.
        stats: Of each family.
        facts: What the partitions were found to hold; None: nothing was looked at, as they are unchanged.
        run: What is known of the run.
        settings: The limits.
    """
    verdicts: list[Verdict] = []
    for each in stats:
        evidence = FamilyMonth(each, settings.quarantine_tolerance)
        verdicts += judge(FAMILY_RULES, each.family.name, month, evidence)
    if any(each.problem for each in stats):
        return merge(run.verdicts(month), verdicts)
    if facts is not None:
        files = [
            FileFacts(
                each.family,
                each.name,
                rows=each.landed,
                newest_day=facts[each.family.resource].newest_day,
                digest=each.digest,
            )
            for each in stats
        ]
        feed = MonthOfFeed(month, files, run.extent, run.today, settings)
        verdicts += judge(ENTRANCE_RULES, LEGACY_FEED, month, feed)
    return merge(run.verdicts(month), verdicts)


def merge(said: Sequence[Verdict], again: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of the run's steps, and those judged again where no step spoke, or the month got worse."""
    found = {(verdict.asset, verdict.check): verdict for verdict in said}
    for verdict in again:
        key = (verdict.asset, verdict.check)
        if key not in found or (verdict.failed and found[key].outcome is not Outcome.FAILED):
            found[key] = verdict
    return list(found.values())
