"""One family's file of one month, or its files: from bytes to the monthly Parquet partition, with its stats.

Here: the order of the work (read, scrub, fill gaps) and the partition's columns. Not here: the steps themselves, and
the rules that every family must pass (`family_checks.py`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

import polars as pl

from refinery_assets.checks.rules import SAMPLE_SIZE, Row, listing
from refinery_assets.contract.families import Fault
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, digest_of_parts
from refinery_assets.rows.alike_days import compare_days
from refinery_assets.rows.clean import TYPED_SCHEMA, OddHosts, clean_rows, no_odd_hosts
from refinery_assets.rows.contradictions import find_contradiction
from refinery_assets.rows.gaps import plug
from refinery_assets.rows.grid import grid_of
from refinery_assets.rows.odd_rows import find_odd_rows
from refinery_assets.rows.parts import Part, columns_of, lines_of, read_month
from refinery_assets.rows.points import in_blocks, point_of
from refinery_assets.rows.scrub import scrub
from refinery_assets.rows.series import summarize
from refinery_assets.rows.stats import Stats, rules_digest

PARTITION_SCHEMA = pl.Schema({**TYPED_SCHEMA, "is_imputed": pl.Boolean()})
"""The columns of a partition: every row of the file, and the imputed rows, whose `source_line` is null."""

Result = TypeVar("Result")

SAMPLE_PER_FILE = 5
FILES_AHEAD = 3


@dataclass(frozen=True)
class Refined:
    """A file refined.

    Attributes:
        partition: The partition in `PARTITION_SCHEMA`, publishable rows first, sorted by day and host within
            blocks of hosts (see `points.in_blocks`).
        series: The publishable rows summed up by host, in `series.SERIES_SCHEMA`.
        stats: What the rows came to.
    """

    partition: pl.DataFrame
    series: pl.DataFrame
    stats: Stats


def refine_file(file: FeedFile, settings: Settings, odd_hosts: OddHosts = no_odd_hosts) -> Refined:
    """Read, scrub and fill the gaps of one file, or of a month's files together.

    Args:
        file: The file.
        settings: How it is judged.
        odd_hosts: Which hosts of the inventory are named like an absent one.

    Raises:
        RefusedFileError: The file is not there, cannot be read, its header does not serve, or its export did
            not finish.
    """
    parts = read_month(file)
    first_lines = _first_lines(parts) if file.is_daily else {}
    asked: list[str] | None = None

    def ask() -> frozenset[str]:
        nonlocal asked
        names = odd_hosts()
        asked = sorted(names)
        return names

    points, faulty = _judge(parts, first_lines, file, settings.limit("overshoot", file.family), ask)
    digest, csv_rows = _digest(parts, file), sum(part.rows for part in parts)
    headers = _headers(parts, file, first_lines)
    # Of a month of a million hosts, the text is a gigabyte, and so are its points, which the partition repeats.
    del parts
    plugged = plug(points, settings.limit("max_gap_days", file.family))
    overshoot, mean = points["raw"].count(), points["y"].mean()
    publishable, partition = _assemble(points, plugged.rows, faulty)
    del points
    grid = grid_of(publishable, file.month)
    odd = find_odd_rows(publishable, grid)
    del publishable
    landed = partition.height - plugged.rows.height
    against = find_contradiction(faulty, landed, file, headers, lambda line: _place(line, file, first_lines))
    clue, remedy = (against.clue, against.remedy) if against else _crowded_file(faulty, first_lines, file)
    out_of_range = faulty["y"].filter(faulty["fault"] == Fault.OUT_OF_RANGE)
    stats = Stats(
        family=file.family,
        month=file.month,
        name=file.name,
        parts=first_lines,
        digest=digest,
        rules=rules_digest(settings, file.family, asked),
        odd_hosts=asked,
        csv_rows=csv_rows,
        landed=landed,
        imputed=plugged.rows.height,
        faults=_counts(faulty["fault"]),
        overshoot=overshoot,
        nearly=int(out_of_range.is_between(100.0, 120.0).sum()),
        hosts=plugged.hosts,
        mean_y=mean,  # type: ignore[arg-type]  # of floats
        long_gaps=plugged.long_gaps,
        long_gap_days=plugged.long_gap_days,
        sample=[
            _placed(row, file, first_lines)
            for row in faulty.head(SAMPLE_PER_FILE).select("source_line", "fault", "raw").iter_rows(named=True)
        ],
        clue=clue,
        remedy=remedy,
        odd_rows=_counts(odd["oddity"]),
        odd_sample=[_placed(row, file, first_lines) for row in odd.head(SAMPLE_SIZE).iter_rows(named=True)],
        days=compare_days(grid),
    )
    return Refined(partition, summarize(grid), stats)


def _counts(names: pl.Series) -> dict[str, int]:
    """How often each name occurs, by name. Most files have none, and queries over none take 2 % of their time."""
    return dict(sorted(Counter(names.to_list()).items()))


def _assemble(points: pl.DataFrame, imputed: pl.DataFrame, faulty: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The publishable rows with their `point`; and all rows, the publishable ones first and in blocks."""
    parts = [points.with_columns(is_imputed=pl.lit(value=False))]
    if imputed.height:
        parts.append(imputed.with_columns(is_imputed=pl.lit(value=True)))
        parts = [pl.concat(parts, how="diagonal").sort("point")]
    publishable = parts[0]
    parts = [in_blocks(publishable)]
    if faulty.height:
        parts.append(faulty.with_columns(is_imputed=pl.lit(value=False)))
        parts = [pl.concat(parts, how="diagonal")]
    return publishable, parts[0].select(PARTITION_SCHEMA.names())


def refine_files(files: Iterable[FeedFile], refine: Callable[[FeedFile], Result]) -> Iterator[Future[Result]]:
    """Refine files in order, `FILES_AHEAD` of them ahead of the one that is taken.

    One file keeps a core busy only in part, and while one is written the next are read; at most
    `FILES_AHEAD` + 1 partitions are in memory. The result of each future, or its error, is that of `refine`.
    """
    with ThreadPoolExecutor(FILES_AHEAD) as pool:
        ahead: deque[Future[Result]] = deque()
        for file in files:
            ahead.append(pool.submit(refine, file))
            if len(ahead) > FILES_AHEAD:
                yield ahead.popleft()
        yield from ahead


def _judge(
    parts: Sequence[Part], first_lines: Mapping[str, int], file: FeedFile, overshoot: float, odd_hosts: OddHosts
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The clean rows with their `point`, sorted by it; and the faulty rows."""
    family, month = file.family, file.month
    with_rows = {first_lines.get(part.file.name, 1): part for part in parts if part.rows}
    clean = None
    columns = columns_of(with_rows)
    if columns is not None and (clean := clean_rows(columns, family, month, odd_hosts)) is not None:
        points = _in_order(clean)
        if not _has_repeats(points):
            return points, clean.drop("point").clear()
    del columns, clean
    rows = scrub(lines_of(with_rows), family, month, overshoot, odd_hosts)
    clean = rows.filter(rows["fault"].is_null())
    return _in_order(clean.with_columns(point_of(clean))), rows.filter(rows["fault"].is_not_null())


def _first_lines(parts: Sequence[Part]) -> dict[str, int]:
    """The number of each file's first line, when the lines of all are counted on."""
    ends = accumulate((part.lines for part in parts), initial=1)
    return {part.file.name: start for part, start in zip(parts, ends, strict=False)}


def _digest(parts: Sequence[Part], file: FeedFile) -> str:
    return digest_of_parts({part.file.name: part.digest for part in parts}) if file.is_daily else parts[0].digest


def _headers(parts: Sequence[Part], file: FeedFile, first_lines: Mapping[str, int]) -> Callable[[int], Sequence[str]]:
    """Gives the names of the columns that a row's text has, by its line."""
    columns = {part.file.name: part.columns for part in parts}
    return lambda line: columns[_own_line(line, file, first_lines)[0]]


def _placed(row: Row, file: FeedFile, first_lines: Mapping[str, int]) -> Row:
    """A row by its own file, and its line in that."""
    name, line = _own_line(int(str(row["source_line"])), file, first_lines)
    return {"file": name, **row, "source_line": line}


def _place(line: int, file: FeedFile, first_lines: Mapping[str, int]) -> str:
    name, own_line = _own_line(line, file, first_lines)
    return f"{name}, line {own_line}"


def _own_line(line: int, file: FeedFile, first_lines: Mapping[str, int]) -> tuple[str, int]:
    """The file that a line is in, where several are counted on, and its number in that."""
    started = [(start, name) for name, start in first_lines.items() if start <= line]
    start, name = max(started, default=(1, file.name))
    return name, line - start + 1


def _crowded_file(faulty: pl.DataFrame, first_lines: Mapping[str, int], file: FeedFile) -> tuple[str, str | None]:
    """Of a month of several files, the one that most of the faulty rows are in, as a sentence; and what to do then."""
    if not (first_lines and faulty.height):
        return "", None
    starts = pl.DataFrame(
        [list(first_lines), list(first_lines.values())],
        schema={"name": pl.String, "start": faulty.schema["source_line"]},
    ).sort("start")
    rows = faulty.select("source_line", "ds", "fault").sort("source_line")
    rows = rows.join_asof(starts, left_on="source_line", right_on="start")
    name, number = rows["name"].value_counts(sort=True).row(0)
    if 2 * number <= rows.height:
        return "", None
    there = rows.filter(rows["name"] == name)
    days = there["ds"].dt.date().drop_nulls().unique().sort().to_list()
    clue = f"Of these rows, {number:,} {'is' if number == 1 else 'are'} in {name}"
    own_day = next(part.day for part in file.parts if part.name == name)
    if own_day in {day.day for day in days} or not days:
        return f"{clue}.", None
    repeats = there.filter(there["fault"].is_in([Fault.DUPLICATE, Fault.SUPERSEDED])).height
    remedy = (
        "Most of these rows repeat those of another day's file: have the file named exported again, with the rows of "
        "its own day, and run the month again."
    )
    return f"{clue}, dated {listing(days, 3)}.", remedy if 2 * repeats > rows.height else None


def _in_order(points: pl.DataFrame) -> pl.DataFrame:
    return points if points["point"].is_sorted() else points.sort("point")


def _has_repeats(points: pl.DataFrame) -> bool:
    return bool((points["point"] == points["point"].shift()).any())
