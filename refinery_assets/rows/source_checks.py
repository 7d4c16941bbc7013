"""The entrance audit: are the months' files there, do their headers serve, did the export finish?

Here: the facts taken from each file and the three rules of `legacy_feed` over them. Not here: the rows
themselves (`family.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path

import polars as pl

from refinery_assets.checks.rules import SAMPLE_SIZE, Finding, Row, Rule, listing, outcome
from refinery_assets.contract.families import FAMILIES, Family
from refinery_assets.contract.months import Month
from refinery_assets.feed.files import (
    FeedFile,
    RefusedFileError,
    count_data_rows,
    feed_files,
    header_problem,
)
from refinery_assets.rows.read import read_lines
from refinery_assets.rows.scrub import day_of

# Each is read whole.
_FILES_AT_ONCE = 2


@dataclass(frozen=True)
class FileFacts:
    """What the entrance audit knows of one file.

    Attributes:
        file: The file.
        absent: Why the file cannot be opened as one, as a sentence; None when it can.
        header_problem: Why its header does not serve; None when it does or there is none.
        unfinished: What shows that the export of this file did not finish; None when nothing does.
        rows: Data rows, counted from the bytes.
        newest_day: The newest day of the month that a row is dated; None when there is none.
    """

    file: FeedFile
    absent: str | None = None
    header_problem: str | None = None
    unfinished: str | None = None
    rows: int = 0
    newest_day: date | None = None


@dataclass(frozen=True)
class FeedEvidence:
    """The facts of every file of the requested months, and the setting that they are judged by."""

    root: Path
    facts: Sequence[FileFacts]
    family_skew: float

    def rows_by_month(self) -> dict[Month, int]:
        """Data rows of the four files together, per month."""
        return {month: sum(fact.rows for fact in facts) for month, facts in _by_month(self.facts)}


def inspect_feed(
    root: Path, months: Iterable[Month], family_skew: float, *, follow_links: bool = False
) -> FeedEvidence:
    """Look at every file that `months` call for; what is wrong is told in the facts, not raised."""
    files = feed_files(root, months, follow_links=follow_links)
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        return FeedEvidence(root, list(pool.map(inspect_file, files)), family_skew)


def inspect_file(file: FeedFile) -> FileFacts:
    """Look at one file."""
    try:
        data = file.read()
    except FileNotFoundError:
        return FileFacts(file, absent=f"{file.name} is not there")
    except RefusedFileError as error:
        return FileFacts(file, absent=str(error))
    if not data:
        return FileFacts(file, unfinished="is empty")
    rows = count_data_rows(data)
    if problem := header_problem(data, file.family):
        # What follows such a header cannot be judged, so nothing more is said of the file.
        return FileFacts(file, header_problem=problem, rows=rows)
    unfinished = None
    if rows == 0:
        unfinished = "holds only its header"
    elif not data.endswith(b"\n"):
        last_line = data.count(b"\n") + 1
        unfinished = f"ends in the middle of line {last_line}"
    return FileFacts(
        file, unfinished=unfinished, rows=rows, newest_day=newest_day(data, file.family, file.month)
    )


def newest_day(data: bytes, family: Family, month: Month) -> date | None:
    """The newest day of `month` that any row of the file is dated, whatever else is wrong with the row."""
    # A closed month's file mostly ends on the last day, and then a search from its end tells at once.
    if data.startswith(b"date,") and data.rfind(f"\n{month.last_day.isoformat()},".encode()) >= 0:
        return month.last_day
    within = pl.col("day").is_between(month.first_day, month.last_day)
    newest = (
        lines.select(day_of("date").dt.date().alias("day")).filter(within)["day"].max()
        for lines in read_lines(data, family)
    )
    return max((day for day in newest if isinstance(day, date)), default=None)


def _source_files_present(evidence: FeedEvidence) -> Finding:
    absent = [fact for fact in evidence.facts if fact.absent]
    found = len(evidence.facts) - len(absent)
    root_missing = not evidence.root.is_dir()
    summary = f"{found} of {len(evidence.facts)} expected files found"
    if root_missing:
        summary += f"; the feed's root {evidence.root} is not a folder (REFINERY_FEED)"
    elif absent:
        months = sorted({fact.file.month for fact in absent})
        summary += f"; lacking in {listing(months)}: {listing(fact.file.name for fact in absent)}"
    return Finding(
        outcome(failed=root_missing or bool(absent)),
        f"{summary}.",
        {"expected": len(evidence.facts), "found": found, "missing": len(absent)},
        by_month=[
            {
                "month": str(month),
                "expected": len(facts),
                "found": sum(not fact.absent for fact in facts),
                "missing": ", ".join(fact.file.family.name for fact in facts if fact.absent),
            }
            for month, facts in _by_month(evidence.facts)
        ],
        offenders=[{"file": fact.file.name, "problem": fact.absent} for fact in absent],
        # A file that is not there is told enough by its name; what stands there and cannot be taken is not.
        detail=" ".join(
            str(fact.absent) for fact in absent[:SAMPLE_SIZE] if not str(fact.absent).endswith("is not there")
        ),
        failed_months=[str(fact.file.month) for fact in absent],
    )


def _headers_match_contract(evidence: FeedEvidence) -> Finding:
    wrong = [fact for fact in evidence.facts if fact.header_problem]
    read = sum(not fact.absent for fact in evidence.facts)
    summary = f"{read - len(wrong)} of {read} headers serve"
    if wrong:
        summary += "; line 1 of " + listing(f"{fact.file.name} {fact.header_problem}" for fact in wrong)
    return Finding(
        outcome(failed=bool(wrong)),
        f"{summary}.",
        {"headers_read": read, "headers_wrong": len(wrong)},
        by_month=[
            {
                "month": str(month),
                "headers_wrong": sum(bool(fact.header_problem) for fact in facts),
                "files": ", ".join(fact.file.family.name for fact in facts if fact.header_problem),
            }
            for month, facts in _by_month(evidence.facts)
        ],
        offenders=[{"file": fact.file.name, "line": 1, "problem": fact.header_problem} for fact in wrong],
        failed_months=[str(fact.file.month) for fact in wrong],
    )


@dataclass(frozen=True)
class FamilyExtent:
    """How far one family of a month reaches, by its file or by its partition."""

    family: Family
    rows: int
    newest_day: date | None


def family_disagreements(extents: Sequence[FamilyExtent], family_skew: float) -> tuple[list[str], list[str]]:
    """Where the families of one month do not reach equally far.

    Returns:
        What shows an unfinished export, and what is worth a warning, each as ends of sentences.
    """
    unfinished = []
    newest = max((extent.newest_day for extent in extents if extent.newest_day), default=None)
    unfinished += [
        f"{extent.family.name} ends on {extent.newest_day or 'no day'}, another family on {newest}"
        for extent in extents
        if extent.newest_day != newest
    ]
    most = max((extent.rows for extent in extents), default=0)
    short = [(extent, most - extent.rows) for extent in extents if extent.rows < most]
    told = [
        (f"{extent.family.name} has {extent.rows} rows, {lack} fewer than the month's largest family", lack)
        for extent, lack in short
    ]
    unfinished += [text for text, lack in told if lack > family_skew * most]
    return unfinished, [text for text, lack in told if lack <= family_skew * most]


def _fragmentation_complete(evidence: FeedEvidence) -> Finding:
    by_month: list[Row] = []
    offenders: list[Row] = []
    failures: list[str] = []
    warnings: list[str] = []
    for month, facts in _by_month(evidence.facts):
        cut = [fact for fact in facts if fact.unfinished]
        # A file that is already told to be absent, cut or unreadable says nothing about the others.
        whole = [fact for fact in facts if not (fact.absent or fact.header_problem or fact.unfinished)]
        extents = [FamilyExtent(fact.file.family, fact.rows, fact.newest_day) for fact in whole]
        unfinished, uneven = family_disagreements(extents, evidence.family_skew)
        bad = [f"{fact.file.name} {fact.unfinished}" for fact in cut] + [
            f"{month}: {text}" for text in unfinished
        ]
        failures += bad
        warnings += [f"{month}: {text}" for text in uneven]
        offenders += [{"month": str(month), "severity": "error", "problem": text} for text in bad]
        offenders += [{"month": str(month), "severity": "warning", "problem": text} for text in uneven]
        rows = {fact.file.family.name: fact.rows for fact in facts}
        newest = max((fact.newest_day for fact in facts if fact.newest_day), default=None)
        by_month.append(
            {
                "month": str(month),
                "newest_day": newest.isoformat() if newest else "",
                **{family.name: rows[family.name] for family in FAMILIES},
                "problems": "; ".join(bad + uneven),
            }
        )
    summary = f"{sum(fact.rows for fact in evidence.facts)} rows in {len(by_month)} months"
    if failures:
        summary += f"; the export did not finish: {listing(failures)}"
    elif warnings:
        summary += f"; families differ a little: {listing(warnings)}"
    return Finding(
        outcome(failed=bool(failures), warned=bool(warnings)),
        f"{summary}.",
        {
            "rows": sum(fact.rows for fact in evidence.facts),
            "unfinished": len(failures),
            "uneven": len(warnings),
            "family_skew_limit": evidence.family_skew,
        },
        by_month=by_month,
        offenders=offenders,
        failed_months=[str(row["month"]) for row in offenders if row["severity"] == "error"],
        warned_months=[str(row["month"]) for row in offenders if row["severity"] == "warning"],
    )


def _by_month(facts: Sequence[FileFacts]) -> list[tuple[Month, list[FileFacts]]]:
    return [(month, list(group)) for month, group in groupby(facts, key=lambda fact: fact.file.month)]


ENTRANCE_RULES: tuple[Rule[FeedEvidence], ...] = (
    Rule(
        "source_files_present",
        "Fails when a requested month lacks one of its four files, or the feed's root is missing.",
        "Have the missing files exported to the places named, or correct REFINERY_FEED, and run again.",
        _source_files_present,
    ),
    Rule(
        "headers_match_contract",
        "Fails when a header lacks a column of its family or repeats one; names are compared stripped and "
        "without regard to case, order and further columns are free.",
        "Export the files named with the contract's header, comma separated and in UTF-8, and run again.",
        _headers_match_contract,
    ),
    Rule(
        "fragmentation_complete",
        "Fails when the export did not finish: a file is empty, holds only its header or ends in the middle "
        "of a line, the newest day differs between the families of a month, or a family falls short of the "
        "month's largest by more than REFINERY_FAMILY_SKEW; warns below that.",
        "Wait for the export of the months named to finish, or export the files again, and run again.",
        _fragmentation_complete,
    ),
)
