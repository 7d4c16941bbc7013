"""The families' Parquet store: dagster-polars' IO manager, made fit for runs over many months.

Here: writing the partitions of one asset one by one, each whole or not at all, and reading them back. Not
here: what a partition holds (`rows/family.py`) and how DuckDB reads it (`warehouse/family_partitions.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from dagster_polars import PolarsParquetIOManager

from refinery_assets.contract.places import Place, place_of
from refinery_assets.feed.store import StoreError, telemetry_store
from refinery_assets.rows.family import Refined
from refinery_assets.warehouse.family_partitions import Partition, write_parquet

if TYPE_CHECKING:
    from upath import UPath

MonthlyFrames = Iterator[Refined]
"""The months refined, made while they are written, so that few are in memory at a time."""

# Each holds a month in memory.
_WRITERS = 2


@contextmanager
def failing_out_of_reach() -> Iterator[None]:
    """Fail the step with a sentence where an object store cannot be reached."""
    try:
        yield
    except StoreError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error


@contextmanager
def failing_if_unwritable(partition: object, setting: str = "REFINERY_TELEMETRY") -> Iterator[None]:
    """Fail the step with a sentence where a partition, or what lies beside it, cannot be written."""
    try:
        with failing_out_of_reach():
            yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise dg.Failure(
            description=f"The partition {partition} could not be written and is unchanged; check the "
            f"free space and the permissions there ({setting}), then run again. The cause: {error}",
            allow_retries=False,
        ) from error


class TelemetryIOManager(PolarsParquetIOManager):
    """Parquet files at `<base_dir>/<asset>/<partition key>.parquet`, and beside them their months' summaries.

    With a lake, the rows to be published lie below its data path, too, where publishing need only register them.

    Takes a `MonthlyFrames` where the asset is materialized for any number of partitions, which the
    stock manager refuses beyond one.
    """

    lake_data: str = ""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write each month refined; a frame is left to the stock manager."""
        if isinstance(obj, pl.DataFrame | pl.LazyFrame) or not isinstance(obj, Iterable):
            super().handle_output(context, obj)
            return
        # Waiting for the disk takes longer than writing; meanwhile the next months are refined.
        with failing_out_of_reach(), ThreadPoolExecutor(_WRITERS) as pool:
            writing: deque[Future[None]] = deque()
            for refined in obj:
                writing.append(pool.submit(self._write_month, refined, context.run_id))
                if len(writing) > _WRITERS:
                    writing.popleft().result()
            for month in writing:
                month.result()

    def _write_month(self, refined: Refined, run_id: str = "") -> None:
        stats = refined.stats
        partition = Partition(self._place, stats.family, stats.month)
        lake_file = None
        if self.lake_data:
            # Whoever has no lake need not load it.
            from refinery_assets.warehouse.lake_files import write_lake_file  # noqa: PLC0415

            with failing_if_unwritable(self.lake_data, "REFINERY_LAKE_DATA"):
                lake_file = write_lake_file(place_of(self.lake_data), refined, run_id)
        with failing_if_unwritable(partition):
            partition.write(refined, lake_file)

    @property
    def _place(self) -> Place:
        return place_of(self.base_dir or "")

    def _name(self, path: UPath) -> str:
        """The name of a file of the stock manager's, below the root."""
        return str(path).removeprefix(str(self._place)).lstrip("/")

    def make_directory(self, path: UPath) -> None:
        """Nothing: the folder is made where its file is written, and an error there is reported."""

    def sink_df_to_path(self, context: dg.OutputContext, df: pl.LazyFrame, path: UPath) -> None:
        """Collect and write: the stock manager sinks straight into the final place."""
        self.write_df_to_path(context, df.collect(), path)

    def write_df_to_path(self, context: dg.OutputContext, df: pl.DataFrame, path: UPath) -> None:
        """Write atomically; what was there before stays when it cannot be done."""
        del context
        with failing_if_unwritable(path):
            write_parquet(df, telemetry_store(self._place), self._name(path), {})

    def scan_df_from_path(
        self,
        path: UPath,
        context: dg.InputContext,  # noqa: ARG002 - the signature is the stock manager's
        partition_key: str | None = None,  # noqa: ARG002
    ) -> pl.LazyFrame:
        """Scan a partition; the stock manager passes `rechunk`, which Polars 2 no longer takes."""
        store = telemetry_store(self._place)
        store.fetch([self._name(path)])
        return pl.scan_parquet(store.path_of(self._name(path)), glob=False, hive_partitioning=False)
