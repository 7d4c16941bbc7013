"""Dagster's storage in SQLite, made by one process at a time, with the event log of `event_log.py`.

Dagster makes its databases when an instance is opened for the first time. Two processes that do so at once
meet each other's half-made tables; the first run and the first `make ui` may well start together.

Here: taking turns. Not here: what is stored, and how (Dagster's own, and `event_log.py`).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dagster._config import StringSource, UserConfigSchema
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from refinery_assets.operations.event_log import KeptOpenEventLog


class RefineryStorage(DagsterSqliteStorage):
    """The stock storage in the same files, but for the event log; named by `data/dagster/dagster.yaml`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        with _turn(Path(base_dir)):
            super().__init__(base_dir, inst_data)
        # Dagster hands over the events of many months together only where it is asked to, and only in this way.
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
        self._event_log_storage = KeptOpenEventLog(str(Path(base_dir, "history", "runs")))

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """The folder that the instance lies in."""
        return {"base_dir": StringSource}

    @classmethod
    def from_config_value(  # type: ignore[override]  # the stock storage narrows the type
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, str]
    ) -> RefineryStorage:
        """As Dagster opens the storage that its `dagster.yaml` names."""
        return cls.from_local(config_value["base_dir"], inst_data)


@contextmanager
def _turn(home: Path) -> Iterator[None]:
    # The lock ends with the process that holds it, however that ends.
    with (home / "storage.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
