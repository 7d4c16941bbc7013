"""Which part of a file's path is a date, and which names the family.

Here: paths alone. Not here: what is in the files (`sample.py`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

READABLE = (".csv", ".csv.gz", ".csv.zst", ".txt", ".txt.gz", ".txt.zst", ".tsv", ".tsv.gz", ".tsv.zst", ".parquet")
_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
# How a date may stand in a path; the first that fits a stretch of digits has it.
_SPELLINGS = [
    re.compile(rf"(?<!\d)(?P<year>{_YEAR})(?P<a>[-_.]?)(?P<month>{_MONTH})(?P<b>(?P=a))(?P<day>{_DAY})(?!\d)"),
    re.compile(rf"(?<!\d)(?P<day>{_DAY})(?P<a>[-_.]?)(?P<month>{_MONTH})(?P<b>(?P=a))(?P<year>{_YEAR})(?!\d)"),
    re.compile(rf"(?<!\d)(?P<year>{_YEAR})(?P<a>[-_./]?)(?P<month>{_MONTH})(?!\d)"),
    re.compile(rf"(?<!\d)(?P<month>{_MONTH})(?P<a>[-_.]?)(?P<year>{_YEAR})(?!\d)"),
    re.compile(rf"(?<!\d)(?P<year>{_YEAR})(?!\d)"),
]
_LONE_MONTH = re.compile(rf"(?<![A-Za-z0-9{{}}])(?P<month>{_MONTH})(?![A-Za-z0-9])")
_LONE_DAY = re.compile(rf"(?<=\{{month\}})(?P<a>[-_./]|/day=)(?P<day>{_DAY})(?!\d)")
_TOKEN = re.compile(r"\{[a-z]+\}|[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*|.")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,59}")
_WORD = "\0"


@dataclass(frozen=True)
class Dated:
    """A file, and the month and day that its path names; 0: it names no day."""

    path: Path
    year: int
    month: int
    day: int = 0

    def lies_in_month(self, day: date) -> bool:
        """Whether the day is in the month that the path names."""
        return (day.year, day.month) == (self.year, self.month)


@dataclass(frozen=True)
class Kind:
    """The files that one pattern leads to.

    Attributes:
        pattern: The path with placeholders, `{family}` where `fragment` stands.
        fragment: What tells the kind from the others that share its pattern; empty: it has one of its own.
        files: The files, in the order of their dates.
    """

    pattern: str
    fragment: str
    files: Sequence[Dated]

    @property
    def path(self) -> str:
        """The pattern with the kind's own name in it."""
        return self.pattern.replace("{family}", self.fragment)


def find_kinds(root: Path, files: Iterable[Path]) -> tuple[list[Kind], list[Path]]:
    """Sort files by the pattern of their paths below `root`.

    Returns:
        The kinds; and the files whose paths name no month, or whose names no contract can lead to.
    """
    by_template: dict[str, list[Dated]] = defaultdict(list)
    undated = []
    for file in files:
        read = _read_dates(file.relative_to(root).as_posix()) if file.is_relative_to(root) else None
        if read is None or not file.name.lower().endswith(READABLE):
            undated.append(file)
        else:
            template, (year, month, day) = read
            by_template[template].append(Dated(file, year, month, day))
    by_shape: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for template in sorted(by_template):
        by_shape[_shape(template)].append(template)
    kinds = [
        Kind(pattern, fragment, sorted(by_template[template], key=lambda file: (file.year, file.month, file.day)))
        for templates in by_shape.values()
        for template, (pattern, fragment) in zip(templates, _with_family(templates), strict=True)
    ]
    return kinds, undated


def _read_dates(path: str) -> tuple[str, tuple[int, int, int]] | None:
    """The path with placeholders, and the date that stood there; None: no month, or two different ones."""
    seen: dict[str, set[str]] = defaultdict(set)

    def replaced(found: re.Match[str]) -> str:
        text, start = found[0], found.start()
        for part in sorted(("year", "month", "day"), key=lambda name: -found.start(name) if _has(found, name) else 0):
            if _has(found, part):
                seen[part].add(found[part])
                text = text[: found.start(part) - start] + f"{{{part}}}" + text[found.end(part) - start :]
        return text

    for spelling in _SPELLINGS:
        path = spelling.sub(replaced, path)
    if "month" not in seen and "year" in seen:
        path = _LONE_MONTH.sub(replaced, path, count=1)
    if "day" not in seen:
        path = _LONE_DAY.sub(replaced, path)
    if any(len(found) > 1 for found in seen.values()) or not {"year", "month"} <= set(seen):
        return None
    year, month, day = (int(next(iter(seen[part]), "0")) for part in ("year", "month", "day"))
    return path, (year, month, day)


def _has(found: re.Match[str], name: str) -> bool:
    return name in found.re.groupindex


def _shape(template: str) -> tuple[str, ...]:
    """What templates have in common that differ in words alone; the suffix is none of these words."""
    return (*(_WORD if token[0].isalnum() else token for token in _tokens(template)), _suffix(template))


def _suffix(template: str) -> str:
    return max((suffix for suffix in READABLE if template.lower().endswith(suffix)), key=len, default="")


def _tokens(template: str) -> list[str]:
    return _TOKEN.findall(template)


def _with_family(templates: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each template with `{family}` for what differs between them, and what that is; as it is, where that cannot be."""
    tokens = [_tokens(template) for template in templates]
    differing = [place for place, words in enumerate(zip(*tokens, strict=True)) if len(set(words)) > 1]
    fragments = [{words[place] for place in differing} for words in tokens]
    if not all(len(found) == 1 and _IDENTIFIER.fullmatch(next(iter(found))) for found in fragments):
        yield from ((template, "") for template in templates)
        return
    for words, found in zip(tokens, fragments, strict=True):
        pattern = "".join("{family}" if place in differing else word for place, word in enumerate(words))
        yield pattern, next(iter(found))
