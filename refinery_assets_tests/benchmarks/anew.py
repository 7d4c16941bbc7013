"""Our graph with a job that refines months anew, whatever is published of them.

    dg launch --job refine_anew --partition-range 2023-01...2025-12 -m refinery_assets_tests.benchmarks.anew

`dg launch` gives a run no tags; it takes those of its job.
"""

import dagster as dg

from refinery_assets import definitions
from refinery_assets.assets.steps import FORCE_TAG
from refinery_assets.operations.automation import build_jobs

JOB = "refine_anew"

_refine, *_ = build_jobs()
_job = dg.define_asset_job(JOB, selection=_refine.selection, tags={FORCE_TAG: "true"})
defs = dg.Definitions.merge(definitions.defs, dg.Definitions(jobs=[_job]))
