"""What is found in somebody's files: the families they may be, and the inventory.

Here: which files are looked into, and what they are put together to. Not here: what is seen in one file (the modules
beside this one), and the words (`proposal.py`).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb
from pydantic import TypeAdapter, ValidationError

from refinery_assets.contract.families import Identifier
from refinery_assets.feed.infer.columns import Column, Series, Table, inspect, resource_in
from refinery_assets.feed.infer.days import Place, days_of
from refinery_assets.feed.infer.paths import Dated, Kind, find_kinds
from refinery_assets.feed.infer.sample import Sample, UnreadableSampleError, read_sample

_MOST_KINDS = 24
# Files of a kind that are looked into, the first and the last among them.
_MOST_MONTHS, _MOST_DAYS = 3, 31
_DIGITS = re.compile(r"\d{4}|\d{2}|(year|month|day)=\d+")


class NothingToInferError(ValueError):
    """The files say nothing of a contract; the message is a sentence."""


@dataclass(frozen=True)
class Family:
    """One family to be: a column of utilization in a kind of files."""

    kind: Kind
    table: Table
    series: Series | None
    name: str
    resource: str


@dataclass(frozen=True)
class InventoryFile:
    """A file that lists the hosts of the feed."""

    path: Path
    sample: Sample
    host: Column
    others: Sequence[Column]
    known: int
    hosts: int


@dataclass
class Findings:
    """What was found in all files."""

    root: Path
    families: list[Family] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    undated: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    inventory: InventoryFile | None = None

    def name(self, path: Path) -> str:
        """The file as the feed names it."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def at(self, place: Place) -> str:
        """A text with the file and line where it stands."""
        return f"{place.text!r} ({self.name(place.file.path)}, line {place.line})"


def look_into(paths: Sequence[Path]) -> Findings:
    """Look into the files of a feed.

    Args:
        paths: Folders, which are searched through, and files.

    Raises:
        NothingToInferError: There are no files, or none can be read.
    """
    files = sorted(_files(paths))
    if not files:
        raise NothingToInferError(f"There is no file in {', '.join(map(str, paths))}; name the feed's folder or files.")
    found = Findings(_root(paths, files))
    with duckdb.connect() as connection:
        kinds, found.undated = find_kinds(found.root, files, lambda file: _days_in(connection, file))
        _look_into_kinds(connection, kinds, found)
    if not found.families:
        raise NothingToInferError(_why_nothing(found))
    if found.inventory is not None:
        found.undated.remove(found.inventory.path)
    return found


def _look_into_kinds(connection: duckdb.DuckDBPyConnection, kinds: list[Kind], found: Findings) -> None:
    if len(kinds) > _MOST_KINDS:
        found.notes.append(
            f"The paths have {len(kinds)} patterns, such as {kinds[0].path} and {kinds[1].path}: if a host or a time "
            "of day tells them apart, no contract can declare that; put the hosts of a month, or a day, into one file."
        )
        del kinds[_MOST_KINDS:]
    tables = [(kind, table) for kind in kinds if (table := _table(connection, kind, found)) is not None]
    found.families = _families(tables)
    found.inventory = _find_inventory(connection, found)


def _days_in(connection: duckdb.DuckDBPyConnection, path: Path) -> list[set[date]]:
    """The days that a file's rows are dated, once for each column and format that they may stand in."""
    try:
        rows = read_sample(connection, Dated(path, 0, 0)).rows
    except UnreadableSampleError:
        return []
    columns = zip(*(fields for _, fields in rows), strict=True)
    return [days for column in columns for days in days_of(dict.fromkeys(text for text in column if text))]


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            for file in path.absolute().rglob("*"):
                hidden = any(part.startswith(".") for part in file.relative_to(path.absolute()).parts)
                # A contract may lie with the files that it is of.
                if file.is_file() and not hidden and file.suffix != ".toml":
                    yield file
        elif path.is_file():
            yield path.absolute()
        else:
            raise NothingToInferError(f"{path} is not there; name the feed's folder or files.")


def _root(paths: Sequence[Path], files: Sequence[Path]) -> Path:
    """The feed's root: the one folder given, or the nearest above all files that is not named after a date."""
    folders = [path.absolute() for path in paths if path.is_dir()]
    if len(folders) == 1:
        return folders[0]
    root = Path(os.path.commonpath([file.parent for file in files]))
    while _DIGITS.fullmatch(root.name):
        root = root.parent
    return root


def _table(connection: duckdb.DuckDBPyConnection, kind: Kind, found: Findings) -> Table | None:
    most = _MOST_DAYS if kind.files[0].day else _MOST_MONTHS
    last = len(kind.files) - 1
    chosen = dict.fromkeys(kind.files[last * step // (most - 1)] for step in range(most))
    samples: list[Sample] = []
    for file in chosen:
        try:
            samples.append(read_sample(connection, file))
        except UnreadableSampleError as error:
            found.unreadable[file.path] = str(error)
    if not samples:
        return None
    alike = [sample for sample in samples if sample.header == samples[-1].header]
    if len(alike) < len(samples):
        other = next(sample for sample in samples if sample not in alike)
        found.notes.append(
            f"{found.name(other.file.path)} has other columns than {found.name(alike[-1].file.path)}: "
            f"{', '.join(other.header)}. A family's files have to have the same columns."
        )
    return inspect(alike)


def _families(tables: Sequence[tuple[Kind, Table]]) -> list[Family]:
    """A family for each column of utilization; where a kind has none, one with what is to be chosen."""
    raw: list[tuple[Kind, Table, Series | None, str, str]] = []
    for kind, table in tables:
        several = len(table.series) > 1
        for series in table.series or (None,):
            named = series.resource if series else None
            # What the file is called tells the resource where the column does not.
            resource = named or resource_in(kind.path) or _identifier(series.value.name if series else kind.fragment)
            name = kind.fragment if kind.fragment and not several else f"{resource}_utilization"
            raw.append((kind, table, series, name, resource))
    resources, names = _unlike([each[4] for each in raw]), _unlike([each[3] for each in raw])
    return [
        Family(kind, table, series, name, resource)
        for (kind, table, series, _, _), name, resource in zip(raw, names, resources, strict=True)
    ]


def _identifier(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40]
    try:
        return TypeAdapter(Identifier).validate_python(name)
    except ValidationError:
        return f"series_{name}".strip("_")


def _unlike(names: Sequence[str]) -> list[str]:
    """The names, a number behind those that stand there already."""
    taken: Counter[str] = Counter()
    found = []
    for name in map(_identifier, names):
        taken[name] += 1
        found.append(name if taken[name] == 1 else f"{name}_{taken[name]}")
    return found


def _why_nothing(found: Findings) -> str:
    if found.unreadable:
        path, why = next(iter(found.unreadable.items()))
        return f"No file can be read as a table; of {path}, for one, {why}."
    path = found.undated[0]
    if _DIGITS.fullmatch(found.root.name):
        return (
            f"No file's path below {found.root} names a year and a month, by which the refinery finds the files of a "
            "month. Where the folders above do, name the one that all of them lie in, and try again."
        )
    return (
        f"No file's path names a year and a month, by which the refinery finds the files of a month; {path} does not, "
        "for one. Give the files such names, the year in four digits and the month in two, as in "
        "2024/05/cpu_202405.csv or 2024/05/cpu_31.csv, and try again."
    )


def _find_inventory(connection: duckdb.DuckDBPyConnection, found: Findings) -> InventoryFile | None:
    """The file without a date in its path that has most of the feed's hosts in one column, each once."""
    hosts = {place.text.lower() for family in found.families if family.table.host for place in family.table.host.places}
    for path in found.undated:
        try:
            sample = read_sample(connection, Dated(path, 0, 0), least_columns=1)
        except UnreadableSampleError:
            continue
        table = inspect([sample])
        columns = [
            column
            for column in (table.host, table.date, *table.unused)
            if column and len({place.text for place in column.places}) == len(column.places)
        ]
        listed = {column.name: len(hosts & {place.text.lower() for place in column.places}) for column in columns}
        best = max(columns, key=lambda column: listed[column.name], default=None)
        if best is not None and 2 * listed[best.name] >= len(hosts) > 0:
            others = [column for column in table.columns if column.name != best.name]
            return InventoryFile(path, sample, best, others, listed[best.name], len(hosts))
    return None
