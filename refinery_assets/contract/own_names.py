"""The names that the refinery has for itself, so that a contract cannot name an inventory or an attribute like one.

Here: the names. Not here: what they name (`columns.py`, and the temporary tables of `warehouse`).
"""

from __future__ import annotations

OWN_TABLES = frozenset({
    # What it keeps, and the views on that.
    "processed_data", "quarantined_rows", "audits", "publications", "series_months", "waivers",
    "host_inventory", "series", "forecast_panel", "daily_features", "capacity_changes",
    # What rules of a team's own read besides, while they run.
    "audit_months",
})  # fmt: skip
"""Tables and views that others read."""

OWN_PREFIX = "_refinery_"
"""With it begin the temporary tables that are no one else's. DuckDB looks for a name among the temporary tables first,
`main.fleet` too, so a plain one would hide a table of the team's from its own rules and views."""

OWN_COLUMNS = frozenset({
    "unique_id", "host_id", "resource", "ds", "y", "cap", "floor", "capacity", "demand", "is_imputed",
    "first_day", "last_day", "days", "imputed", "gaps", "missing_days",
})  # fmt: skip
"""Columns of the views that carry the inventory's attributes, and do not come from the inventory."""

INVENTORY_COLUMNS = ("node_name", "scenario", "variant", "valid_from", "valid_to")
"""The inventory's own columns, as all queries know them: the host, its behavior, and when it counts."""
