"""How a proposal speaks beside its keys.

Here: comments, and the mark of what is left to a person. Not here: what is said (`proposal.py`, `hosts.py`).
"""

from __future__ import annotations

import re
import textwrap

CHOOSE = "CHOOSE:"
"""Stands before what the files do not say."""

_WIDTH = 112
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def comment(text: str) -> list[str]:
    """The text as lines of a TOML comment."""
    # TOML wants no such characters in its comments, and a header may have any.
    plain = _CONTROL.sub("?", text)
    return textwrap.wrap(
        plain,
        _WIDTH,
        initial_indent="# ",
        subsequent_indent="#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )
