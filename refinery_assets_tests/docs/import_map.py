"""The rooms of the package, their order, and the imports between them as the code really has them."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from refinery_assets_tests.docs.pages import PACKAGE

ROOMS = (
    "contract",
    "checks",
    "feed",
    "rows",
    "operations",
    "warehouse",
    "reports",
    "assets",
    "build",
    "definitions",
    "sample",
    "cli",
)
"""From the ground up: a room imports only from those before it."""

DATA_ROOMS = ("contract", "checks", "feed", "rows", "warehouse", "reports")
"""The rooms that know nothing of Dagster."""


@dataclass(frozen=True)
class Import:
    """One import statement of a module of the package.

    Attributes:
        module: The importing module, such as `refinery_assets.rows.scrub`.
        line: The line it stands on.
        target: The module imported, in full.
    """

    module: str
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def room_of(module: str) -> str:
    """The room of a module of the package: the folder below `refinery_assets`, or the module at its top.

    Raises:
        ValueError: The module stands at the top without being a room.
    """
    room = module.removeprefix(PACKAGE.name).lstrip(".").partition(".")[0]
    if room not in ROOMS:
        raise ValueError(f"{module} is in no room; move it into one, or name its place in ROOMS.")
    return room


def all_imports(package: Path = PACKAGE) -> Iterator[Import]:
    """Every import of every module, those inside functions and under TYPE_CHECKING included."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (Import(module, node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                # Of `from refinery_assets import x`, x is the room.
                names = [alias.name for alias in node.names] if node.module == package.name else [""]
                yield from (Import(module, node.lineno, f"{node.module}.{name}".rstrip(".")) for name in names)


def own_imports() -> Iterator[Import]:
    """The imports from one room of the package to another."""
    for each in all_imports():
        is_own = each.target.startswith(f"{PACKAGE.name}.") and each.module != PACKAGE.name
        if is_own and room_of(each.module) != room_of(each.target):
            yield each


def imports_that_run_back() -> list[Import]:
    """Imports from a room that stands later in `ROOMS`."""
    return [each for each in own_imports() if ROOMS.index(room_of(each.module)) < ROOMS.index(room_of(each.target))]


def imports_of_dagster() -> list[Import]:
    """Imports of Dagster and its integrations in the rooms of data logic."""
    return [
        each
        for each in all_imports()
        if each.target.partition(".")[0].partition("_")[0] == "dagster"
        and each.module != PACKAGE.name
        and room_of(each.module) in DATA_ROOMS
    ]


def as_mermaid() -> str:
    """The rooms and the number of imports between them, as a Mermaid graph that GitHub draws."""
    arrows = Counter((room_of(each.module), room_of(each.target)) for each in own_imports())
    used = {room for arrow in arrows for room in arrow}
    lines = ["```mermaid", "graph BT"]
    lines += [f"    {room}" for room in ROOMS if room in used]
    lines += [
        f"    {room} -->|{arrows[room, below]}| {below}" for room in ROOMS for below in ROOMS if (room, below) in arrows
    ]
    return "\n".join([*lines, "```", ""])
