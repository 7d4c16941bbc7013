"""Reading the published history for the pictures of it, month by month.

Here: the queries. Not here: what their numbers mean (`history.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import duckdb

from refinery_assets.contract.months import Month
from refinery_assets.reports.history import HOSTS_DRAWN, MOST_BEHAVIORS, Basis, HistoryRead, MonthFigures
from refinery_assets.warehouse.facts import sum_up

# Longer histories are drawn from one day of the week: it shows the same course, without the week's beat.
_DAYS_DRAWN_IN_FULL = 200
_WEDNESDAY = 3
# What is read in one go, so that the memory it takes does not grow with the history.
_MONTHS_AT_ONCE = 12


def read_basis(connection: duckdb.DuckDBPyConnection) -> Basis:
    """Look at the inventory and at the ends of the table; needs `name_fleet` before.

    Names the hosts to draw in the temporary table `drawn_hosts`.
    """
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE drawn_hosts AS
        SELECT number, unnest(min_by(node_name, md5(node_name), $hosts_drawn)) AS node_name
        FROM fleet WHERE number < $most_behaviors GROUP BY number
        """,
        {"hosts_drawn": HOSTS_DRAWN, "most_behaviors": MOST_BEHAVIORS},
    )
    hosts = connection.execute(
        "SELECT behavior, count(*) FROM fleet WHERE number < $most_behaviors GROUP BY ALL ORDER BY behavior",
        {"most_behaviors": MOST_BEHAVIORS},
    ).fetchall()
    ((fleet,),) = connection.execute(
        "SELECT coalesce(bit_xor(hash(node_name, behavior)), 0) FROM fleet WHERE behavior IS NOT NULL"
    ).fetchall()
    # Found by the row groups' extremes, where min and max read the whole column.
    ((first, last),) = connection.execute(
        "SELECT (SELECT ds::DATE FROM processed_data ORDER BY ds LIMIT 1), "
        "(SELECT ds::DATE FROM processed_data ORDER BY ds DESC LIMIT 1)"
    ).fetchall()
    months = [] if first is None else list(Month.span(Month.of(first), Month.of(last)))
    only_wednesdays = first is not None and (last - first).days > _DAYS_DRAWN_IN_FULL
    return Basis(months, only_wednesdays, dict(hosts), fleet)


def read_history(
    connection: duckdb.DuckDBPyConnection,
    basis: Basis,
    known: Mapping[Month, MonthFigures] | None = None,
) -> HistoryRead:
    """Read what the pictures need, except of the months whose figures are known; needs `read_basis` before.

    The connection may be read-only.
    """
    figures = dict(known or {})
    unknown = [month for month in basis.months if month not in figures]
    for months in Month.unbroken(unknown, at_most=_MONTHS_AT_ONCE):
        figures |= _read_months(connection, months[0], months[-1], basis)
    return HistoryRead(basis, {month: figures[month] for month in basis.months})


def _read_months(
    connection: duckdb.DuckDBPyConnection, first: Month, last: Month, basis: Basis
) -> dict[Month, MonthFigures]:
    figures: dict[Month, MonthFigures] = defaultdict(MonthFigures)
    months = list(Month.span(first, last))
    borrowed = sum_up(connection, months)
    counted = connection.execute(
        """
        SELECT month, number, bit_or(days), sum(points - imputed)::BIGINT FROM audit_series
        WHERE number < $most_behaviors AND month IN (SELECT unnest($months::VARCHAR[])) GROUP BY ALL
        """,
        {"most_behaviors": MOST_BEHAVIORS, "months": [str(month) for month in months]},
    ).fetchall()
    # What stands there for the audit is no more than the months under audit.
    connection.execute(
        "DELETE FROM audit_series WHERE month IN (SELECT unnest($months::VARCHAR[]))",
        {"months": [str(month) for month in borrowed]},
    )
    for name, number, days, readings in counted:
        month = figures[Month.parse(name)]
        # An imputed row lies between two readings, so the newest day is that of a reading.
        month.newest = max(month.newest, days.bit_length() - 1)
        month.readings[number] = readings
    spread = connection.execute(
        """
        SELECT number, ds::DATE, quantile_cont(y, [0.1, 0.5, 0.9])
        FROM processed_data JOIN drawn_hosts ON host_id = node_name
        WHERE ds >= $first AND ds < $end AND (NOT $only_wednesdays OR dayofweek(ds) = $wednesday)
        GROUP BY ALL ORDER BY ALL
        """,
        {
            "first": first.first_day,
            "end": last.next.first_day,
            "only_wednesdays": basis.only_wednesdays,
            "wednesday": _WEDNESDAY,
        },
    ).fetchall()
    for number, day, percentiles in spread:
        figures[Month.of(day)].spread.setdefault(number, []).append((day.isoformat(), *percentiles))
    return {month: figures[month] for month in months}
