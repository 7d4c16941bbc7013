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
    """What a contract's comments still leave to a person: the line of each mark, and its comment without the mark."""
    lines = contract.splitlines()
    found = []
    for number, line in enumerate(lines):
        if CHOOSE in line and line.startswith(_FIRST.rstrip()):
            before = list(takewhile(_goes_on, reversed(lines[1 : number + 1])))
            first = number - len(before)
            whole = [lines[first], *takewhile(_goes_on, lines[first + 1 :])]
            text = " ".join(part.lstrip("# ") for part in whole)
            found.append((number + 1, " ".join(text.replace(CHOOSE, "").split())))
    return found


def _goes_on(line: str) -> bool:
    """Whether a line goes on with the comment of the line before."""
    return line.startswith(_NEXT)
