"""The heartbeat: when each sensor and the schedule last worked, in a file and as an alert.

A broken sensor shows on the page *Automation* only, and the one that alerts of failed runs cannot alert of
itself. So `housekeeping` looks after the others and writes what it saw to `heartbeat.json` beside the
alert log; a file that is older than some minutes means that nothing works any more.

Here: reading the ticks, and the file. Not here: who looks at the file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorState, TickStatus

from refinery_assets.feed.atomic_write import atomic_write
from refinery_assets.operations.runs import LOCATION

BROKEN_AFTER = timedelta(hours=1)
_GOOD = [TickStatus.SUCCESS, TickStatus.SKIPPED]
_MOST_TICKS = 500


@dataclass(frozen=True)
class Pulse:
    """How a sensor or schedule works.

    Attributes:
        name: Its name.
        is_on: Whether it is turned on.
        last_good: When its last tick worked; None: never.
        failing_since: When the first of its ticks failed that failed since then; None: the last one worked.
        error: What the last failed tick said.
    """

    name: str
    is_on: bool
    last_good: datetime | None
    failing_since: datetime | None
    error: str | None

    def is_broken(self, now: datetime) -> bool:
        """Whether it is on and has failed for an hour without working once."""
        return self.is_on and self.failing_since is not None and now - self.failing_since >= BROKEN_AFTER


def our_automation(instance: dg.DagsterInstance) -> list[InstigatorState]:
    """The state of this project's sensors and schedules, once the daemon has seen them."""
    states = instance.all_instigator_state()
    return [state for state in states if state.origin.location_name == LOCATION]


def read_pulses(instance: dg.DagsterInstance) -> list[Pulse]:
    """How this project's sensors and schedules work, by name."""
    pulses = (_pulse(instance, state) for state in our_automation(instance))
    return sorted(pulses, key=lambda pulse: pulse.name)


def write_heartbeat(path: Path, pulses: Sequence[Pulse], now: datetime) -> None:
    """Write the sign of life.

    Raises:
        OSError: The file cannot be written.
    """
    record = {"time": _text(now), "automation": {pulse.name: _record(pulse) for pulse in pulses}}
    atomic_write(path, json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n")


def describe_broken(pulse: Pulse) -> dict[str, Any]:
    """The alert for a sensor that is broken."""
    since = _text(pulse.failing_since)
    return {
        "time": _text(datetime.now(UTC)),
        "run_id": None,
        "job": pulse.name,
        "months": "",
        "failed_checks": [],
        "problems": [f"{pulse.name} has failed at every tick since {since}; the last said: {pulse.error}"],
        "recovery": [f"Open {pulse.name} on the page Automation, fix what its ticks name, and restart the UI."],
    }


def _pulse(instance: dg.DagsterInstance, state: InstigatorState) -> Pulse:
    ids = state.instigator_origin_id, state.selector_id
    good = instance.get_ticks(*ids, statuses=_GOOD, limit=1)
    failed = instance.get_ticks(
        *ids,
        statuses=[TickStatus.FAILURE],
        after=good[0].timestamp if good else None,
        limit=_MOST_TICKS,
    )
    return Pulse(
        name=state.name,
        is_on=state.is_running,
        last_good=_moment(good[0].timestamp) if good else None,
        failing_since=_moment(failed[-1].timestamp) if failed else None,
        error=failed[0].error.message.strip() if failed and failed[0].error else None,
    )


def _record(pulse: Pulse) -> dict[str, Any]:
    return {
        "on": pulse.is_on,
        "last_good": _text(pulse.last_good),
        "failing_since": _text(pulse.failing_since),
        "error": pulse.error,
    }


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
