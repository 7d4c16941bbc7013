"""The data dictionary as Markdown, and keeping the README's copy of it true.

python -m refinery_assets.data_dictionary           # print it
python -m refinery_assets.data_dictionary --write   # put it into the README
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from refinery_assets.contract.columns import TABLES, VIEWS, Relation
from refinery_assets.contract.settings import PROJECT_ROOT

README = PROJECT_ROOT / "README.md"
BEGIN = "<!-- data dictionary: written by python -m refinery_assets.data_dictionary --write -->\n"
END = "<!-- end of the data dictionary -->\n"


def as_markdown() -> str:
    """A section for each table and view."""
    return "\n".join(_section(relation) for relation in (*TABLES, *VIEWS))


def _section(relation: Relation) -> str:
    lines = [
        f"### `{relation.name}` ({relation.kind})",
        "",
        f"{relation.meaning[0].upper()}{relation.meaning[1:]}.",
        "",
        "| column | type | meaning | unit | from | rule |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{column.name}` | {column.sql_type} | {column.meaning} | {column.unit} | {column.source} | {column.rule} |"
        for column in relation.columns
    ]
    return "\n".join(lines).replace("  ", " ") + "\n"


def with_dictionary(readme: str) -> str:
    """The README with the dictionary between its marks.

    Raises:
        ValueError: A mark is missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README.name} lacks the marks of the data dictionary")
    return f"{before}{begin}\n{as_markdown()}\n{end}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    if "--write" in (sys.argv[1:] if arguments is None else arguments):
        README.write_text(with_dictionary(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(as_markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
