"""What was read of each month for the pictures, remembered in a file from run to run.

So a run over one month reads one month for its pictures, however long the history is. A month's figures are
good for as long as nothing was published over it and the inventory's behaviours are the same; without the
file, or with one that cannot be read, all months are read.

Here: the file, and which of its figures still hold. Not here: the figures (`history.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from refinery_assets.contract.columns import AUDITS
from refinery_assets.contract.months import Month
from refinery_assets.feed.atomic_write import atomic_write
from refinery_assets.reports.history import Basis, HistoryRead, MonthFigures
from refinery_assets.warehouse.tables import table_names

_STAMP, _FIGURES = "stamp", "figures"


def recall(
    path: Path, connection: duckdb.DuckDBPyConnection, basis: Basis, changing: Sequence[Month]
) -> dict[Month, MonthFigures]:
    """The figures in the file that still hold, except of the months that are `changing`."""
    try:
        entries = {
            Month.parse(key): (str(entry[_STAMP]), _parsed(entry[_FIGURES]))
            for key, entry in json.loads(path.read_text(encoding="utf-8")).items()
        }
    # Whatever else may stand in the file than what was written there.
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    stamps = _stamps(connection, basis)
    return {
        month: figures
        for month, (stamp, figures) in entries.items()
        if month not in changing and stamps.get(month) == stamp
    }


def remember(path: Path, connection: duckdb.DuckDBPyConnection, read: HistoryRead) -> None:
    """Write the figures of all published months, when the months are committed.

    Raises:
        OSError: The file cannot be written.
    """
    stamps = _stamps(connection, read.basis)
    entries = {
        str(month): {_STAMP: stamps[month], _FIGURES: vars(figures)}
        for month, figures in read.figures.items()
        if month in stamps
    }
    atomic_write(path, json.dumps(entries).encode())


def _stamps(connection: duckdb.DuckDBPyConnection, basis: Basis) -> dict[Month, str]:
    """Per published month what its figures depend on: when it was published, and the basis."""
    if AUDITS.name not in table_names(connection):
        return {}
    published = connection.execute(
        "SELECT month, max(published_at)::VARCHAR FROM audits WHERE published_at IS NOT NULL GROUP BY month"
    ).fetchall()
    days = "Wednesdays" if basis.only_wednesdays else "all days"
    return {Month.parse(month): f"{moment}, {days}, fleet {basis.fleet}" for month, moment in published}


def _parsed(entry: Any) -> MonthFigures:
    """Figures from JSON, which has text for keys and lists for tuples."""
    readings, spread = entry["readings"], entry["spread"]
    return MonthFigures(
        newest=int(entry["newest"]),
        readings={int(number): int(count) for number, count in readings.items()},
        spread={
            int(number): [(str(day), float(low), float(middle), float(high)) for day, low, middle, high in days]
            for number, days in spread.items()
        },
    )
