"""The names that the refinery has for itself, so that a contract cannot name an inventory or an attribute like one.

Here: the names. Not here: what they name (`columns.py`, and the temporary tables of `warehouse`).
"""

from __future__ import annotations

OWN_TABLES = frozenset({
    # What it keeps, and the views on that.
    "processed_data", "quarantined_rows", "audits", "publications", "series_months", "waivers",
    "host_inventory", "series", "forecast_panel", "daily_features", "capacity_changes",
    # What it makes while it works, which would hide a table of the same name.
    "fleet", "hosts_due", "inventory_rows", "inventory_source", "audit_months", "audit_partitions", "audit_series",
    "audit_parts", "respelled_hosts", "new_series", "changed_series", "differing_rows", "judged_hosts", "own_rule",
    "fresh_series", "other_inventory",
})  # fmt: skip
"""Tables and views, the temporary ones included."""

OWN_COLUMNS = frozenset({
    "unique_id", "host_id", "resource", "ds", "y", "cap", "floor", "capacity", "demand", "is_imputed",
    "first_day", "last_day", "days", "imputed", "gaps", "missing_days",
})  # fmt: skip
"""Columns of the views that carry the inventory's attributes, and do not come from the inventory."""

INVENTORY_COLUMNS = ("node_name", "scenario", "variant", "valid_from", "valid_to")
"""The inventory's own columns, as all queries know them: the host, its behavior, and when it counts."""
