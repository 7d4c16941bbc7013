"""The months that somebody names at a command line: `2024-05`, `2024-01..2024-12`, `all`, `changed`.

Here: reading these words. Not here: what is done with the months.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import feed_extent

ALL = "all"
CHANGED = "changed"


class MonthSelectionError(ValueError):
    """The words name no months, or months outside the window; the message says what to write or to set."""


def select_months(words: Iterable[str], settings: Settings, changed: Callable[[], Iterable[Month]]) -> list[Month]:
    """The months that words name, in order, each once.

    Args:
        words: Months, ranges of months with two dots between, `all` for all of the feed, or `changed`.
        settings: Where the feed lies, and the window.
        changed: Asked for the months that `changed` stands for.

    Raises:
        MonthSelectionError: A word names no month, or the window lacks it; or the feed holds none.
    """
    months: set[Month] = set()
    for word in words:
        if word == CHANGED:
            found = set(changed())
            if not found:
                # A feed that is empty, or not there, is not one in which nothing has changed.
                exported_months(settings)
            months.update(found)
        elif word == ALL:
            months.update(exported_months(settings))
        else:
            months.update(_range(word, settings))
    return sorted(months)


def exported_months(settings: Settings) -> list[Month]:
    """The months from the first to the newest of which the feed holds any file.

    Raises:
        MonthSelectionError: The feed holds none.
    """
    extent = feed_extent(settings)
    if extent.first is None or extent.newest is None:
        raise MonthSelectionError(
            f"The feed {settings.feed} holds no file of {settings.window[0]} to {settings.window[-1]}; have "
            "months exported to it, or set REFINERY_FEED."
        )
    return list(Month.span(extent.first, extent.newest))


def _range(word: str, settings: Settings) -> Iterable[Month]:
    first, dots, last = word.partition("..")
    try:
        ends = Month.parse(first), Month.parse(last if dots else first)
    except ValueError:
        raise MonthSelectionError(
            f"'{word}' names no months; expected a month such as 2024-05, a range such as 2024-01..2024-12, "
            f"{ALL} or {CHANGED}."
        ) from None
    if ends[1] < ends[0]:
        raise MonthSelectionError(f"'{word}' ends before it begins; expected {ends[1]}..{ends[0]}.")
    for month in ends:
        demand_in_window(month, settings)
    return Month.span(*ends)


def demand_in_window(month: Month, settings: Settings) -> None:
    """Refuse a month that no run can be over.

    Raises:
        MonthSelectionError: The window lacks it.
    """
    window = settings.window
    if month < window[0]:
        raise MonthSelectionError(
            f"{month} is before {window[0]}, where the window begins; set REFINERY_FIRST_MONTH to {month} or "
            "earlier to include it."
        )
    if month > window[-1]:
        what_to_do = (
            f"it has not begun, and the window ends with the running month {window[-1]}"
            if settings.last_month is None
            else f"it is after {window[-1]}, where the window ends; set REFINERY_LAST_MONTH to {month} or later "
            "to include it"
        )
        raise MonthSelectionError(f"{month} cannot be refined: {what_to_do}.")
