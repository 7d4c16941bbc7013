"""The pages in docs/: generated sections are up to date, links lead somewhere, and imports keep the rooms' order."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from refinery_assets.contract.families import Fault
from refinery_assets.contract.settings import PROJECT_ROOT, VARIABLES
from refinery_assets_tests.docs import import_map, reference
from refinery_assets_tests.docs.pages import DOCS, PACKAGE, replace_section
from refinery_assets_tests.docs.sections import GENERATED, renewed

PAGES = sorted([*PROJECT_ROOT.glob("*.md"), *DOCS.glob("*.md")])
MOST_WORDS_OF_THE_README = 1_200
OF_THE_EXTRA_S3 = {"refinery_assets.feed.object_connection", "refinery_assets.feed.object_store"}


def test_no_import_runs_back_against_the_order_of_the_rooms() -> None:
    assert [str(each) for each in import_map.imports_that_run_back()] == []


def test_the_rooms_of_data_logic_do_not_import_dagster() -> None:
    assert [str(each) for each in import_map.imports_of_dagster()] == []


@pytest.mark.slow
def test_the_rooms_of_data_logic_load_without_dagster() -> None:
    rooms = [PACKAGE / room for room in import_map.DATA_ROOMS]
    modules = sorted(
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for room in rooms for path in room.glob("*.py")
    )
    if find_spec("obstore") is None:
        modules = [module for module in modules if module not in OF_THE_EXTRA_S3]
    loads = f"import {', '.join(modules)}, sys; sys.exit('dagster' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", loads], check=False).returncode == 0


def test_an_import_that_runs_back_is_found(tmp_path: Path) -> None:
    package = tmp_path / "refinery_assets"
    (package / "rows").mkdir(parents=True)
    module = package / "rows" / "scrub.py"
    module.write_text("def f():\n    from refinery_assets import warehouse\n    import dagster_polars\n")

    targets = [each.target for each in import_map.all_imports(package)]
    assert targets == ["refinery_assets.warehouse", "dagster_polars"]
    rooms = [import_map.ROOMS.index(import_map.room_of(each)) for each in ("refinery_assets.rows.scrub", targets[0])]
    assert rooms[0] < rooms[1]


def test_a_module_that_is_in_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match=r"refinery_assets\.helpers is in no room"):
        import_map.room_of("refinery_assets.helpers")


def test_a_page_without_the_marks_of_a_section_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the marks of the section 'settings'"):
        replace_section("# Something else\n", "settings", "")


@pytest.mark.parametrize("name", GENERATED)
def test_the_generated_sections_are_up_to_date(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")

    assert renewed(name, text) == text, "run: python -m refinery_assets_tests.docs"


def test_every_setting_is_in_the_reference() -> None:
    assert reference.settings().count("\n| `REFINERY_") == len(VARIABLES)


def test_every_fault_is_explained() -> None:
    assert set(reference.FAULT_MEANINGS) == set(Fault)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_or_heading_leads_there(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, heading = target.partition("#")
        linked = page.parent / file if file else page
        if not linked.exists() or (heading and heading not in _anchors(linked)):
            broken.append(target)
    assert broken == []


def _anchors(page: Path) -> set[str]:
    """The names by which a page's headings are linked."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_stays_short() -> None:
    assert len((PROJECT_ROOT / "README.md").read_text(encoding="utf-8").split()) <= MOST_WORDS_OF_THE_README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_that_a_page_names_is_there(page: Path) -> None:
    assert _modules_missing(page) == []


def test_every_module_that_a_docstring_or_comment_names_is_there() -> None:
    missing = {str(module.relative_to(PACKAGE)): _modules_missing(module) for module in PACKAGE.rglob("*.py")}

    assert {module: names for module, names in missing.items() if names} == {}


def _modules_missing(text: Path) -> list[str]:
    """Names of modules in backticks that lead nowhere: from the text's own folder, the package or the project."""
    named = re.findall(r"`((?:\w+/)*\w+\.py)`", text.read_text(encoding="utf-8"))
    folders = (text.parent, PACKAGE, PROJECT_ROOT)
    return [name for name in named if not any((folder / name).exists() for folder in folders)]
