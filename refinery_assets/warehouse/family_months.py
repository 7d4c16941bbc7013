"""One family's months of a run: refined, judged, and sorted by what to do with them.

A run (`assets/families.py`) and a plan (`plan.py`) do this alike; only where the partitions go differs. Here: which
months are refined anew, which are refused, and which partitions already are of the month's file. Not here: how a
file is refined (`rows/family.py`), and writing partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from refinery_assets.checks.rules import Verdict, judge, not_judged, refusals
from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, RefusedFileError, feed_file
from refinery_assets.rows.clean import OddHosts
from refinery_assets.rows.family import Refined, refine_file, refine_files
from refinery_assets.rows.family_checks import FAMILY_RULES, FamilyMonth
from refinery_assets.rows.stats import Stats, rules_digest
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets.warehouse.ledger import StepRecord


@dataclass
class FamilyMonths:
    """One family's months of a run.

    Attributes:
        family: The family.
        settings: Where files and partitions lie, and the limits.
        entrance: What the run's entrance audit found; None where the run has none.
        odd_hosts: Which hosts of the inventory are named like an absent one.
        refuse: Called with a partition whose month's file was refused, and the sentence that says why.
        force: Whether partitions are written anew although they are of the month's file.
        verdicts: What the family's checks said, filled by `refine`.
        good: The stats of the months that passed, filled by `refine`.
        passed: The partitions of the months that passed, filled by `refine`.
    """

    family: Family
    settings: Settings
    entrance: StepRecord | None
    odd_hosts: OddHosts
    refuse: Callable[[Partition, str], None]
    force: bool = False
    verdicts: list[Verdict] = field(default_factory=list)
    good: list[Stats] = field(default_factory=list)
    passed: list[Partition] = field(default_factory=list)

    def refine(self, months: Sequence[Month]) -> Iterator[Refined]:
        """Yield the months to write: neither refused nor unchanged."""
        refused = refusals(self.entrance.verdicts) if self.entrance else {}
        for month in months:
            if month in refused:
                self.verdicts += not_judged(FAMILY_RULES, self.family.name, month, refused[month])
        digests = self.entrance.digests if self.entrance else {}
        files = [feed_file(self.settings, self.family, month) for month in months if month not in refused]
        refined = refine_files(files, lambda file: self._refine(file, digests.get(file.month, {})))
        for file, future in zip(files, refined, strict=True):
            partition = Partition(self.settings.telemetry, self.family, file.month)
            result: Refined | Stats
            try:
                result = future.result()
            except RefusedFileError as error:
                result = Stats(self.family, file.month, file.name, problem=str(error))
            stats = result.stats if isinstance(result, Refined) else result
            evidence = FamilyMonth(stats, self.settings.limit("quarantine_tolerance", self.family))
            found = judge(FAMILY_RULES, self.family.name, file.month, evidence)
            self.verdicts += found
            if failed := [verdict for verdict in found if verdict.failed]:
                self.refuse(partition, stats.problem or f"{failed[0].check}: {failed[0].finding.message}")
                continue
            self.good.append(stats)
            if isinstance(result, Refined):
                yield result
            self.passed.append(partition)

    def _refine(self, file: FeedFile, at_entrance: Mapping[str, str]) -> Refined | Stats:
        """The file refined; the stats alone where the partition is of this very file already."""
        digest = at_entrance.get(self.family.name)
        partition = Partition(self.settings.telemetry, self.family, file.month)
        if obstacle := partition.obstacle:
            raise RefusedFileError(obstacle)
        if digest and not self.force and partition.refusal is None:
            stats = partition.stats()
            odd_hosts = None if stats.odd_hosts is None else self.odd_hosts()
            is_of_this = (stats.digest, stats.rules) == (digest, rules_digest(self.settings, self.family, odd_hosts))
            if not stats.problem and is_of_this and partition.is_complete(stats):
                return stats
        refined = refine_file(file, self.settings, self.odd_hosts)
        if digest and refined.stats.digest != digest:
            raise RefusedFileError(
                f"{file.name} was written to while the run was reading it; run the month again when its "
                "export has finished."
            )
        return refined
