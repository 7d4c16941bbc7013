"""Charts and the monthly report, made from `series_months` alone.

Not here: queries over daily rows, and Dagster.
"""
