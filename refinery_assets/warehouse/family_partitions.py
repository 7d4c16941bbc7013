"""The families' monthly Parquet partitions: where they lie, what they say of themselves, and reading many.

Beside the partition stands the family's part of `series_months`; both carry the stats of the file that they were
made from. Not here: which are written when (`family_months.py`, `refinery_assets/assets/io_manager.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import duckdb
import polars as pl

from refinery_assets.contract.columns import PARTITION_COLUMNS
from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.places import Place
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile
from refinery_assets.feed.store import OwnStore, telemetry_store
from refinery_assets.rows.family import Refined
from refinery_assets.rows.stats import Stats

STATS_KEY = "refinery.stats"
"""Where a Parquet file's own metadata holds the `Stats` of its rows."""

_SERIES_FOLDER = "series_months"

# Where it names the file in a lake that holds its publishable rows.
_LAKE_FILE_KEY = "refinery.lake_file"

COMPRESSION: Literal["snappy"] = "snappy"
"""A quarter faster to write than the default, and read everywhere."""


@dataclass(frozen=True)
class Partition:
    """One family's Parquet file of one month, whether or not it exists."""

    telemetry: Place
    family: Family
    month: Month

    @cached_property
    def store(self) -> OwnStore:
        """What it lies in."""
        return telemetry_store(self.telemetry)

    @property
    def name(self) -> str:
        """The rows, below the root."""
        return f"{self.family.name}/{self.month}.parquet"

    @property
    def series_name(self) -> str:
        """The same rows summed up by host."""
        return f"{_SERIES_FOLDER}/{self.name}"

    @property
    def _refusal_name(self) -> str:
        return f"{self.family.name}/{self.month}.refused.json"

    @property
    def path(self) -> Path:
        """The rows, on this machine; of an object store, once they are fetched."""
        return self.store.path_of(self.name)

    @property
    def series_path(self) -> Path:
        """The same rows summed up by host, likewise."""
        return self.store.path_of(self.series_name)

    @property
    def files(self) -> tuple[Path, ...]:
        """All that may lie on the disk for it."""
        return self.path, self.series_path, self.store.path_of(self._refusal_name)

    def __str__(self) -> str:
        return f"{self.store}/{self.name}"

    @property
    def refusal(self) -> str | None:
        """Why the partition must not be used, as a sentence; None when nothing was noted against it."""
        try:
            return str(json.loads(self.store.read_back(self._refusal_name))["problem"])
        except FileNotFoundError:
            return None

    def mark_refused(self, problem: str) -> None:
        """Note that the month's newest file was refused; the partition of an older one stays as it is."""
        if self.store.look(self.name) is not None:
            problem += (
                f" The partition is of an older file: materialize {self.family.name} {self.month} again when the "
                "file is corrected."
            )
        self.mark_unusable(problem)

    def mark_unusable(self, problem: str) -> None:
        """Note that the partition must not be used, so that the family's step makes it anew in any case."""
        self.store.write(self._refusal_name, json.dumps({"problem": problem}).encode())

    def clear_refusal(self) -> None:
        """Take the note back: the partition is whole, and of the newest file."""
        self.store.remove(self._refusal_name)

    @property
    def obstacle(self) -> str | None:
        """Why no partition can be written here, as a sentence; None when nothing is in the way."""
        for path in (self.path, self.series_path):
            if path.is_dir():
                return (
                    f"A folder stands where the partition belongs: move {path.resolve()} away, then materialize "
                    f"{self.family.name} {self.month} again."
                )
        return None

    def stats(self) -> Stats:
        """What the partition's rows came to; where there is no partition to use, `problem` says why."""
        return self._stats_or_problem(self.name)

    def first_lines(self) -> Mapping[str, int]:
        """The files that its rows are from, each with the number of its first line."""
        file = FeedFile(Path(), self.family, self.month)
        parts = self.stats().parts if file.is_daily else {}
        return parts or {file.name: 1}

    @property
    def lake_file(self) -> str | None:
        """The path or address of the file in a lake that was written along with it; None where there was none."""
        try:
            name = pl.read_parquet_metadata(self.store.footer(self.name)).get(_LAKE_FILE_KEY)
        except (OSError, pl.exceptions.PolarsError):
            return None
        return name or None

    def write(self, refined: Refined, lake_file: str | None = None) -> None:
        """Write rows and summary, each atomically.

        Args:
            refined: The rows and the summary.
            lake_file: The file in a lake that holds the publishable rows already.

        Raises:
            OSError: A file cannot be written; what stood there before still does.
            StoreError: Likewise.
            pl.exceptions.PolarsError: Likewise.
        """
        metadata = {STATS_KEY: refined.stats.as_json()}
        of_lake = {_LAKE_FILE_KEY: lake_file} if lake_file else {}
        write_parquet(refined.series, self.store, self.series_name, metadata)
        write_parquet(refined.partition, self.store, self.name, metadata | of_lake)

    def is_complete(self, stats: Stats) -> bool:
        """Whether the rows summed up by host are those of the partition with `stats`."""
        return self._stats_or_problem(self.series_name) == stats

    def _stats_or_problem(self, stored: str) -> Stats:
        name = FeedFile(Path(), self.family, self.month).name
        again = f"materialize {self.family.name} {self.month} again"
        none = Stats(self.family, self.month, name)
        if obstacle := self.obstacle:
            return replace(none, problem=obstacle)
        place = f"{self.store}/{stored}"
        try:
            found = pl.read_parquet_metadata(self.store.footer(stored))
        except FileNotFoundError:
            return replace(none, problem=f"{self.family.name} has no partition {self.month}: materialize it first.")
        except (OSError, pl.exceptions.PolarsError) as error:
            cause = str(error).splitlines()[0]
            return replace(none, problem=f"The partition {place} cannot be read: {again} ({cause}).")
        if STATS_KEY not in found:
            return replace(none, problem=f"The partition {place} is of an older version: {again}.")
        return _parsed(found[STATS_KEY], self.family)


@lru_cache(maxsize=1024)
def _parsed(text: str, family: Family) -> Stats:
    # A run reads the same text several times: from the rows and their summary, before publishing and within.
    return Stats.from_json(text, family)


def write_parquet(frame: pl.DataFrame, store: OwnStore, name: str, metadata: Mapping[str, str]) -> None:
    """Write one Parquet file atomically.

    Raises:
        OSError: The file cannot be written; what stood there before still does.
        StoreError: Likewise.
        pl.exceptions.PolarsError: Likewise.
    """
    with store.writing(name) as target:
        frame.write_parquet(target, compression=COMPRESSION, metadata=dict(metadata))


def partitions(settings: Settings, months: Iterable[Month]) -> list[Partition]:
    """The partitions that `months` call for, month by month in the families' order."""
    return [Partition(settings.telemetry, family, month) for month in months for family in settings.contract.families]


def partitions_there(settings: Settings) -> list[Month]:
    """The months of the window that any family has a partition of: they have been exported before."""
    there = telemetry_store(settings.telemetry).as_of_now([family.name for family in settings.contract.families])
    found = {each.month for each in partitions(settings, settings.window) if there.look(each.name) is not None}
    return sorted(found)


PARTITION_ROWS = """
    read_parquet($paths, filename = true) p JOIN _refinery_partitions f ON f.path = p.filename
"""
"""For a FROM clause: every row of the partitions at hand, with the columns of `_refinery_partitions`; takes the
parameter `paths` from `globs`."""


def placed(rows: str) -> str:
    """A SELECT of rows from files with the file and the line in it: `source_file`, `file_line`.

    Args:
        rows: A SELECT from `PARTITION_ROWS` that gives `path` and `source_line`.
    """
    return f"""
        SELECT rows.*, s.source_file, (rows.source_line - s.first_line + 1)::INTEGER AS file_line
        FROM ({rows}) rows ASOF JOIN _refinery_parts s ON s.path = rows.path AND rows.source_line >= s.first_line
    """  # noqa: S608 - a query of the package


def damaged_partitions(files: Iterable[Partition]) -> dict[Partition, str]:
    """Which partitions cannot be read, each with a sentence for the operator.

    Every byte of them is read, so ask when reading many at once has failed: DuckDB then does not always
    say which file it was.
    """
    with duckdb.connect() as reader:
        return {
            file: f"{file.family.name} {file.month}: its partition cannot be read: materialize it again "
            f"({file} {damage})"
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
    path = {"path": globs([file.path])}
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


def globs(paths: Iterable[Path]) -> list[str]:
    """Paths with the letters escaped that DuckDB would take for a pattern."""
    return [re.sub(r"([\[*?])", r"[\1]", str(path)) for path in paths]


def name_partitions(connection: duckdb.DuckDBPyConnection, files: Sequence[Partition]) -> None:
    """Write the partitions at hand to the temporary table `_refinery_partitions`, and their files to `_refinery_parts`.

    Raises:
        StoreError: They lie in an object store that cannot be reached.
    """
    for store in {file.store for file in files}:
        store.fetch([name for file in files if file.store == store for name in (file.name, file.series_name)])
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE _refinery_partitions AS
        SELECT unnest($paths::VARCHAR[]) AS path, unnest($series::VARCHAR[]) AS series_path,
            unnest($months::VARCHAR[]) AS month, unnest($resources::VARCHAR[]) AS resource,
            unnest($starts::TIMESTAMP[]) AS month_start, unnest($ends::TIMESTAMP[]) AS month_end
        """,
        {
            "paths": [str(file.path) for file in files],
            "series": [str(file.series_path) for file in files],
            "months": [str(file.month) for file in files],
            "resources": [file.family.resource for file in files],
            "starts": [file.month.first_day for file in files],
            "ends": [file.month.next.first_day for file in files],
        },
    )
    parts = [(str(file.path), name, line) for file in files for name, line in file.first_lines().items()]
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE _refinery_parts AS
        SELECT unnest($paths::VARCHAR[]) AS path, unnest($names::VARCHAR[]) AS source_file,
            unnest($lines::BIGINT[]) AS first_line
        """,
        {
            "paths": [path for path, _, _ in parts],
            "names": [name for _, name, _ in parts],
            "lines": [line for _, _, line in parts],
        },
    )


@dataclass(frozen=True)
class SourceFacts:
    """What the partition of one family and month holds, and how much of it can stand in the table.

    Attributes:
        file_rows: Rows that came from the file.
        clean: Rows from the file without a fault.
        imputed: Rows that filled gaps.
        quarantined: Rows with a fault.
        newest_day: The newest day of the month that a row from the file is dated.
        bad_ds: Publishable rows whose `ds` is null or outside the month.
        bad_host: Publishable rows without a host.
        bad_y: Publishable rows without a `y`.
    """

    file_rows: int = 0
    clean: int = 0
    imputed: int = 0
    quarantined: int = 0
    newest_day: date | None = None
    bad_ds: int = 0
    bad_host: int = 0
    bad_y: int = 0


def source_facts(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Partition]
) -> Mapping[tuple[Month, str], SourceFacts]:
    """Count what each partition holds, by month and resource; needs `name_partitions` before.

    Raises:
        duckdb.Error: A partition cannot be read; `damaged_partitions` finds which.
    """
    if not files:
        return {}
    # Rows of a kind are counted, and only the few counts are split by what they mean.
    rows = connection.execute(
        """
        WITH kinds AS (
            SELECT filename, ds, fault IS NULL AS is_fit, is_imputed,
                count(*) AS rows, count(host_id) AS named, count(y) AS valued
            FROM read_parquet($paths, filename = true) GROUP BY ALL
        ), placed AS (
            SELECT f.month, f.resource, kinds.*,
                coalesce(ds >= f.month_start AND ds < f.month_end, false) AS is_inside
            FROM kinds JOIN _refinery_partitions f ON f.path = filename
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
        {"paths": globs(file.path for file in files)},
    ).fetchall()
    return {(Month.parse(month), resource): SourceFacts(*numbers) for month, resource, *numbers in rows}
