"""A family's monthly Parquet partitions as DuckDB sees them.

Here: where a partition lies, and reading many of them at once, each row with its month and resource. Not
here: writing them (`refinery_assets/telemetry.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from refinery_assets.contract.columns import PARTITION_COLUMNS
from refinery_assets.contract.families import FAMILIES, Family
from refinery_assets.contract.months import Month
from refinery_assets.feed.files import FeedFile
from refinery_assets.warehouse.facts import SourceFacts


@dataclass(frozen=True)
class Partition:
    """One family's Parquet file of one month, whether or not it exists."""

    telemetry: Path
    family: Family
    month: Month

    @property
    def path(self) -> Path:
        """The file's place on disk."""
        return self.telemetry / self.family.name / f"{self.month}.parquet"


def partitions(telemetry: Path, months: Iterable[Month]) -> list[Partition]:
    """The partitions that `months` call for, month by month in the families' order."""
    return [Partition(telemetry, family, month) for month in months for family in FAMILIES]


PARTITION_ROWS = """
    read_parquet($paths, filename = true) p JOIN audit_partitions f ON f.path = p.filename
"""
"""For a FROM clause: every row of the partitions at hand, with the columns of `audit_partitions`; takes the
parameter `paths` from `globs`."""


def damaged_partitions(files: Iterable[Partition]) -> dict[Partition, str]:
    """Which partitions cannot be read, each with a sentence for the operator.

    Every byte of them is read, so ask when reading many at once has failed: DuckDB then does not always
    say which file it was.
    """
    with duckdb.connect() as reader:
        return {
            file: f"{file.family.name} {file.month}: its partition cannot be read: materialize it again "
            f"({file.path} {damage})"
            for file in files
            if (damage := _why_not_opened(file.path) or _why_not_read(reader, file))
        }


def _why_not_opened(path: Path) -> str | None:
    try:
        with path.open("rb") as opened:
            return None if opened.read(1) else "is empty"
    except FileNotFoundError:
        return "is not there"
    except IsADirectoryError:
        return "is a folder, which must be moved away first"
    except OSError as error:
        return f"cannot be opened: {error.strerror}"


def _why_not_read(reader: duckdb.DuckDBPyConnection, file: Partition) -> str | None:
    path = {"path": globs([file])}
    try:
        columns = reader.execute("SELECT * FROM read_parquet($path) LIMIT 0", path).description or ()
        found = {name: str(kind) for name, kind, *_ in columns}
        if missing := [column.name for column in PARTITION_COLUMNS if column.name not in found]:
            return f"lacks the {'column' if len(missing) == 1 else 'columns'} {', '.join(missing)}"
        for column in PARTITION_COLUMNS:
            if found[column.name] != column.type_name:
                return f"holds {found[column.name]} in the column {column.name}, not {column.type_name}"
        reader.execute("SELECT max(COLUMNS(*)) FROM read_parquet($path)", path).fetchall()
    except duckdb.Error as error:
        return f"is damaged: {str(error).splitlines()[0]}"
    return None


def globs(files: Sequence[Partition]) -> list[str]:
    """The files' paths with the letters escaped that DuckDB would take for a pattern."""
    return [re.sub(r"([\[*?])", r"[\1]", str(file.path)) for file in files]


def name_partitions(connection: duckdb.DuckDBPyConnection, files: Sequence[Partition]) -> None:
    """Write the partitions at hand to the temporary table `audit_partitions`."""
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE audit_partitions AS
        SELECT unnest($paths::VARCHAR[]) AS path, unnest($months::VARCHAR[]) AS month,
            unnest($resources::VARCHAR[]) AS resource, unnest($sources::VARCHAR[]) AS source_file,
            unnest($starts::TIMESTAMP[]) AS month_start, unnest($ends::TIMESTAMP[]) AS month_end
        """,
        {
            "paths": [str(file.path) for file in files],
            "months": [str(file.month) for file in files],
            "resources": [file.family.resource for file in files],
            "sources": [FeedFile(Path(), file.family, file.month).name for file in files],
            "starts": [file.month.first_day for file in files],
            "ends": [file.month.next.first_day for file in files],
        },
    )


def source_facts(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Partition]
) -> dict[tuple[str, str], SourceFacts]:
    """Count what each partition holds, by month and resource; needs `name_partitions` before."""
    if not files:
        return {}
    # Rows of a kind are counted, and only the few counts are told apart by what they mean.
    rows = connection.execute(
        """
        WITH kinds AS (
            SELECT filename, ds, fault IS NULL AS is_fit, is_imputed,
                count(*) AS rows, count(host_id) AS named, count(y) AS valued
            FROM read_parquet($paths, filename = true) GROUP BY ALL
        ), placed AS (
            SELECT f.month, f.resource, kinds.*,
                coalesce(ds >= f.month_start AND ds < f.month_end, false) AS is_inside
            FROM kinds JOIN audit_partitions f ON f.path = filename
        )
        SELECT month, resource,
            coalesce(sum(rows) FILTER (NOT is_imputed), 0)::BIGINT,
            coalesce(sum(rows) FILTER (is_fit AND NOT is_imputed), 0)::BIGINT,
            coalesce(sum(rows) FILTER (is_imputed), 0)::BIGINT,
            coalesce(sum(rows) FILTER (NOT is_fit), 0)::BIGINT,
            max(ds) FILTER (is_inside AND NOT is_imputed)::DATE,
            coalesce(sum(rows) FILTER (is_fit AND NOT is_inside), 0)::BIGINT,
            coalesce(sum(rows - named) FILTER (is_fit), 0)::BIGINT,
            coalesce(sum(rows - valued) FILTER (is_fit), 0)::BIGINT
        FROM placed GROUP BY month, resource
        """,
        {"paths": globs(files)},
    ).fetchall()
    return {(month, resource): SourceFacts(*numbers) for month, resource, *numbers in rows}
