"""One family's file of one month: from bytes to the monthly Parquet partition, with its tally.

Here: the order of the work (read, scrub, plug), the partition's columns, and the two rules that every
family must pass. Not here: the steps themselves, and what looks at several families at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl

from refinery_assets.checks.rules import Finding, Row, Rule, listing, outcome
from refinery_assets.contract.families import Fault
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, RefusedFileError, count_data_rows, header_problem
from refinery_assets.rows.gaps import plug
from refinery_assets.rows.points import in_blocks, point_of
from refinery_assets.rows.read import TYPED_SCHEMA, read_clean, read_lines
from refinery_assets.rows.scrub import scrub

PARTITION_SCHEMA = pl.Schema({**TYPED_SCHEMA, "is_imputed": pl.Boolean()})
"""The columns of a partition: every row of the file, and the imputed rows, whose `source_line` is null."""

SAMPLE_PER_FILE = 5
FILES_AHEAD = 3


@dataclass(frozen=True)
class Tally:
    """What one file's rows came to.

    Attributes:
        file: The file.
        csv_rows: Data rows of the file, counted from its bytes.
        landed: Rows of the file in the partition, clean or faulty.
        imputed: Rows that filled gaps.
        faults: Faulty rows per fault; faults that did not occur are left out.
        overshoot: Clean rows whose utilization above 100 was taken as 100.
        hosts: Hosts with a clean reading.
        mean_y: Mean of the clean readings, percent; None without any.
        long_gaps: Gaps that are too long to fill.
        long_gap_days: Days in those gaps.
        sample: A few faulty rows: file, line, fault and raw text.
    """

    file: FeedFile
    csv_rows: int
    landed: int
    imputed: int
    faults: dict[Fault, int]
    overshoot: int
    hosts: int
    mean_y: float | None
    long_gaps: int
    long_gap_days: int
    sample: Sequence[Row]

    @property
    def quarantined(self) -> int:
        """Faulty rows."""
        return sum(self.faults.values())

    @property
    def clean(self) -> int:
        """Rows of the file that are fit to publish."""
        return self.landed - self.quarantined


def refine_file(file: FeedFile, settings: Settings) -> tuple[pl.DataFrame, Tally]:
    """Read, scrub and plug one file.

    Returns:
        The partition in `PARTITION_SCHEMA`, publishable rows first, sorted by day and host within blocks of
        hosts (see `points.in_blocks`); and its tally.

    Raises:
        RefusedFileError: The file is not there, cannot be read, or its header does not serve.
    """
    data = _read(file)
    points, faulty = _judge(data, file, settings.overshoot)
    plugged = plug(points, settings.max_gap_days)
    partition = _assemble(points, plugged.rows, faulty)
    tally = Tally(
        file=file,
        csv_rows=count_data_rows(data),
        landed=partition.height - plugged.rows.height,
        imputed=plugged.rows.height,
        faults={Fault(fault): count for fault, count in faulty.group_by("fault").len().sort("fault").rows()},
        overshoot=points["raw"].count(),
        hosts=plugged.hosts,
        mean_y=points.select(pl.col("y").mean()).item(),
        long_gaps=plugged.long_gaps,
        long_gap_days=plugged.long_gap_days,
        sample=[
            {"file": file.name, **row}
            for row in faulty.head(SAMPLE_PER_FILE).select("source_line", "fault", "raw").to_dicts()
        ],
    )
    return partition, tally


def _assemble(points: pl.DataFrame, imputed: pl.DataFrame, faulty: pl.DataFrame) -> pl.DataFrame:
    """The publishable rows in their order, and the faulty ones behind them."""
    parts = [points.with_columns(is_imputed=pl.lit(value=False))]
    if imputed.height:
        parts.append(imputed.with_columns(is_imputed=pl.lit(value=True)))
        parts = [pl.concat(parts, how="diagonal").sort("point")]
    parts = [in_blocks(parts[0])]
    if faulty.height:
        parts.append(faulty.with_columns(is_imputed=pl.lit(value=False)))
        parts = [pl.concat(parts, how="diagonal")]
    return parts[0].select(PARTITION_SCHEMA.names())


def refine_files(
    files: Iterable[FeedFile], settings: Settings
) -> Iterator[Future[tuple[pl.DataFrame, Tally]]]:
    """Refine files in order, `FILES_AHEAD` of them ahead of the one that is taken.

    One file keeps a core busy only in part, and while one is written the next are read; at most
    `FILES_AHEAD` + 1 partitions are in memory. The result of each future, or its error, is that of
    `refine_file`.
    """
    with ThreadPoolExecutor(FILES_AHEAD) as pool:
        ahead: deque[Future[tuple[pl.DataFrame, Tally]]] = deque()
        for file in files:
            ahead.append(pool.submit(refine_file, file, settings))
            if len(ahead) > FILES_AHEAD:
                yield ahead.popleft()
        yield from ahead


def _judge(data: bytes, file: FeedFile, overshoot: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The clean rows with their `point`, sorted by it; and the faulty rows."""
    clean = read_clean(data, file.family, file.month)
    if clean is not None:
        points = _in_order(clean)
        if not _has_repeats(points):
            return points, clean.drop("point").clear()
    rows = scrub(read_lines(data, file.family), file.month, overshoot)
    clean = rows.filter(rows["fault"].is_null())
    return _in_order(clean.with_columns(point_of(clean))), rows.filter(rows["fault"].is_not_null())


def _read(file: FeedFile) -> bytes:
    try:
        data = file.read()
    except FileNotFoundError:
        raise RefusedFileError(f"{file.name} is not there; export it again.") from None
    if not data:
        raise RefusedFileError(f"{file.name} is empty; export it again.")
    if problem := header_problem(data, file.family):
        raise RefusedFileError(f"{file.name}, line 1: the header {problem}. Export the file again.")
    return data


def _in_order(points: pl.DataFrame) -> pl.DataFrame:
    return points if points["point"].is_sorted() else points.sort("point")


def _has_repeats(points: pl.DataFrame) -> bool:
    return bool((points["point"] == points["point"].shift()).any())


@dataclass(frozen=True)
class FamilyEvidence:
    """The tallies of one family's months, and the setting that they are judged by."""

    tallies: Sequence[Tally]
    tolerance: float


def _rows_accounted_for(evidence: FamilyEvidence) -> Finding:
    wrong = [tally for tally in evidence.tallies if tally.csv_rows != tally.landed]
    csv_rows = sum(tally.csv_rows for tally in evidence.tallies)
    landed = sum(tally.landed for tally in evidence.tallies)
    summary = f"{landed} of {csv_rows} data rows stand in the partitions"
    if wrong:
        summary += f"; the counts differ in {listing(tally.file.month for tally in wrong)}"
    return Finding(
        outcome(failed=bool(wrong)),
        f"{summary}.",
        {
            "csv_rows": csv_rows,
            "landed_rows": landed,
            "clean_rows": sum(tally.clean for tally in evidence.tallies),
            "quarantined_rows": sum(tally.quarantined for tally in evidence.tallies),
            "imputed_rows": sum(tally.imputed for tally in evidence.tallies),
        },
        by_month=[
            {
                "month": str(tally.file.month),
                "csv_rows": tally.csv_rows,
                "landed": tally.landed,
                "clean": tally.clean,
                "quarantined": tally.quarantined,
                "imputed": tally.imputed,
                "long_gaps": tally.long_gaps,
            }
            for tally in evidence.tallies
        ],
        offenders=[
            {"file": tally.file.name, "csv_rows": tally.csv_rows, "landed": tally.landed} for tally in wrong
        ],
        failed_months=[str(tally.file.month) for tally in wrong],
    )


def excess_quarantine(quarantined: int, rows: int, tolerance: float) -> bool:
    """Whether more rows of a file are quarantined than the tolerated share."""
    return quarantined > tolerance * rows


def _quarantine_within_tolerance(evidence: FamilyEvidence) -> Finding:
    beyond = [
        tally
        for tally in evidence.tallies
        if excess_quarantine(tally.quarantined, tally.landed, evidence.tolerance)
    ]
    quarantined = sum(tally.quarantined for tally in evidence.tallies)
    overshoot = sum(tally.overshoot for tally in evidence.tallies)
    faults = {fault: sum(tally.faults.get(fault, 0) for tally in evidence.tallies) for fault in Fault}
    summary = f"{quarantined} rows quarantined"
    if quarantined:
        summary += (
            f" ({listing((f'{fault} {count}' for fault, count in faults.items() if count), len(Fault))})"
        )
    if overshoot:
        summary += f", {overshoot} readings above 100 taken as 100"
    if beyond:
        told = listing(f"{tally.file.name} ({tally.quarantined} of {tally.landed} rows)" for tally in beyond)
        summary += f"; more than the tolerated share of {evidence.tolerance:g} in {told}"
    # The worst files lead, so that the bounded sample shows what matters.
    worst_first = sorted(
        evidence.tallies, key=lambda tally: tally.quarantined / max(tally.landed, 1), reverse=True
    )
    return Finding(
        outcome(failed=bool(beyond), warned=bool(quarantined or overshoot)),
        f"{summary}.",
        {
            "quarantined_rows": quarantined,
            "tolerated_share": evidence.tolerance,
            "overshoot_rows": overshoot,
            **{str(fault): count for fault, count in faults.items()},
        },
        by_month=[
            {
                "month": str(tally.file.month),
                "rows": tally.landed,
                "quarantined": tally.quarantined,
                "share": tally.quarantined / tally.landed if tally.landed else 0.0,
                **{str(fault): tally.faults.get(fault, 0) for fault in Fault},
            }
            for tally in evidence.tallies
        ],
        offenders=[row for tally in worst_first for row in tally.sample],
        failed_months=[str(tally.file.month) for tally in beyond],
        warned_months=[
            str(tally.file.month) for tally in evidence.tallies if tally.quarantined or tally.overshoot
        ],
    )


FAMILY_RULES: tuple[Rule[FamilyEvidence], ...] = (
    Rule(
        "rows_accounted_for",
        "Fails when the data rows of a file, counted apart from the CSV parser, are not the rows of its "
        "partition that are not imputed.",
        "A row was lost or made up on the way, which no file should be able to cause: keep the files named "
        "and report them with this check's counts.",
        _rows_accounted_for,
    ),
    Rule(
        "quarantine_within_tolerance",
        "Fails when the quarantined share of a file's rows is above REFINERY_QUARANTINE_TOLERANCE; warns "
        "when any row is quarantined or taken as 100.",
        "Look at the sample, have the files named exported again, or raise REFINERY_QUARANTINE_TOLERANCE if "
        "the rows may be left out; then materialize the months again.",
        _quarantine_within_tolerance,
    ),
)
