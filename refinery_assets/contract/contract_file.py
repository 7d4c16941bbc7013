"""The contract file: what a team declares of its feed, its inventory and its limits.

Here: the models of the file's sections, reading a file, and how a mistake in one is refused. Not here: the model of
a family (`families.py`) and what is done with any of it.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, PrivateAttr, ValidationError
from pydantic.fields import FieldInfo

from refinery_assets.contract.families import (
    Behavior,
    ColumnName,
    DateFormat,
    DateFormatName,
    Delimiter,
    Encoding,
    EncodingName,
    Family,
    FeedTolerances,
    Lines,
    Part,
)
from refinery_assets.contract.own_names import INVENTORY_COLUMNS, OWN_COLUMNS, OWN_PREFIX, OWN_TABLES
from refinery_assets.contract.own_rules import OwnRule
from refinery_assets.contract.plausibility import PlausibilitySettings

PACKAGED_FILE = Path(__file__).with_name("contract.toml")


class ContractError(ValueError):
    """A contract file cannot be used; the message is one sentence with file, key, value and what was expected."""


def _behavior(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    scenario, _, variant = (part.strip().upper() for part in text.partition("/"))
    if not scenario:
        raise ValueError(text)
    return Behavior(scenario, variant)


class Inventory(Part):
    """Where the hosts are listed, and what its columns are called.

    Attributes:
        source: A table or view of the warehouse, or a CSV or Parquet file, relative to the contract file.
        host: The column of the host's name.
        behavior: The columns that together name a host's behavior: none, one or two.
        valid_from: The column of the first day on which the host counts; null: always before.
        valid_to: The column of the first day on which it no longer counts; null: it still does.
        attributes: Further columns, which the views carry.
        delimiter: What stands between two fields of a CSV file; None: what its header shows.
        encoding: How a CSV file writes characters.
        date_format: How a CSV file writes the days of valid_from and valid_to; YYYY-MM-DD is read besides.
    """

    source: Annotated[
        str, Field(min_length=1, description="a table or view of the warehouse, or a CSV or Parquet file")
    ] = "hosts"
    host: ColumnName = "node_name"
    behavior: Annotated[tuple[ColumnName, ...], Field(max_length=2, description="a list of at most two columns")] = (
        "scenario",
        "variant",
    )
    valid_from: ColumnName | None = None
    valid_to: ColumnName | None = None
    attributes: Annotated[tuple[ColumnName, ...], Field(description="a list of columns")] = ()
    delimiter: Delimiter | None = None
    encoding: EncodingName = Encoding.UTF8
    date_format: DateFormatName = DateFormat.ISO

    @property
    def is_file(self) -> bool:
        """Whether the inventory is a file, and not a table or view of the warehouse."""
        return self.source.lower().endswith((".csv", ".parquet"))

    @property
    def is_csv(self) -> bool:
        """Whether it is a CSV file, which alone has a delimiter, an encoding and a way to write days."""
        return self.source.lower().endswith(".csv")

    @property
    def is_packaged(self) -> bool:
        """Whether it is declared as in the packaged contract: then all but host and behavior may be absent."""
        return self.model_dump() == packaged_contract().inventory.model_dump()

    @property
    def own_columns(self) -> dict[str, str]:
        """What the columns are called here that the refinery has names of its own for, by these names."""
        scenario, variant = (*self.behavior, None, None)[:2]
        named = (self.host, scenario, variant, self.valid_from, self.valid_to)
        return {name: column for name, column in zip(INVENTORY_COLUMNS, named, strict=True) if column}


class Behaviors(Part):
    """Which behaviors the inventory must have: by name, or how many; neither: any or none.

    Attributes:
        names: Their names, SCENARIO/VARIANT.
        count: How many there must be at least.
    """

    names: Annotated[
        tuple[Annotated[Behavior, BeforeValidator(_behavior)], ...],
        Field(description='a list of texts such as "SEASONAL/EXTREME"'),
    ] = ()
    count: Annotated[int, Field(ge=0, strict=True, description="a whole number, 0 or more")] | None = None

    @property
    def expected(self) -> int:
        """How many there must be."""
        return len(self.names) if self.count is None else self.count


class Contract(Part):
    """What a contract file declares.

    Attributes:
        feed: What holds of every family's files unless the family says otherwise.
        family: The families, in their order.
        inventory: The hosts.
        behaviors: The behaviors that must be there.
        tolerances: The limits; a setting of the environment overrides each.
        plausibility: How a month is held against the months before it.
        rule: Rules of the team's own.
    """

    feed: Lines = Lines()
    family: Annotated[tuple[Family, ...], Field(min_length=1, description="one [[family]] or more")]
    inventory: Inventory = Inventory()
    behaviors: Behaviors = Behaviors()
    tolerances: FeedTolerances = FeedTolerances()
    plausibility: PlausibilitySettings = PlausibilitySettings()
    rule: Annotated[tuple[OwnRule, ...], Field(description="one [[rule]] or more, or none")] = ()
    _file: Path = PrivateAttr(Path())

    def model_post_init(self, context: Any) -> None:
        """Remember where the file lies, which is no part of what it declares."""
        if context is not None:
            self._file = context["file"]

    def __eq__(self, other: object) -> bool:
        """Contracts that declare the same are the same, wherever their files lie."""
        return self.digest == other.digest if isinstance(other, Contract) else NotImplemented

    def __hash__(self) -> int:
        """As they compare."""
        return hash(self.digest)

    @property
    def file(self) -> Path:
        """The file that it was read from."""
        return self._file

    @property
    def inventory_file(self) -> Path | None:
        """The file that the inventory is; None where it is a table or view of the warehouse."""
        return self._file.parent / self.inventory.source if self.inventory.is_file else None

    @property
    def families(self) -> tuple[Family, ...]:
        """The families, in their order."""
        return self.family

    @cached_property
    def resources(self) -> tuple[str, ...]:
        """The values of `processed_data.resource`, in the families' order."""
        return tuple(family.resource for family in self.family)

    @cached_property
    def digest(self) -> str:
        """A digest of all that is declared, defaults and the texts of queries included."""
        queries = "\0".join(rule.query for rule in self.rule)
        return hashlib.sha256(f"{self.model_dump_json()}{queries}".encode()).hexdigest()


_LISTS: Mapping[str, type[BaseModel]] = {"family": Family, "rule": OwnRule}


def load_contract(path: Path) -> Contract:
    """Read a contract file.

    Raises:
        ContractError: It cannot be read, or declares what cannot be.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ContractError(f"The contract {path} cannot be read ({error.strerror}); expected a TOML file.") from None
    except UnicodeDecodeError:
        raise ContractError(f"The contract {path} is not UTF-8 text; save it as that.") from None
    return read_contract(text, path)


def read_contract(text: str, path: Path) -> Contract:
    """Read the text of a contract file.

    Args:
        text: The text.
        path: The file, as messages name it, and from whose folder other files are looked for.

    Raises:
        ContractError: It declares what cannot be.
    """
    try:
        declared = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ContractError(f"The contract {path} is not TOML: {error}.") from None
    try:
        contract = Contract.model_validate(_with_feed_in_families(declared), context={"file": path.absolute()})
    except ValidationError as error:
        raise ContractError(f"The contract {path}: {_mistake(error, declared)}") from None
    for clash in _clashes(contract):
        raise ContractError(f"The contract {path}: {clash}")
    for rule in contract.rule:
        _read_query(rule, path)
    return contract


def _read_query(rule: OwnRule, path: Path) -> None:
    try:
        rule.read_query(path.parent)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ContractError(
            f"The contract {path}: [[rule]] {rule.name} sql is {rule.sql!r}, which cannot be read ({why}); expected a "
            "file with one SELECT, relative to the contract file."
        ) from None


@cache
def packaged_contract() -> Contract:
    """The contract that holds where REFINERY_CONTRACT is not set."""
    return load_contract(PACKAGED_FILE)


def _with_feed_in_families(declared: dict[str, Any]) -> dict[str, Any]:
    """The same, with what `[feed]` says in every family that does not say it itself."""
    feed, families = declared.get("feed", {}), declared.get("family")
    if not isinstance(families, list) or not isinstance(feed, dict):
        return declared
    known = {key: value for key, value in feed.items() if key in Lines.model_fields}
    filled = [known | family if isinstance(family, dict) else family for family in families]
    return declared | {"family": filled}


def _mistake(error: ValidationError, declared: dict[str, Any]) -> str:
    """The first mistake, as the rest of a sentence: section, key, value, what was expected."""
    # What stands under [feed] is reported once there, not for each family that takes it from there.
    first = min(error.errors(include_url=False), key=lambda found: found["loc"][:1] != ("feed",))
    location = first["loc"]
    section, model = _section(location, declared)
    names = [part for part in location if isinstance(part, str)]
    key = names[-1]
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, _keys(model), 1, 0.6)
        hint = f"did you mean {near[0]}?" if near else f"expected {_listed(_keys(model), 'or')}."
        return f"{section} has no key {key!r}; {hint}"
    if first["type"] == "missing":
        if len(location) == 1:
            return "it declares no family; expected one [[family]] or more."
        return f"{section} lacks {key}; expected {expected_of(model, key)}."
    value = first["input"]
    if isinstance(location[-1], int) and isinstance(value, dict | list):
        return f"{section} is {value!r}; expected a table of keys and values."
    if key == location[0]:
        return f"{section} is {value!r}; expected {expected_of(Contract, key)}."
    return f"{section} {key} is {value!r}; expected {expected_of(model, key)}."


def _section(location: Sequence[str | int], declared: dict[str, Any]) -> tuple[str, type[BaseModel]]:
    """The section that a mistake stands in, as people write it, and its model."""
    first, *rest = location
    if first in _LISTS:
        number = next((part for part in rest if isinstance(part, int)), None)
        if number is None:
            return f"[[{first}]]", Contract
        given = declared[str(first)][number]
        name = given.get("name") if isinstance(given, dict) else None
        called = f" ({name})" if isinstance(name, str) else ""
        if "tolerances" in rest[:-1]:
            return f"[family.tolerances] of family {number + 1}{called}", Family.model_fields["tolerances"].annotation  # type: ignore[return-value]
        return f"[[{first}]] {number + 1}{called}", _LISTS[str(first)]
    model = Contract.model_fields[str(first)].annotation if first in Contract.model_fields else None
    if len(location) > 1 and isinstance(model, type) and issubclass(model, BaseModel):
        return f"[{first}]", model
    return (f"[{first}]", Contract) if model is not None else ("the file", Contract)


def _keys(model: type[BaseModel]) -> list[str]:
    return list(model.model_fields)


def expected_of(model: type[BaseModel], key: str) -> str:
    """What a key of a section takes, in the words in which another value is refused; they stand with its type."""
    found = model.model_fields.get(key)
    if found is None:
        return "another value"
    infos: list[FieldInfo] = [found]
    kinds = [found.annotation]
    while kinds:
        kind = kinds.pop()
        infos += [info for info in getattr(kind, "__metadata__", ()) if isinstance(info, FieldInfo)]
        kinds += getattr(kind, "__args__", ())
    described = next((info.description for info in infos if info.description), None)
    return described or "a table of keys and values"


def _clashes(contract: Contract) -> Iterator[str]:
    """What single keys do not show: what contradicts each other, each as a sentence."""
    yield from _clashes_of_families(contract)
    yield from _clashes_of_the_rest(contract)


def _clashes_of_families(contract: Contract) -> Iterator[str]:
    families = contract.families
    for what, names in (
        ("families have the name", [family.name for family in families]),
        ("families have the resource", [family.resource for family in families]),
        ("rules have the name", [rule.name for rule in contract.rule]),
    ):
        for name in _repeated(names):
            yield f"two {what} {name!r}; give each its own."
    for number, family in enumerate(families):
        yield from _clashes_within(family)
        for other in families[:number]:
            if _place(family) == _place(other) and family.value == other.value:
                yield (
                    f"the families {other.name} and {family.name} read the same column {family.value!r} of the same "
                    "file; give each its own column or path."
                )


def _clashes_of_the_rest(contract: Contract) -> Iterator[str]:
    inventory, behaviors = contract.inventory, contract.behaviors
    for name in _repeated(inventory.own_columns.values()):
        yield f"[inventory] names the column {name!r} twice; give each its own."
    yield from _names_taken(inventory)
    for key in ("delimiter", "encoding", "date_format"):
        if not inventory.is_csv and getattr(inventory, key) != Inventory.model_fields[key].default:
            yield (
                f"[inventory] {key} is {str(getattr(inventory, key))!r}, and the source {inventory.source!r} is no CSV "
                "file; leave the key out."
            )
    if behaviors.names and behaviors.count is not None:
        yield "[behaviors] has names and a count; keep one."
    for name in _repeated(map(str, behaviors.names)):
        yield f"[behaviors] names {name} twice; keep one."
    if behaviors.expected and not inventory.behavior:
        yield "[behaviors] expects some, and [inventory] behavior names no column to read them from; add the columns."
    for check, resource in contract.plausibility.not_for:
        if resource not in contract.resources:
            yield (
                f"[plausibility] not_for names the resource {resource!r} for {check}; expected "
                f"{_listed(contract.resources, 'or')}."
            )


def _names_taken(inventory: Inventory) -> Iterator[str]:
    """What would hide, or be hidden by, what the refinery makes."""
    source = inventory.source.strip().lower().removeprefix("main.")
    if source in OWN_TABLES or source.startswith(OWN_PREFIX):
        yield (
            f"[inventory] source is {inventory.source!r}, which is the name of a table or view of the refinery; "
            "expected a table, view or file of yours."
        )
    for name in _repeated(inventory.attributes):
        yield f"[inventory] attributes names {name!r} twice; keep one."
    for name in inventory.attributes:
        is_that_column = inventory.own_columns.get(name) == name
        if name in OWN_COLUMNS or (name in INVENTORY_COLUMNS and not is_that_column):
            yield (
                f"[inventory] attributes names {name!r}, and the views have a column of that name; give it another "
                "one in a view of yours, and name that view as source."
            )


def _clashes_within(family: Family) -> Iterator[str]:
    for name in _repeated(family.columns):
        yield f"[[family]] {family.name} reads the column {name!r} twice; give each its own."
    if family.delimiter == family.decimal:
        yield f"[[family]] {family.name} has {family.decimal!r} as delimiter and as decimal; change one."
    if family.capacity_unit and not family.capacity:
        yield f"[[family]] {family.name} has a capacity_unit and no capacity; name the column, or drop the unit."


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _place(family: Family) -> str:
    return family.path.replace("{family}", family.name).replace("{resource}", family.resource)


def _listed(names: Sequence[str], last: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"
