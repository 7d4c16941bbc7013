"""How a column writes days: the formats that fit, and what tells them apart.

Here: formats against texts, and against the month that a file's path names. Not here: which column it is
(`columns.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from refinery_assets.contract.families import DateFormat, Lines
from refinery_assets.feed.infer.paths import Dated

MOST = 0.9
"""The share of a column's fields that must fit for the column to be taken for something."""

_ABSENT = frozenset(Lines().absent)
ODD_ABSENT = _ABSENT | {"nan", "nil", "--", "?", "#n/a", "#n/v", "k.a.", "missing", "unknown", "\\n", "undefined"}
_STRPTIME = {
    DateFormat.ISO: "%Y-%m-%d",
    DateFormat.ISO_SLASH: "%Y/%m/%d",
    DateFormat.COMPACT: "%Y%m%d",
    DateFormat.GERMAN: "%d.%m.%Y",
    DateFormat.BRITISH: "%d/%m/%Y",
    DateFormat.DASHED: "%d-%m-%Y",
    DateFormat.AMERICAN: "%m/%d/%Y",
}
_PER_SECOND = {DateFormat.EPOCH_SECONDS: 1, DateFormat.EPOCH_MILLISECONDS: 1_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_A_FEW = 9
_MIDNIGHT = re.compile(r"[T ]00:00(:00(\.0+)?)?$")


@dataclass(frozen=True)
class Place:
    """A text in a file, with the line that it stands on."""

    file: Dated
    line: int
    text: str


@dataclass(frozen=True)
class Days:
    """How days are written.

    Attributes:
        formats: The formats that fit; several: nothing in the files tells which it is.
        example: One of the texts.
        proof: The text that only one of the formats fits, where one does.
        outside: A day that is not in the month of its file's path.
    """

    formats: Sequence[DateFormat]
    example: Place
    proof: Place | None = None
    outside: Place | None = None


def read_days(places: Sequence[Place], *, is_named: bool) -> Days | None:
    """How the fields of a column write days; None: they are no days.

    Args:
        places: The fields.
        is_named: Whether the column is called like one of days.
    """
    texts: dict[str, Place] = {}
    # The same text in files of two months tells more than once.
    for place in places:
        if place.text.lower() not in ODD_ABSENT:
            texts.setdefault(f"{place.file.year}-{place.file.month} {place.text}", place)
    if not texts:
        return None
    read = {kind: [(place, day_in(place.text, kind)) for place in texts.values()] for kind in DateFormat}
    days = {kind: sum(day is not None for _, day in found) for kind, found in read.items()}
    inside = {
        kind: sum(day is not None and place.file.lies_in_month(day) for place, day in found)
        for kind, found in read.items()
    }
    fitting = [kind for kind in DateFormat if days[kind] >= MOST * len(texts)]
    # Numbers are seconds since 1970, too, but then of another month than their file's.
    fitting = [kind for kind in fitting if kind not in _PER_SECOND or inside[kind] or is_named]
    if not fitting:
        return None
    best = max(inside[kind] for kind in fitting)
    formats = [kind for kind in fitting if inside[kind] == best]
    proof = None
    if len(formats) == 1:
        proof = _only_fit(read, formats[0])
    outside = next(
        (place for place, day in read[formats[0]] if day is not None and not place.file.lies_in_month(day)), None
    )
    return Days(formats, next(iter(texts.values())), proof, outside)


def days_of(texts: Collection[str]) -> list[set[date]]:
    """The days that the different fields of a column are, once for each format that fits; none: they are no days."""
    given = [text for text in texts if text.lower() not in ODD_ABSENT]
    found = []
    # Most columns hold no days, which a few fields show.
    for kind in DateFormat:
        if given and any(day_in(text, kind) for text in given[:_A_FEW]):
            days = [day for text in given if (day := day_in(text, kind))]
            if len(days) >= MOST * len(given):
                found.append(set(days))
    return found


def _only_fit(read: Mapping[DateFormat, Sequence[tuple[Place, date | None]]], chosen: DateFormat) -> Place | None:
    """A text that only the chosen format reads as a day of its file's month, where another reads it or most others."""
    rivals = [kind for kind, found in read.items() if kind is not chosen and any(day for _, day in found)]
    for number, (place, _) in enumerate(read[chosen]):
        if rivals and not any((day := read[kind][number][1]) and place.file.lies_in_month(day) for kind in rivals):
            return place
    return None


def day_in(text: str, kind: DateFormat) -> date | None:
    """The day that a field is, None where it is none."""
    plain = _MIDNIGHT.sub("", text)
    if kind in _PER_SECOND:
        digits = len(str(_PER_SECOND[kind])) - 1
        # From 1973 to 2286; with fewer digits or more it is something else.
        if not re.fullmatch(rf"\d{{{9 + digits},{10 + digits}}}", plain):
            return None
        return (_EPOCH + timedelta(seconds=int(plain) / _PER_SECOND[kind])).date()
    try:
        found = datetime.strptime(plain, _STRPTIME[kind])  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return None
    return found.date() if found.strftime(_STRPTIME[kind]) == plain else None
