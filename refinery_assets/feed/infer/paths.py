"""The patterns of files' paths: which parts are dates, and which name the family.

Here: which files one pattern leads to. Not here: which digits are the date (`readings.py`), and what is in the files
(`sample.py`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from refinery_assets.feed.infer.readings import DaysIn, choose_reading, date_of, template_of

READABLE = (".csv", ".csv.gz", ".csv.zst", ".txt", ".txt.gz", ".txt.zst", ".tsv", ".tsv.gz", ".tsv.zst", ".parquet")
_DIGITS = re.compile(r"\d+")
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
        other: Another pattern that fits as well, so that a person has to choose.
    """

    pattern: str
    fragment: str
    files: Sequence[Dated]
    other: str | None = None

    @property
    def path(self) -> str:
        """The pattern with the kind's own name in it."""
        return self.pattern.replace("{family}", self.fragment)


def find_kinds(root: Path, files: Iterable[Path], days_in: DaysIn) -> tuple[list[Kind], list[Path]]:
    """Sort files by the pattern of their paths below `root`.

    Args:
        root: The feed's root.
        files: The files.
        days_in: Asked of a few files where the paths alone can be read in several ways.

    Returns:
        The kinds; and the files whose paths name no month, or whose names no contract can lead to.
    """
    by_frame: dict[tuple[str, ...], dict[Path, tuple[str, ...]]] = defaultdict(dict)
    undated = []
    for file in files:
        if file.is_relative_to(root) and file.name.lower().endswith(READABLE):
            path = file.relative_to(root).as_posix()
            runs = tuple(_DIGITS.findall(path))
            by_frame[(*_DIGITS.split(path), *(str(len(run)) for run in runs))][file] = runs
        else:
            undated.append(file)
    by_template: dict[str, list[Dated]] = defaultdict(list)
    in_doubt: dict[str, str] = {}
    for frame, runs_of in by_frame.items():
        words = frame[: len(frame) // 2 + 1]
        reading, other = choose_reading(words, runs_of, days_in)
        for file, runs in runs_of.items():
            named = date_of(reading, runs) if reading else None
            if reading is None or named is None:
                undated.append(file)
                continue
            template = template_of(words, reading, runs)
            by_template[template].append(Dated(file, *named))
            if other is not None:
                in_doubt[template] = template_of(words, other, runs)
    by_shape: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for template in sorted(by_template):
        by_shape[_shape(template)].append(template)
    kinds = [
        Kind(
            pattern,
            fragment,
            sorted(by_template[template], key=lambda file: (file.year, file.month, file.day)),
            in_doubt.get(template),
        )
        for templates in by_shape.values()
        for template, (pattern, fragment) in zip(templates, _with_family(templates), strict=True)
    ]
    return kinds, sorted(undated)


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
