"""All that is known of one month: what stands, what the last run found, and what a run would say now.

Here: putting it together. Not here: the words around it (`reports/terminal.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb

from refinery_assets.checks.rules import Outcome, Row, Verdict
from refinery_assets.contract.columns import AUDITS, PUBLICATIONS, QUARANTINED_ROWS
from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.audits import LAST_RUNS, verdicts_of_run
from refinery_assets.warehouse.month_state import MonthResult, State
from refinery_assets.warehouse.plan import make_plan
from refinery_assets.warehouse.receipts import Receipt, latest_receipts
from refinery_assets.warehouse.snapshot import open_published
from refinery_assets.warehouse.storage import WarehouseMissingError
from refinery_assets.warehouse.tables import rows_of, table_names
from refinery_assets.warehouse.waivers import Waiver, waivers_in_force

QUARANTINE_SAMPLE = 10


@dataclass(frozen=True)
class Explanation:
    """What is known of one month.

    Attributes:
        month: The month.
        receipt: Of its last publication; None: it was never published.
        last_found: Failures and warnings of the last run's checks; empty where all passed.
        run_id: That run; None: no run has published or refused the month.
        now: What would become of it if it were run now; None: the feed holds nothing of it yet.
        quarantined: How many rows of its last publication are quarantined, by resource and fault.
        sample: Some of these rows: `source_file`, `source_line`, `fault`, `raw`.
        waivers: What somebody has accepted of it.
        is_outside: Whether the window lacks it, so that no run can be over it; `now` is None then.
    """

    month: Month
    receipt: Receipt | None = None
    last_found: Sequence[Verdict] = ()
    run_id: str | None = None
    now: MonthResult | None = None
    quarantined: Mapping[str, int] = field(default_factory=dict)
    sample: Sequence[Row] = ()
    waivers: Sequence[Waiver] = ()
    is_outside: bool = False

    @property
    def is_known(self) -> bool:
        """Whether a run has ever published or refused it, or its present files have been looked at."""
        return self.receipt is not None or self.run_id is not None or self.now is not None

    @property
    def is_as_published(self) -> bool:
        """Whether a run would find it as it is published."""
        return self.now is not None and self.now.state is State.UNCHANGED

    @property
    def has_published_inputs(self) -> bool:
        """Whether files, settings and inventory are those of the publication, whatever is accepted of it by now."""
        if self.now is None or self.receipt is None:
            return False
        return self.is_as_published or self.now.input_digest == self.receipt.input_digest

    @property
    def lapsed(self) -> Sequence[str]:
        """The checks of which something was accepted for other inputs than the present or the published ones."""
        present = self.now.input_digest if self.now else None
        return [waiver.check_name for waiver in self.waivers if self._has_lapsed(waiver, present)]

    def _has_lapsed(self, waiver: Waiver, present: str | None) -> bool:
        if present is not None:
            return waiver.input_digest != present
        # It cannot be told what the present inputs are; but another delivery may have been published since.
        receipt = self.receipt
        return (
            receipt is not None
            and receipt.published_at > waiver.accepted_at
            and receipt.input_digest != waiver.input_digest
        )


def explain(settings: Settings, month: Month) -> Explanation:
    """Look at what is published, at what the last run found, and at the files as they are.

    Raises:
        WarehouseHeldError: The warehouse is written to, and there is no read copy.
        WarehouseUnusableError: The warehouse cannot be read.
        ForeignTableError: A table with one of the refinery's names has other columns.
        OSError: There is no room for a copy of the warehouse.
    """
    is_outside = not settings.window[0] <= month <= settings.window[-1]
    now = None if is_outside else make_plan(settings, [[month]]).results.get(month)
    try:
        with open_published(settings) as connection:
            return replace(_explain(connection, month, now), is_outside=is_outside)
    except WarehouseMissingError:
        return Explanation(month, now=now, is_outside=is_outside)


def _explain(connection: duckdb.DuckDBPyConnection, month: Month, now: MonthResult | None) -> Explanation:
    tables = table_names(connection)
    asked = {"month": str(month)}
    receipt = latest_receipts(connection, [month]).get(month) if PUBLICATIONS.name in tables else None
    run_id, last_found = None, []
    if AUDITS.name in tables:
        last = f"SELECT run_id FROM ({LAST_RUNS}) WHERE month = $month"  # noqa: S608 - a constant of ours
        run_id = next((found for (found,) in connection.execute(last, asked).fetchall()), None)
    if run_id is not None:
        last_found = [
            verdict
            for verdict in verdicts_of_run(connection, run_id, month)
            if verdict.outcome in {Outcome.FAILED, Outcome.WARNING}
        ]
    waivers = waivers_in_force(connection, [month])
    if QUARANTINED_ROWS.name not in tables:
        return Explanation(month, receipt, last_found, run_id, now, waivers=waivers)
    quarantined = connection.execute(
        "SELECT resource || ' ' || fault, count(*) FROM quarantined_rows WHERE month = $month GROUP BY ALL ORDER BY 1",
        asked,
    ).fetchall()
    cursor = connection.execute(
        """
        SELECT source_file, source_line, fault, raw FROM quarantined_rows WHERE month = $month
        QUALIFY row_number() OVER (PARTITION BY resource, fault ORDER BY source_line) <= 2
        ORDER BY source_file, source_line LIMIT $most
        """,
        {**asked, "most": QUARANTINE_SAMPLE},
    )
    return Explanation(month, receipt, last_found, run_id, now, dict(quarantined), rows_of(cursor), waivers)
