"""The section of docs/contract.md that lists every key of a contract, with default, meaning and what it takes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from refinery_assets.contract.contract_file import Behaviors, Inventory, expected_of
from refinery_assets.contract.contract_text import toml_value
from refinery_assets.contract.families import Family, FeedTolerances, Lines, Tolerances
from refinery_assets.contract.own_rules import OwnRule
from refinery_assets.contract.settings import Settings
from refinery_assets_tests.docs.pages import sentence, table

_ATTRIBUTE = re.compile(r"^ {4}(?P<name>\w+): (?P<meaning>.+?)(?=^ {4}\w|\Z)", re.MULTILINE | re.DOTALL)
_SECTIONS: tuple[tuple[str, type[BaseModel], type[BaseModel] | None], ...] = (
    ("`[feed]`, or a family", Lines, None),
    ("`[[family]]`", Family, Lines),
    ("`[inventory]`", Inventory, None),
    ("`[behaviors]`", Behaviors, None),
    ("`[tolerances]`, or a family's", Tolerances, None),
    ("`[tolerances]`", FeedTolerances, Tolerances),
    ("`[[rule]]`", OwnRule, None),
)


def keys() -> str:
    """Every key, section by section."""
    return table(("section", "key", "default", "takes", "meaning"), _rows())


def _rows() -> Iterator[tuple[str, ...]]:
    for section, model, above in _SECTIONS:
        meanings = _meanings(model)
        for key, field in model.model_fields.items():
            # A family's limits are a section of their own.
            if (above and key in above.model_fields) or field.annotation is Tolerances:
                continue
            yield (
                section,
                f"`{key}`",
                _default(key, field.default),
                expected_of(model, key).replace("|", "\\|"),
                meanings[key],
            )


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    if issubclass(model, Tolerances):
        return _meanings_of_limits()
    text = inspect.getdoc(model) or ""
    return {each["name"]: sentence(each["meaning"]).rstrip(".") for each in _ATTRIBUTE.finditer(text)}


def _meanings_of_limits() -> dict[str, str]:
    text = inspect.getdoc(Settings) or ""
    found = {each["name"]: sentence(each["meaning"]) for each in _ATTRIBUTE.finditer(text)}
    return {name: re.sub(r" \(`REFINERY_\w+`\)\.$", "", meaning) for name, meaning in found.items()}


def _default(key: str, value: Any) -> str:
    if value is PydanticUndefined:
        return "has to be there"
    if value is None and key in FeedTolerances.model_fields:
        value = getattr(Settings, key)
    return "none" if value is None else f"`{toml_value(value)}`"
