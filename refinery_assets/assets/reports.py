"""The pictures of the published history: files under the reports folder, and Markdown on the asset's page."""

import base64
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from refinery_assets.refining.history import History
from refinery_assets.refining.whole_files import write_whole

_DRAWING = "refinery_assets.refining.pictures"


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

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Drawer"]:
        """Start the process as early as the run knows that it will want pictures."""
        run = context.instance and context.run and context.instance.get_run_by_id(context.run.run_id)
        if run and run.is_finished:
            # The command line sets the resources up once more, to look at the outcome.
            yield self
            return
        with subprocess.Popen(  # noqa: S603 - a command of our own
            [sys.executable, "-m", _DRAWING], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as self._process:
            yield self

    def ask(self, history: History) -> None:
        """Have the history drawn; the pictures are taken later."""
        if self._process.stdin is not None:
            self._process.stdin.write(pickle.dumps(history))
            self._process.stdin.close()

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


def show_pictures(context: dg.AssetExecutionContext, drawer: Drawer) -> dict[str, dg.MetadataValue]:
    """Take the pictures, write them to `<folder>/<name>.png`, and give them as metadata.

    What goes wrong is told in the step's log and fails nothing: the months are published by then.
    """
    metadata: dict[str, dg.MetadataValue] = {}
    try:
        for name, picture in drawer.take().items():
            encoded = base64.b64encode(picture).decode()
            metadata[name] = dg.MetadataValue.md(f"![{name}](data:image/png;base64,{encoded})")
            write_whole(Path(drawer.folder, f"{name}.png"), picture)
    except DrawingFailedError as error:
        context.log.warning(f"The pictures of the history were not drawn: {error}.")
    except OSError as error:
        context.log.warning(f"The pictures were not written to {drawer.folder} (REFINERY_REPORTS): {error}")
    return metadata
