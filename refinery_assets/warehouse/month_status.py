"""The state of one month and of all: which are refused, to be run, late, or gone from the feed.

Not here: how it is found out (`status.py`), and the printing (`reports/terminal_status.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from refinery_assets.contract.families import PROCESSED_DATA
from refinery_assets.contract.months import Month
from refinery_assets.warehouse.receipts import Receipt
from refinery_assets.warehouse.waivers import Waiver


class Inputs(StrEnum):
    """A month's files, the inventory and the settings, against those that the month was published from."""

    AS_PUBLISHED = "as published"
    CHANGED = "changed"
    WITHDRAWN = "acceptance withdrawn"
    """They are as published, but the month was published by an acceptance that has been withdrawn since."""
    NOT_PUBLISHED = "not published"
    NO_RECEIPT = "no receipt"
    """An older version of the refinery published it: nothing tells from what."""
    NO_FILES = "no files"


@dataclass(frozen=True)
class LastAudit:
    """The verdict of the last run that published a month, or by which a check of it failed.

    Attributes:
        run_id: The run.
        audited_at: When, in UTC.
        published: Whether the month then stood as the run found it right; else it was refused.
        failed: The checks that failed, as `asset check`.
        warnings: Those that warned.
        of_table: Whether the run judged the published table again, and not the month's files.
        input_digest: Of the inputs that it judged; None where it refused the month before they were compared.
    """

    run_id: str
    audited_at: datetime
    published: bool
    failed: Sequence[str] = ()
    warnings: Sequence[str] = ()
    of_table: bool = False
    input_digest: str | None = None


@dataclass(frozen=True)
class MonthStatus:
    """The state of one month.

    Attributes:
        month: The month.
        inputs: Whether its inputs are those that it was published from.
        receipt: Of its last publication; None: it was never published.
        audit: The last run's verdict; None: no run has published or refused it.
        attempt: The verdict of the last run over its files, where `audit` is of the published table; None otherwise.
        waivers: What somebody has accepted of it.
        lapsed: The checks of which that was for other inputs, or by an older version, so that it no longer holds.
        withdrawn: The checks by whose acceptance it was published, where that has been withdrawn since.
        snapshot: Of a lake, the snapshot that its last publication made, while it is kept.
        is_outside: Whether the window lacks it, so that no run can be over it.
    """

    month: Month
    inputs: Inputs
    receipt: Receipt | None = None
    audit: LastAudit | None = None
    attempt: LastAudit | None = None
    waivers: Sequence[Waiver] = ()
    lapsed: Sequence[str] = ()
    withdrawn: Sequence[str] = ()
    snapshot: int | None = None
    is_outside: bool = False

    @property
    def _last_attempt(self) -> LastAudit | None:
        return self.attempt or self.audit

    @property
    def is_refused(self) -> bool:
        """Whether the last run over its files refused it; an earlier publication may stand."""
        last = self._last_attempt
        return last is not None and not last.published and not last.of_table

    @property
    def is_judged_as_it_is(self) -> bool:
        """Whether the last run refused what the month was published from, as far as nobody has accepted it since.

        Another run would refuse it again.
        """
        receipt, audit = self.receipt, self._last_attempt
        if receipt is None or audit is None or not self.is_refused:
            return False
        if self.inputs not in {Inputs.AS_PUBLISHED, Inputs.WITHDRAWN} or audit.input_digest != receipt.input_digest:
            return False
        accepted = {waiver.check_name for waiver in self.waivers if waiver.input_digest == receipt.input_digest}
        judged = (check.partition(" ") for check in audit.failed)
        # What else refused it has looked at other files, or at another inventory.
        return any(asset == PROCESSED_DATA and check not in accepted for asset, _, check in judged)

    @property
    def is_accepted_since(self) -> bool:
        """Whether all for which the last run refused it has been accepted since, for the inputs that it judged."""
        audit = self._last_attempt
        if audit is None or audit.input_digest is None or not self.is_refused:
            return False
        accepted = {
            f"{PROCESSED_DATA} {waiver.check_name}"
            for waiver in self.waivers
            if waiver.input_digest == audit.input_digest and waiver.check_name not in self.lapsed
        }
        return bool(accepted) and accepted.issuperset(audit.failed)


@dataclass(frozen=True)
class Status:
    """The state of the months.

    Attributes:
        months: They, in order.
        late: Those that are due, and not published.
        inventory_problem: Why the inventory, as it is now, has every month refused, and what to do; else empty.
    """

    months: Sequence[MonthStatus] = ()
    late: Sequence[Month] = ()
    inventory_problem: str = ""

    @property
    def changed(self) -> list[Month]:
        """The months whose inputs are there, and that do not stand as these inputs and acceptances would have them.

        One that was refused, and whose inputs are again those that it was published from, is among them: Dagster and
        the table `audits` have it as refused until a run finds it in order.
        """
        return [each.month for each in self._changed if not each.is_outside]

    @property
    def changed_outside(self) -> list[Month]:
        """Months that would be among these, and that the window lacks."""
        return [each.month for each in self._changed if each.is_outside]

    @property
    def _changed(self) -> list[MonthStatus]:
        return [
            each
            for each in self.months
            if each.inputs is not Inputs.NO_FILES
            and (each.inputs is not Inputs.AS_PUBLISHED or each.is_refused)
            and not each.is_judged_as_it_is
        ]

    @property
    def refused_again(self) -> list[Month]:
        """The refused months that are not to be run, because another run would only refuse them again.

        Those of which the feed holds nothing between others of which it holds something are among them; those that
        the window lacks are not.
        """
        there = [each.month for each in self.months if each.inputs is not Inputs.NO_FILES]
        return [
            each.month
            for each in self.months
            if not each.is_outside
            and (
                each.is_judged_as_it_is
                or (each.is_refused and each.inputs is Inputs.NO_FILES and there and there[0] < each.month < there[-1])
            )
        ]

    @property
    def newest(self) -> Month | None:
        """The newest month of which the feed holds anything."""
        return max((each.month for each in self.months if each.inputs is not Inputs.NO_FILES), default=None)

    @property
    def awaited(self) -> list[Month]:
        """The months that a run was asked for before the feed held anything of them."""
        missing = [each.month for each in self.months if each.inputs is Inputs.NO_FILES and each.receipt is None]
        return [month for month in missing if self.newest is not None and month > self.newest]
