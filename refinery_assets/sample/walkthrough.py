"""A walk-through: from the published table to forecasts, for one host of each behavior.

    python -m refinery_assets.sample.walkthrough [--resource cpu] [--days 180] [--to FILE.png]

Reads one series for each behavior from the views, fits Prophet with logistic growth, and draws history,
forecast and the ceiling of 100 percent. Needs the extra `forecast`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from matplotlib.figure import Figure

from refinery_assets.contract.packaged import RESOURCES
from refinery_assets.contract.settings import SettingError, Settings
from refinery_assets.feed.atomic_write import atomic_path
from refinery_assets.warehouse.storage import (
    WarehouseHeldError,
    WarehouseMissingError,
    WarehouseUnusableError,
    open_warehouse,
)

# Prophet mentions that it could draw with plotly, and Stan every fit that it works on.
for _noisy in ("prophet.plot", "cmdstanpy"):
    logging.getLogger(_noisy).disabled = True

from prophet import Prophet  # noqa: E402 - its import talks already

if TYPE_CHECKING:
    import pandas as pd

# Of each behavior the host with the longest series; among equals the first by name.
ONE_HOST_OF_EACH = """
    SELECT scenario || ' / ' || variant, arg_min(host_id, (-days, host_id))
    FROM series WHERE resource = $resource AND scenario IS NOT NULL AND variant IS NOT NULL
    GROUP BY ALL ORDER BY ALL
"""
HISTORY = """
    SELECT ds, y, cap, floor FROM forecast_panel
    WHERE host_id = $host AND resource = $resource ORDER BY ds
"""
_PANELS_IN_A_ROW = 5


def forecast(history: pd.DataFrame, days: int) -> pd.DataFrame:
    """Fit one series and look some days ahead; `ds`, `yhat`, `yhat_lower`, `yhat_upper` of all its days."""
    model = Prophet(growth="logistic").fit(history)
    ahead = model.make_future_dataframe(days)
    # The ceiling and the floor are known for days to come, too.
    ahead["cap"], ahead["floor"] = history["cap"].iloc[0], history["floor"].iloc[0]
    return model.predict(ahead)[["ds", "yhat", "yhat_lower", "yhat_upper"]]


def forecasts(
    connection: duckdb.DuckDBPyConnection, resource: str, days: int
) -> Iterator[tuple[str, str, pd.DataFrame, pd.DataFrame]]:
    """Behavior, host, history and forecast, behavior by behavior."""
    for behavior, host in connection.execute(ONE_HOST_OF_EACH, {"resource": resource}).fetchall():
        history = connection.sql(HISTORY, params={"host": host, "resource": resource}).df()
        yield behavior, host, history, forecast(history, days)


def draw(panels: Sequence[tuple[str, str, pd.DataFrame, pd.DataFrame]], path: Path) -> None:
    """One panel per behavior: what was, what is expected with its uncertainty, and the ceiling."""
    rows = max(1, -(-len(panels) // _PANELS_IN_A_ROW))
    figure = Figure(figsize=(15, 0.6 + 2.7 * rows), dpi=90)
    axes = figure.subplots(rows, _PANELS_IN_A_ROW, sharex=True, sharey=True, squeeze=False)
    for panel, (behavior, host, history, ahead) in zip(axes.flat, panels, strict=False):
        panel.plot(history["ds"], history["y"], linewidth=0.6, color="#7a7a7a", label="history")
        panel.fill_between(
            ahead["ds"], ahead["yhat_lower"], ahead["yhat_upper"], color="#1f6fb4", alpha=0.2, linewidth=0
        )
        panel.plot(ahead["ds"], ahead["yhat"], linewidth=1.2, color="#1f6fb4", label="forecast")
        panel.axhline(history["cap"].iloc[0], linewidth=1, linestyle="--", color="#c23b22", label="ceiling")
        panel.set_title(f"{behavior.lower()}\n{host}", fontsize=9, loc="left", parse_math=False)
        panel.tick_params(labelsize=7, axis="both")
        panel.tick_params(labelrotation=30, axis="x")
        panel.spines[["top", "right"]].set_visible(False)
    for panel in axes.flat[len(panels) :]:
        panel.set_axis_off()
    axes[0, 0].set_ylim(0, 112)
    axes[0, 0].legend(fontsize=7, loc="upper left", frameon=False)
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix(".") or "png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    settings_error = (SettingError, WarehouseMissingError, WarehouseHeldError, WarehouseUnusableError)
    parser = argparse.ArgumentParser(
        prog="python -m refinery_assets.sample.walkthrough", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--resource", choices=RESOURCES, default=RESOURCES[0])
    parser.add_argument("--days", type=int, default=180, help="days to look ahead")
    parser.add_argument("--to", type=Path, help="the picture; else forecasts.png in the reports folder")
    options = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment(os.environ)
        wait = settings.lock_wait_seconds
        with open_warehouse(settings.place, read_only=True, wait_seconds=wait) as connection:
            panels = []
            for panel in forecasts(connection, options.resource, options.days):
                behavior, host, history, ahead = panel
                sys.stdout.write(
                    f"{behavior}: {host}, {len(history)} days; in {options.days} days "
                    f"{ahead['yhat'].iloc[-1]:.0f} percent\n"
                )
                panels.append(panel)
    except settings_error as error:
        parser.exit(1, f"{error}\n")
    path = options.to or settings.reports / "forecasts.png"
    draw(panels, path)
    sys.stdout.write(f"Drawn: {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
