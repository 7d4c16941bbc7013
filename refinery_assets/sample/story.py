"""What happens to the demo's fleet: hosts come and go, collectors pause, some rows are faulty, one file is cut off.

Here: which readings the export lacks, and which of its files are dirty or cut off. Not here: the readings
(`fleet.py`), when hosts come and go (`life.py`), what faulty rows look like (`dirt.py`), and the files (`feed.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.sample.fleet import Draw, Fleet, random_stream
from refinery_assets.sample.life import Days, Turnover

TURNOVER = Turnover(born=0.12, retired=0.05, upgraded=0.05)
"""More than in an ordinary sample, so that it is seen in a short one, too."""

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

    def is_reporting(self, month: Month) -> Days:
        """Which hosts' collectors do not pause, the same of every resource: days x hosts."""
        fleet = self.fleet
        reporting: Days = np.ones((len(month.days), fleet.hosts), dtype=bool)
        random = random_stream(fleet.seed, Draw.PAUSES, month.year, month.month)
        pausing = random.choice(fleet.hosts, max(1, round(_SHARE_THAT_PAUSES * fleet.hosts)), replace=False)
        for host in pausing.tolist():
            days = _LONG_PAUSE_DAYS if random.random() < _SHARE_OF_LONG_PAUSES else _SHORT_PAUSE_DAYS
            length = random.integers(*days, endpoint=True)
            # Between two readings of the month, as only such a gap can be filled in.
            start = random.integers(_FIRST_PAUSE_DAY, len(month.days) - length - 1)
            reporting[start : start + length, host] = False
        return reporting
