"""The package outside a checkout: what it needs is declared, and nothing is written beside it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest

from refinery_assets.contract.settings import PROJECT_ROOT, SettingError
from refinery_assets.operations.home import dagster_home, dagster_yaml

PACKAGE = PROJECT_ROOT / "refinery_assets"


def normalized(name: str) -> str:
    """A distribution's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """The distributions that pyproject.toml names, for the product and its extras."""
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    extras = (wanted for name, wanted in project["optional-dependencies"].items() if name != "dev")
    wanted = chain(project["dependencies"], *extras)
    return {normalized(re.split(r"[^A-Za-z0-9_.-]", each)[0]) for each in wanted}


def imported() -> set[str]:
    """The top-level packages of others that the product imports, in whatever place."""
    names: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names.update(each.name.split(".")[0] for each in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {PACKAGE.name}


@pytest.mark.slow
def test_every_package_that_is_imported_is_declared() -> None:
    distributions = packages_distributions()

    undeclared = {
        name for name in imported() if not {normalized(each) for each in distributions.get(name, [name])} & declared()
    }

    assert undeclared == set()


def test_every_file_that_is_not_python_is_declared_as_part_of_the_package() -> None:
    declared_data = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]

    there = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}

    assert there == {
        PROJECT_ROOT.joinpath(*room.split("."), name) for room in declared_data for name in declared_data[room]
    }


def test_a_dagster_home_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^DAGSTER_HOME is '/dev/null', which cannot be used \(File exists\)"):
        dagster_home({"DAGSTER_HOME": "/dev/null"})


def test_a_new_dagster_home_gets_the_projects_configuration(tmp_path: Path) -> None:
    home = dagster_home({"DAGSTER_HOME": str(tmp_path / "new" / "dagster")})

    assert home == tmp_path / "new" / "dagster"
    assert (home / "dagster.yaml").read_bytes() == dagster_yaml()


def test_a_dagster_home_in_use_keeps_its_configuration(tmp_path: Path) -> None:
    configured, unconfigured = tmp_path / "configured", tmp_path / "unconfigured"
    configured.mkdir()
    (configured / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (unconfigured / "history").mkdir(parents=True)

    for home in (configured, unconfigured):
        dagster_home({"DAGSTER_HOME": str(home)})

    assert (configured / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"
    assert [path.name for path in unconfigured.iterdir()] == ["history"]


def test_a_relative_dagster_home_starts_at_the_project_and_an_unset_one_is_in_data() -> None:
    assert dagster_home({"DAGSTER_HOME": "data/dagster"}) == dagster_home({}) == PROJECT_ROOT / "data" / "dagster"


@pytest.mark.heavy
@pytest.mark.slow
def test_the_wheel_runs_a_demo_in_an_empty_folder_and_writes_nothing_beside_the_package(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    site = tmp_path / "venv" / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    wheels, work = tmp_path / "wheels", tmp_path / "work"
    work.mkdir()
    uv = str(Path(sys.executable).with_name("uv"))
    offline = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "REFINERY_"))}
    offline |= {"UV_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    offline.pop("DAGSTER_HOME", None)

    def run(*command: str | Path, cwd: Path = work) -> str:
        done = subprocess.run(command, cwd=cwd, env=offline, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    source = tmp_path / "source"
    run("git", "clone", "--quiet", PROJECT_ROOT, source)
    run(uv, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "-o", wheels, source)
    (wheel,) = wheels.glob("*.whl")
    assert "refinery_assets/operations/dagster.yaml" in zipfile.ZipFile(wheel).namelist()
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    run(uv, "pip", "install", "--quiet", "--python", python, "--no-deps", wheel)
    # The libraries are this environment's. Its editable installs stay out: they are found by .pth files, which are
    # read in folders of sites only, and not in those that a .pth file names.
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("".join(f"{path}\n" for path in libraries))
    before = sorted(site.rglob("*"))

    where = run(python, "-c", "import refinery_assets; print(refinery_assets.__file__)").strip()
    printed = run(
        *(python.with_name("refinery"), "demo"),
        *("--hosts", "20", "--first", "2024-01", "--last", "2024-01"),
    )

    assert Path(where).is_relative_to(site)
    assert "Published: " in printed
    assert sorted(path.name for path in work.iterdir()) == ["data"]
    assert (work / "data" / "demo" / "dagster" / "dagster.yaml").read_bytes() == dagster_yaml()
    assert sorted(site.rglob("*")) == before
