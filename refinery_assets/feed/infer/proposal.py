"""A contract proposed for somebody's files, as TOML with the reasons beside each key.

Here: the words. Not here: those of `[inventory]` (`hosts.py`), which files are looked into (`findings.py`), and what is
seen in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refinery_assets.checks.rules import counted, listing
from refinery_assets.contract.contract_file import read_contract
from refinery_assets.contract.contract_text import toml_value
from refinery_assets.contract.families import DateFormat, Encoding, Lines
from refinery_assets.feed.infer.columns import Column, Series, resource_in
from refinery_assets.feed.infer.findings import Family, Findings, look_into
from refinery_assets.feed.infer.hosts import inventory_section
from refinery_assets.feed.infer.paths import Kind
from refinery_assets.feed.infer.words import CHOOSE, comment

_DEFAULT = Lines()


def propose_contract(paths: Sequence[Path], contract: Path) -> str:
    """Look into a stranger's files and write a contract that a person then edits.

    Args:
        paths: Folders, which are searched through, and files.
        contract: The file that the contract is for: what it names is relative to its folder.

    Raises:
        NothingToInferError: There are no files, or none can be read.
    """
    found = look_into(paths)
    sections = [
        _head(found),
        _feed(found),
        _all_families(found),
        inventory_section(found.inventory, contract),
        _limits(),
    ]
    text = "\n".join(line for section in sections for line in section) + "\n"
    read_contract(text, contract)
    return text


def _head(found: Findings) -> Iterator[str]:
    samples = {sample.file.path: sample for family in found.families for sample in family.table.samples}
    yield from comment(
        f"A contract proposed by `refinery contract infer` from the files in {found.root}. Read it through and edit "
        f"it; what the files do not say is marked {CHOOSE.rstrip(':')}, for you to decide and to delete the mark. "
        "Then: refinery contract check FILE"
    )
    yield from comment(f"Set REFINERY_FEED={found.root} and REFINERY_CONTRACT to this file.")
    rows = sum(len(sample.rows) for sample in samples.values())
    shown = listing(map(found.name, samples))
    yield from comment(f"Looked at {counted(rows, 'row')} of {counted(len(samples), 'file')}: {shown}.")
    for sample in samples.values():
        if sample.malformed:
            yield from comment(
                f"Of {found.name(sample.file.path)}, {len(sample.malformed)} of the lines looked at have other than "
                f"the header's {len(sample.header)} fields, line {sample.malformed[0]} for one; they are quarantined."
            )
    for note in found.notes:
        yield from comment(note)
    for path, why in found.unreadable.items():
        yield from comment(f"Not read: {found.name(path)}: {why}.")
    if found.undated:
        shown = listing(map(found.name, found.undated))
        count = counted(len(found.undated), "file")
        yield from comment(f"Not named by it: {count} whose path has no year and month in digits: {shown}.")


def _feed(found: Findings) -> Iterator[str]:
    """What most families have in common."""
    yield "\n[feed]"
    pattern, _ = Counter(_pattern(family) for family in found.families).most_common(1)[0]
    of_pattern = [family.kind for family in found.families if _pattern(family) == pattern]
    files = {file.path for kind in of_pattern for file in kind.files}
    first, last = (f"{file.year}-{file.month:02}" for file in (of_pattern[0].files[0], of_pattern[0].files[-1]))
    yield from comment(
        f"{counted(len(files), 'file')} from {first} to {last}, such as {found.name(of_pattern[0].files[0].path)}."
    )
    yield from _path(pattern, of_pattern[0])
    for key in _LINES:
        yield from _line_key(key, found)
    yield from _absent(found)


def _path(pattern: str, kind: Kind) -> Iterator[str]:
    if kind.other is not None:
        yield from comment(
            f"{CHOOSE} the paths can be read as {kind.path} or as {kind.other}, and neither they nor the days of the "
            "rows tell which; take the right one."
        )
        yield f"# path = {toml_value(_with_family(kind, kind.other, pattern))}"
    yield f"path = {toml_value(pattern)}"


def _with_family(kind: Kind, other: str, pattern: str) -> str:
    """Another pattern of a kind's files, with `{family}` where the first has it."""
    return other.replace(kind.fragment, "{family}") if kind.fragment and "{family}" in pattern else other


def _pattern(family: Family) -> str:
    return family.kind.pattern if family.name == family.kind.fragment else family.kind.path


@dataclass(frozen=True)
class _LineKey:
    """A key that stands in `[feed]`, or with a family that differs."""

    value: Callable[[Family], Any]
    why: Callable[[Findings, Family], str]


def _delimiter_why(found: Findings, family: Family) -> str:
    sample = family.table.samples[0]
    return f"Line 1 of {found.name(sample.file.path)}: {sample.first_line}"


def _quote(family: Family) -> str | None:
    return next((sample.quote for sample in family.table.samples if sample.quote), None)


def _decimal_why(found: Findings, family: Family) -> str:
    table = family.table
    if table.decimal_at is None:
        return "No number has decimals in the lines looked at, so this is the default."
    text = f"As in {found.at(table.decimal_at)}."
    if table.mixed_at:
        text += f" But {found.at(table.mixed_at)} has the other mark: {CHOOSE} such fields are no numbers then."
    return text


def _date_format(family: Family) -> str | None:
    days = family.table.days
    return str(days.formats[0]) if days and len(days.formats) == 1 else None


def _date_format_why(found: Findings, family: Family) -> str:
    days = family.table.days
    if days is None:
        return f"{CHOOSE} no column holds days in a format that can be declared: {', '.join(DateFormat)}."
    if len(days.formats) > 1:
        return (
            f"{CHOOSE} {found.at(days.example)} and all other days can be read as {' or '.join(days.formats)}. Ask "
            "who exports it, and take the # from the right line. Until then every row is quarantined as bad_timestamp."
        )
    text = f"As in {found.at(days.proof or days.example)}"
    text += ", which is a day of its file's month only so." if days.proof else "."
    if days.outside:
        text += f" {found.at(days.outside)} is not in the month of its file, and is quarantined as outside_month."
    return text


def _absent(found: Findings) -> Iterator[str]:
    """The words for a missing value, of all families together."""
    columns = [column for family in found.families for column in _columns(family)]
    seen = {text: place for column in columns for text, place in column.absent.items() if text not in _DEFAULT.absent}
    if seen:
        yield from comment(
            f"The default, and what stands in columns of numbers: {listing(map(found.at, seen.values()))}. "
            f"{CHOOSE} is any of them no word for a missing value?"
        )
    else:
        yield from comment("The default, compared without regard to case; an empty field always stands for no value.")
    yield f"absent = {toml_value([*_DEFAULT.absent, *sorted(seen)])}"


def _columns(family: Family) -> list[Column]:
    series = family.series
    return [column for column in (series.value, series.capacity) if column] if series else []


_LINES = {
    "delimiter": _LineKey(lambda family: family.table.samples[0].delimiter, _delimiter_why),
    "quote": _LineKey(_quote, lambda _, family: f"Fields are quoted with {_quote(family)}."),
    "decimal": _LineKey(lambda family: family.table.decimal or _DEFAULT.decimal, _decimal_why),
    "encoding": _LineKey(
        lambda family: str(family.table.samples[0].encoding),
        lambda found, family: (
            "All of it reads so."
            if family.table.samples[0].encoding is not Encoding.LATIN1
            else f"{found.name(family.table.samples[0].file.path)} is not UTF-8. {CHOOSE} do names with "
            "letters such as ä look right?"
        ),
    ),
    "date_format": _LineKey(_date_format, _date_format_why),
}


def _is_text(family: Family) -> bool:
    return family.table.samples[0].delimiter is not None


def _applies(key: str, family: Family) -> bool:
    """Whether a key says anything of the family's files; a Parquet file has no lines."""
    return _is_text(family) or key not in {"delimiter", "quote", "decimal", "encoding"}


def _shared(key: str, found: Findings) -> Family | None:
    """A family that has the value which most have."""
    families = [family for family in found.families if _applies(key, family)]
    values = Counter(_LINES[key].value(family) for family in families)
    # What is left to a person is said once for all, and is no family's alone.
    common = next((value for value, _ in values.most_common() if value is not None), None)
    return next((family for family in families if _LINES[key].value(family) == common), None)


def _line_key(key: str, found: Findings) -> Iterator[str]:
    if (family := _shared(key, found)) is not None:
        yield from _written(key, found, family)


def _written(key: str, found: Findings, family: Family) -> Iterator[str]:
    value = _LINES[key].value(family)
    if value is None and key == "quote":
        return
    yield from comment(_LINES[key].why(found, family))
    if value is not None:
        yield f"{key} = {toml_value(value)}"
    elif family.table.days:
        yield from (f"# {key} = {toml_value(str(each))}" for each in family.table.days.formats)


def _all_families(found: Findings) -> Iterator[str]:
    shared_path, _ = Counter(_pattern(family) for family in found.families).most_common(1)[0]
    for family in found.families:
        yield "\n[[family]]"
        if family.series is None:
            yield from comment(
                f"{CHOOSE} no column of {family.kind.path} looks like utilization in percent or as a fraction. Its "
                f"columns: {', '.join(family.table.samples[-1].header)}."
            )
        yield f"name = {toml_value(family.name)}"
        if resource_in(family.resource) is None or family.resource[-1].isdigit():
            yield from comment(f"{CHOOSE} which resource is it? The names do not say.")
        yield f"resource = {toml_value(family.resource)}"
        if _pattern(family) != shared_path:
            yield from _path(_pattern(family), family.kind)
        for key, line_key in _LINES.items():
            shared = _shared(key, found)
            if shared and _applies(key, family) and line_key.value(family) != line_key.value(shared):
                yield from _written(key, found, family)
        yield from _family_columns(found, family)


def _family_columns(found: Findings, family: Family) -> Iterator[str]:
    table, series = family.table, family.series
    header = table.samples[-1].header
    for key, column in (("date", table.date), ("host", table.host)):
        if column is None:
            yield from comment(f"{CHOOSE} none of the columns looks like it.")
        yield f"{key} = {toml_value(column.name if column else _free_name(key, header))}"
    if series is None:
        yield f"value = {toml_value(_free_name('value', header))}"
    else:
        yield from _value_and_capacity(found, series)
    for column in _columns(family):
        strays = [places[0] for text, places in column.others.items() if text not in column.absent]
        if strays:
            yield from comment(f"Not a number, and quarantined: {listing(map(found.at, strays))}.")
    if table.unused:
        yield from comment(f"Not used: {listing(column.name for column in table.unused)}.")
    for column in table.unused:
        texts = {place.text.lower() for place in column.places}
        if len(texts) > 1 and all(resource_in(text) for text in texts):
            yield from comment(
                f"{CHOOSE} {column.name} seems to say the resource of each row ({listing(sorted(texts))}). No "
                "contract can split a file by it; have a file or a column for each resource."
            )


def _value_and_capacity(found: Findings, series: Series) -> Iterator[str]:
    yield f"value = {toml_value(series.value.name)}"
    yield from _unit(found, series.value)
    if series.capacity is None:
        yield from comment("No column looks like the capacity. If one is: capacity = ..., capacity_unit = ...")
        return
    yield f"capacity = {toml_value(series.capacity.name)}"
    if series.capacity_unit:
        yield f"capacity_unit = {toml_value(series.capacity_unit)}"
    else:
        yield from comment(f"{CHOOSE} the unit of the capacity, which its name does not say: capacity_unit = ...")


def _free_name(key: str, header: Sequence[str]) -> str:
    return key if key not in {name.lower() for name in header} else f"{key}_to_choose"


def _unit(found: Findings, column: Column) -> Iterator[str]:
    greatest, place = column.greatest
    fact = f"The greatest of {counted(len(column.numbers), 'value')} is {found.at(place)}."
    says_percent = bool(column.words & {"pct", "percent", "prozent"})
    if greatest > 1.5:  # noqa: PLR2004 - no fraction is far above 1, no fleet below 1.5 percent throughout
        yield from comment(fact)
        yield 'unit = "percent"'
        over = [number for number, _ in column.numbers if number > 100]  # noqa: PLR2004 - percent
        if over:
            yield from comment(
                f"{len(over)} of them are above 100 and are quarantined, unless [tolerances] overshoot lets them in."
            )
    elif greatest == 0 or says_percent or not any(number % 1 for number, _ in column.numbers):
        yield from comment(f'{fact} {CHOOSE} this is percent as it stands; if 1 means full, write "fraction".')
        yield 'unit = "percent"'
    else:
        yield from comment(f'{fact} {CHOOSE} if that is percent of an idle fleet after all, write "percent".')
        yield 'unit = "fraction"'


def _limits() -> Iterator[str]:
    yield "\n[tolerances]"
    yield from comment("Limits; `refinery contract show` prints those in force.")
