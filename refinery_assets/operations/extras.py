"""Packages that only an extra installs, and what is said where they are missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ExtraMissingError(ImportError):
    """A package of an extra is not installed; the message says how to install it."""


@contextmanager
def imports_of_extra(extra: str) -> Iterator[None]:
    """Import what an extra installs.

    Where a module is missing, Dagster blames the one that `dagster.yaml` names, which is ours and is there.

    Raises:
        ExtraMissingError: It is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        file = Path(os.environ.get("DAGSTER_HOME", ""), "dagster.yaml")
        raise ExtraMissingError(
            f"{error.name} is not installed, and {file} needs it; run pip install '.[{extra}]' in a copy of the "
            "project, or use another DAGSTER_HOME."
        ) from error
