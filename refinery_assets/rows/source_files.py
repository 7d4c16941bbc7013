"""What the entrance audit knows of a file, or of a month's files together.

Here: the facts, taken from the files. Not here: the rules over them (`source_checks.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.feed.files import CutShortError, FeedFile, RefusedFileError, digest_of_parts
from refinery_assets.rows.contradictions import Contradiction, find_contradiction
from refinery_assets.rows.parts import NO_ROWS, Part, days_of, months_of, newest_day, read_part
from refinery_assets.rows.scrub import scrub

_NOT_THERE = "is not there"


@dataclass(frozen=True)
class FileFacts:
    """What the entrance audit knows of one file.

    Attributes:
        family: The file's family.
        name: The file, relative to the feed's root.
        absent: Why the file cannot be opened as one, as a sentence; None when it can.
        header_problem: Why its header does not serve; None when it does or there is none.
        unfinished: What shows that the export of this file did not finish; None when nothing does.
        rows: Data rows, counted from the bytes.
        newest_day: The newest day of the month that a row is dated; None when there is none.
        undated: The first data row with its line's number, where no row at all has a day of the month as the
            contract writes it.
        against: What most of its rows contradict then.
        dated: The months that its rows are dated then, if they are written as the contract writes days.
        stray: Of a day's file without a row of that day: the days of the month that its rows are dated.
        digest: Digest of the bytes; None when they could not be read.
        files: How many files it stands for: of a file a day, those up to the newest, or all if there is none.
        missing_days: Days of these of which there is no file, or none with rows.
        parts: The facts of each of the files that are there, where it stands for a file a day.
    """

    family: Family
    name: str
    absent: str | None = None
    header_problem: str | None = None
    unfinished: str | None = None
    rows: int = 0
    newest_day: date | None = None
    undated: str | None = None
    against: Contradiction | None = None
    dated: Sequence[Month] = ()
    stray: Sequence[date] = ()
    digest: str | None = None
    files: int = 1
    missing_days: Sequence[date] = ()
    parts: Sequence[FileFacts] = ()

    @property
    def each(self) -> Sequence[FileFacts]:
        """The facts of the single files: its parts, or its own."""
        return self.parts or [self]

    @property
    def is_missing(self) -> bool:
        """Whether nothing stands in the file's place."""
        return self.absent is not None and self.absent.endswith(_NOT_THERE)

    @property
    def is_whole(self) -> bool:
        """Whether the file can be held against the other families' of its month."""
        return not (self.absent or self.header_problem or self.unfinished or self.undated)


def inspect_file(file: FeedFile) -> FileFacts:
    """Look at one file, or at a month's files together."""
    if not file.is_daily:
        return _inspect_part(file)
    return _together(file, [_inspect_part(part) for part in file.parts])


def _inspect_part(file: FeedFile) -> FileFacts:
    try:
        part = read_part(file)
    except FileNotFoundError:
        return FileFacts(file.family, file.name, absent=f"{file.name} {_NOT_THERE}")
    except CutShortError as error:
        return FileFacts(file.family, file.name, unfinished=error.sign)
    except RefusedFileError as error:
        return FileFacts(file.family, file.name, absent=str(error))
    facts = FileFacts(file.family, file.name, rows=part.rows, digest=part.digest)
    # Nothing after an unusable header can be judged, so the file gets no further finding.
    if problem := part.header_problem:
        return replace(facts, header_problem=problem)
    try:
        newest = newest_day(part, file.month) if part.rows else None
        undated = part.first_row if newest is None and not part.unfinished else None
        against = _contradiction(part) if undated else None
        dated = months_of(part) if undated and not against else []
        stray = _stray_days(part, newest) if newest else []
    except RefusedFileError as error:
        return FileFacts(file.family, file.name, absent=str(error))
    return replace(
        facts,
        unfinished=part.unfinished,
        newest_day=newest,
        undated=undated,
        against=against,
        dated=dated,
        stray=stray,
    )


def _stray_days(part: Part, newest: date) -> Sequence[date]:
    """The days that the rows of a day's file are dated, if none is that day; else none."""
    day = part.file.day
    if day is None or newest.day == day or part.reaches(newest.replace(day=day)):
        return []
    days = days_of(part, part.file.month)
    return [] if newest.replace(day=day) in days else days


def _contradiction(part: Part) -> Contradiction | None:
    """What the first rows of a file contradict; looked for only where no row is of the month."""
    file = part.file
    rows = scrub([next(part.read_lines())], file.family, file.month, 0.0)
    faulty = rows.filter(rows["fault"].is_not_null())
    header = part.columns
    return find_contradiction(faulty, rows.height, file, lambda _: header, lambda line: f"{file.name}, line {line}")


def _together(file: FeedFile, days: Sequence[FileFacts]) -> FileFacts:
    """What is known of the days' files, as of one; it has the name of the first that is in trouble."""
    there = [facts for facts in days if not facts.is_missing]
    if not there:
        return FileFacts(file.family, file.name, absent=f"{file.name} {_NOT_THERE}", files=len(days))
    with_rows = [facts for facts in there if facts.unfinished != NO_ROWS] or there[:1]
    trouble = next((facts for facts in with_rows if not facts.is_whole), None)
    newest_file = days.index(with_rows[-1])
    without = [day for day, facts in zip(file.month.days, days[:newest_file], strict=False) if facts not in with_rows]
    return replace(
        trouble or FileFacts(file.family, file.name),
        rows=sum(facts.rows for facts in there),
        newest_day=max((facts.newest_day for facts in with_rows if facts.newest_day), default=None),
        digest=digest_of_parts({facts.name: facts.digest for facts in there if facts.digest}),
        files=newest_file + 1,
        missing_days=without,
        parts=there,
    )
