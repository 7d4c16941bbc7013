"""What the columns of sampled files are: date, host, utilization, capacity; and how days and numbers are written.

Here: guesses from names and values, each with the lines that it rests on. Not here: how days are written
(`days.py`), reading a sample (`sample.py`), and the words of a proposal (`proposal.py`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from refinery_assets.feed.infer.days import MOST, ODD_ABSENT, Days, Place, read_days
from refinery_assets.feed.infer.paths import Dated
from refinery_assets.feed.infer.sample import Sample

_DATE_WORDS = {"date", "day", "ds", "time", "timestamp", "datum", "tag", "ts", "epoch", "fecha", "jour"}
_HOST_WORDS = {"host", "hostname", "server", "node", "machine", "vm", "instance", "rechner", "device", "system", "name"}
_VALUE_WORDS = {
    "p95", "util", "utilization", "utilisation", "usage", "used", "pct", "percent", "load", "auslastung", "busy",
    "value", "y", "fraction", "ratio", "share",
}  # fmt: skip
_BEST_WORDS = {"p95", "95", "q95", "95th"}
_CAPACITY_WORDS = {
    "cap", "capacity", "cores", "vcpu", "vcpus", "cpus", "gb", "mb", "tb", "gib", "mib", "tib", "kb", "mbps", "gbps",
    "kbps", "provisioned", "installed", "kerne",
}  # fmt: skip
# Of a utilization as well, as in cpu_max.
_PERHAPS_CAPACITY_WORDS = {"max", "total", "size", "limit", "count", "speed"}
_UNITS = {
    "cores": "cores", "kerne": "cores", "vcpu": "cores", "vcpus": "cores", "cpus": "cores", "gb": "GB", "mb": "MB",
    "tb": "TB", "kb": "KB", "gib": "GiB", "mib": "MiB", "tib": "TiB", "mbps": "Mbps", "gbps": "Gbps", "kbps": "Kbps",
}  # fmt: skip
_RESOURCES = {
    "gpu": "gpu", "vram": "gpu", "cpu": "cpu", "cpus": "cpu", "processor": "cpu", "core": "cpu", "cores": "cpu",
    "kerne": "cpu", "mem": "memory", "memory": "memory", "ram": "memory", "speicher": "memory", "disk": "disk",
    "storage": "disk", "platte": "disk", "volume": "disk", "filesystem": "disk", "net": "network", "network": "network",
    "netz": "network", "nic": "network", "bandwidth": "network", "traffic": "network", "throughput": "network",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One column over all samples.

    Attributes:
        name: Its name, as the header has it.
        places: Its fields that are not empty.
        is_constant: Whether it hardly ever changes for one host.
    """

    name: str
    places: Sequence[Place]
    decimal: str
    is_constant: bool = False

    @cached_property
    def words(self) -> set[str]:
        """The words of its name."""
        return words_of(self.name)

    @cached_property
    def numbers(self) -> list[tuple[float, Place]]:
        """Those of its fields that are numbers."""
        found = ((number_in(place.text, self.decimal), place) for place in self.places)
        return [(number, place) for number, place in found if number is not None]

    @cached_property
    def others(self) -> dict[str, list[Place]]:
        """The fields that are no numbers, by text in lower case."""
        found = defaultdict(list)
        for place in self.places:
            if number_in(place.text, self.decimal) is None:
                found[place.text.lower()].append(place)
        return found

    @property
    def is_numeric(self) -> bool:
        """Whether it holds numbers, apart from what stands for no value."""
        given = len(self.places) - sum(len(found) for text, found in self.others.items() if text in ODD_ABSENT)
        return bool(self.numbers) and len(self.numbers) >= MOST * given

    @property
    def greatest(self) -> tuple[float, Place]:
        """Its greatest number."""
        return max(self.numbers, key=lambda found: found[0])

    @property
    def absent(self) -> dict[str, Place]:
        """The texts that seem to stand for no value, each with a place."""
        return {text: found[0] for text, found in self.others.items() if text in ODD_ABSENT or len(found) > 1}

    @property
    def resource(self) -> str | None:
        """The resource that its name speaks of."""
        return resource_in(self.name)


@dataclass(frozen=True)
class Series:
    """A column of utilization, with the one of its capacity."""

    value: Column
    capacity: Column | None
    resource: str | None

    @property
    def capacity_unit(self) -> str | None:
        """The unit that the capacity's name speaks of."""
        found = [_UNITS[word] for word in _split(self.capacity.name) if word in _UNITS] if self.capacity else []
        return found[-1] if found else None


@dataclass(frozen=True)
class Table:
    """What the columns of a kind of files are.

    Attributes:
        samples: The files that were looked into.
        columns: All columns, in the header's order.
        date: The column of the day; None: no column holds days.
        days: How they are written.
        host: The column of the host's name; None: none was found.
        series: The columns of utilization; none: no column looks like it.
        decimal: What stands before decimals; None: no number has any.
        decimal_at: Where that was seen.
        mixed_at: A number with the other mark.
        unused: Names of columns that were taken for none of these.
    """

    samples: Sequence[Sample]
    columns: Sequence[Column]
    date: Column | None
    days: Days | None
    host: Column | None
    series: Sequence[Series]
    decimal: str | None
    decimal_at: Place | None = None
    mixed_at: Place | None = None
    unused: Sequence[Column] = field(default_factory=tuple)


def inspect(samples: Sequence[Sample]) -> Table:
    """Find out what the columns are, of samples with one header."""
    header = samples[-1].header
    fields = [
        [Place(sample.file, line, row[place]) for sample in samples for line, row in sample.rows]
        for place in range(len(header))
    ]
    marks = _decimal_marks([place for column in fields for place in column])
    decimal = max(marks, key=lambda mark: len(marks[mark])) if any(marks.values()) else None
    other = {",": ".", ".": ","}.get(decimal or "")
    named = [
        Column(name, [place for place in column if place.text], decimal or ".")
        for name, column in zip(header, fields, strict=True)
        if name
    ]
    dated = _date_column(named)
    others = [column for column in named if dated is None or column is not dated[0]]
    host = _host_column(others)
    if host is not None:
        hosts = fields[header.index(host.name)]
        others = [
            Column(column.name, column.places, column.decimal, _is_constant(fields[header.index(column.name)], hosts))
            for column in others
            if column is not host
        ]
    series = _series([column for column in others if column.is_numeric])
    used = {column.name for each in series for column in (each.value, each.capacity) if column}
    return Table(
        samples,
        named,
        dated[0] if dated else None,
        dated[1] if dated else None,
        host,
        series,
        decimal,
        marks[decimal][0] if decimal else None,
        next(iter(marks[other]), None) if other else None,
        [column for column in others if column.name not in used],
    )


def words_of(name: str) -> set[str]:
    """The words of a name."""
    return set(_split(name))


def resource_in(name: str) -> str | None:
    """The resource that a name speaks of."""
    return next((_RESOURCES[word] for word in _split(name) if word in _RESOURCES), None)


def number_in(text: str, decimal: str) -> float | None:
    """The number that a field is, None where it is none."""
    if not re.fullmatch(rf"[-+]?\d+(?:{re.escape(decimal)}\d+)?(?:[eE][-+]?\d+)?", text):
        return None
    return float(text.replace(decimal, "."))


def _split(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("%", " percent ")
    return [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]


def _decimal_marks(places: Iterable[Place]) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = {",": [], ".": []}
    for place in places:
        if mark := re.fullmatch(r"[-+]?\d+([.,])\d+", place.text):
            found[mark[1]].append(place)
    return found


def _date_column(columns: Sequence[Column]) -> tuple[Column, Days] | None:
    """The column that holds days: by its values, and among several by its name."""
    found = [
        (column, days)
        for column in columns
        if (days := read_days(column.places, is_named=bool(column.words & _DATE_WORDS))) is not None
    ]
    return max(found, key=lambda each: bool(each[0].words & _DATE_WORDS), default=None)


def _host_column(columns: Sequence[Column]) -> Column | None:
    """The column of hosts: by its name, or else the text that has the most different values."""

    def fitness(column: Column) -> tuple[bool, bool, int]:
        named = bool(column.words & _HOST_WORDS)
        return named, not column.is_numeric, len({place.text for place in column.places})

    found = [column for column in columns if column.places and (fitness(column)[0] or not column.is_numeric)]
    return max(found, key=fitness, default=None)


def _is_constant(fields: Sequence[Place], hosts: Sequence[Place]) -> bool:
    """Whether a column hardly ever changes for one host within one file."""
    by_host: dict[tuple[str, Dated], list[str]] = defaultdict(list)
    for place, host in zip(fields, hosts, strict=True):
        if place.text:
            by_host[host.text, host.file].append(place.text)
    several = [len(set(texts)) == 1 for texts in by_host.values() if len(texts) > 1]
    return bool(several) and sum(several) >= MOST * len(several)


def _series(columns: Sequence[Column]) -> list[Series]:
    capacities = [column for column in columns if _is_capacity(column)]
    values = _best([column for column in columns if column not in capacities and _is_value(column)])
    found = []
    for value in values:
        alike = [column for column in capacities if column.resource and column.resource == value.resource]
        beside = columns.index(value) + 1
        if not alike and len(values) == 1 and len(capacities) == 1:
            alike = capacities
        elif not alike and beside < len(columns) and columns[beside] in capacities and not columns[beside].resource:
            alike = [columns[beside]]
        capacity = alike[0] if alike else None
        found.append(Series(value, capacity, value.resource or (capacity.resource if capacity else None)))
    return found


def _best(values: Sequence[Column]) -> list[Column]:
    """The columns without those of a resource that has a 95th percentile as well, such as its mean."""
    best = {column.resource for column in values if column.words & _BEST_WORDS}
    return [column for column in values if column.words & _BEST_WORDS or column.resource not in best]


def _is_capacity(column: Column) -> bool:
    if column.is_constant:
        return bool(column.words & (_CAPACITY_WORDS | _PERHAPS_CAPACITY_WORDS))
    return bool(column.words & _CAPACITY_WORDS) and not column.words & _VALUE_WORDS


def _is_value(column: Column) -> bool:
    """Whether it may be utilization: no negative numbers, and none far above 100."""
    middle = sorted(number for number, _ in column.numbers)[len(column.numbers) // 2]
    named = bool(column.words & _VALUE_WORDS)
    return 0 <= middle <= (200 if named else 100) and (named or not column.is_constant)
