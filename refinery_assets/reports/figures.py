"""Figures as people read them: rounded, and with separators.

Here: the formatting, once for reports and asset pages. Not here: any figure.
"""

from __future__ import annotations

from typing import TypeVar

SIGNIFICANT_DIGITS = 4

Value = TypeVar("Value")


def rounded(value: Value) -> Value:
    """A measurement to four significant digits; counts and anything that is not a number stay exact.

    A count is part of a receipt: somebody may hold it against another one.
    """
    if isinstance(value, float):
        return type(value)(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return value


def shown(value: float | None) -> str:
    """A figure for a table: `59,520`, `47.98`; a dash where there is none."""
    return "-" if value is None else f"{rounded(value):,.15g}" if isinstance(value, float) else f"{value:,}"
