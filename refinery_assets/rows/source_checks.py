"""The entrance audit: are a month's files there, do their headers serve, did the export finish?

Here: the facts taken from each file, and the three rules of `legacy_feed` over those of a month. The same
rules judge a month by its partitions, whose facts are taken from them (`warehouse/gate.py`). Not here: the
rows themselves (`family.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import groupby

from refinery_assets.checks.rules import Finding, Outcome, Row, Rule, counted, listing, outcome
from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import (
    CutShortError,
    FeedExtent,
    FeedFile,
    RefusedFileError,
    digest_of_parts,
    feed_as_of_now,
    feed_files,
)
from refinery_assets.feed.unnamed import Unnamed, UnnamedFiles
from refinery_assets.rows.contradictions import Contradiction, find_contradiction
from refinery_assets.rows.parts import EMPTY, NO_ROWS, Part, newest_day, read_part
from refinery_assets.rows.scrub import scrub

_NOT_THERE = "is not there"
_NOTHING = Unnamed()

# Each is read whole.
_FILES_AT_ONCE = 2
# Single rows go missing in every feed; a warning that never goes is not read.
_NOT_WORTH_A_WARNING = 0.1


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
        digest: Digest of the bytes; None when they could not be read.
        files: How many files it stands for: of a file a day, those up to the newest.
        missing_days: Days of these of which there is no file, or none with rows.
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
    digest: str | None = None
    files: int = 1
    missing_days: Sequence[date] = ()

    @property
    def is_missing(self) -> bool:
        """Whether nothing stands in the file's place."""
        return self.absent is not None and self.absent.endswith(_NOT_THERE)

    @property
    def is_whole(self) -> bool:
        """Whether the file can be held against the other families' of its month."""
        return not (self.absent or self.header_problem or self.unfinished or self.undated)


@dataclass(frozen=True)
class MonthOfFeed:
    """The facts of one month's files, and what they are judged by.

    Attributes:
        month: The month.
        files: The facts of each family's file, in the families' order.
        extent: The first and the newest month of the feed.
        today: The day of the judgement, in the refinery's time zone.
        settings: Where the feed lies, and the limits.
        unnamed: The files that lie there and are none of the contract's.
        root_problem: Why nothing at all is found in the feed, as the end of a sentence; None where something may be.
    """

    month: Month
    files: Sequence[FileFacts]
    extent: FeedExtent
    today: date
    settings: Settings
    unnamed: Unnamed = _NOTHING
    root_problem: str | None = None

    @property
    def rows(self) -> int:
        """Data rows of the files together; of a wide file, which is several families' file, once."""
        return sum({file.name: file.rows for file in self.files}.values())

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each family's file, as far as they could be read."""
        return {file.family.name: file.digest for file in self.files if file.digest}


def inspect_feed(settings: Settings, months: Sequence[Month], extent: FeedExtent, today: date) -> Iterator[MonthOfFeed]:
    """Look at every file that `months` call for; what is wrong is in the facts, not raised."""
    seen = feed_as_of_now(settings)
    root_problem = seen.root_problem
    files = feed_files(settings, months, seen)
    unnamed = UnnamedFiles(settings, seen)
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        inspected = zip(files, pool.map(inspect_file, files), strict=True)
        for month, group in groupby(inspected, key=lambda pair: pair[0].month):
            found = [(file, facts) for file, facts in group]
            yield MonthOfFeed(
                month,
                [facts for _, facts in found],
                extent,
                today,
                settings,
                unnamed.beside([file for file, _ in found]),
                root_problem,
            )


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
    except RefusedFileError as error:
        return FileFacts(file.family, file.name, absent=str(error))
    return replace(facts, unfinished=part.unfinished, newest_day=newest, undated=undated, against=against)


def _contradiction(part: Part) -> Contradiction | None:
    """What the first rows of a file contradict; looked for only where no row is of the month."""
    file = part.file
    rows = scrub([next(part.read_lines())], file.family, file.month, 0.0)
    faulty = rows.filter(rows["fault"].is_not_null())
    return find_contradiction(faulty, rows.height, file, part.columns, lambda line: f"{file.name}, line {line}")


def _together(file: FeedFile, days: Sequence[FileFacts]) -> FileFacts:
    """What is known of the days' files, as of one; it has the name of the first that is in trouble."""
    there = [facts for facts in days if not facts.is_missing]
    if not there:
        return FileFacts(file.family, file.name, absent=f"{file.name} {_NOT_THERE}")
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
    )


def _source_files_present(feed: MonthOfFeed) -> Finding:
    # A wide file is several families' file.
    files = {file.name: file for file in feed.files}.values()
    absent = [file for file in files if file.absent]
    expected = sum(file.files for file in files)
    missing = len(absent) + sum(len(file.missing_days) for file in files if not file.absent)
    summary = f"{expected - missing} of {counted(expected, 'expected file')} found"
    details = []
    root_problem = feed.root_problem if absent else None
    if root_problem:
        summary += f"; the root of the feed {root_problem} (REFINERY_FEED)"
        details.append(f"It is {feed.settings.feed}.")
    elif absent and not feed.extent.holds(feed.month):
        is_older = feed.extent.first is not None and feed.month < feed.extent.first
        state = "lies before the first month" if is_older else "is not exported yet"
        summary += f"; {feed.month} {state}: the feed holds {feed.extent}"
        details.append(f"The first file would be {feed.files[0].name}.")
    elif absent:
        # For a file that is missing, its name says enough; for one that is there and cannot be read, it does not.
        if names := [file.name for file in absent if file.is_missing]:
            details.append(f"Missing: {listing(names)}.")
        details += [str(file.absent) for file in absent if not file.is_missing]
    holes = {file.family.name: listing(map(str, file.missing_days)) for file in files if file.missing_days}
    details += [f"{family} has no rows of {days}." for family, days in holes.items()]
    if feed.unnamed:
        details.append(f"{feed.unnamed}.")
    return Finding(
        outcome(failed=bool(absent), warned=bool(missing)),
        f"{summary}.",
        {"expected": expected, "found": expected - missing, "missing": missing, "unnamed": feed.unnamed.count},
        " ".join(details),
        offenders=[{"file": file.name, "problem": file.absent} for file in absent],
    )


def _headers_match_contract(feed: MonthOfFeed) -> Finding:
    # A wide file has one header, which may serve for some of its families.
    wrong: dict[str, list[str]] = {}
    for file in feed.files:
        if file.header_problem:
            wrong.setdefault(file.name, []).append(file.header_problem)
    read = len({file.name for file in feed.files if not (file.absent or file.unfinished == EMPTY)})
    summary = "No header could be read"
    if read:
        summary = f"The contract is met by {read - len(wrong)} of {counted(read, 'header')}"
    # What a header lacks differs between families; in what guise it comes does not.
    problems = {
        name: "; it ".join([texts[0], *(text for text in _once(texts)[1:] if text.startswith("lacks"))])
        for name, texts in wrong.items()
    }
    detail = " ".join(f"{name}, line 1: the header {problem}." for name, problem in problems.items())
    return Finding(
        outcome(failed=bool(wrong) or not read),
        f"{summary}.",
        {"headers_read": read, "headers_wrong": len(wrong)},
        detail,
        offenders=[{"file": name, "line": 1, "problem": problem} for name, problem in problems.items()],
    )


def _fragmentation_complete(feed: MonthOfFeed) -> Finding:
    if all(file.absent for file in feed.files):
        return Finding(Outcome.FAILED, "There is no file to judge.", {"rows": 0})
    # Of a wide file, which is several families' file, everything is told once.
    unfinished = _once(f"{file.name} {file.unfinished}" for file in feed.files if file.unfinished)
    undated = _once(
        f"{file.name} has no row dated within {feed.month} and written {file.family.date_format}; its {file.undated}"
        for file in feed.files
        if file.undated
    )
    # A file that is already reported as absent, cut or unreadable says nothing about the others.
    whole = list({(file.name, file.newest_day): file for file in feed.files if file.is_whole}.values())
    uneven, slightly, asides = _sizes_that_stand_out(whole, feed.settings.family_skew)
    warnings: list[str] = []
    newest = max((file.newest_day for file in whole if file.newest_day), default=None)
    short = [file for file in whole if file.newest_day != newest]
    unfinished += [
        f"{file.name} ends on {file.newest_day}, another family on {newest}"
        if file.newest_day
        else f"{file.name} has no row of {feed.month}"
        for file in short
    ]
    if newest and not short:
        failed, warned = _ends_too_early(feed, newest)
        unfinished += failed
        warnings += warned
    summary = counted(feed.rows, "row")
    if newest:
        summary += f", up to {newest}"
    reasons = {
        "the export did not finish": unfinished,
        f"no date of {counted(len(undated), 'file')} reads as a day of the month": undated,
        "the families differ in rows": uneven,
    }
    summary += "".join(f"; {reason}" for reason, texts in reasons.items() if texts)
    failures = [text for texts in reasons.values() for text in texts]
    if newest != feed.month.last_day:
        warnings += slightly
        slightly = []
    if warnings and not failures:
        summary += "; the export may not have finished"
    elif slightly and not failures:
        summary += "; the families differ by a few rows"
    recovery = _undated_recovery([file for file in feed.files if file.undated]) if undated else None
    if slightly and not (failures or warnings):
        recovery = (
            "Look whether these rows are missing for a reason, such as a host without that resource. If not, have the "
            "files named exported again; the month is published all the same."
        )
    warnings = [*slightly, *warnings]
    detail = "; ".join([*failures, *warnings, *asides])
    offenders: list[Row] = [{"severity": "error", "problem": text} for text in failures]
    offenders += [{"severity": "warning", "problem": text} for text in warnings]
    return Finding(
        outcome(failed=bool(failures), warned=bool(warnings)),
        f"{summary}.",
        {
            "rows": feed.rows,
            "newest_day": newest.isoformat() if newest else None,
            "family_skew_limit": feed.settings.family_skew,
            **{f"rows_{file.family.resource}": file.rows for file in feed.files},
        },
        f"{detail}." if detail else "",
        offenders=offenders,
        recovery=recovery,
    )


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _undated_recovery(files: Sequence[FileFacts]) -> str:
    if remedies := _once(file.against.remedy for file in files if file.against):
        return " ".join(remedies)
    formats = _once(file.family.date_format for file in files)
    return (
        f"Have the files named exported again with the month's own days, written {' or '.join(formats)} as date_format "
        "declares in the contract; then run the month again."
    )


def _sizes_that_stand_out(files: Sequence[FileFacts], family_skew: float) -> tuple[list[str], list[str], list[str]]:
    """Which families have fewer rows than the others, or more: failures, warnings and mere remarks, as sentences."""
    if not files:
        return [], [], []
    small, large = (choose(files, key=lambda file: file.rows) for choose in (min, max))
    if len(files) == 2 and large.rows >= (2 - family_skew) * small.rows > 0:  # noqa: PLR2004 - no third to tell
        return (
            [
                (
                    f"{large.name} has {counted(large.rows, 'row')} and {small.name} {small.rows:,}, as if every "
                    "line of the one were written twice, or half of the other were missing"
                )
            ],
            [],
            [],
        )
    # Of an even number the larger of the two in the middle: rather too few rows than too many.
    usual = sorted(file.rows for file in files)[len(files) // 2]
    others = "the other families" if len(files) > 2 else "the other family's file"  # noqa: PLR2004 - it and another
    failures: list[str] = []
    warnings: list[str] = []
    remarks: list[str] = []
    for file in files:
        difference = file.rows - usual
        if not difference:
            continue
        size, way = abs(difference), "fewer" if difference < 0 else "more"
        text = f"{file.name} has {counted(file.rows, 'row')}, {size} {way} than {others}"
        if file.rows >= (2 - family_skew) * usual:
            text += ", as if every line were written twice"
        if size > family_skew * usual:
            failures.append(text)
        else:
            (warnings if size > _NOT_WORTH_A_WARNING * family_skew * usual else remarks).append(text)
    return failures, warnings, remarks


def _ends_too_early(feed: MonthOfFeed, newest: date) -> tuple[list[str], list[str]]:
    """Whether the month should reach further by now: failures and warnings, as sentences."""
    month = feed.month
    missing = (month.last_day - newest).days
    if not missing:
        return [], []
    text = f"{month} ends on {newest}, {counted(missing, 'day')} before its last"
    if feed.extent.newest and feed.extent.newest > month:
        text += f", though the feed already holds {feed.extent.newest}"
        # Many exports are cut a day early, each month alike.
        return ([], [text]) if missing == 1 else ([text], [])
    if feed.today > month.last_day + timedelta(days=feed.settings.late_days):
        return [], [f"{text}, though today is {feed.today} (REFINERY_LATE_DAYS)"]
    return [], []


ENTRANCE_RULES: tuple[Rule[MonthOfFeed], ...] = (
    Rule(
        "source_files_present",
        "Fails when the month lacks one of its files, or all of a family's where there is one a day, or the feed's "
        "root is missing; warns when single days are missing. Names files that lie there and that the contract does "
        "not name.",
        "Have the missing files exported to the places named, or correct REFINERY_FEED, and run the month again.",
        _source_files_present,
    ),
    Rule(
        "headers_match_contract",
        "Fails when a header lacks a column of its family or repeats one, or when no header could be read; "
        "names are compared stripped and without regard to case, order and further columns are free.",
        "Export the files named as the contract declares them, or set in the contract what they have: the names of "
        "the columns (date, host, value, capacity), delimiter, quote or encoding; then run the month again.",
        _headers_match_contract,
    ),
    Rule(
        "fragmentation_complete",
        "Fails when the export did not finish: a file is empty, holds only its header, ends in the middle of "
        "a line or has no row of the month; the newest day differs between the families; a family's rows "
        "differ from the other families' by more than REFINERY_FAMILY_SKEW (down to a tenth of that is a warning); "
        "or a month after which the feed holds a later one does not reach its last day (one day short is a warning). "
        "The newest month is a warning when the calendar has passed it by REFINERY_LATE_DAYS.",
        "Wait for the export of the month to finish, or export the files named again, and run the month again.",
        _fragmentation_complete,
    ),
)


def months_asked(
    months: Iterable[Month], extent: FeedExtent, together: Iterable[Month] = ()
) -> tuple[list[Month], list[Month]]:
    """Divide the months of a run into those to judge, and those to leave out.

    Left out are months before the feed's first and after its newest: they are not exported yet. Where such months
    are all that was asked for, they are judged, so that whoever asked gets an answer.

    Args:
        months: The months of the run.
        extent: What the feed holds.
        together: All months that were asked for, where the run is one of several for them.
    """
    asked = list(months)
    within = [month for month in asked if extent.holds(month)]
    if not any(extent.holds(month) for month in [*asked, *together]):
        return asked, []
    return within, [month for month in asked if month not in within]
