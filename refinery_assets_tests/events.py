"""An asset whose run leaves events of every kind that storages of events take together.

Here: the asset. Not here: anything that asserts.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from refinery_assets.assets.month_events import (
    JudgedMonth,
    MaterializedMonth,
    RefusedMonth,
    log_months,
    monthly_check_spec,
    silent_outputs,
)
from refinery_assets.operations.partitions import ONE_RUN

MONTHS = dg.MonthlyPartitionsDefinition("2024-01", fmt="%Y-%m")
MONTHS_PLANNED = ("2024-01", "2024-02", "2024-03")
MONTHS_UNPLANNED = ("2024-05", "2024-04", None)


@dg.multi_asset(
    specs=[dg.AssetSpec("judged")],
    partitions_def=MONTHS,
    backfill_policy=ONE_RUN,
    check_specs=[monthly_check_spec(name, "judged", MONTHS, description="", blocking=True) for name in ("one", "two")],
)
def judged(context: dg.AssetExecutionContext) -> Iterator[Any]:
    yield from silent_outputs(context)
    # Some are judged twice.
    months = [*context.partition_keys, "2024-02", *MONTHS_UNPLANNED, "2024-05"]
    # Between two materializations comes an event of another kind.
    *first, last = (MaterializedMonth(month, "digest", {}) for month in context.partition_keys)
    log_months(context, "judged", first, [], [RefusedMonth("2024-05", {})])
    log_months(
        context,
        "judged",
        [last],
        [
            JudgedMonth("judged", name, month, at % 2 == 0, dg.AssetCheckSeverity.WARN, f"{at}", {})
            for at, month in enumerate(months)
            for name in ("one", "two")
        ],
    )
