"""How a proposal speaks beside its keys.

Here: comments, and the mark of what is left to a person, written and found again. Not here: what is said
(`proposal.py`, `hosts.py`).
"""

from __future__ import annotations

import re
import textwrap
from itertools import takewhile

CHOOSE = "CHOOSE:"
"""Stands before what the files do not say."""

_WIDTH = 112
_FIRST, _NEXT = "# ", "#   "
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def comment(text: str) -> list[str]:
    """The text as lines of a TOML comment."""
    # TOML wants no such characters in its comments, and a header may have any.
    plain = _CONTROL.sub("?", text)
    return textwrap.wrap(
        plain,
        _WIDTH,
        initial_indent=_FIRST,
        subsequent_indent=_NEXT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def open_points(contract: str) -> list[tuple[int, str]]:
    """What a contract's comments still leave to a person: the line of each mark, and what stands behind it."""
    lines = contract.splitlines()
    found = []
    for number, line in enumerate(lines, start=1):
        _, mark, point = line.partition(CHOOSE)
        if mark and line.lstrip().startswith("#"):
            rest = takewhile(lambda each: each.startswith(_NEXT), lines[number:])
            found.append((number, " ".join([point.strip(), *(each.removeprefix(_NEXT).strip() for each in rest)])))
    return found
