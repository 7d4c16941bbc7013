"""The rules that every family's month must pass, judged by what its file came to.

Not here: refining the file (`family.py`), and what looks at several families at once (`source_checks.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from refinery_assets.checks.rules import Cell, Finding, Rule, counted, listing, outcome
from refinery_assets.contract.families import Fault
from refinery_assets.rows.odd_rows import Oddity
from refinery_assets.rows.stats import Stats


@dataclass(frozen=True)
class FamilyMonth:
    """What one family's month came to, and the setting that it is judged by."""

    stats: Stats
    tolerance: float


def _rows_accounted_for(evidence: FamilyMonth) -> Finding:
    stats = evidence.stats
    counts: dict[str, Cell] = {
        "csv_rows": stats.csv_rows,
        "landed_rows": stats.landed,
        "clean_rows": stats.clean,
        "quarantined_rows": stats.quarantined,
        "imputed_rows": stats.imputed,
        "long_gaps": stats.long_gaps,
        "long_gap_days": stats.long_gap_days,
    }
    if stats.problem:
        return Finding(
            outcome(failed=True),
            "There are no rows to judge.",
            counts,
            stats.problem,
            recovery="Do what the message says, and run the month again.",
        )
    differs = stats.csv_rows != stats.landed
    return Finding(
        outcome(failed=differs),
        f"The partition holds {stats.landed} of {counted(stats.csv_rows, 'data row')}.",
        counts,
        f"The file is {stats.name}." if differs else "",
        offenders=[{"file": stats.name, "csv_rows": stats.csv_rows, "landed": stats.landed}] * differs,
    )


def _quarantine_within_tolerance(evidence: FamilyMonth) -> Finding:
    stats = evidence.stats
    beyond = stats.quarantined > evidence.tolerance * stats.landed
    place = f"The {'files are' if stats.parts else 'file is'} {stats.name}."
    summary = f"{counted(stats.quarantined, 'row')} of {stats.landed:,} quarantined"
    if stats.quarantined:
        summary += f" ({listing((f'{fault} {count}' for fault, count in stats.faults.items()), len(Fault))})"
    if stats.overshoot:
        summary += f", {counted(stats.overshoot, 'reading')} above 100 taken as 100"
    if beyond:
        summary += f"; more than the tolerated share of {evidence.tolerance:g}"
    recovery = stats.remedy
    if not stats.quarantined:
        recovery = "Nothing is lost: REFINERY_OVERSHOOT takes these readings as 100. Unset it if they are wrong."
    if beyond and not stats.remedy and 2 * stats.faults.get(Fault.DUPLICATE, 0) > stats.quarantined:
        recovery = (
            "Most of these rows repeat a line of the file, as if lines were written twice: have the file exported "
            "again, each host and day once, and run the month again."
        )
    if 2 * stats.nearly > stats.quarantined:
        recovery = (
            f"REFINERY_OVERSHOOT=20 takes {stats.nearly} of {counted(stats.quarantined, 'quarantined row')} as 100: "
            "readings above 100 and not above 120 percent, as many fleets report them. Set it and run the "
            "month again, or have the file exported again."
        )
    return Finding(
        outcome(failed=beyond, warned=bool(stats.quarantined or stats.overshoot)),
        f"{summary}.",
        {
            "rows": stats.landed,
            "quarantined_rows": stats.quarantined,
            "quarantined_share": stats.quarantined / stats.landed if stats.landed else 0.0,
            "tolerated_share": evidence.tolerance,
            "overshoot_rows": stats.overshoot,
            **{str(fault): stats.faults.get(fault, 0) for fault in Fault},
        },
        f"{place} {stats.clue}".rstrip() if stats.quarantined else "",
        offenders=[{"file": stats.name, **row} for row in stats.sample],
        recovery=recovery,
    )


_ODDITIES = {
    Oddity.EXCHANGED: "with p95 and capacity exchanged",
    Oddity.BLANK: "without a capacity",
    Oddity.CHANGED: "with another capacity",
}


def _rows_like_their_hosts(evidence: FamilyMonth) -> Finding:
    stats = evidence.stats
    number = sum(stats.odd_rows.values())
    summary = f"{counted(number, 'row')} stand{'s' if number == 1 else ''} against the host's other days"
    kinds = [f"{count} {_ODDITIES[Oddity(oddity)]}" for oddity, count in stats.odd_rows.items()]
    places = (f"{row['file']}, line {row['source_line']}" for row in stats.odd_sample)
    return Finding(
        outcome(failed=False, warned=bool(number)),
        f"{summary}: {listing(kinds)}." if number else f"{summary}.",
        {"rows": stats.landed, **{f"{oddity}_rows": stats.odd_rows.get(oddity, 0) for oddity in Oddity}},
        f"The first: {listing(places)}." if number else "",
        offenders=stats.odd_sample,
    )


FAMILY_RULES: tuple[Rule[FamilyMonth], ...] = (
    Rule(
        "rows_accounted_for",
        "Fails when the file gives no rows, or when its data rows, counted apart from the CSV parser, are "
        "not the rows of its partition that are not imputed.",
        "A row was lost or made up on the way, which no file should be able to cause: keep the file named "
        "and report it with this check's counts.",
        _rows_accounted_for,
    ),
    Rule(
        "quarantine_within_tolerance",
        "Fails when the quarantined share of the file's rows is above REFINERY_QUARANTINE_TOLERANCE; warns "
        "when any row is quarantined or taken as 100.",
        "Look at the sample, have the file exported again, or raise REFINERY_QUARANTINE_TOLERANCE if the "
        "rows may be left out; then run the month again.",
        _quarantine_within_tolerance,
    ),
    Rule(
        "rows_like_their_hosts",
        "Warns when a single row exchanges p95 and capacity, or states no capacity or another one, where the host "
        "states one and the same on its other days.",
        "The rows are published as they stand. Look at the lines named, and have the file exported again if they are "
        "wrong.",
        _rows_like_their_hosts,
    ),
)
