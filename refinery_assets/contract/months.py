"""The calendar month: the unit of files, partitions, rewrites and verdicts.

Here: parsing and printing a month, its days, its neighbours. Not here: which months the refinery
serves (`operations/partitions.py`) and where a month's files lie (`feed/files.py`).
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

_KEY = re.compile(r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])")


@dataclass(frozen=True, order=True)
class Month:
    """One calendar month, ordered in time; `str(Month(2024, 5))` is the partition key `2024-05`."""

    year: int
    month: int

    @classmethod
    def parse(cls, key: str) -> Month:
        """Read a partition key.

        Raises:
            ValueError: `key` is not a year and a month written as `YYYY-MM`.
        """
        match = _KEY.fullmatch(key)
        if match is None or match["year"] == "0000":
            raise ValueError(f"{key!r} is not a month; expected YYYY-MM, such as 2024-05")
        return cls(int(match["year"]), int(match["month"]))

    @classmethod
    def of(cls, day: date) -> Month:
        """The month that `day` belongs to."""
        return cls(day.year, day.month)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def first_day(self) -> date:
        """The first day of the month."""
        return date(self.year, self.month, 1)

    @property
    def last_day(self) -> date:
        """The last day of the month."""
        return date(self.year, self.month, calendar.monthrange(self.year, self.month)[1])

    @property
    def next(self) -> Month:
        """The month after this one."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def previous(self) -> Month:
        """The month before this one."""
        return Month(self.year - (self.month == 1), (self.month - 2) % 12 + 1)

    def months_since(self, other: Month) -> int:
        """How many months after another one this is; 1 for the next."""
        return 12 * (self.year - other.year) + self.month - other.month

    @property
    def days(self) -> list[date]:
        """Every day of the month, in order."""
        return [date(self.year, self.month, day) for day in range(1, self.last_day.day + 1)]

    @staticmethod
    def span(first: Month, last: Month) -> Iterator[Month]:
        """Every month from `first` to `last`, both included; none when `last` lies before `first`."""
        month = first
        while month <= last:
            yield month
            month = month.next

    @staticmethod
    def unbroken(months: Iterable[Month], at_most: int | None = None) -> list[list[Month]]:
        """Months in order, in groups that follow one another without a gap; `at_most` so many in a group."""
        groups: list[list[Month]] = []
        for month in months:
            if groups and groups[-1][-1].next == month and len(groups[-1]) != at_most:
                groups[-1].append(month)
            else:
                groups.append([month])
        return groups
