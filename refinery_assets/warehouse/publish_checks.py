"""The publish checks: the rules of `processed_data` over one month of the table.

Here: the rules, which serve the gate inside the publishing transaction and the re-audit of the published table
alike. Not here: what they look at (`facts.py`) and writing the table (`publish.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from refinery_assets.checks.plausibility.evidence import Evidence
from refinery_assets.checks.plausibility.rules import PLAUSIBILITY_RULES
from refinery_assets.checks.rules import Cell, Finding, Outcome, Row, Rule, counted, listing, outcome
from refinery_assets.contract.families import Encoding
from refinery_assets.warehouse.facts import MonthOfTable
from refinery_assets.warehouse.family_partitions import SourceFacts
from refinery_assets.warehouse.inventory import where_hosts_are
from refinery_assets.warehouse.unknown_hosts import Occurrences


def _row_parity(month: MonthOfTable) -> Finding:
    published = sum(month.of(resource).points for resource in month.resources)
    quarantined = sum(month.of(resource).quarantined for resource in month.resources)
    counts: dict[str, Cell] = {"published_rows": published, "quarantined_rows": quarantined}
    unlike = sum(month.of(resource).unlike_series for resource in month.resources)
    if month.sources is None:
        return _like_its_receipt(month, counts, unlike)
    rows: list[Row] = []
    for resource in month.resources:
        source, table = month.sources.get(resource, SourceFacts()), month.of(resource)
        rows.append(
            {
                "resource": resource,
                "clean": source.clean,
                "imputed": source.imputed,
                "published": table.points,
                "faulty": source.quarantined,
                "quarantined": table.quarantined,
                "series_summed_up_otherwise": table.unlike_series,
            }
        )
    offenders = [
        row
        for row in rows
        if int(row["clean"] or 0) + int(row["imputed"] or 0) != row["published"]
        or row["faulty"] != row["quarantined"]
        or row["series_summed_up_otherwise"]
    ]
    expected = sum(source.clean + source.imputed for source in month.sources.values())
    summary = (
        f"{counted(published, 'row')} to publish, of {expected:,} clean and imputed in the families' partitions; "
        f"{quarantined:,} quarantined"
    )
    if offenders:
        summary += f"; they differ for {listing(row['resource'] for row in offenders)}"
    return Finding(
        outcome(failed=bool(offenders)),
        f"{summary}.",
        counts | {"expected_rows": expected},
        offenders=offenders,
        tables={"by_resource": rows},
    )


def _like_its_receipt(month: MonthOfTable, counts: dict[str, Cell], unlike: int) -> Finding:
    """A re-audit holds the table against the month's receipt: its partitions may be newer by now."""
    rows = counted(int(counts["published_rows"] or 0), "row")
    if month.as_published is None:
        return Finding(
            Outcome.WARNING,
            f"{rows} stand in the table, of which there is no receipt of this version.",
            counts,
            recovery="Run the month again: it was published by an older version, or with another DuckDB.",
        )
    summary = f"{rows} stand in the table, as the receipt of the month says"
    if not month.as_published:
        summary = f"{rows} stand in the table, which are not those that were published"
    if unlike:
        summary += f"; {counted(unlike, 'series', 'series')} in series_months differ from the table"
    return Finding(
        outcome(failed=not month.as_published or bool(unlike)),
        f"{summary}.",
        counts,
        recovery="Somebody has changed the table since: run the month again, which puts it right.",
    )


def _referential_integrity(month: MonthOfTable) -> Finding:
    unknown, outside = month.unknown_hosts.unknown, month.unknown_hosts.outside
    nameless = sum(source.bad_host for source in (month.sources or {}).values())
    found = []
    if unknown.hosts:
        found.append(f"{counted(unknown.hosts, 'host')} that the inventory lacks{_rows_in(unknown)}")
    if outside.hosts:
        they = "it does" if outside.hosts == 1 else "they do"
        found.append(f"{counted(outside.hosts, 'host')} on days on which {they} not count{_rows_in(outside)}")
    if nameless:
        found.append(f"{counted(nameless, 'row')} without a host")
    sample = month.unknown_hosts.sample
    shown = {
        "Unknown": ([_place(row) for row in sample if not row.get("why")], unknown.hosts),
        "Not in the inventory on that day": ([_place(row) for row in sample if row.get("why")], outside.hosts),
        "Hosts of the inventory, if the file is UTF-8": (
            [f"{name} is {host}" for name, host in month.unknown_hosts.misread.items()],
            len(month.unknown_hosts.misread),
        ),
    }
    return Finding(
        outcome(failed=bool(found)),
        f"{'; '.join(found) or '0 hosts that the inventory lacks'}.",
        {
            "unknown_hosts": unknown.hosts,
            "unknown_rows": unknown.rows,
            "hosts_outside_validity": outside.hosts,
            "rows_outside_validity": outside.rows,
            "nameless_rows": nameless,
        },
        " ".join(f"{what}: {listing(places, of=hosts)}." for what, (places, hosts) in shown.items() if places),
        offenders=sample,
        recovery=_recovery_of_misread_hosts(month)
        or _recovery_of_unknown_hosts(where_hosts_are(month.settings.contract)),
    )


def _recovery_of_misread_hosts(month: MonthOfTable) -> str | None:
    """What to do where the hosts are known, and a file is not written in the encoding that the contract declares."""
    if not month.unknown_hosts.misread:
        return None
    if all(family.encoding is not Encoding.LATIN1 for family in month.settings.contract.families):
        return (
            "Some of the hosts named are in the inventory, and the export wrote their names in UTF-8 twice. Have the "
            "files named exported again; then run the month again."
        )
    return (
        "Some of the hosts named are in the inventory, and their files are UTF-8, where the contract has "
        'encoding = "latin-1". Have the files named exported in latin-1, or correct encoding in the contract '
        "(REFINERY_CONTRACT) if it holds for all months; then run the month again."
    )


def _recovery_of_unknown_hosts(source: str) -> str | None:
    if not source:
        return None
    return (
        f"Add the hosts named to {source}, correct their valid_from and valid_to there, or have them taken out of the "
        "export; then run the month again."
    )


def _rows_in(found: Occurrences) -> str:
    return f" ({counted(found.rows, 'row')} in {listing(found.resources)})"


def _place(row: Row) -> str:
    parts = [str(row["why"])] if row.get("why") else []
    parts += [f"{row['source_file']}, line {row['source_line']}"] if row.get("source_file") else []
    return f"{row['host_id']} ({'; '.join(parts)})" if parts else str(row["host_id"])


def _behavioral_retention(month: MonthOfTable) -> Finding:
    due = month.inventory.behaviors
    if not due and not month.settings.contract.inventory.behavior:
        summary = "The contract names no column of behaviors, so there is none to retain."
        return Finding(Outcome.PASSED, summary, {"behaviors": 0, "missing": 0})
    missing: list[Row] = [
        {"resource": resource, "missing": behavior}
        for resource in month.resources
        for behavior in due
        if behavior not in month.of(resource).behaviors
    ]
    retained: list[Row] = []
    for behavior, hosts_due in due.items():
        kept = [month.of(resource).behaviors.get(behavior, (0, 0)) for resource in month.resources]
        # Of hosts that lack a resource, the resource with the fewest says how many are there in full.
        hosts = min(hosts for hosts, _ in kept)
        rows = sum(rows for _, rows in kept)
        retained.append(
            {
                "behavior": behavior,
                "hosts_due": hosts_due,
                "hosts_retained": hosts,
                "rows": rows,
                "share": hosts / hosts_due,
            }
        )
    lost = list(dict.fromkeys(str(row["missing"]) for row in missing))
    summary = f"{len(due) - len(lost)} of {counted(len(due), 'behavior')} retained in every resource"
    return Finding(
        outcome(failed=bool(missing)),
        f"{summary}.",
        {"behaviors": len(due), "missing": len(missing)},
        "Missing: " + listing(f"{row['missing']} in {row['resource']}" for row in missing) + "." if missing else "",
        offenders=missing,
        tables={"behaviors": retained},
    )


def _series_points_unique(month: MonthOfTable) -> Finding:
    repeating = sum(month.of(resource).repeating for resource in month.resources)
    return Finding(
        outcome(failed=bool(month.repeated)),
        f"{counted(len(month.repeated) and repeating, 'series', 'series')} repeat a day.",
        {"repeating_series": len(month.repeated) and repeating},
        offenders=month.repeated,
    )


def _timestamps_standardized(month: MonthOfTable) -> Finding:
    rows: list[Row] = [
        {
            "resource": resource,
            "off_midnight": month.of(resource).off_midnight,
            "outside_month_or_null": (month.sources or {}).get(resource, SourceFacts()).bad_ds,
        }
        for resource in month.resources
    ]
    off_midnight = sum(int(row["off_midnight"] or 0) for row in rows)
    outside = sum(int(row["outside_month_or_null"] or 0) for row in rows)
    return Finding(
        outcome(failed=bool(off_midnight or outside)),
        f"{counted(off_midnight, 'row')} off midnight, {outside:,} without a ds or outside the month.",
        {"off_midnight": off_midnight, "outside_month_or_null": outside},
        offenders=[row for row in rows if row["off_midnight"] or row["outside_month_or_null"]],
    )


def _utilization_in_range(month: MonthOfTable) -> Finding:
    rows: list[Row] = [
        {
            "resource": resource,
            "out_of_range": month.of(resource).out_of_range,
            "without_y": (month.sources or {}).get(resource, SourceFacts()).bad_y,
        }
        for resource in month.resources
    ]
    out_of_range = sum(int(row["out_of_range"] or 0) for row in rows)
    without = sum(int(row["without_y"] or 0) for row in rows)
    return Finding(
        outcome(failed=bool(out_of_range or without)),
        f"{counted(out_of_range, 'row')} outside 0 to cap or not finite, {without:,} without a y.",
        {"out_of_range": out_of_range, "without_y": without},
        offenders=[row for row in rows if row["out_of_range"] or row["without_y"]],
    )


def _fleet_coverage(month: MonthOfTable) -> Finding:
    due = month.inventory.hosts
    days = 0
    for resource in month.resources:
        days |= month.of(resource).days
    newest = days.bit_length() - 1
    rows: list[Row] = []
    for family in month.settings.contract.families:
        resource, table = family.resource, month.of(family.resource)
        # A day on which no host is due yet, or any more, is not missing.
        missing_days = [day for day in range(1, newest + 1) if month.inventory.days & ~table.days & 1 << day]
        rows.append(
            {
                "resource": resource,
                "hosts": table.hosts,
                "share": table.hosts / due if due else 0.0,
                "min_coverage": month.settings.limit("min_coverage", family),
                "missing_hosts": due - table.hosts,
                "missing_days": ", ".join(str(day) for day in missing_days),
                "filled_days": ", ".join(str(day) for day in table.filled),
            }
        )
    least = min(float(row["share"] or 0) for row in rows)
    thin = [row for row in rows if float(row["share"] or 0) < float(row["min_coverage"] or 0)]
    gaps = [row for row in rows if row["missing_hosts"] or row["missing_days"]]
    filled = [row for row in rows if row["filled_days"]]
    summary = f"At least {least:.1%} of {counted(due, 'host')} due have readings in every resource"
    if thin:
        asked = dict.fromkeys(row["min_coverage"] for row in thin)
        fewer = (
            f"the share of {limit:g} in {listing(row['resource'] for row in thin if row['min_coverage'] == limit)}"
            for limit in asked
        )
        summary += f"; fewer than {' and '.join(fewer)}"
    summary += "".join(f"; {gap}" for gap in _gaps(gaps))
    for row in filled:
        summary += f"; {_filled(str(row['resource']), month.of(str(row['resource'])).filled)}"
    return Finding(
        outcome(failed=bool(thin), warned=bool(gaps or filled)),
        f"{summary}.",
        {
            "hosts_due": due,
            "least_share": least,
            "min_coverage": month.settings.min_coverage,
            "missing_hosts": month.absent_hosts.hosts,
        },
        _absent(month),
        offenders=month.absent_hosts.sample or [row for row in rows if row in gaps or row in filled],
        tables={"by_resource": rows},
    )


def _gaps(rows: Sequence[Row]) -> Iterator[str]:
    """How many hosts, and which days, have no reading, resources of which the same is to be said together."""
    hosts: dict[int, list[str]] = {}
    days: dict[str, list[str]] = {}
    for row in rows:
        if row["missing_hosts"]:
            hosts.setdefault(int(row["missing_hosts"]), []).append(str(row["resource"]))
        if row["missing_days"]:
            days.setdefault(str(row["missing_days"]), []).append(str(row["resource"]))
    for number, resources in hosts.items():
        yield f"{counted(number, 'host')} due {'has' if number == 1 else 'have'} none in {listing(resources)}"
    for which, resources in days.items():
        named = which.split(", ")
        several = f"days {listing(named)} have" if len(named) > 1 else f"day {which} has"
        yield f"{several} none in {listing(resources)}"


def _absent(month: MonthOfTable) -> str:
    """The names of hosts due without a reading, with the resources that lack them where others do not."""
    absent = month.absent_hosts
    if not absent.hosts:
        return ""
    everywhere = ", ".join(month.resources)
    named = (
        str(row["host_id"]) if row["missing_in"] == everywhere else f"{row['host_id']} (in {row['missing_in']})"
        for row in absent.sample
    )
    return f"Without a reading: {listing(named, of=absent.hosts)}."


def _filled(resource: str, series: Mapping[int, int]) -> str:
    """What to know of days of which there is no reading and yet a row."""
    days = f"day {next(iter(series))}" if len(series) == 1 else f"days {listing(series, len(series))}"
    return f"{resource} has no reading on {days}, filled by interpolation in {max(series.values()):,} series"


def _published_rows_kept(month: MonthOfTable) -> Finding:
    difference, limit = month.difference, month.settings.max_loss
    if difference is None:
        return Finding(Outcome.PASSED, "Nothing is replaced.", {"max_loss": limit})
    counts: dict[str, Cell] = {
        "rows_before": difference.before,
        "rows_added": difference.added,
        "rows_removed": difference.removed,
        "rows_changed": difference.changed,
        "series_added": difference.series_added,
        "series_removed": difference.series_removed,
        "series_changed": difference.series_changed,
        "max_loss": limit,
    }
    if not difference.before:
        return Finding(Outcome.PASSED, "Nothing was published of this month before.", counts)
    # What is put right was published with these very inputs, so what goes was never published.
    failed = not month.heals and difference.removed > limit * difference.before
    summary = f"{difference.removed:,} of {counted(difference.before, 'published row')} lost"
    summary += f", {difference.changed:,} changed, {difference.added:,} added"
    if failed:
        summary += f"; more lost than the share of {limit:g} (REFINERY_MAX_LOSS)"
    touched = [f"{row['host_id']} {row['resource']} {row['ds']}" for row in difference.sample]
    return Finding(
        outcome(failed=failed, warned=bool(difference.removed or difference.changed)),
        f"{summary}.",
        counts,
        f"Lost or changed: {listing(touched, of=difference.removed + difference.changed)}." if touched else "",
        offenders=difference.sample,
        recovery=None
        if difference.removed
        else "Nothing is lost. If no correction was expected, compare the files with the export before.",
    )


def _of_plausibility(rule: Rule[Evidence]) -> Rule[MonthOfTable]:
    """The rule over the part of the evidence that it looks at."""

    def judge(month: MonthOfTable) -> Finding:
        if month.plausibility is None:
            off = rule.name in month.settings.plausibility.off
            return Finding(Outcome.PASSED, f"Not looked at: {rule.name} is off." if off else "There is no series.", {})
        return rule.judge(month.plausibility)

    return replace(rule, judge=judge)  # type: ignore[arg-type, return-value]


PUBLISH_RULES: tuple[Rule[MonthOfTable], ...] = (
    Rule(
        "row_parity",
        "Fails when the rows of the month are not the clean and imputed rows of its families, or its "
        "quarantined rows are not their faulty rows; or, for a published month, not what its receipt says.",
        "Materialize the families and processed_data of the month together. If the counts still differ, "
        "look at the other failed checks: a row that may not stand in the table is missing here.",
        _row_parity,
    ),
    Rule(
        "referential_integrity",
        "Fails when a host_id stands in no row of the inventory, or has a reading for a day on which the inventory "
        "does not count it.",
        "Add the hosts named to the inventory, correct their valid_from and valid_to, or have them "
        "taken out of the export; then run the month again.",
        _referential_integrity,
    ),
    Rule(
        "behavioral_retention",
        "Fails when a behavior of the hosts due in the month has no row in a resource.",
        "Find out why every host of the behavior is missing from the month: a partial export, or an "
        "inventory that names a behavior which the fleet no longer has.",
        _behavioral_retention,
    ),
    Rule(
        "series_points_unique",
        "Fails when ds, host_id and resource repeat.",
        "Materialize the families of the month again; if names differ only in letters that the inventory "
        "does not tell apart, have the export name each host one way.",
        _series_points_unique,
    ),
    Rule(
        "timestamps_standardized",
        "Fails when a ds is null, not midnight, or outside its month.",
        "Materialize the families of the month again, so that their partitions are written anew.",
        _timestamps_standardized,
    ),
    Rule(
        "utilization_in_range",
        "Fails when a y is null, not finite, below 0 or above cap.",
        "Materialize the families of the month again, so that their partitions are written anew.",
        _utilization_in_range,
    ),
    Rule(
        "fleet_coverage",
        "Fails when a resource holds a smaller share of the hosts due than REFINERY_MIN_COVERAGE; warns when "
        "any host due, or any day up to the month's newest, has no reading, be the day filled by interpolation or not.",
        "Have the month exported in full, give retired hosts a valid_to in the inventory, or lower "
        "REFINERY_MIN_COVERAGE.",
        _fleet_coverage,
    ),
    Rule(
        "published_rows_kept",
        "Fails when publishing the month would lose a larger share of its published rows than "
        "REFINERY_MAX_LOSS; warns when any is lost or changed.",
        "Have the month exported in full and run it again. If the rows are meant to go, run the month once "
        "with REFINERY_MAX_LOSS=1.",
        _published_rows_kept,
    ),
    *(_of_plausibility(rule) for rule in PLAUSIBILITY_RULES),
)
