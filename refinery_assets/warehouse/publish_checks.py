"""The exit audit: the rules of `processed_data` over the months in the table.

Here: the rules, which serve the gate inside the publishing transaction and the re-audit of the published
table alike. Not here: what they look at (`evidence.py`) and writing the table (`publish.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date

from refinery_assets.checks.rules import SAMPLE_SIZE, Finding, Row, Rule, listing, outcome
from refinery_assets.warehouse.facts import AuditEvidence


def _row_parity(evidence: AuditEvidence) -> Finding:
    table = evidence.per_resource(
        "SELECT month, resource, sum(points)::BIGINT FROM audit_series GROUP BY ALL"
    )
    by_month: list[Row] = []
    offenders: list[Row] = []
    for month, resource in evidence.pairs():
        source = evidence.source((month, resource))
        row: Row = {
            "month": month,
            "resource": resource,
            "clean": source.clean,
            "imputed": source.imputed,
            "published": table.get((month, resource), (0,))[0],
            "faulty": source.quarantined,
            "quarantined": evidence.quarantined.get((month, resource), 0),
        }
        by_month.append(row)
        if source.clean + source.imputed != row["published"] or source.quarantined != row["quarantined"]:
            offenders.append(row)
    expected = sum(source.clean + source.imputed for source in evidence.sources.values())
    published = sum(count for (count,) in table.values())
    summary = f"{published} rows stand in the table, the families hold {expected} clean and imputed rows"
    if offenders:
        summary += f"; they differ in {listing(_months_of(offenders))}"
    return Finding(
        outcome(failed=bool(offenders)),
        f"{summary}.",
        {
            "published_rows": published,
            "expected_rows": expected,
            "quarantined_rows": sum(evidence.quarantined.values()),
            "faulty_rows": sum(source.quarantined for source in evidence.sources.values()),
        },
        by_month=by_month,
        offenders=offenders,
        failed_months=_months_of(offenders),
    )


def _referential_integrity(evidence: AuditEvidence) -> Finding:
    unknown = evidence.rows(
        """
        SELECT host_id, count(DISTINCT month) AS months, min(month) AS first_month,
            string_agg(DISTINCT resource, ', ' ORDER BY resource) AS resources, sum(points)::BIGINT AS rows
        FROM audit_series WHERE NOT is_known
        GROUP BY host_id ORDER BY rows DESC, host_id
        """
    )
    nameless = sum(source.bad_host for source in evidence.sources.values())
    by_month = evidence.rows(
        """
        WITH seen AS (SELECT DISTINCT month, host_id, is_known FROM audit_series)
        SELECT month, count(host_id) AS hosts, count(*) FILTER (NOT is_known) AS unknown_hosts
        FROM seen GROUP BY month ORDER BY month
        """
    )
    at_fault = [str(row["month"]) for row in by_month if row["unknown_hosts"]] + [
        month for (month, _), source in evidence.sources.items() if source.bad_host
    ]
    summary = f"{len(unknown)} hosts that the inventory lacks"
    detail = ""
    if unknown:
        summary += f", in {listing(row['month'] for row in by_month if row['unknown_hosts'])}"
        detail = f"They are {listing(row['host_id'] for row in unknown)}."
    if nameless:
        summary += f"; {nameless} rows without a host"
    return Finding(
        outcome(failed=bool(unknown or nameless)),
        f"{summary}.",
        {
            "unknown_hosts": len(unknown),
            "unknown_rows": sum(int(row["rows"] or 0) for row in unknown),
            "nameless_rows": nameless,
        },
        by_month=by_month,
        offenders=unknown[:SAMPLE_SIZE],
        detail=detail,
        failed_months=at_fault,
    )


def _behavioral_retention(evidence: AuditEvidence) -> Finding:
    retained = evidence.rows(
        """
        WITH kept AS (
            SELECT number, count(*) AS hosts, sum(rows)::BIGINT AS rows
            FROM (SELECT number, host_id, sum(points) AS rows FROM audit_series GROUP BY ALL)
            GROUP BY number
        ), inventory AS (
            SELECT number, behavior, count(*) AS hosts FROM fleet WHERE behavior IS NOT NULL GROUP BY ALL
        )
        SELECT behavior, inventory.hosts AS hosts_in_inventory, coalesce(kept.hosts, 0) AS hosts_retained,
            coalesce(kept.rows, 0) AS rows, coalesce(kept.hosts, 0) / inventory.hosts AS share
        FROM inventory LEFT JOIN kept USING (number) ORDER BY number
        """
    )
    behaviors = [str(row["behavior"]) for row in retained]
    present = defaultdict(set)
    for month, resource, number in evidence.connection.execute(
        "SELECT DISTINCT month, resource, number FROM audit_series WHERE number IS NOT NULL"
    ).fetchall():
        present[month, resource].add(behaviors[number])
    offenders: list[Row] = [
        {"month": month, "resource": resource, "missing": behavior}
        for month, resource in evidence.pairs()
        for behavior in behaviors
        if behavior not in present[month, resource]
    ]
    summary = f"{len(behaviors)} behaviours in the inventory, {len(offenders)} times one is missing"
    detail = ""
    if offenders:
        summary += f", in {listing(_months_of(offenders))}"
        detail = f"Missing: {listing(dict.fromkeys(row['missing'] for row in offenders))}."
    return Finding(
        outcome(failed=bool(offenders)),
        f"{summary}.",
        {"behaviors": len(behaviors), "missing": len(offenders)},
        by_month=[
            {
                "month": month,
                "resource": resource,
                "behaviors": len(present[month, resource] & set(behaviors)),
            }
            for month, resource in evidence.pairs()
        ],
        offenders=offenders,
        tables={"behaviors": retained},
        detail=detail,
        failed_months=_months_of(offenders),
    )


def _series_points_unique(evidence: AuditEvidence) -> Finding:
    # Two rows with the same moment share its day, so only series with more points than days can repeat,
    # and the table is looked at again only where there is one.
    suspect = evidence.rows("SELECT * FROM audit_series WHERE points <> bit_count(days) LIMIT 1")
    repeated = suspect and evidence.rows(
        """
        SELECT s.month, s.resource, s.host_id, p.ds::VARCHAR AS ds, count(*) AS times
        FROM audit_series s JOIN audit_months m USING (month) JOIN processed_data p
            ON p.resource = s.resource AND p.host_id = s.host_id AND date_trunc('month', p.ds) = m.month_start
        WHERE s.points <> bit_count(s.days)
        GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL
        """
    )
    surplus = sum(int(row["times"] or 0) - 1 for row in repeated)
    summary = f"{surplus} rows repeat a day of their series"
    if repeated:
        summary += f" in {listing(_months_of(repeated))}"
    return Finding(
        outcome(failed=bool(repeated)),
        f"{summary}.",
        {"repeated_points": len(repeated), "surplus_rows": surplus},
        by_month=_counted(evidence, repeated, "repeated_points"),
        offenders=repeated[:SAMPLE_SIZE],
        failed_months=_months_of(repeated),
    )


def _timestamps_standardized(evidence: AuditEvidence) -> Finding:
    off_midnight = evidence.rows(
        "SELECT month, resource, sum(off_midnight)::BIGINT AS off_midnight FROM audit_series "
        "WHERE off_midnight > 0 GROUP BY ALL ORDER BY ALL"
    )
    stray: list[Row] = [
        {
            "month": month,
            "resource": resource,
            "outside_month_or_null": evidence.source((month, resource)).bad_ds,
        }
        for month, resource in evidence.pairs()
        if evidence.source((month, resource)).bad_ds
    ]
    not_midnight = sum(int(row["off_midnight"] or 0) for row in off_midnight)
    outside = sum(int(row["outside_month_or_null"] or 0) for row in stray)
    offenders = [*off_midnight, *stray]
    summary = f"{not_midnight} rows off midnight, {outside} without a ds or outside their month"
    if offenders:
        summary += f", in {listing(_months_of(offenders))}"
    return Finding(
        outcome(failed=bool(offenders)),
        f"{summary}.",
        {"off_midnight": not_midnight, "outside_month_or_null": outside},
        by_month=_counted(evidence, offenders, "resources_at_fault"),
        offenders=offenders,
        failed_months=_months_of(offenders),
    )


def _utilization_in_range(evidence: AuditEvidence) -> Finding:
    table = evidence.per_resource(
        "SELECT month, resource, sum(out_of_range)::BIGINT FROM audit_series GROUP BY ALL"
    )
    by_month: list[Row] = [
        {
            "month": pair[0],
            "resource": pair[1],
            "out_of_range": table.get(pair, (0,))[0],
            "without_y": evidence.source(pair).bad_y,
        }
        for pair in evidence.pairs()
    ]
    offenders = [row for row in by_month if row["out_of_range"] or row["without_y"]]
    out_of_range = sum(int(row["out_of_range"] or 0) for row in by_month)
    without = sum(int(row["without_y"] or 0) for row in by_month)
    summary = f"{out_of_range} rows outside 0 to cap or not finite, {without} without a y"
    if offenders:
        summary += f", in {listing(_months_of(offenders))}"
    return Finding(
        outcome(failed=bool(offenders)),
        f"{summary}.",
        {"out_of_range": out_of_range, "without_y": without},
        by_month=by_month,
        offenders=offenders,
        failed_months=_months_of(offenders),
    )


def _fleet_coverage(evidence: AuditEvidence) -> Finding:
    ((fleet,),) = evidence.connection.execute("SELECT count(*) FROM hosts").fetchall()
    table = evidence.per_resource(
        "SELECT month, resource, count(*), bit_or(days) FROM audit_series WHERE is_known GROUP BY ALL"
    )
    newest: dict[str, date] = {}
    for (month, _), source in evidence.sources.items():
        if source.newest_day:
            newest[month] = max(source.newest_day, newest.get(month, source.newest_day))
    by_month: list[Row] = []
    for month, resource in evidence.pairs():
        hosts, days = table.get((month, resource), (0, 0))
        reached = newest[month].day if month in newest else 0
        missing_days = [day for day in range(1, reached + 1) if not days >> day & 1]
        by_month.append(
            {
                "month": month,
                "resource": resource,
                "hosts": hosts,
                "share": hosts / fleet if fleet else 0.0,
                "missing_hosts": fleet - hosts,
                "missing_days": ", ".join(str(day) for day in missing_days),
            }
        )
    thin = [row for row in by_month if float(row["share"] or 0) < evidence.min_coverage]
    gaps = [row for row in by_month if row["missing_hosts"] or row["missing_days"]]
    least = min(float(row["share"] or 0) for row in by_month)
    summary = f"at least {least:.1%} of {fleet} hosts in every month and resource"
    if thin:
        summary += f"; fewer than the share of {evidence.min_coverage:g} in {listing(_months_of(thin))}"
    elif gaps:
        summary += f"; some hosts or days have no reading in {listing(_months_of(gaps))}"
    return Finding(
        outcome(failed=bool(thin), warned=bool(gaps)),
        f"{summary}.",
        {
            "hosts_in_inventory": fleet,
            "least_share": least,
            "min_coverage": evidence.min_coverage,
            "missing_host_months": sum(int(row["missing_hosts"] or 0) for row in by_month),
        },
        by_month=by_month,
        offenders=thin or gaps,
        failed_months=_months_of(thin),
        warned_months=_months_of(gaps),
    )


def _months_of(rows: Sequence[Row]) -> list[str]:
    return sorted({str(row["month"]) for row in rows})


def _counted(evidence: AuditEvidence, offenders: Sequence[Row], name: str) -> list[Row]:
    return [
        {"month": str(month), name: sum(row["month"] == str(month) for row in offenders)}
        for month in evidence.months
    ]


AUDIT_RULES: tuple[Rule[AuditEvidence], ...] = (
    Rule(
        "row_parity",
        "Fails when the rows of a month are not the clean and imputed rows of its families, or its "
        "quarantined rows are not their faulty rows.",
        "Materialize the four families and processed_data of the months named together. If the counts still "
        "differ, look at the other failed checks: a row that may not stand in the table is missing here.",
        _row_parity,
    ),
    Rule(
        "referential_integrity",
        "Fails when a host_id stands in no row of hosts.",
        "Add the hosts named to the table hosts, or have them taken out of the export; then materialize the "
        "months again.",
        _referential_integrity,
    ),
    Rule(
        "behavioral_retention",
        "Fails when a behaviour of the inventory has no row in a month and resource.",
        "Find out why every host of the behaviour is missing from the months named: a partial export, or "
        "an inventory that names a behaviour which the fleet no longer has.",
        _behavioral_retention,
    ),
    Rule(
        "series_points_unique",
        "Fails when ds, host_id and resource repeat.",
        "Materialize the families of the months named again; if names differ only in letters that "
        "the inventory does not tell apart, have the export name each host one way.",
        _series_points_unique,
    ),
    Rule(
        "timestamps_standardized",
        "Fails when a ds is null, not midnight, or outside its month.",
        "Materialize the families of the months named again, so that their partitions are written anew.",
        _timestamps_standardized,
    ),
    Rule(
        "utilization_in_range",
        "Fails when a y is null, not finite, below 0 or above cap.",
        "Materialize the families of the months named again, so that their partitions are written anew.",
        _utilization_in_range,
    ),
    Rule(
        "fleet_coverage",
        "Fails when a resource of a month holds a smaller share of the inventory's hosts than "
        "REFINERY_MIN_COVERAGE; warns when any host, or any day up to the feed's newest, has no reading.",
        "Have the months named exported in full, remove retired hosts from the table hosts, or lower "
        "REFINERY_MIN_COVERAGE.",
        _fleet_coverage,
    ),
)
