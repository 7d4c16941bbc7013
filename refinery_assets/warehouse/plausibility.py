"""Where the plausibility checks' evidence comes from: `series_months`, and what the partitions say of their days.

Each table is read once for all months of a run: the series of the months at hand and of the months before them, of a
bounded number of hosts; and one join by digest over all that is published. No daily row is read. Not here: the rules
(`checks/plausibility`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np

from refinery_assets.checks.plausibility.days import DayFacts
from refinery_assets.checks.plausibility.evidence import FIGURES, Copies, Evidence, Layout, make_layout
from refinery_assets.checks.rules import SAMPLE_SIZE
from refinery_assets.contract.months import Month
from refinery_assets.contract.plausibility import CHECKS, Mode, PlausibilitySettings
from refinery_assets.contract.settings import Settings
from refinery_assets.warehouse.tables import column_types
from refinery_assets.warehouse.waivers import ever_accepted, withdrawn_checks

FEWEST_VALUES = 5
"""Distinct readings from which two series with equal digests are one copied, and not two that idle."""


@dataclass(frozen=True, eq=False)
class Past:
    """The months at hand and those before them, as the tables hold them.

    Attributes:
        layout: Their series.
        copies: By month, what stands in another published month; of months that are not at hand, in one that is.
        hosts: How many hosts each of these months has.
        published: The months that anything stands of.
        settings: How months are judged.
        withdrawn: Months that stand only because they were accepted, which has been taken back since. Somebody calls
            them wrong, so nothing is compared with them.
    """

    layout: Layout | None = None
    copies: Mapping[Month, Sequence[Copies]] = field(default_factory=dict)
    hosts: Mapping[Month, int] = field(default_factory=dict)
    published: Collection[Month] = ()
    settings: PlausibilitySettings = field(default_factory=PlausibilitySettings)
    withdrawn: Collection[Month] = ()

    def evidence(
        self, month: Month, days: Mapping[str, Sequence[DayFacts]] | None = None, without: Collection[Month] = ()
    ) -> Evidence | None:
        """What a month is judged by; None where nothing stands of it, or no rule wants to know.

        Args:
            month: The month.
            days: What its days have in common, by resource; None: that is not known.
            without: Months that the tables hold as this run would publish them, and that it refuses: nothing is
                compared with them.
        """
        if self.layout is None or month not in self.layout.months:
            return None
        without = {*without, *self.withdrawn}
        left_out = {str(each) for each in without}
        copies = [each for each in self.copies.get(month, ()) if each.other_month not in left_out]
        return self.layout.evidence(
            month,
            self.settings,
            days=days,
            copies=copies,
            without=without,
            hosts_in_all=self.hosts.get(month, 0),
            other_months=len(set(self.published) - {month, *without}),
            copied_by={
                (str(other), each.other_resource)
                for other, found in self.copies.items()
                for each in found
                if each.other_month == str(month) and each.is_certain(self.hosts.get(other, 0), self.settings)
            },
        )


def read_past(
    connection: duckdb.DuckDBPyConnection,
    months: Sequence[Month],
    settings: Settings,
    *,
    is_published: bool,
) -> Past:
    """Read what `months` are judged by; `series_months` holds them already.

    Args:
        connection: The warehouse; may be read-only.
        months: The months at hand.
        settings: How they are judged.
        is_published: Whether they are judged as they are published, and not to be: then nothing of them is new.
            Otherwise this needs `name_fresh_series` before.
    """
    limits, resources = settings.plausibility, settings.contract.resources
    if not months or len(limits.off) == len(CHECKS):
        return Past(settings=limits)
    keys = sorted(str(month) for month in months)
    published = [month for (month,) in connection.execute("SELECT DISTINCT month FROM series_months").fetchall()]
    # A month at hand that is yet to be published is in the tables already: its last publication stands no longer.
    withdrawn = set(withdrawn_checks(connection)) - (set() if is_published else set(months))
    left_out = {str(month) for month in withdrawn}
    earlier = sorted(month for month in published if month < keys[0] and month not in left_out)
    earlier = earlier[-limits.earlier_months :]
    read = [*earlier, *sorted(month for month in published if keys[0] <= month <= keys[-1])]
    there = column_types(connection, "series_months")
    figures = ", ".join(f"{name}::DOUBLE AS {name}" if name in there else f"NULL::DOUBLE AS {name}" for name in FIGURES)
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE _refinery_judged_hosts AS
        SELECT host_id, row_number() OVER () - 1 AS number FROM (
            SELECT DISTINCT host_id FROM series_months WHERE month IN (SELECT unnest($months::VARCHAR[]))
            ORDER BY hash(host_id) LIMIT $most
        )
        """,
        {"months": keys, "most": limits.most_hosts},
    )
    names = connection.execute("SELECT host_id FROM _refinery_judged_hosts ORDER BY number").fetchnumpy()["host_id"]
    columns = connection.execute(
        f"""
        SELECT list_position($read::VARCHAR[], month) - 1 AS month, list_position($resources::VARCHAR[], resource) - 1
            AS resource, number, {figures}
        FROM series_months JOIN _refinery_judged_hosts USING (host_id)
        WHERE month IN (SELECT unnest($read::VARCHAR[])) AND list_contains($resources::VARCHAR[], resource)
        """,  # noqa: S608 - names of the dictionary
        {"read": read, "resources": list(resources)},
    ).fetchnumpy()
    places = tuple(np.asarray(columns[name]) for name in ("month", "resource", "number"))
    layout = make_layout(
        [Month.parse(key) for key in read],
        resources,
        np.asarray(names, dtype=np.str_),
        places,
        {name: np.ma.filled(np.ma.asarray(columns[name], dtype=np.float64), np.nan) for name in FIGURES},
    )
    copies = {}
    if limits.month_is_new is not Mode.OFF:
        if is_published:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE _refinery_fresh_series ({_FRESH_SERIES})")
        copies = _copies(connection, keys)
    hosts = connection.execute(
        "SELECT month, count(DISTINCT host_id) FROM series_months "
        "WHERE month IN (SELECT unnest($months::VARCHAR[])) GROUP BY month",
        {"months": sorted({*keys, *map(str, copies)})},
    ).fetchall()
    return Past(
        layout,
        copies,
        {Month.parse(key): number for key, number in hosts},
        [Month.parse(key) for key in published],
        limits,
        withdrawn,
    )


_FRESH_SERIES = "month VARCHAR, resource VARCHAR, host_id VARCHAR"


def name_fresh_series(connection: duckdb.DuckDBPyConnection) -> None:
    """Name the series whose readings a publication changes, or brings, in the temporary table `_refinery_fresh_series`.

    Needs `_refinery_new_series`, and `series_months` as it is before the publication.
    """
    connection.execute(f"CREATE OR REPLACE TEMP TABLE _refinery_fresh_series ({_FRESH_SERIES})")
    connection.execute(
        """
        INSERT INTO _refinery_fresh_series SELECT n.month, n.resource, n.host_id
        FROM _refinery_new_series n LEFT JOIN series_months b
            ON b.month = n.month AND b.resource = n.resource AND lower(b.host_id) = lower(n.host_id)
        WHERE b.values_digest IS DISTINCT FROM n.values_digest
        """
    )


def _copies(connection: duckdb.DuckDBPyConnection, months: Sequence[str]) -> dict[Month, list[Copies]]:
    """Series of the months whose values in order stand in another month: one hash join over all that is published.

    Of two months with one content, the copy is the one whose content is new with this run, be the other earlier or
    later: so a month that is published again is none for standing beside a copy of it, and a correction is held
    against all others. Where the content of both is new, or of neither, the copy is the one that somebody has accepted
    as such, be that withdrawn since; otherwise the later one.
    """
    accepted = ever_accepted(connection, "month_is_new")
    # Series with one digest are grouped on either side before they are paired: a thousand hosts that read the same in
    # two months are one pair of groups, and not a million pairs of hosts.
    rows = connection.execute(
        """
        WITH now AS (
            SELECT DISTINCT month, values_digest FROM series_months
            WHERE month IN (SELECT unnest($months::VARCHAR[])) AND distinct_values >= $fewest
        ), twice AS (
            SELECT DISTINCT values_digest FROM series_months o
            SEMI JOIN now n ON n.values_digest = o.values_digest AND n.month <> o.month
        ), sides AS (
            SELECT month, resource, values_digest, f.host_id IS NOT NULL AS is_new, count(*) AS series,
                min(host_id, $sample) AS hosts
            FROM (SELECT * FROM series_months SEMI JOIN twice USING (values_digest) WHERE distinct_values >= $fewest)
                LEFT JOIN _refinery_fresh_series f USING (month, resource, host_id)
            GROUP BY month, resource, values_digest, is_new
        ), pairs AS (
            SELECT n.month, n.resource, o.month AS other, o.resource AS other_resource, any_value(n.series) AS series,
                any_value(n.hosts) AS hosts, flatten(list(o.hosts)) AS other_hosts
            FROM sides n JOIN sides o ON o.values_digest = n.values_digest AND o.month <> n.month
            WHERE (list_contains($months::VARCHAR[], n.month) OR list_contains($months::VARCHAR[], o.month))
                AND CASE WHEN n.is_new <> o.is_new THEN n.is_new
                    WHEN list_contains($accepted::VARCHAR[], n.month) <> list_contains($accepted::VARCHAR[], o.month)
                    THEN list_contains($accepted::VARCHAR[], n.month) ELSE o.month < n.month END
            GROUP BY n.month, n.resource, n.values_digest, n.is_new, other, other_resource
        )
        SELECT month, resource, other, other_resource, sum(series)::BIGINT AS series,
            list([hosts, other_hosts] ORDER BY hosts[1])[1 : $sample]
        FROM pairs GROUP BY month, resource, other, other_resource
        ORDER BY month, series DESC, resource, other, other_resource
        """,
        {"months": months, "accepted": accepted, "fewest": FEWEST_VALUES, "sample": SAMPLE_SIZE},
    ).fetchall()
    found: dict[Month, list[Copies]] = {}
    for month, resource, other, other_resource, series, groups in rows:
        hosts = [(host, host if host in there else min(there)) for here, there in groups for host in here]
        copies = Copies(resource, other, other_resource, series, hosts[:SAMPLE_SIZE])
        found.setdefault(Month.parse(month), []).append(copies)
    return found
