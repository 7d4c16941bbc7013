"""Where the pages are, and how a generated section is put into one that people write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import refinery_assets

PACKAGE = Path(refinery_assets.__file__).parent
DOCS = PACKAGE.parent / "docs"


def replace_section(page: str, name: str, content: str) -> str:
    """The page with new content between `<!-- begin: name ... -->` and `<!-- end: name -->`.

    Raises:
        ValueError: A mark is missing.
    """
    before, begin, rest = page.partition(f"<!-- begin: {name}")
    comment, closing, rest = rest.partition("-->\n")
    _, end, after = rest.partition(f"<!-- end: {name} -->")
    if not (begin and closing and end):
        raise ValueError(f"The page lacks the marks of the section '{name}'.")
    return f"{before}{begin}{comment}{closing}{content}{end}{after}"


def sentence(text: str) -> str:
    """The text on one line, with a capital first letter."""
    words = " ".join(text.split())
    return f"{words[0].upper()}{words[1:]}"


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(line)} |\n".replace("  ", " ") for line in lines)
