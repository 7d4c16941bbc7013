"""Rules of a team's own, as a contract declares them: `[[rule]]`.

Here: the model, and the text of its query. Not here: which queries are let through, and how a month is judged by one
(`warehouse/own_rules.py`).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, PrivateAttr

from refinery_assets.contract.families import Identifier, Part

_Text = Annotated[str, Field(min_length=1, pattern=r"\S", description="a sentence")]


class Severity(StrEnum):
    """What becomes of a month for which the query returns rows."""

    FAIL = "fail"
    WARN = "warn"


class OwnRule(Part):
    """A check of `processed_data` that is a team's own.

    Attributes:
        name: The check's name.
        description: When it fails, in one sentence.
        severity: Whether it refuses the month or warns.
        recovery: What the operator does then.
        sql: A file with one SELECT, relative to the contract file, which returns the bad rows of the months under
            audit.
    """

    name: Identifier
    description: _Text
    severity: Annotated[Severity, Field(description="fail or warn")] = Severity.FAIL
    recovery: _Text
    sql: Annotated[
        str,
        Field(min_length=1, description="a file with one SELECT, relative to the contract file"),
    ]
    _query: str = PrivateAttr("")

    @property
    def query(self) -> str:
        """The text of the file."""
        return self._query

    def read_query(self, folder: Path) -> None:
        """Read the file; paths are relative to `folder`.

        Raises:
            OSError: It cannot be read.
            UnicodeDecodeError: It is not UTF-8 text.
        """
        self._query = (folder / self.sql).read_text(encoding="utf-8-sig")
