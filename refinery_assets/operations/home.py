"""The Dagster home: the folder in which Dagster keeps its history, with the project's `dagster.yaml` in it.

Here: which folder it is, and making it. Not here: whether somebody already serves the UI from it (`ui.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from refinery_assets.contract.settings import PROJECT_ROOT
from refinery_assets.feed.atomic_write import atomic_write

DAGSTER_YAML = "dagster.yaml"


def dagster_yaml() -> bytes:
    """The instance configuration that comes with the package."""
    return files("refinery_assets.operations").joinpath(DAGSTER_YAML).read_bytes()


def make_dagster_home(environment: Mapping[str, str]) -> Path:
    """The folder that `DAGSTER_HOME` names, or else `data/dagster`, made if it is not there.

    A `dagster.yaml` that is there is left as it is.

    Raises:
        ValueError: `DAGSTER_HOME` is not an absolute path.
        OSError: The folder cannot be made.
    """
    text = environment.get("DAGSTER_HOME", "").strip()
    home = Path(text) if text else PROJECT_ROOT / "data" / "dagster"
    if not home.is_absolute():
        raise ValueError(f"DAGSTER_HOME is '{text}'; expected an absolute path, such as $PWD/{text}.")
    home.mkdir(parents=True, exist_ok=True)
    if not (home / DAGSTER_YAML).exists():
        atomic_write(home / DAGSTER_YAML, dagster_yaml())
    return home
