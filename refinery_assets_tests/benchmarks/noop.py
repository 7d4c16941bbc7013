"""A Dagster run that does nothing, started as ours is: what a run costs before any data is touched.

dg launch --assets nothing -m refinery_assets_tests.benchmarks.noop
"""

import dagster as dg


@dg.asset
def nothing() -> None:
    """Does nothing."""


defs = dg.Definitions(assets=[nothing], executor=dg.in_process_executor)
