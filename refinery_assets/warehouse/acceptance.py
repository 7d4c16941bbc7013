"""Accepting a month that a plausibility check refuses, and taking that back.

Here: what may be accepted, and writing the table `waivers`. Not here: what a waiver makes of a verdict (`waivers.py`),
and who asks for it (`refinery_assets/cli`, `assets/accept.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import duckdb

from refinery_assets.checks.rules import Outcome, listing
from refinery_assets.contract.columns import AUDITS, WAIVERS
from refinery_assets.contract.months import Month
from refinery_assets.contract.plausibility import CHECKS
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import RefusedFileError, feed_file
from refinery_assets.rows.stats import Stats
from refinery_assets.warehouse.audits import LAST_ATTEMPTS, LAST_RUNS
from refinery_assets.warehouse.family_partitions import partitions
from refinery_assets.warehouse.fleet import name_fleet, name_hosts_due
from refinery_assets.warehouse.inventory_error import InventoryError
from refinery_assets.warehouse.receipts import input_digest, inventory_digests
from refinery_assets.warehouse.tables import ensure_table, table_names, transaction, utc_now
from refinery_assets.warehouse.waivers import Waiver, waivers_in_force

_LOOK_AGAIN = "Run the month again, and accept it only when you have seen what is said of it now."
_NOT_REFUSED: Mapping[str | None, str] = {
    Outcome.PASSED: "passed in its last run",
    Outcome.WARNING: "only warned in its last run",
    Outcome.NOT_JUDGED: "was not judged in its last run, because an earlier check had already refused the month",
}


class WaiverError(Exception):
    """A month cannot be accepted; the message is one sentence for the operator."""


def accept(  # noqa: PLR0913 - what a waiver says
    connection: duckdb.DuckDBPyConnection, settings: Settings, month: Month, check: str, *, why: str, who: str
) -> Waiver:
    """Accept a month that a check has refused, for the inputs that it was refused by.

    Raises:
        WaiverError: The check is none that can be accepted, no reason is given, or the check has not refused the
            month; or something of the month has changed since, which nobody has looked at.
    """
    _must_be_acceptable(check)
    if not why.strip():
        raise WaiverError("A month is not accepted without a reason: give it with --why.")
    said, judged = _last_verdict(connection, month, check, LAST_ATTEMPTS)
    if said != Outcome.FAILED:
        of_table, _ = _last_verdict(connection, month, check, LAST_RUNS)
        if of_table == Outcome.FAILED:
            raise WaiverError(
                f"{check} of {month} fails by an audit of what is published, while the last run over its files did not "
                f"refuse it, and it is files that are accepted. Run it again with refinery run {month} --force, and "
                "accept it if that refuses it."
            )
        word = _NOT_REFUSED.get(said, "has not been judged yet; run the month first")
        raise WaiverError(f"{check} of {month} {word}. Only what is refused can be accepted.")
    if judged is None:
        raise WaiverError(
            f"The run that refused {month} did not note by which inputs, as an older version does not. {_LOOK_AGAIN}"
        )
    stats = _stats_now(settings, month, check)
    if _digest_now(connection, settings, month, stats) != judged:
        raise WaiverError(
            f"The files of {month} that were read last, the contract, a setting or the inventory is another than when "
            f"{check} refused it. {_LOOK_AGAIN}"
        )
    waiver = Waiver(month, check, why.strip(), who, utc_now(), judged)
    with transaction(connection):
        ensure_table(connection, WAIVERS)
        _end(connection, month, check)
        connection.execute(
            "INSERT INTO waivers (month, check_name, reason, who, accepted_at, input_digest) "
            "VALUES ($month, $check, $reason, $who, $now, $digest)",
            {
                "month": str(month),
                "check": check,
                "reason": waiver.reason,
                "who": who,
                "now": waiver.accepted_at,
                "digest": waiver.input_digest,
            },
        )
    return waiver


def withdraw(connection: duckdb.DuckDBPyConnection, month: Month, check: str, *, why: str = "", who: str = "") -> None:
    """Take a waiver back; the month's next run judges it without.

    Raises:
        WaiverError: There is none; or a reason or a name is given, which would be kept nowhere.
    """
    _must_be_acceptable(check)
    if why.strip() or who.strip():
        given = " and ".join(name for name, text in (("why", why), ("who", who)) if text.strip())
        raise WaiverError(
            f"Taking back an acceptance keeps neither a reason nor a name: leave {given} out; or, to accept {check} of "
            f"{month} for another reason, leave withdraw out."
        )
    if not any(waiver.check_name == check for waiver in waivers_in_force(connection, [month])):
        raise WaiverError(f"{check} of {month} is not accepted, so there is nothing to take back.")
    with transaction(connection):
        _end(connection, month, check)


def _end(connection: duckdb.DuckDBPyConnection, month: Month, check: str) -> None:
    connection.execute(
        "UPDATE waivers SET withdrawn_at = $now WHERE month = $month AND check_name = $check AND withdrawn_at IS NULL",
        {"month": str(month), "check": check, "now": utc_now()},
    )


def _must_be_acceptable(check: str) -> None:
    if check not in CHECKS:
        raise WaiverError(f"{check} cannot be accepted; expected one of {listing(CHECKS, len(CHECKS))}.")


def _last_verdict(
    connection: duckdb.DuckDBPyConnection, month: Month, check: str, runs: str
) -> tuple[str | None, str | None]:
    """What a check said of the month in the last of the runs that a query gives, and the inputs that it was said of."""
    if AUDITS.name not in table_names(connection):
        return None, None
    ensure_table(connection, AUDITS)
    # All of the result is fetched: an open one is in the way when the inventory's file is registered.
    found = connection.execute(
        f"""
        SELECT verdict, input_digest FROM audits a JOIN ({runs}) USING (month, run_id)
        WHERE month = $month AND check_name = $check ORDER BY audited_at DESC, a.rowid DESC LIMIT 1
        """,  # noqa: S608 - a constant of the package
        {"month": str(month), "check": check},
    ).fetchall()
    return found[0] if found else (None, None)


def _stats_now(settings: Settings, month: Month, check: str) -> list[Stats]:
    """What the month's partitions came to, where its files are still those that they were made from."""
    stats = [partition.stats() for partition in partitions(settings, [month])]
    problems = [each.problem for each in stats if each.problem]
    if problems:
        raise WaiverError(f"{month} cannot be accepted, because it is not clear which files are meant: {problems[0]}")
    for each in stats:
        try:
            lies_there = feed_file(settings, each.family, month).digest()
        except FileNotFoundError:
            # What is gone from the feed by now has been looked at all the same.
            continue
        except RefusedFileError as error:
            raise WaiverError(f"{month} cannot be accepted: {error}") from error
        if lies_there != each.digest:
            raise WaiverError(f"{each.name} has changed since {check} refused {month}. {_LOOK_AGAIN}")
    return stats


def _digest_now(connection: duckdb.DuckDBPyConnection, settings: Settings, month: Month, stats: Iterable[Stats]) -> str:
    """The input digest of the month as its files, the settings and the inventory are now."""
    try:
        name_fleet(connection, settings.contract)
    except InventoryError as error:
        raise WaiverError(f"{month} cannot be accepted: {error.problem}.") from error
    name_hosts_due(connection, [month])
    return input_digest(stats, inventory_digests(connection)[month], settings)
