"""The pictures of the published history: files under the reports folder, and Markdown on the asset's page."""

import base64
import importlib
import threading
from pathlib import Path

import dagster as dg

from refinery_assets.refining.history import History
from refinery_assets.refining.whole_files import write_whole

_DRAWING = "refinery_assets.refining.pictures"


def load_drawing() -> None:
    """Load the plotting library beside the work at hand: it takes long, and only a publication needs it."""
    threading.Thread(target=importlib.import_module, args=(_DRAWING,), daemon=True).start()


def draw_reports(
    context: dg.AssetExecutionContext, history: History, folder: Path
) -> dict[str, dg.MetadataValue]:
    """Draw every picture into `<folder>/<name>.png`, and give it as metadata.

    A folder that cannot be written is told in the step's log: the months are published by then.
    """
    pictures = importlib.import_module(_DRAWING).PICTURES
    metadata: dict[str, dg.MetadataValue] = {}
    for name, draw in pictures.items():
        picture: bytes = draw(history)
        metadata[name] = dg.MetadataValue.md(
            f"![{name}](data:image/png;base64,{base64.b64encode(picture).decode()})"
        )
        try:
            write_whole(folder / f"{name}.png", picture)
        except OSError as error:
            context.log.warning(
                f"The picture {name} could not be written to {folder} (REFINERY_REPORTS): {error}"
            )
    return metadata
