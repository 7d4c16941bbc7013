"""The section `[inventory]` of a proposed contract.

Here: its keys and the reasons beside them. Not here: which file lists the hosts (`findings.py`), and the other sections
(`proposal.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from refinery_assets.checks.rules import listing
from refinery_assets.contract.contract_text import toml_value
from refinery_assets.contract.families import DateFormat, Encoding
from refinery_assets.contract.own_names import INVENTORY_COLUMNS, OWN_COLUMNS
from refinery_assets.feed.infer.columns import Column
from refinery_assets.feed.infer.days import Place, day_in, read_days
from refinery_assets.feed.infer.findings import InventoryFile
from refinery_assets.feed.infer.words import CHOOSE, comment

_WORDS = {
    "valid_from": frozenset({
        "from", "since", "seit", "start", "started", "begin", "beginn", "commissioned", "installed", "created",
        "deployed", "added", "purchased", "inbetriebnahme",
    }),
    "valid_to": frozenset({
        "to", "until", "till", "bis", "end", "ended", "ende", "decommissioned", "decommission", "decom", "retired",
        "retire", "retirement", "removed", "deleted", "terminated", "disposed", "expired", "stilllegung",
    }),
}  # fmt: skip
_BESIDE = {"valid", "active", "effective", "live", "date", "day"}
_OF_DAYS = frozenset().union(*_WORDS.values(), _BESIDE, {"on", "at"})
"""A column that holds nothing is one of days only if its name has no other word: `created_by` is not."""


def inventory_section(inventory: InventoryFile | None, contract: Path) -> Iterator[str]:
    """The section's lines.

    Args:
        inventory: The file that lists the hosts; None: there is none.
        contract: The file that the contract is for: the inventory is named relative to its folder.
    """
    yield "\n[inventory]"
    if inventory is None:
        yield from comment(
            f"{CHOOSE} none of the files lists the hosts. Name a CSV or Parquet file beside this one, or a table or "
            "view of the warehouse, with one row for each host, and its column of the host's name."
        )
        yield 'source = "hosts"'
        yield 'host = "node_name"'
    else:
        source = os.path.relpath(inventory.path, contract.absolute().parent)
        yield from comment(f"{source} lists {inventory.known} of the {inventory.hosts} hosts that were seen.")
        yield f"source = {toml_value(source)}"
        yield from _lines(inventory, source)
        yield f"host = {toml_value(inventory.host.name)}"
        yield from _validity(inventory, source)
        yield from _attributes(inventory)
    yield from comment(
        'Where the inventory tells how hosts behave: behavior = ["scenario", "variant"], or one column; each of the '
        "behaviors then has to be there every month."
    )
    yield "behavior = []"


def _is_csv(inventory: InventoryFile) -> bool:
    return inventory.path.suffix.lower() == ".csv"


def _lines(inventory: InventoryFile, source: str) -> Iterator[str]:
    """How a CSV file is written; the keys are of no other."""
    sample = inventory.sample
    if not _is_csv(inventory) or sample.delimiter is None:
        return
    if len(sample.header) > 1:
        yield from comment(f"Line 1 of {source}: {sample.first_line}")
        yield f"delimiter = {toml_value(sample.delimiter)}"
    if sample.encoding is Encoding.LATIN1:
        yield from comment(f"{source} is not UTF-8. {CHOOSE} do names with letters such as ä look right?")
    yield f"encoding = {toml_value(str(sample.encoding))}"


def _attributes(inventory: InventoryFile) -> Iterator[str]:
    taken = OWN_COLUMNS | set(INVENTORY_COLUMNS)
    named = [column.name for column in inventory.others]
    yield from comment("Further columns, which the views carry.")
    yield f"attributes = {toml_value([name for name in named if name.lower() not in taken])}"
    if left_out := [name for name in named if name.lower() in taken]:
        yield from comment(f"The views have columns of these names, so they cannot be carried: {listing(left_out)}.")


def _validity(inventory: InventoryFile, source: str) -> Iterator[str]:
    """The columns that hold days, for a person to say which tell when a host counts, and how days are written.

    A column without any day is one of them by its name: no host may have retired yet.
    """
    dated = {
        column.name: (column, days.formats)
        for column in inventory.others
        if (days := read_days(column.places, is_named=False))
    }
    columns = [column for column, _ in dated.values()]
    empty = [
        column
        for column in inventory.others
        if not column.places and column.words <= _OF_DAYS and any(_says(column, words) for words in _WORDS.values())
    ]
    if not columns and not empty:
        return
    seen = [_holding(columns, source)] if columns else []
    seen += [_named_only(empty)] if empty else []
    one = "it" if len(columns) + len(empty) == 1 else "one of them"
    yield from comment(
        f"{CHOOSE} {' '.join(seen)} Does {one} say the first day on which a host counts (valid_from), or the first on "
        "which it no longer counts (valid_to)?"
    )
    for key, column in _by_key(columns, empty).items():
        yield f"# {key} = {toml_value(column.name)}"
    if not columns:
        return
    # Days written YYYY-MM-DD are read whatever is declared.
    others = [formats for _, formats in dated.values() if DateFormat.ISO not in formats]
    fitting = (
        [each for each in DateFormat if all(each in formats for formats in others)] if others else [DateFormat.ISO]
    )
    if _is_csv(inventory):
        yield from _date_format(columns, fitting, source)
    elif others:
        yield from comment(f"{CHOOSE} these days are not read as they are written; have them written {DateFormat.ISO}.")


def _holding(columns: Sequence[Column], source: str) -> str:
    """Columns that hold days, in words."""
    hold = "holds" if len(columns) == 1 else "hold"
    return f"{listing(column.name for column in columns)} {hold} days, such as {_at(columns[0].places[0], source)}."


def _named_only(empty: Sequence[Column]) -> str:
    """Columns that are known by their names alone, in words."""
    names = listing(column.name for column in empty)
    return (
        f"{names} is empty in the lines looked at, but its name speaks of days."
        if len(empty) == 1
        else f"{names} are empty in the lines looked at, but their names speak of days."
    )


def _by_key(dated: Sequence[Column], empty: Sequence[Column]) -> dict[str, Column]:
    """The columns for `valid_from` and `valid_to`: by their names; then those with days, in their order."""
    found: dict[str, Column] = {}
    for key, words in _WORDS.items():
        named = [column for column in (*dated, *empty) if _says(column, words) and column not in found.values()]
        if named:
            found[key] = named[0]
    unnamed = [column for column in dated if column not in found.values()]
    found |= dict(zip([key for key in _WORDS if key not in found], unnamed, strict=False))
    return {key: found[key] for key in _WORDS if key in found}


def _says(column: Column, words: frozenset[str]) -> bool:
    """Whether a column is named like one of days on which hosts begin or cease to count."""
    # Much is from or to somewhere.
    vague = {"from", "to"}
    return bool(column.words & words - vague or (column.words & words and column.words <= vague | _BESIDE))


def _date_format(columns: Sequence[Column], fitting: Sequence[DateFormat], source: str) -> Iterator[str]:
    if not fitting:
        yield from comment(
            f"{CHOOSE} the columns write days in different ways, and one alone can be declared as date_format; have "
            f"the others written {DateFormat.ISO}."
        )
        return
    if len(fitting) == 1:
        yield f"date_format = {toml_value(str(fitting[0]))}"
    else:
        yield from comment(
            f"{CHOOSE} all of these days can be read in either way; take the # from the right line, too."
        )
        yield from (f"# date_format = {toml_value(str(each))}" for each in fitting)
    read = {DateFormat.ISO, *fitting}
    strays = [
        next(place for place in column.places if place.text == text)
        for column in columns
        for text in dict.fromkeys(place.text for place in column.places)
        if not any(day_in(text, each) for each in read)
    ]
    if strays:
        yield from comment(
            f"{CHOOSE} {listing(_at(place, source) for place in strays)} {'is' if len(strays) == 1 else 'are'} no day; "
            "as valid_from or valid_to it would have every month refused. An empty field stands for no day."
        )


def _at(place: Place, source: str) -> str:
    return f"{place.text!r} ({source}, line {place.line})"
