"""The Dagster home: the folder in which Dagster keeps its history, with the project's `dagster.yaml` in it.

Here: which folder it is, and making it. Not here: whether somebody already serves the UI from it (`ui.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from refinery_assets.contract.settings import PROJECT_ROOT, SettingError
from refinery_assets.feed.atomic_write import atomic_write

DAGSTER_YAML = "dagster.yaml"


def dagster_yaml() -> bytes:
    """The instance configuration that comes with the package."""
    return files("refinery_assets.operations").joinpath(DAGSTER_YAML).read_bytes()


def dagster_home(environment: Mapping[str, str]) -> Path:
    """The folder that `DAGSTER_HOME` names, or `data/dagster` if it is not set.

    A relative path is relative to the project's root, as in all settings. The folder is made if it is missing, and
    gets the project's `dagster.yaml` unless it has one, or a history that was begun without one.

    Raises:
        SettingError: The folder cannot be made, read or written.
    """
    text = environment.get("DAGSTER_HOME", "").strip()
    home = PROJECT_ROOT / Path(text or "data/dagster").expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not any(home.joinpath(name).exists() for name in (DAGSTER_YAML, "history")):
            atomic_write(home / DAGSTER_YAML, dagster_yaml())
    except OSError as error:
        raise SettingError(
            f"DAGSTER_HOME is '{text or home}', which cannot be used ({error.strerror}); expected a folder that can "
            "be read and written, or made."
        ) from error
    return home
