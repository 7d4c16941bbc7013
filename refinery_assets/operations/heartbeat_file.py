"""The file of the sign of life, for those who know nothing of Dagster.

Here: where it is, and reading it. Not here: what it is made of (`heartbeat.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from refinery_assets.contract.settings import Settings

_STILL_FRESH = timedelta(minutes=10)


@dataclass(frozen=True)
class Heartbeat:
    """What the file says.

    Attributes:
        time: When it was written.
        failing: The sensors and schedules that are on and failed at their last tick, with what it said.
    """

    time: datetime
    failing: Mapping[str, str]

    def is_fresh(self, now: datetime) -> bool:
        """Whether the daemon is running."""
        return now - self.time < _STILL_FRESH


def heartbeat_file(settings: Settings) -> Path:
    """Where the sign of life is written."""
    return settings.alert_log.with_name("heartbeat.json")


def read_heartbeat(settings: Settings) -> Heartbeat | None:
    """The last sign of life; None when there was none, or it cannot be read."""
    try:
        record = json.loads(heartbeat_file(settings).read_text(encoding="utf-8"))
        return Heartbeat(
            datetime.fromisoformat(record["time"]),
            {
                name: pulse["error"] or "no reason was given"
                for name, pulse in record["automation"].items()
                if pulse["on"] and pulse["failing_since"]
            },
        )
    except (OSError, ValueError, KeyError):
        return None
