"""The entrance audit: are a month's files there, do their headers serve, did the export finish?

Here: the three rules of `legacy_feed` over the facts of a month's files. The same rules judge a month by its
partitions, whose facts are taken from them (`warehouse/gate.py`). Not here: the facts of a file (`source_files.py`),
and the rows themselves (`family.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from refinery_assets.checks.rules import Finding, Outcome, Row, Rule, counted, listing, outcome
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedExtent, feed_as_of_now, feed_files
from refinery_assets.feed.unnamed import Unnamed, UnnamedFiles
from refinery_assets.rows.parts import EMPTY
from refinery_assets.rows.source_files import FileFacts, inspect_file

_NOTHING = Unnamed()

# Each is read whole.
_FILES_AT_ONCE = 2
# Single rows go missing in every feed; a warning that never goes is not read.
_NOT_WORTH_A_WARNING = 0.1


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


_SEE_FILES = "See source_files_present."


def _source_files_present(feed: MonthOfFeed) -> Finding:
    # A wide file is several families' file.
    files = {file.name: file for file in feed.files}.values()
    absent = [file for file in files if file.absent]
    expected = sum(file.files for file in files)
    missing = sum(_missing(file) for file in files)
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
    stray = [part for file in files for part in file.each if part.stray]
    if stray:
        details.append(f"{listing(map(_strays, stray), 3)}.")
    if feed.unnamed:
        details.append(f"{feed.unnamed}.")
    if alike := feed.unnamed.alike:
        details.append(f"Named much like the month's files, and not read: {listing(alike, 3)}.")
    return Finding(
        outcome(failed=bool(absent), warned=bool(missing or stray or alike)),
        f"{summary}.",
        {
            "expected": expected,
            "found": expected - missing,
            "missing": missing,
            "of_another_day": len(stray),
            "unnamed": feed.unnamed.count,
        },
        " ".join(details),
        offenders=[{"file": file.name, "problem": file.absent} for file in absent]
        + [{"file": part.name, "problem": _strays(part)} for part in stray],
        recovery=None if missing else _recovery_of_names(stray=bool(stray), alike=bool(alike)),
    )


def _recovery_of_names(*, stray: bool, alike: bool) -> str | None:
    """What to do where all files are there, and not all is right with their names."""
    texts = []
    if stray:
        texts.append("Have the files that hold rows of another day exported again, each with the rows of its own day.")
    if alike:
        texts.append(
            "If the files that are not read hold rows of the month, put them in the place that the contract names; if "
            "not, move them out of the folder."
        )
    return " ".join([*texts, "Then run the month again."]) if texts else None


def _missing(file: FileFacts) -> int:
    """How many of the files are not there, or cannot be read, or have no rows where a later day has."""
    if file.is_missing:
        return file.files
    return len(file.missing_days) + sum(part.absent is not None for part in file.each)


def _strays(part: FileFacts) -> str:
    return f"{part.name} holds rows of {listing(part.stray, 3)} and none of its own day"


def _headers_match_contract(feed: MonthOfFeed) -> Finding:
    # A wide file has one header, which may serve for some of its families.
    wrong: dict[str, list[str]] = {}
    parts = [part for file in feed.files for part in file.each]
    for part in parts:
        if part.header_problem:
            wrong.setdefault(part.name, []).append(part.header_problem)
    read = len({part.name for part in parts if not (part.absent or part.unfinished == EMPTY)})
    summary = "No header could be read"
    if read:
        summary = f"The contract is met by {read - len(wrong)} of {counted(read, 'header')}"
    # What a header lacks differs between families; in what guise it comes does not.
    problems = {
        name: "; it ".join([texts[0], *(text for text in _once(texts)[1:] if text.startswith("lacks"))])
        for name, texts in wrong.items()
    }
    alike: dict[str, list[str]] = {}
    for name, problem in problems.items():
        alike.setdefault(problem, []).append(name)
    detail = " ".join(f"{listing(names, 3)}, line 1: the header {problem}." for problem, names in alike.items())
    return Finding(
        outcome(failed=bool(wrong) or not read),
        f"{summary}.",
        {"headers_read": read, "headers_wrong": len(wrong)},
        detail,
        offenders=[{"file": name, "line": 1, "problem": problem} for name, problem in problems.items()],
        recovery=_SEE_FILES if all(file.absent for file in feed.files) else None,
    )


def _fragmentation_complete(feed: MonthOfFeed) -> Finding:
    if all(file.absent for file in feed.files):
        return Finding(Outcome.FAILED, "There is no file to judge.", {"rows": 0}, recovery=_SEE_FILES)
    # Of a wide file, which is several families' file, everything is said once.
    unfinished = _once(f"{file.name} {file.unfinished}" for file in feed.files if file.unfinished)
    undated, misdated = _without_the_month(feed)
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
        f"no date of {counted(undated.count, 'file')} reads as a day of the month": undated.texts,
        f"{counted(misdated.count, 'file holds', 'files hold')} rows of other months alone": misdated.texts,
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
    recovery = " ".join(filter(None, (undated.recovery, misdated.recovery))) or None
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


@dataclass(frozen=True)
class _Undated:
    """Files without a row of their month: how many, what of them, a text for each family, and what to do."""

    count: int
    texts: list[str]
    recovery: str


def _without_the_month(feed: MonthOfFeed) -> tuple[_Undated, _Undated]:
    """The files whose dates are not read as days of the month, and those whose days are read and of other months."""
    parts = [[part for part in file.each if part.undated] for file in feed.files]
    unread = [[part for part in of_family if not part.dated] for of_family in parts]
    misdated = [[part for part in of_family if part.dated] for of_family in parts]
    return (
        _Undated(
            _number(unread),
            _once(
                f"{_named(some)} {'have' if some[1:] else 'has'} no row dated within {feed.month} and written "
                f"{some[0].family.date_format}; {'of the first,' if some[1:] else 'its'} {some[0].undated}"
                for some in unread
                if some
            ),
            _undated_recovery([part for some in unread for part in some]) if any(unread) else "",
        ),
        _Undated(
            _number(misdated),
            _once(
                f"{_named(some)} {'hold' if some[1:] else 'holds'} rows of "
                f"{listing(_once(str(month) for part in some for month in part.dated), 3)} and none of {feed.month}"
                for some in misdated
                if some
            ),
            "Have the month's own rows exported to the files named, which hold those of other months, as if they were "
            "exported or copied under a wrong name; then run the month again."
            if any(misdated)
            else "",
        ),
    )


def _number(files: Sequence[Sequence[FileFacts]]) -> int:
    return len({part.name for some in files for part in some})


def _named(files: Sequence[FileFacts]) -> str:
    others = f" and {counted(len(files) - 1, 'other file')}" if files[1:] else ""
    return f"{files[0].name}{others}"


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
        "root is missing; warns when single days are missing, when a day's file holds rows of other days alone, and "
        "when a file is named much like the month's, as copies are. Names the files that lie there and that the "
        "contract does not name.",
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
