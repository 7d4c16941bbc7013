"""How a proposal speaks beside its keys.

Here: comments, and the mark of what is left to a person, written and found again. Not here: what is said
(`proposal.py`, `hosts.py`).
"""

from __future__ import annotations

import re
import textwrap
from itertools import count, takewhile

CHOOSE = "CHOOSE:"
"""Stands before what the files do not say."""

_WIDTH = 112
_FIRST, _NEXT = "# ", "#   "
_STRING_OR_COMMENT = re.compile(
    r"""
    \"{3} (?: \\. | [^\\] )*? \"{3,5}
    | '{3} .*? '{3,5}
    | " (?: \\. | [^"\\\n] )* "
    | ' [^'\n]* '
    | (?P<comment> \#[^\n]* )
    """,
    re.DOTALL | re.VERBOSE,
)
"""Strings of TOML are looked for, too, because a `#` in them begins no comment."""
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
    comments = {
        contract.count("\n", 0, found.start()) + 1: found["comment"]
        for found in _STRING_OR_COMMENT.finditer(contract)
        if found["comment"]
    }
    points = []
    for number, text in comments.items():
        if CHOOSE in text:
            first = number
            while comments[first].startswith(_NEXT) and first - 1 in comments:
                first -= 1
            rest = takewhile(lambda line: line.startswith(_NEXT), (comments.get(each, "") for each in count(first + 1)))
            whole = " ".join(line.lstrip("# ") for line in (comments[first], *rest))
            points.append((number, " ".join(whole.replace(CHOOSE, "").split())))
    return points
