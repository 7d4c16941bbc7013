"""What one file's rows came to, and by which rules.

Here: the figures that travel with a partition, and the digest of the rules. Not here: making the rows (`family.py`),
for which Polars is loaded; comparing digests does not need it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from refinery_assets.checks.plausibility.days import DayFacts
from refinery_assets.checks.rules import Row
from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings

# Incremented when the same file and settings give other rows, or other sums of them, than before.
_ROWS_VERSION = 3


def rules_digest(settings: Settings, family: Family, odd_hosts: Iterable[str] | None = None) -> str:
    """A digest of all but the file itself that the rows of a partition depend on.

    Args:
        settings: Those that bear on rows.
        family: The family, whose declaration bears on them as well.
        odd_hosts: As in `Stats`.
    """
    limits = (settings.limit("max_gap_days", family), settings.limit("overshoot", family))
    declared = family.model_dump_json(exclude={"tolerances"})
    rules: list[object] = [_ROWS_VERSION, *limits, declared]
    if odd_hosts is not None:
        rules.append(sorted(odd_hosts))
    return hashlib.sha256(repr(rules).encode()).hexdigest()


@dataclass(frozen=True)
class Stats:
    """What one file's rows came to.

    Attributes:
        family: The file's family.
        month: The month.
        name: The file, relative to the feed's root; with a star for the day where the month has a file a day.
        parts: Of a month of several files, the number of each one's first line, counted on through all of them.
        digest: Digest of the files' bytes; None when they could not be read.
        rules: `rules_digest` of the settings that the rows were made by.
        odd_hosts: What `clean.OddHosts` gave; None: the file names no such host, and it was not asked.
        csv_rows: Data rows of the file, counted apart from the reader.
        landed: Rows of the file in the partition, clean or faulty.
        imputed: Rows that filled gaps.
        faults: Faulty rows per fault; faults that did not occur are left out.
        overshoot: Clean rows whose utilization above 100 was taken as 100.
        nearly: Rows out of range whose utilization lies above 100, but not above 120.
        hosts: Hosts with a clean reading.
        mean_y: Mean of the clean readings, percent; None without any.
        long_gaps: Gaps that are too long to fill.
        long_gap_days: Days in those gaps.
        sample: A few faulty rows: file, line in it, fault and raw text.
        clue: What most of the faulty rows have that contradicts the contract, or which of several files they are in, as
            a sentence; empty: nothing in common.
        remedy: What to do about that; None: nothing in particular.
        odd_rows: Rows that stand against their host's other days, by `odd_rows.Oddity`.
        odd_sample: A few of them, in `odd_rows.ODD_ROWS_SCHEMA`, with file and line in it.
        days: What the days of the month have in common.
        problem: Why there are no rows at all, as a sentence; None when there are.
    """

    family: Family
    month: Month
    name: str
    parts: Mapping[str, int] = field(default_factory=dict)
    digest: str | None = None
    rules: str = ""
    odd_hosts: Sequence[str] | None = None
    csv_rows: int = 0
    landed: int = 0
    imputed: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    overshoot: int = 0
    nearly: int = 0
    hosts: int = 0
    mean_y: float | None = None
    long_gaps: int = 0
    long_gap_days: int = 0
    sample: Sequence[Row] = ()
    clue: str = ""
    remedy: str | None = None
    odd_rows: Mapping[str, int] = field(default_factory=dict)
    odd_sample: Sequence[Row] = ()
    days: Sequence[DayFacts] = ()
    problem: str | None = None

    @property
    def quarantined(self) -> int:
        """Faulty rows."""
        return sum(self.faults.values())

    @property
    def clean(self) -> int:
        """Rows of the file that are fit to publish."""
        return self.landed - self.quarantined

    def as_json(self) -> str:
        """The stats as text, to travel in the partition's file."""
        days = [vars(day) for day in self.days]
        return json.dumps(vars(self) | {"family": self.family.name, "month": str(self.month), "days": days})

    @classmethod
    def from_json(cls, text: str, family: Family) -> Stats:
        """Read what `as_json` gave."""
        fields: dict[str, Any] = json.loads(text)
        days = [DayFacts(**day) for day in fields["days"]]
        return cls(**fields | {"family": family, "month": Month.parse(fields["month"]), "days": days})
