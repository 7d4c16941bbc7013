"""The address of a lake: what `REFINERY_WAREHOUSE` says where the warehouse is a DuckLake and not a DuckDB file.

    ducklake:postgres:dbname=refinery host=db.example    a catalog in PostgreSQL
    ducklake:sqlite:/srv/catalog.sqlite                   a catalog in an SQLite file
    ducklake:/srv/catalog.ducklake                        a catalog in a DuckDB file

Here: reading and showing it. Not here: opening the lake (`warehouse/lake.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from refinery_assets.contract.places import ObjectPrefix, Place

PREFIX = "ducklake:"
MARKER = "refinery-lake.json"
"""The file by which a data path says whose it is; DuckLake's cleaning looks at names that end in .parquet alone."""

EXPECTED = (
    "a DuckDB file on this machine, or ducklake: and its catalog, such as ducklake:postgres:dbname=refinery host=db"
)

_HIDDEN = "***"
_SECRETS = re.compile(
    # As libpq takes it among its keywords, and as a parameter of its URI; a value may be quoted.
    r"(?P<key>\b(?:ssl)?password\s*=\s*)(?:'(?:\\.|[^'])*'?|[^\s&]+)"
    # In its URI, between user and host. What follows the first colon may hold slashes and @ itself.
    r"|(?P<user>://[^\s:/@]*:)[^\s]*(?=@)",
    re.IGNORECASE,
)
_KEYWORDS = re.compile(r"\s*(?:\w+\s*=\s*(?:'(?:\\.|[^'])*'|[^\s']+)\s*)*")
_URI = re.compile(r"postgres(?:ql)?://\S*")
# What DuckDB attaches, and no path: a kind and a colon, or libpq's keywords. A path may begin with ./ instead.
_KIND = re.compile(r"[A-Za-z]\w+(?=:)")
_BARE_KEYWORDS = re.compile(r"(?:dbname|host|service|user)\s*=")


class LakeAddressError(ValueError):
    """The address cannot be used; the message is one sentence for the operator, without any password."""


class Catalog(StrEnum):
    """What keeps a lake's catalog."""

    POSTGRES = "postgres"
    SQLITE = "sqlite"
    DUCKDB = "duckdb"


@dataclass(frozen=True)
class Lake:
    """A DuckLake.

    Attributes:
        catalog: What keeps the catalog.
        place: What libpq takes (`dbname=... host=...`, or a URI); of the other catalogs the file.
        data: Where the lake's Parquet files lie.
    """

    catalog: Catalog
    place: str
    data: Place = Path()

    def __str__(self) -> str:
        """As it is set; it never holds a password."""
        return PREFIX + ("" if self.catalog is Catalog.DUCKDB else f"{self.catalog}:") + self.place

    @property
    def file(self) -> Path | None:
        """The catalog's file; None where it is not in a file."""
        return None if self.takes_many_writers else Path(self.place)

    @property
    def bucket(self) -> ObjectPrefix | None:
        """Where the data lies in an object store; None where it lies in a folder."""
        return self.data if isinstance(self.data, ObjectPrefix) else None

    @property
    def takes_many_writers(self) -> bool:
        """Whether several processes may write at a time; a file lets one in after the other."""
        return self.catalog is Catalog.POSTGRES


def without_passwords(text: str) -> str:
    """The text with its passwords covered."""
    return _SECRETS.sub(lambda found: f"{found['key'] or found['user']}{_HIDDEN}", text)


def refuse_other_databases(text: str) -> None:
    """Refuse an address without `ducklake:`, which would be taken for the name of a new file.

    Raises:
        LakeAddressError: It is one; the message names what was probably meant.
    """
    address = text.strip()
    kind = found[0] if (found := _KIND.match(address)) else ""
    if not kind and not _BARE_KEYWORDS.match(address):
        return
    shown = without_passwords(address)
    meant = ""
    if not kind or _URI.match(address):
        meant = f"{PREFIX}{Catalog.POSTGRES}:{shown}"
    elif kind in {Catalog.POSTGRES, Catalog.SQLITE}:
        meant = f"{PREFIX}{shown}"
    told = f"did you mean {meant!r}? Expected is" if meant else "expected"
    raise LakeAddressError(f"REFINERY_WAREHOUSE is {shown!r}; {told} {EXPECTED}.")


def parse_lake(text: str, path: Callable[[str], Path]) -> Lake:
    """The lake that an address names; `path` makes a path of a text.

    Raises:
        LakeAddressError: It names none, or holds a password.
    """
    shown = without_passwords(text)
    if shown != text:
        raise LakeAddressError(
            f"REFINERY_WAREHOUSE is {shown!r}, with a password; expected none there, where others may read it: "
            "libpq takes it from ~/.pgpass, PGSERVICE or PGPASSWORD."
        )
    rest = text.strip().removeprefix(PREFIX)
    kind, colon, place = rest.partition(":")
    if colon and kind == Catalog.POSTGRES and (_KEYWORDS.fullmatch(place) or _URI.fullmatch(place)):
        return Lake(Catalog.POSTGRES, place.strip())
    if colon and kind == Catalog.SQLITE:
        catalog = Catalog.SQLITE
    elif not colon:
        catalog, place = Catalog.DUCKDB, rest
    else:
        place = ""
    if not place.strip() or "://" in place:
        raise LakeAddressError(f"REFINERY_WAREHOUSE is {shown!r}; expected {EXPECTED}.")
    return Lake(catalog, str(path(place.strip())))
