"""What stands in DuckDB: tables, views, inventory, the publish checks and their facts, publication, receipts.

Not here: Dagster, and how a CSV file becomes rows (`rows`).
"""
