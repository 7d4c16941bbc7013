"""The corpus of polluted files: one month of one family, spoiled in every way that exports are.

Each `Pollution` states the bytes and the one right outcome: what lands, row by row, and what is quarantined,
with line, fault and raw text; or that the file is refused, and what the refusal must mention. The outcomes
are written down from what was planted here, never taken from the reader.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from refinery_assets.contract.families import Family, Fault
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.rows.clean import OddHosts, clean_rows, no_odd_hosts
from refinery_assets.rows.read import read_columns

FAMILY = FAMILIES[0]
MONTH = Month(2024, 5)
HEADER = "date,host_id,cpu_p95,max_cores"
HOSTS = ("db-1", "db-2", "web-1", "web-2", "web-3", "\u00fcber-\u4e3b\u673a")

Reading = tuple[str, str, float, float | None]
Quarantined = tuple[int, str, str]


@dataclass(frozen=True)
class Row:
    """A sound row: what it says, and the text it is written as."""

    day: str
    host: str
    value: str
    capacity: str

    @property
    def text(self) -> str:
        return f"{self.day},{self.host},{self.value},{self.capacity}"

    @property
    def reading(self) -> Reading:
        return (self.day, self.host, float(self.value), float(self.capacity) if self.capacity else None)


def _sound_rows() -> list[Row]:
    days = [(date(2024, 5, 1) + timedelta(days=offset)).isoformat() for offset in range(31)]
    return [
        Row(day, host, f"{(7 * number + 3 * place) % 1000 / 10}", "" if place == 1 else str(4 * (place + 1)))
        for number, day in enumerate(days)
        for place, host in enumerate(HOSTS)
    ]


ROWS = _sound_rows()
LINES = [row.text for row in ROWS]
# The line that single pollutions replace: in the middle of the month, its number counted from the header.
VICTIM = 39
VICTIM_LINE = VICTIM + 2


@dataclass(frozen=True)
class Pollution:
    """One polluted file and its right outcome.

    Attributes:
        name: What is wrong with it.
        data: Its bytes.
        landed: Every reading that must be clean, in any order.
        quarantined: Every row that must be faulty: line, fault, raw text.
        refused: What the refusal must mention; None where the file is taken.
    """

    name: str
    data: bytes
    landed: Sequence[Reading] = ()
    quarantined: Sequence[Quarantined] = ()
    refused: str | None = None


def read_clean(data: bytes, family: Family, month: Month, odd_hosts: OddHosts = no_odd_hosts) -> pl.DataFrame | None:
    """The fast reader, both halves of it."""
    columns = read_columns(data, family)
    return None if columns is None else clean_rows(columns, family, month, odd_hosts)


def as_text(lines: Sequence[str], header: str = HEADER, end: str = "\n") -> str:
    return "".join(f"{line}{end}" for line in (header, *lines))


SOUND = as_text(LINES).encode()
READINGS = [row.reading for row in ROWS]


def pollutions() -> Iterator[Pollution]:
    """The whole corpus."""
    yield from _read_without_doubt()
    yield from _single_rows()
    yield from _whole_columns()
    yield from _repeats()
    yield from _refused()


def _read_without_doubt() -> Iterator[Pollution]:
    def lands(name: str, data: str | bytes) -> Pollution:
        return Pollution(name, data.encode() if isinstance(data, str) else data, landed=READINGS)

    columns = [row.text.split(",") for row in ROWS]
    yield lands("sound", SOUND)
    yield lands("byte order mark", b"\xef\xbb\xbf" + SOUND)
    yield lands("CRLF", as_text(LINES, end="\r\n"))
    yield lands("CRLF and byte order mark", b"\xef\xbb\xbf" + as_text(LINES, end="\r\n").encode())
    yield lands("line ends mixed", SOUND.replace(b"\n2024-05-07", b"\r\n2024-05-07"))
    yield lands("every field quoted", as_text([",".join(f'"{field}"' for field in row) for row in columns]))
    yield lands("header quoted", as_text(LINES, header='"date","host_id","cpu_p95","max_cores"'))
    yield lands("header in upper case", as_text(LINES, header=HEADER.upper()))
    yield lands("header padded", as_text(LINES, header=" date , host_id ,cpu_p95\t, max_cores "))
    yield lands(
        "columns in another order",
        as_text([",".join(row[::-1]) for row in columns], header=",".join(HEADER.split(",")[::-1])),
    )
    yield lands("a column extra", as_text([f"rack 7,{line}" for line in LINES], header=f"rack,{HEADER}"))
    yield lands(
        "an extra column with commas in quotes",
        as_text([f'{line},"a, b"' for line in LINES], header=f'{HEADER},"note, if any"'),
    )
    yield lands("a separator behind every line", as_text([f"{line}," for line in LINES], header=f"{HEADER},"))
    yield lands("blank lines in the middle", SOUND.replace(b"\n2024-05-07", b"\n\n \t\n2024-05-07"))
    yield lands("blank lines at the end", SOUND + b"\n\n \n")
    yield lands("every field padded", as_text([", ".join(f" {field}\t" for field in row) for row in columns]))
    yield lands("midnight behind every date", as_text([line.replace(",", " 00:00:00,", 1) for line in LINES]))
    yield lands("sorted by host", as_text(sorted(LINES, key=lambda line: line.split(",")[1])))
    yield lands("sorted backwards", as_text(LINES[::-1]))


ROW_FAULTS: dict[str, tuple[str, Fault]] = {
    "a field missing": ("2024-05-07,web-2,41.5", Fault.MALFORMED_ROW),
    "a field too many": ("2024-05-07,web-2,41.5,16,9", Fault.MALFORMED_ROW),
    "a separator behind one line": ("2024-05-07,web-2,41.5,16,", Fault.MALFORMED_ROW),
    "a decimal comma": ("2024-05-07,web-2,41,5,16", Fault.MALFORMED_ROW),
    "a thousands separator": ("2024-05-07,web-2,1,041.5,16", Fault.MALFORMED_ROW),
    "a quote never closed": ('2024-05-07,"web-2,41.5,16', Fault.MALFORMED_ROW),
    "a quote inside a field": ('2024-05-07,we"b-2,41.5,16', Fault.MALFORMED_ROW),
    "text behind a closing quote": ('2024-05-07,"web-2"x,41.5,16', Fault.MALFORMED_ROW),
    "a NUL byte": ("2024-05-07,web\x00-2,41.5,16", Fault.MALFORMED_ROW),
    "a unit separator": ("2024-05-07,web\x1f-2,41.5,16", Fault.MALFORMED_ROW),
    "a vertical tab": ("2024-05-07,web-2,41.5\x0b,16", Fault.MALFORMED_ROW),
    "a next-line of C1": ("2024-05-07,web\x85-2,41.5,16", Fault.MALFORMED_ROW),
    "a carriage return inside": ("2024-05-07,web\r-2,41.5,16", Fault.MALFORMED_ROW),
    "a comment": ("# exported by the legacy system", Fault.MALFORMED_ROW),
    "a total": ("TOTAL,186 rows", Fault.MALFORMED_ROW),
    "semicolons on one line": ("2024-05-07;web-2;41.5;16", Fault.MALFORMED_ROW),
    "the header again": (HEADER, Fault.BAD_TIMESTAMP),
    "day, month, year": ("07/05/2024,web-2,41.5,16", Fault.BAD_TIMESTAMP),
    "month, day, year": ("05/07/2024,web-2,41.5,16", Fault.BAD_TIMESTAMP),
    "a year of two digits": ("24-05-07,web-2,41.5,16", Fault.BAD_TIMESTAMP),
    "a day of one digit": ("2024-05-7,web-2,41.5,16", Fault.BAD_TIMESTAMP),
    "seconds since 1970": ("1715040000,web-2,41.5,16", Fault.BAD_TIMESTAMP),
    "noon": ("2024-05-07 12:00:00,web-2,41.5,16", Fault.BAD_TIMESTAMP),
    "midnight in some zone": ("2024-05-07T00:00:00+02:00,web-2,41.5,16", Fault.BAD_TIMESTAMP),
    "an impossible date": ("2024-02-30,web-2,41.5,16", Fault.BAD_TIMESTAMP),
    "full-width digits in the date": ("\uff12\uff10\uff12\uff14-05-07,web-2,41.5,16", Fault.BAD_TIMESTAMP),
    "an empty date": (",web-2,41.5,16", Fault.BAD_TIMESTAMP),
    "nothing but separators": (",,,", Fault.BAD_TIMESTAMP),
    "the month before": ("2024-04-30,web-2,41.5,16", Fault.OUTSIDE_MONTH),
    "the month after": ("2024-06-01,web-2,41.5,16", Fault.OUTSIDE_MONTH),
    "the same day of another year": ("2023-05-07,web-2,41.5,16", Fault.OUTSIDE_MONTH),
    "an empty host": ("2024-05-07,,41.5,16", Fault.MISSING_HOST),
    "a blank host": ("2024-05-07, \t ,41.5,16", Fault.MISSING_HOST),
    "an empty value": ("2024-05-07,web-2,,16", Fault.MISSING_VALUE),
    "null": ("2024-05-07,web-2,NULL,16", Fault.MISSING_VALUE),
    "N/A": ("2024-05-07,web-2,N/A,16", Fault.MISSING_VALUE),
    "a dash": ("2024-05-07,web-2,-,16", Fault.MISSING_VALUE),
    "NaN": ("2024-05-07,web-2,NaN,16", Fault.NOT_A_NUMBER),
    "infinity": ("2024-05-07,web-2,Infinity,16", Fault.NOT_A_NUMBER),
    "a percent sign": ("2024-05-07,web-2,41.5%,16", Fault.NOT_A_NUMBER),
    "a decimal comma in quotes": ('2024-05-07,web-2,"41,5",16', Fault.NOT_A_NUMBER),
    "thousands in quotes": ('2024-05-07,web-2,"1,041.5",16', Fault.NOT_A_NUMBER),
    "full-width digits": ("2024-05-07,web-2,\uff14\uff11,16", Fault.NOT_A_NUMBER),
    "a blank inside a number": ("2024-05-07,web-2,41 5,16", Fault.NOT_A_NUMBER),
    "hexadecimal": ("2024-05-07,web-2,0x29,16", Fault.NOT_A_NUMBER),
    "underscores": ("2024-05-07,web-2,4_1,16", Fault.NOT_A_NUMBER),
    "a capacity in words": ("2024-05-07,web-2,41.5,sixteen", Fault.NOT_A_NUMBER),
    "negative": ("2024-05-07,web-2,-0.5,16", Fault.OUT_OF_RANGE),
    "above a hundred": ("2024-05-07,web-2,100.5,16", Fault.OUT_OF_RANGE),
    "beyond every double": ("2024-05-07,web-2,1e400,16", Fault.OUT_OF_RANGE),
    "a negative capacity": ("2024-05-07,web-2,41.5,-16", Fault.OUT_OF_RANGE),
}

LONG_NAME = "\u4e3b" * 1000
ROW_READINGS: dict[str, tuple[str, str, float, float | None]] = {
    "scientific notation": ("2024-05-07,web-2,4.15E1,16", "web-2", 41.5, 16.0),
    "a plus sign": ("2024-05-07,web-2,+41.5,16", "web-2", 41.5, 16.0),
    "many digits": ("2024-05-07,web-2,41.500000000000007105427357,16", "web-2", 41.50000000000001, 16.0),
    "no capacity": ("2024-05-07,web-2,41.5,", "web-2", 41.5, None),
    "quotes doubled": ('2024-05-07,"web ""2""",41.5,16', 'web "2"', 41.5, 16.0),
    "a comma in a quoted host": ('2024-05-07,"web,2",41.5,16', "web,2", 41.5, 16.0),
    "SQL for a host": ("2024-05-07,'; DROP TABLE hosts; --,41.5,16", "'; DROP TABLE hosts; --", 41.5, 16.0),
    "a path for a host": ("2024-05-07,../../etc/passwd,41.5,16", "../../etc/passwd", 41.5, 16.0),
    "a formula for a host": ("2024-05-07,=1+1|cmd,41.5,16", "=1+1|cmd", 41.5, 16.0),
    "HTML for a host": ("2024-05-07,<img src=x>,41.5,16", "<img src=x>", 41.5, 16.0),
    "a host in another case": ("2024-05-07,WEB-2,41.5,16", "WEB-2", 41.5, 16.0),
    "a host of a thousand letters": (f"2024-05-07,{LONG_NAME},41.5,16", LONG_NAME, 41.5, 16.0),
    "a line separator of Unicode": ("2024-05-07,web\u20282,41.5,16", "web\u20282", 41.5, 16.0),
}


def _single_rows() -> Iterator[Pollution]:
    others = READINGS[:VICTIM] + READINGS[VICTIM + 1 :]

    def with_line(text: str | bytes) -> bytes:
        line = text if isinstance(text, bytes) else text.encode()
        before, after = as_text(LINES[:VICTIM]), "".join(f"{each}\n" for each in LINES[VICTIM + 1 :])
        return before.encode() + line + b"\n" + after.encode()

    for name, (text, fault) in ROW_FAULTS.items():
        yield Pollution(name, with_line(text), others, [(VICTIM_LINE, fault, text)])
    for name, (text, host, value, capacity) in ROW_READINGS.items():
        yield Pollution(name, with_line(text), [*others, ("2024-05-07", host, value, capacity)])
    yield Pollution(
        "UTF-8 broken inside a line",
        with_line(b"2024-05-07,web\xc3-2,41.5,16"),
        others,
        [(VICTIM_LINE, Fault.MALFORMED_ROW, "2024-05-07,web\\xc3-2,41.5,16")],
    )
    yield Pollution(
        "latin-1 for a host",
        with_line("2024-05-07,caf\u00e9,41.5,16".encode("latin-1")),
        others,
        [(VICTIM_LINE, Fault.MALFORMED_ROW, "2024-05-07,caf\\xe9,41.5,16")],
    )
    yield Pollution(
        "a line end inside quotes",
        with_line('2024-05-07,"web\n2",41.5,16'),
        others,
        [
            (VICTIM_LINE, Fault.MALFORMED_ROW, '2024-05-07,"web'),
            (VICTIM_LINE + 1, Fault.MALFORMED_ROW, '2",41.5,16'),
        ],
    )
    # Longer than the blocks in which a file is taken apart.
    long_line = "x" * 20_000_000
    yield Pollution("a line of 20 MB", with_line(long_line), others, [(VICTIM_LINE, Fault.MALFORMED_ROW, long_line)])


def _whole_columns() -> Iterator[Pollution]:
    def all_faulty(name: str, lines: Sequence[str], fault: Fault) -> Pollution:
        told = [(number + 2, fault, line) for number, line in enumerate(lines)]
        return Pollution(name, as_text(lines).encode(), quarantined=told)

    yield all_faulty("decimal commas", [line.replace(".", ",") for line in LINES], Fault.MALFORMED_ROW)
    yield all_faulty("a separator behind every row", [f"{line}," for line in LINES], Fault.MALFORMED_ROW)
    yield all_faulty("every date with slashes", [line.replace("-", "/", 2) for line in LINES], Fault.BAD_TIMESTAMP)
    yield all_faulty(
        "another month's content", [line.replace("2024-05", "2024-07") for line in LINES], Fault.OUTSIDE_MONTH
    )


def _repeats() -> Iterator[Pollution]:
    row = ROWS[VICTIM]
    again = f"{row.day},{row.host},{float(row.value):.3f},{row.capacity}"
    other = f"{row.day},{row.host.upper()},99,{row.capacity}"
    end = len(LINES) + 2
    yield Pollution(
        "identical again",
        as_text([*LINES, row.text, again]).encode(),
        READINGS,
        [(end, Fault.DUPLICATE, row.text), (end + 1, Fault.DUPLICATE, again)],
    )
    yield Pollution(
        "another value later",
        as_text([*LINES, other]).encode(),
        [*READINGS[:VICTIM], *READINGS[VICTIM + 1 :], (row.day, row.host.upper(), 99.0, READINGS[VICTIM][3])],
        [(VICTIM_LINE, Fault.SUPERSEDED, row.text)],
    )


def _refused() -> Iterator[Pollution]:
    text = SOUND.decode()

    def refused(name: str, data: str | bytes, cause: str) -> Pollution:
        return Pollution(name, data.encode() if isinstance(data, str) else data, refused=cause)

    yield refused("UTF-16", text.encode("utf-16"), "UTF-16")
    yield refused("UTF-16 without a mark", text.encode("utf-16-le"), "UTF-16")
    yield refused("semicolons", text.replace(",", ";"), "semicolons")
    yield refused("tabs", text.replace(",", "\t"), "tabs")
    yield refused("pipes", text.replace(",", "|"), "pipes")
    yield refused("carriage returns alone", text.replace("\n", "\r"), "carriage return")
    yield refused("gzip", gzip.compress(SOUND, mtime=0), "gzip")
    yield refused("JSON", json.dumps([{"date": "2024-05-01"}]), "lacks date, host_id")
    yield refused("HTML", "<html>\n<body>503 Service Unavailable</body>\n</html>\n", "lacks date, host_id")
    yield refused("blank lines before the header", f"\n\n{text}", "blank line 1")
    yield refused("a title before the header", f"CPU report, May 2024\n{text}", "lacks date, host_id")
    yield refused("no header", text.removeprefix(f"{HEADER}\n"), "lacks date, host_id")
    yield refused("a column renamed", text.replace("cpu_p95", "cpu_95"), "lacks cpu_p95")
    short = [line.rsplit(",", 1)[0] for line in LINES]
    yield refused("a column missing", as_text(short, "date,host_id,cpu_p95"), "lacks max_cores")
    yield refused("a column twice", as_text([f"{line},1" for line in LINES], f"{HEADER},CPU_P95"), "more than once")
    yield refused("another family's file", text.replace("cpu_p95,max_cores", "memory_p95,memory_gb"), "lacks cpu_p95")
    yield refused("empty", b"", "is empty")
    yield refused("nothing but a mark", b"\xef\xbb\xbf", "is empty")
    yield refused("header only", f"{HEADER}\n", "only its header")
    yield refused("header only, CRLF", f"{HEADER}\r\n\r\n", "only its header")
    yield refused("no final newline", SOUND[:-1], f"middle of line {len(LINES) + 1}")
    yield refused("cut in the middle of a line", SOUND[:-12], f"middle of line {len(LINES) + 1}")
    yield refused("cut inside a character", SOUND[: SOUND.rindex("\u4e3b".encode()) + 1], "middle of line")
    yield refused("cut at 90 percent, at a line's end", as_text(LINES[: int(len(LINES) * 0.9)]), "ends on 2024-05-28")
