"""The pictures of the published history: files under the reports folder, and Markdown on the asset's page."""

import base64
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import PrivateAttr

from refinery_assets.contract.months import Month
from refinery_assets.feed.atomic_write import atomic_write
from refinery_assets.reports.history import HistoryRead
from refinery_assets.reports.history_memory import recall, remember
from refinery_assets.reports.history_read import read_basis, read_history

if TYPE_CHECKING:
    # A resource lives to the very end of the process, and the library complains of what it keeps hold of.
    import duckdb

# The process is short and the run waits for it: looking for garbage, and a thread for every core just because
# NumPy is loaded, take a quarter of its time.
_DRAWING = "import gc; gc.disable(); from refinery_assets.reports.charts import main; main()"
_DRAWING_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}


class DrawingFailedError(Exception):
    """The process that draws ended without a picture."""


class Drawer(dg.ConfigurableResource[Any]):
    """A process that loads the plotting library while the run works, and draws when it is asked to.

    Loading and drawing would add a second to every run, and the library's memory to the run's. The process
    ends with the run, whether it was asked for anything or not.

    Attributes:
        folder: Where the PNG files go.
    """

    folder: str

    _process: subprocess.Popen[bytes] = PrivateAttr()
    _read: HistoryRead = PrivateAttr()

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Drawer"]:
        """Start the process as early as the run knows that it will want pictures."""
        run = context.instance and context.run and context.instance.get_run_by_id(context.run.run_id)
        if run and run.is_finished:
            # The command line sets the resources up once more, to look at the outcome.
            yield self
            return
        with subprocess.Popen(  # noqa: S603 - a command of our own
            [sys.executable, "-c", _DRAWING],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_DRAWING_ENVIRONMENT},
        ) as self._process:
            try:
                yield self
            finally:
                self._end()

    def _end(self) -> None:
        """Let the process come to its end, whether it was asked for pictures and whether they were taken."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                if pipe.readable():
                    pipe.read()
                pipe.close()

    def draw(self, connection: "duckdb.DuckDBPyConnection", months: Sequence[Month]) -> None:
        """Have the history drawn, in which `months` are new; the pictures are taken later."""
        basis = read_basis(connection)
        self._read = read_history(connection, basis, recall(self._memory, connection, basis, months))
        if self._process.stdin is not None:
            # A process that has died is told of when its pictures are taken.
            with suppress(BrokenPipeError), self._process.stdin as pipe:
                pipe.write(pickle.dumps(self._read.history))

    def remember(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Keep what was read of the months, when they are published.

        Raises:
            OSError: It cannot be kept; then the next run reads all months again.
        """
        remember(self._memory, connection, self._read)

    @property
    def _memory(self) -> Path:
        return Path(self.folder, "history.json")

    def take(self) -> Mapping[str, bytes]:
        """Wait for the pictures: PNG files by name.

        Raises:
            DrawingFailedError: There are none.
        """
        drawn = self._process.stdout.read() if self._process.stdout is not None else b""
        if self._process.wait() or not drawn:
            raise DrawingFailedError(f"the drawing process ended with status {self._process.returncode}")
        pictures: dict[str, bytes] = pickle.loads(drawn)  # noqa: S301 - from our own process
        return pictures


def remember_history(
    context: dg.AssetExecutionContext, drawer: Drawer, connection: "duckdb.DuckDBPyConnection"
) -> None:
    """Keep what was read for the pictures; what goes wrong is told in the step's log and fails nothing."""
    try:
        drawer.remember(connection)
    except OSError as error:
        context.log.warning(
            f"What the pictures show was not kept in {drawer.folder} (REFINERY_REPORTS): {error}"
        )


def show_pictures(context: dg.AssetExecutionContext, drawer: Drawer) -> dict[str, dg.MetadataValue]:
    """Take the pictures, write them to `<folder>/<name>.png`, and give them as metadata.

    What goes wrong is told in the step's log and fails nothing: the months are published by then.
    """
    metadata: dict[str, dg.MetadataValue] = {}
    try:
        for name, picture in drawer.take().items():
            encoded = base64.b64encode(picture).decode()
            metadata[name] = dg.MetadataValue.md(f"![{name}](data:image/png;base64,{encoded})")
            atomic_write(Path(drawer.folder, f"{name}.png"), picture)
    except DrawingFailedError as error:
        context.log.warning(f"The pictures of the history were not drawn: {error}.")
    except OSError as error:
        context.log.warning(f"The pictures were not written to {drawer.folder} (REFINERY_REPORTS): {error}")
    return metadata
