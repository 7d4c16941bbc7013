"""The families' Parquet store: dagster-polars' IO manager, made fit for runs over many months.

Here: writing the partitions of one asset one by one, each whole or not at all, and reading them back. Not
here: what a partition holds (`rows/family.py`) and how DuckDB reads it (`warehouse/family_partitions.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from dagster_polars import PolarsParquetIOManager

from refinery_assets.feed.atomic_write import atomic_path

if TYPE_CHECKING:
    from upath import UPath

MonthlyFrames = Iterator[tuple[str, pl.DataFrame]]
"""A partition key and its frame, made while they are written, so that one month is in memory at a time."""


class TelemetryIOManager(PolarsParquetIOManager):
    """Parquet files at `<base_dir>/<asset>/<partition key>.parquet`.

    Takes a `MonthlyFrames` where the asset is materialized for any number of partitions, which the
    stock manager refuses beyond one.
    """

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write each frame to its partition's file; a single frame is left to the stock manager."""
        if isinstance(obj, pl.DataFrame | pl.LazyFrame) or not isinstance(obj, Iterable):
            super().handle_output(context, obj)
            return
        paths = self._get_paths_for_partitions(context)
        for key, frame in obj:
            self.write_df_to_path(context, frame, paths[key])

    def make_directory(self, path: UPath) -> None:
        """Nothing: the folder is made where its file is written, and so is told of if it cannot be."""

    def sink_df_to_path(self, context: dg.OutputContext, df: pl.LazyFrame, path: UPath) -> None:
        """Collect and write: the stock manager sinks straight into the final place."""
        self.write_df_to_path(context, df.collect(), path)

    def write_df_to_path(self, context: dg.OutputContext, df: pl.DataFrame, path: UPath) -> None:
        """Write atomically; what was there before stays when it cannot be done."""
        try:
            with atomic_path(Path(str(path))) as temporary:
                super().write_df_to_path(context, df, type(path)(temporary))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise dg.Failure(
                description=f"The partition {path} could not be written, and stays as it was; see to the "
                f"room and the rights there (REFINERY_TELEMETRY), then run again. The cause: {error}",
                allow_retries=False,
            ) from error

    def scan_df_from_path(
        self,
        path: UPath,
        context: dg.InputContext,  # noqa: ARG002 - the signature is the stock manager's
        partition_key: str | None = None,  # noqa: ARG002
    ) -> pl.LazyFrame:
        """Scan a partition; the stock manager passes `rechunk`, which Polars 2 no longer takes."""
        return pl.scan_parquet(str(path), glob=False, hive_partitioning=False)
