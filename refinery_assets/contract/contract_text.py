"""A contract written as TOML, which reads back to the same contract.

Here: how keys and values are written. Not here: reading (`contract_file.py`), and what a proposal says beside them
(`feed/infer/proposal.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from refinery_assets.contract.contract_file import Contract
from refinery_assets.contract.families import Lines


def contract_as_toml(contract: Contract, limits: Mapping[str, Any]) -> str:
    """The contract with every default, as the text of a contract file.

    Args:
        contract: The contract.
        limits: What holds of the limits by name, and of `behaviors`; where that is not what the contract says, it is
            written as a comment.
    """
    return "\n".join(_sections(contract, limits)) + "\n"


def toml_value(value: Any) -> str:
    """A text, number, truth or list of these as TOML writes it."""
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(toml_value(each) for each in value)}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    # JSON's escapes are TOML's, but for the one character that JSON lets stand.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _sections(contract: Contract, limits: Mapping[str, Any]) -> Iterator[str]:
    yield "# The contract in force, with every default."
    for name in Contract.model_fields:
        part = getattr(contract, name)
        if isinstance(part, tuple):
            for each in part:
                yield f"\n[[{name}]]"
                yield from _keys(each, _said_of_all(contract, each))
                for inner in _parts(each):
                    yield from _inner_section(name, inner, getattr(each, inner))
        else:
            yield f"\n[{name}]"
            yield from _keys(part, {})
            if name == "tolerances":
                yield from _limits_beside(part, limits)
            elif name == "behaviors" and limits.get("behaviors", part.expected) != part.expected:
                yield f"# REFINERY_BEHAVIORS: {limits['behaviors']}"


def _said_of_all(contract: Contract, part: BaseModel) -> Mapping[str, Any]:
    """What a family takes from `[feed]` unless it says otherwise."""
    return contract.feed.model_dump() if isinstance(part, Lines) else {}


def _keys(part: BaseModel, inherited: Mapping[str, Any]) -> Iterator[str]:
    for key in type(part).model_fields:
        value = getattr(part, key)
        if value is None or isinstance(value, BaseModel) or inherited.get(key) == value:
            continue
        yield f"{key} = {toml_value(value)}"


def _parts(part: BaseModel) -> list[str]:
    return [key for key in type(part).model_fields if isinstance(getattr(part, key), BaseModel)]


def _inner_section(outer: str, name: str, part: BaseModel) -> Iterator[str]:
    keys = list(_keys(part, {}))
    if keys:
        yield f"\n[{outer}.{name}]"
        yield from keys


def _limits_beside(part: BaseModel, limits: Mapping[str, Any]) -> Iterator[str]:
    for key in type(part).model_fields:
        own = getattr(part, key)
        if own is None and key in limits:
            yield f"# {key} = {toml_value(limits[key])}"
        elif own != limits.get(key, own):
            yield f"# REFINERY_{key.upper()}: {toml_value(limits[key])}"
