"""Makes the feeds in examples/ anew: `python -m refinery_assets_tests.examples`.

Here: the files, small and the same every time. Not here: the contracts beside them, which are written by hand, and what
is expected of them (`test_examples.py`).
"""

from __future__ import annotations

import gzip
import math
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import PROJECT_ROOT

EXAMPLES = PROJECT_ROOT / "examples"
FIRST, SECOND = Month(2024, 2), Month(2024, 3)
HOSTS = tuple(f"srv-{number:02d}" for number in range(1, 9))


def percent(day: date, host: int, resource: int) -> float:
    """A figure with a level of its own for each host and resource, a week's rhythm and some noise."""
    level = 12 + 61 * ((host * 5 + resource * 3) % 8) / 8
    week = 6 * math.sin(2 * math.pi * (day.weekday() + resource) / 7)
    # The same in every process, and no day like another.
    noise = random.Random(f"{day} {host} {resource}").uniform(0, 8)  # noqa: S311 - no secret
    return round(level + week + noise, 2)


def days_until(last: date) -> Iterator[date]:
    """The days from the first month's first on."""
    for number in range((last - FIRST.first_day).days + 1):
        yield FIRST.first_day + timedelta(days=number)


def write(file: Path, content: bytes) -> None:
    """Write a file, its folder included."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def semicolons_with_gpu() -> None:
    """A German export, a packed file a day, five resources side by side.

    February, and the first five days of March. The last host goes out of service on 20 February, the one before it
    into service on 15 February; one reading is missing and written `k.A.`.
    """
    header = "Datum;Rechner;CPU %;Kerne;RAM %;RAM GB;Platte %;Platte GB;Netz %;Netz Mbps;GPU %;GPU GB"
    capacities = ("16", "64", "500", "1000", "24")
    for day in days_until(date(2024, 3, 5)):
        lines = [header]
        for number, host in enumerate(HOSTS):
            if (number == 7 and day >= date(2024, 2, 20)) or (number == 6 and day < date(2024, 2, 15)):
                continue
            cells = [f"{percent(day, number, resource):.1f}".replace(".", ",") for resource in range(5)]
            if (day, number) == (date(2024, 2, 9), 3):
                cells[4] = "k.A."
            pairs = ";".join(f"{cell};{capacity}" for cell, capacity in zip(cells, capacities, strict=True))
            lines.append(f"{day:%d.%m.%Y};Büro-{host};{pairs}")
        data = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
        name = f"{day:%Y/%m}/auslastung_{day:%Y%m%d}.csv.gz"
        write(EXAMPLES / "semicolons-with-gpu" / "feed" / name, gzip.compress(data, mtime=0))


def cpu_only() -> None:
    """One resource, and one file a month."""
    for month in (FIRST, SECOND):
        rows = [
            f"{day},{host},{percent(day, n, 0)},{8 + 8 * (n % 2)}" for day in month.days for n, host in enumerate(HOSTS)
        ]
        text = "".join(f"{line}\n" for line in ["day,server,cpu_p95,cores", *rows])
        write(EXAMPLES / "cpu-only" / "feed" / f"cpu-{month}.csv", text.encode())


def wide_parquet() -> None:
    """One Parquet file a month with three resources, days as dates and numbers as numbers."""
    folder = EXAMPLES / "wide-parquet" / "feed"
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        for month in (FIRST, SECOND):
            connection.execute(
                "CREATE OR REPLACE TABLE wide (day DATE, node VARCHAR, cpu_pct DOUBLE, cpu_cores INTEGER, "
                "mem_pct DOUBLE, mem_gb INTEGER, disk_pct DOUBLE, disk_gb INTEGER)"
            )
            connection.executemany(
                "INSERT INTO wide VALUES (?, ?, ?, 16, ?, 128, ?, 2000)",
                [
                    (day, host, *(percent(day, number, resource) for resource in range(3)))
                    for day in month.days
                    for number, host in enumerate(HOSTS)
                ],
            )
            connection.execute("COPY wide TO $file (FORMAT parquet)", {"file": str(folder / f"fleet_{month}.parquet")})


def fractions_by_epoch() -> None:
    """Fractions, days as milliseconds since 1970, a packed file for each metric and month."""
    folder = EXAMPLES / "fractions-by-epoch" / "feed"
    with duckdb.connect() as connection:
        for resource, metric in enumerate(("cpu", "mem")):
            for month in (FIRST, SECOND):
                connection.execute("CREATE OR REPLACE TABLE metric (ts BIGINT, instance VARCHAR, ratio VARCHAR)")
                connection.executemany(
                    "INSERT INTO metric VALUES (?, ?, ?)",
                    [
                        (_milliseconds(day), host, f"{percent(day, number, resource) / 100:.4f}")
                        for day in month.days
                        for number, host in enumerate(HOSTS)
                    ],
                )
                file = folder / metric / f"{month}.csv.zst"
                file.parent.mkdir(parents=True, exist_ok=True)
                connection.execute("COPY metric TO $file (FORMAT csv, HEADER, COMPRESSION zstd)", {"file": str(file)})


def _milliseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


def make_all() -> None:
    """Write every feed."""
    for make in (semicolons_with_gpu, cpu_only, wide_parquet, fractions_by_epoch):
        make()


if __name__ == "__main__":
    make_all()
