"""Time travel: which snapshot of a lake each publication made, and opening the lake as it was then.

A publication's transaction carries its run and months with it into the lake's list of snapshots. Here: writing and
reading that. Not here: how long snapshots are kept (`lake_maintenance.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from refinery_assets.contract.columns import PROCESSED_DATA
from refinery_assets.contract.lake import Lake
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.lake import NAME, open_lake

AS_OF = "processed_data_as_of"
_AUTHOR = "refinery"
_FEWEST_LETTERS = 4
_MOST_TOLD = 6


class NoSuchPublicationError(Exception):
    """No publication is kept under that name; the message is one sentence for the operator."""


@dataclass(frozen=True)
class Publication:
    """A publication that can still be read.

    Attributes:
        snapshot: The lake's snapshot that it made.
        run_id: Its run.
        months: The months published.
        published_at: When it was committed, in UTC.
    """

    snapshot: int
    run_id: str
    months: Sequence[Month]
    published_at: datetime


def make_macro(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table macro that reads the table as of a snapshot, for whoever has the lake in use."""
    connection.execute(
        f"CREATE OR REPLACE MACRO {AS_OF}(snapshot) AS TABLE SELECT * FROM "  # noqa: S608 - constants
        f"query('FROM {PROCESSED_DATA.name} AT (VERSION => ' || snapshot::BIGINT || ')')"
    )


def sign(connection: duckdb.DuckDBPyConnection, run_id: str, months: Iterable[Month]) -> None:
    """Have the transaction at hand say what it publishes."""
    published = [str(month) for month in months]
    connection.execute(
        f"CALL ducklake_set_commit_message('{NAME}', '{_AUTHOR}', $message, extra_info => $info)",
        {
            "message": f"published {', '.join(published)}",
            "info": json.dumps({"run_id": run_id, "months": published}),
        },
    )


def publications(connection: duckdb.DuckDBPyConnection) -> list[Publication]:
    """The publications that are kept, the oldest first."""
    rows = connection.execute(
        f"""
        SELECT snapshot_id, snapshot_time::VARCHAR, commit_extra_info FROM ducklake_snapshots('{NAME}')
        WHERE author = $author AND commit_extra_info IS NOT NULL ORDER BY snapshot_id
        """,  # noqa: S608 - a constant
        {"author": _AUTHOR},
    ).fetchall()
    found = []
    for snapshot, moment, text in rows:
        info = json.loads(text)
        months = [Month.parse(month) for month in info["months"]]
        published_at = datetime.fromisoformat(moment).astimezone(UTC).replace(tzinfo=None)
        found.append(Publication(snapshot, info["run_id"], months, published_at))
    return found


def snapshots_of_months(connection: duckdb.DuckDBPyConnection) -> dict[tuple[Month, str], int]:
    """The snapshot of each publication that is kept, by month and run."""
    return {(month, each.run_id): each.snapshot for each in publications(connection) for month in each.months}


def kept_publications(settings: Settings) -> list[Publication]:
    """The publications of the lake that are kept, the oldest first.

    Raises:
        NoSuchPublicationError: The warehouse is a file.
        WarehouseMissingError: There is no lake.
        WarehouseUnusableError: It cannot be read.
    """
    with open_lake(_lake_of(settings), read_only=True, wait_seconds=settings.lock_wait_seconds) as connection:
        return publications(connection)


def find_lake_as_of(settings: Settings, name: str) -> tuple[Lake, int]:
    """The lake, and the snapshot of the publication that is meant by its number, or by a run or its beginning.

    Raises:
        NoSuchPublicationError: None is, or several are, or the warehouse is a file.
        WarehouseMissingError: There is no lake.
        WarehouseUnusableError: It cannot be read.
    """
    kept = kept_publications(settings)
    found = [each for each in kept if str(each.snapshot) == name]
    if not found and len(name) >= _FEWEST_LETTERS:
        found = [each for each in kept if each.run_id.startswith(name)]
    if len({each.run_id for each in found}) > 1:
        raise NoSuchPublicationError(f"{name} is the beginning of several runs; give more of it.")
    if not found:
        told = what_is_kept([each.snapshot for each in kept], name)
        raise NoSuchPublicationError(f"No publication {name} is kept: {told}. To list all: refinery lake publications")
    # A run may publish several times, and ends with the last.
    return _lake_of(settings), found[-1].snapshot


def what_is_kept(snapshots: Sequence[int], name: str) -> str:
    """The snapshots that are kept: all, or of many the nearest to the one asked for."""
    if not snapshots:
        return "none is"
    wanted = int(name) if name.isdecimal() else snapshots[-1]
    near = sorted(sorted(snapshots, key=lambda snapshot: abs(snapshot - wanted))[:_MOST_TOLD])
    if len(near) < len(snapshots):
        return f"of {len(snapshots):,} snapshots, {_enumerated(near)} are the nearest"
    return f"kept {'is the snapshot' if len(near) == 1 else 'are the snapshots'} {_enumerated(near)}"


def _enumerated(snapshots: Sequence[int]) -> str:
    *others, last = map(str, snapshots)
    return f"{', '.join(others)} and {last}" if others else last


def _lake_of(settings: Settings) -> Lake:
    if settings.lake is None:
        raise NoSuchPublicationError(
            "A DuckDB file holds what is published now, and no earlier publication; for those, keep exports or copies "
            "of it, or move to a lake (docs/many-machines.md)."
        )
    return settings.lake
