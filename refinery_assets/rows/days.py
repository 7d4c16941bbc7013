"""How files write days: the declared formats, read exactly.

Here: a day as text, and text as a day. A format is declared and never guessed; a time part of midnight is accepted, any
other is not a day. Not here: whether the day is in its month (`scrub.py`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import polars as pl

from refinery_assets.contract.families import DateFormat

_CODES = {
    DateFormat.ISO: "%Y-%m-%d",
    DateFormat.ISO_SLASH: "%Y/%m/%d",
    DateFormat.COMPACT: "%Y%m%d",
    DateFormat.GERMAN: "%d.%m.%Y",
    DateFormat.BRITISH: "%d/%m/%Y",
    DateFormat.DASHED: "%d-%m-%Y",
    DateFormat.AMERICAN: "%m/%d/%Y",
}
_DIGITS = {"%Y": "[0-9]{4}", "%m": "[0-9]{2}", "%d": "[0-9]{2}", ".": r"\."}
_MIDNIGHT = r"(?:[ T]00:00(?::00(?:\.0+)?)?)?"

_PER_SECOND = {DateFormat.EPOCH_SECONDS: 1, DateFormat.EPOCH_MILLISECONDS: 1000}
# So many digits that a 64-bit number of microseconds holds them, and far more than any feed needs.
_EPOCH = r"^[0-9]{1,14}(?:\.0+)?$"
_SECONDS_PER_DAY = 24 * 60 * 60
_EPOCH_DAY = date(1970, 1, 1)
_PER_DAY = {"d": 1} | {unit: _SECONDS_PER_DAY * parts for unit, parts in (("ms", 10**3), ("us", 10**6), ("ns", 10**9))}

# A moment without a zone is taken as one of these.
_UTC_NAMES = {None, "UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu"}


def day_text(day: date, date_format: DateFormat) -> str:
    """A day as the format has it."""
    if date_format in _PER_SECOND:
        return str(int(datetime.combine(day, time(), UTC).timestamp()) * _PER_SECOND[date_format])
    return day.strftime(_CODES[date_format])


def as_text(days: pl.Series, date_format: DateFormat) -> pl.Series:
    """Days of any type as text: dates and midnights as the format has them, numbers and text as they stand.

    A moment that is no midnight, or lies in a time zone other than UTC, is written so that it is no day in any format.
    """
    if days.dtype == pl.String:
        return days
    if not isinstance(days.dtype, pl.Date | pl.Datetime):
        return days.cast(pl.String)
    unit = days.dtype.time_unit if isinstance(days.dtype, pl.Datetime) else "d"
    zone = days.dtype.time_zone if isinstance(days.dtype, pl.Datetime) else None
    number, per_day = days.to_physical().cast(pl.Int64), _PER_DAY[unit]
    # A damaged file may hold years that no calendar has, and Polars panics over them.
    is_in_calendar = (number // per_day).is_between((date.min - _EPOCH_DAY).days, (date.max - _EPOCH_DAY).days)
    moments = days.to_frame().select(pl.when(is_in_calendar).then(days.name)).to_series()
    if unit == "d":
        return _midnights(moments, date_format).fill_null(number.cast(pl.String) + " days from 1970")
    other = moments.dt.to_string("%Y-%m-%d %H:%M:%S%.f" + "%z" * (zone is not None)).fill_null(
        number.cast(pl.String) + f" {unit} from 1970"
    )
    is_midnight = (number % per_day == 0) & (zone in _UTC_NAMES)
    return _midnights(moments.cast(pl.Date), date_format).zip_with(is_in_calendar & is_midnight, other)


def _midnights(days: pl.Series, date_format: DateFormat) -> pl.Series:
    if date_format not in _PER_SECOND:
        return days.dt.to_string(_CODES[date_format])
    return (days.to_physical().cast(pl.Int64) * _SECONDS_PER_DAY * _PER_SECOND[date_format]).cast(pl.String)


def day_of(name: str, date_format: DateFormat) -> pl.Expr:
    """The column's text as midnight of a day (a Datetime in microseconds); null where it is none in that format.

    Seconds and milliseconds are counted from 1970 in UTC, and must fall on a midnight there.
    """
    text = pl.col(name).str.strip_chars()
    if date_format in _PER_SECOND:
        per_day = _SECONDS_PER_DAY * _PER_SECOND[date_format]
        number = pl.when(text.str.contains(_EPOCH)).then(text.str.replace(r"\..*", "").cast(pl.Int64, strict=False))
        days = pl.when(number % per_day == 0).then(number // per_day)
        # A day past the year 9999 is none.
        return (
            pl.when(days <= (date.max - _EPOCH_DAY).days)
            .then(days.cast(pl.Int32).cast(pl.Date))
            .cast(pl.Datetime("us"))
        )
    code = _CODES[date_format]
    pattern = code
    for letters, digits in _DIGITS.items():
        pattern = pattern.replace(letters, digits)
    return pl.when(text.str.contains(f"^{pattern}{_MIDNIGHT}$")).then(
        text.str.slice(0, len(date_format)).str.to_date(code, strict=False).cast(pl.Datetime("us"))
    )
