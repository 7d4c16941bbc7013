"""One file to judged rows: read, scrub, fill gaps; and the checks of the source files, which look into rows.

Not here: DuckDB and several months at once (`warehouse`).
"""
