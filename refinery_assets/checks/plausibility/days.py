"""What the days of one family's month have in common: what a copied day, or a stretch of still sensors, shows in.

Here: the facts, which travel with the family's partition. Not here: how they come from the rows (`rows/alike_days.py`)
and what they are judged by.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DayFacts:
    """One day of a family's month. Shares are of the hosts that are telling, unless said otherwise.

    Attributes:
        day: The day of the month.
        hosts: Hosts that are telling: two of their days seldom agree.
        unmoved: Share of hosts that read the same as the day before, beyond what is usual in the month.
        common: Share of all hosts whose readings vary that read the day's median to the last digit, beyond what is
            usual in the month.
        value: That median, percent.
        twin: The earlier day with which most hosts agree; 0 where there is none.
        twinned: Share of hosts that agree, beyond chance; 0 where chance may do it. Hosts that stand still on
            either day are left out.
        ratio: Median over the hosts of the day's reading by the host's median of the month; None without readings.
    """

    day: int
    hosts: int
    unmoved: float
    common: float
    value: float
    twin: int
    twinned: float
    ratio: float | None
