"""What must hold before a month may even be written: the inventory, and the families' partitions.

The rules are those that the feed and the families were held to, judged again by what the partitions hold,
whichever steps a run left out. Here: gathering the evidence for them. Not here: the rules themselves
(`inventory_checks.py`, `rows/source_checks.py`, `rows/family_checks.py`), and the publish checks (`publish_checks.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import duckdb

from refinery_assets.checks.rules import NOTHING_TO_DO, Finding, Outcome, Verdict, counted, judge
from refinery_assets.contract.families import LEGACY_FEED, Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedExtent, RefusedFileError, feed_file
from refinery_assets.feed.store import telemetry_store
from refinery_assets.rows.family_checks import FAMILY_RULES, FamilyMonth
from refinery_assets.rows.source_checks import ENTRANCE_RULES, MonthOfFeed
from refinery_assets.rows.source_files import FileFacts
from refinery_assets.rows.stats import Stats
from refinery_assets.warehouse.family_partitions import (
    Partition,
    SourceFacts,
    damaged_partitions,
    name_partitions,
    partitions,
    source_facts,
)
from refinery_assets.warehouse.ledger import StepRecord
from refinery_assets.warehouse.tables import utc_now

SEEN_FROM_PARTITIONS = frozenset({"fragmentation_complete"})
"""The checks of the feed that can be judged by what the partitions hold."""

_NOT_LOOKED_AT = Finding(
    Outcome.NOT_JUDGED, "Not judged: the run published from partitions, without a look at the files.", {}
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
        moment: When the step, or the attempt of it that counts, began to judge, in UTC: all that it writes carries
            this time.
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
    looked_at = partitions(settings, months)
    answers = telemetry_store(settings.telemetry).ask_all(_look, looked_at)
    for partition, (stats, refusal, is_complete) in zip(looked_at, answers, strict=True):
        at_entrance = run.digest_at_entrance(partition.month, partition.family.name)
        again = f"materialize {partition.family.name} {partition.month} again"
        problem = refusal
        if problem:
            pass
        elif not stats.problem and at_entrance and stats.digest != at_entrance:
            problem = f"{stats.name} was another file when the entrance audit saw it: run the month again."
        elif not stats.problem and not is_complete:
            problem = f"What series_months holds is not of the partition {partition}: {again}."
        found.setdefault(partition.month, []).append(replace(stats, problem=problem or stats.problem))
    if LEGACY_FEED not in run.records:
        found = {month: _of_one_export(of_month, month, settings) for month, of_month in found.items()}
    return found


def _look(partition: Partition) -> tuple[Stats, str | None, bool]:
    """What the partition says of itself, what was noted against it, and whether its summary is of it."""
    stats, refusal = partition.stats(), partition.refusal
    return stats, refusal, not (stats.problem or refusal) and partition.is_complete(stats)


def _of_one_export(stats: Sequence[Stats], month: Month, settings: Settings) -> list[Stats]:
    """The stats, with a problem where some partitions are of the files that lie in the feed, and others are not."""
    lying = {each.family: _digest_in_feed(each.family, month, settings) for each in stats}
    are_of_feed = {each.family: each.digest == lying[each.family] for each in stats if lying[each.family]}
    if all(are_of_feed.values()) or not any(are_of_feed.values()):
        return list(stats)
    return [
        each
        if each.problem or are_of_feed.get(each.family, True)
        else replace(
            each,
            problem=f"The partition of {each.name} is of an older export than others of its month: materialize "
            f"{each.family.name} {month} again.",
        )
        for each in stats
    ]


def _digest_in_feed(family: Family, month: Month, settings: Settings) -> str | None:
    try:
        return feed_file(settings, family, month).digest()
    except (FileNotFoundError, RefusedFileError):
        return None


def scan_partitions(
    connection: duckdb.DuckDBPyConnection, stats: Mapping[Month, Sequence[Stats]], settings: Settings
) -> tuple[dict[Month, list[Stats]], dict[Month, dict[str, SourceFacts]]]:
    """Count what the partitions hold, and hold it against what they say of themselves.

    Names the partitions that can be used in `_refinery_partitions`.

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
        broken = {(file.month, file.family.resource): f"{sentence}." for file, sentence in damaged.items()}
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
                    f"The partition holds {counted(found.file_rows, 'row')} of the file, {found.imputed:,} imputed and "
                    f"{found.quarantined:,} quarantined, where {said[0]:,}, {said[1]:,} and {said[2]:,} were written: "
                    f"materialize {each.family.name} {month} again."
                )
            if problem and not each.problem:
                with suppress(OSError):
                    # So that the family's step makes it anew although the file has not changed.
                    Partition(settings.telemetry, each.family, month).mark_unusable(problem)
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
        evidence = FamilyMonth(each, settings.limit("quarantine_tolerance", each.family))
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
        # How far the families reach can be seen from the partitions; whether the files are there, and what their
        # headers say, cannot.
        verdicts += [
            verdict
            if verdict.check in SEEN_FROM_PARTITIONS
            else replace(verdict, finding=_NOT_LOOKED_AT, recovery=NOTHING_TO_DO)
            for verdict in judge(ENTRANCE_RULES, LEGACY_FEED, month, feed)
        ]
    return merge(run.verdicts(month), verdicts)


def merge(said: Sequence[Verdict], again: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of the run's steps, and those judged again where no step spoke, or the month got worse."""
    found = {(verdict.asset, verdict.check): verdict for verdict in said}
    for verdict in again:
        key = (verdict.asset, verdict.check)
        if key not in found or (verdict.failed and found[key].outcome is not Outcome.FAILED):
            found[key] = verdict
    return list(found.values())
