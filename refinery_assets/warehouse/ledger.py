"""What the steps of one run pass on to each other: verdicts, and the digests of the files that were judged.

A step may run in a process, or on a machine, of its own, so this goes through files:
`<telemetry>/.runs/<run id>/<asset>.json`. They are removed when their verdicts stand in the table `audits`.

Here: the files. Not here: what is done with a verdict.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

from refinery_assets.checks.rules import Verdict
from refinery_assets.contract.months import Month
from refinery_assets.contract.places import Place
from refinery_assets.feed.store import OwnStore, telemetry_store
from refinery_assets.warehouse.tables import utc_now

_FOLDER = ".runs"
_ABANDONED_SECONDS = 24 * 3600.0
# More than a run can have steps.
_MOST_RECORDS = 10_000

# Incremented when the records change, so that leftovers of a killed run of an older version are not read.
_VERSION = 2


@dataclass(frozen=True)
class StepRecord:
    """What one step found.

    Attributes:
        asset: The step's asset.
        verdicts: Its verdicts on the months of the run.
        left_out: Months of the run of which the feed holds nothing yet.
        digests: The entrance audit's alone: per month, the digest of each family's file.
        moment: When it was found, in UTC.
    """

    asset: str
    verdicts: Sequence[Verdict] = ()
    left_out: Sequence[Month] = ()
    digests: Mapping[Month, Mapping[str, str]] = field(default_factory=dict)
    moment: datetime = field(default_factory=utc_now)

    def of(self, month: Month) -> list[Verdict]:
        """The verdicts on one month."""
        return [verdict for verdict in self.verdicts if verdict.month == month]


@dataclass(frozen=True)
class RunLedger:
    """The records of one run."""

    telemetry: Place
    run_id: str

    @property
    def folder(self) -> str:
        """Where the run's records are, below the root."""
        return f"{_FOLDER}/{self.run_id}"

    @property
    def _store(self) -> OwnStore:
        return telemetry_store(self.telemetry)

    def write(self, record: StepRecord) -> None:
        """Keep a step's record; a step that is tried again replaces its own.

        Raises:
            OSError: The folder cannot be written.
            StoreError: The object store cannot be.
        """
        content = {
            "version": _VERSION,
            "asset": record.asset,
            "verdicts": [verdict.as_json() for verdict in record.verdicts],
            "left_out": [str(month) for month in record.left_out],
            "digests": {str(month): dict(digests) for month, digests in record.digests.items()},
            "moment": record.moment.isoformat(),
        }
        self._store.write(f"{self.folder}/{record.asset}.json", json.dumps(content).encode())

    def read(self, asset: str) -> StepRecord | None:
        """The record of the asset's step; None when the step is not part of the run, or yet to come."""
        try:
            content = json.loads(self._store.read_back(f"{self.folder}/{asset}.json"))
        except (FileNotFoundError, NotADirectoryError):
            # The step that cannot write to the telemetry folder reports that it is not a folder.
            return None
        if content.get("version") != _VERSION:
            return None
        return StepRecord(
            content["asset"],
            [Verdict.from_json(verdict) for verdict in content["verdicts"]],
            [Month.parse(key) for key in content["left_out"]],
            {Month.parse(key): digests for key, digests in content["digests"].items()},
            datetime.fromisoformat(content["moment"]),
        )

    def records(self) -> list[StepRecord]:
        """The records of all steps so far."""
        names, _ = self._store.names(self.folder, _MOST_RECORDS)
        found = (self.read(PurePosixPath(name).stem) for name in names if name.endswith(".json"))
        return [record for record in found if record is not None]

    def verdicts(self) -> list[Verdict]:
        """The verdicts of all steps so far."""
        return [verdict for record in self.records() for verdict in record.verdicts]

    def remove(self) -> None:
        """Forget the run, when its verdicts stand in `audits`."""
        self._store.remove_folder(self.folder)

    def abandoned(self) -> Iterator[RunLedger]:
        """Other runs whose verdicts never came to `audits`: they were killed, or had no warehouse."""
        for run_id, written in self._store.folders(_FOLDER):
            if run_id != self.run_id and time.time() - written > _ABANDONED_SECONDS:
                yield RunLedger(self.telemetry, run_id)
