"""What happens to the demo's fleet: hosts come and go, agents pause, some rows are faulty, one file is cut off.

Here: which readings the export lacks, and which of its files are dirty or cut off. Not here: the readings
(`fleet.py`), what faulty rows look like (`dirt.py`), and the files (`feed.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.sample.fleet import Draw, Fleet, Integers, random_stream

Days: TypeAlias = NDArray[np.bool_]

# Together less than the fifth of the fleet that a month may lack (REFINERY_MIN_COVERAGE).
_SHARE_THAT_COMES = 0.12
_SHARE_THAT_GOES = 0.05
# Of the hosts, each month; most pauses are short enough to be filled in, a few are not.
_SHARE_THAT_PAUSES = 0.02
_SHARE_OF_LONG_PAUSES = 0.1
_SHORT_PAUSE_DAYS = (1, 3)
_LONG_PAUSE_DAYS = (5, 9)
_FIRST_PAUSE_DAY = 2
# In one family of every fourth month; far below what refuses a month (REFINERY_QUARANTINE_TOLERANCE).
_SHARE_OF_DIRT = 0.002
_MONTHS_BETWEEN_DIRT = 4
_CUT_FAMILY = "storage_usage"


@dataclass(frozen=True)
class Story:
    """What happens to one fleet; the same fleet has the same story."""

    fleet: Fleet

    @property
    def cut_month(self) -> Month | None:
        """The month in which a file is cut off: one in the middle, unless there is only one."""
        months = self.fleet.months
        return months[(len(months) - 1) // 2] if len(months) > 1 else None

    def is_cut(self, family: Family, month: Month) -> bool:
        """Whether this is the file that is cut off."""
        return family.name == _CUT_FAMILY and month == self.cut_month

    def dirt(self, family: Family, month: Month) -> float:
        """The share of a file's rows that are faulty."""
        months = self.fleet.months
        turn, remainder = divmod(months.index(month) - (len(months) - 1) // 2 - 1, _MONTHS_BETWEEN_DIRT)
        is_dirty = (remainder == 0 or len(months) == 1) and family is FAMILIES[turn % len(FAMILIES)]
        return _SHARE_OF_DIRT if is_dirty else 0.0

    def present(self, month: Month) -> Days:
        """Which readings the export has, the same of every resource: days x hosts."""
        fleet = self.fleet
        age = np.array([(day - fleet.first.first_day).days for day in month.days])[:, None]
        comes, goes = self._lives
        is_there: Days = (age >= comes) & (age < goes)
        random = random_stream(fleet.seed, Draw.PAUSES, month.year, month.month)
        pausing = random.choice(fleet.hosts, max(1, round(_SHARE_THAT_PAUSES * fleet.hosts)), replace=False)
        for host in pausing.tolist():
            days = _LONG_PAUSE_DAYS if random.random() < _SHARE_OF_LONG_PAUSES else _SHORT_PAUSE_DAYS
            length = random.integers(*days, endpoint=True)
            # Between two readings of the month, as only such a gap can be filled in.
            start = random.integers(_FIRST_PAUSE_DAY, len(month.days) - length - 1)
            is_there[start : start + length, host] = False
        return is_there

    @cached_property
    def _lives(self) -> tuple[Integers, Integers]:
        """Each host's first day and the day after its last, in days since the fleet's first."""
        fleet = self.fleet
        random = random_stream(fleet.seed, Draw.LIVES)
        days = (fleet.last.last_day - fleet.first.first_day).days + 1
        comes, goes = np.zeros(fleet.hosts, dtype=np.int64), np.full(fleet.hosts, days)
        # One host of each behavior is there from beginning to end, so that no month loses a behavior.
        is_first = fleet.inventory.select(pl.struct("scenario", "variant").is_first_distinct()).to_series()
        others = random.permutation(np.flatnonzero(~is_first.to_numpy()))
        coming = round(_SHARE_THAT_COMES * others.size)
        going = coming + round(_SHARE_THAT_GOES * others.size)
        comes[others[:coming]] = random.integers(1, days, coming)
        goes[others[coming:going]] = random.integers(1, days, going - coming)
        return comes, goes
