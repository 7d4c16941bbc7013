"""The code location: the graph over the settings of the environment."""

from __future__ import annotations

import os

from refinery_assets.operations.garbage import collected_later

with collected_later():
    from refinery_assets.build import build_defs
    from refinery_assets.contract.settings import Settings

    defs = build_defs(Settings.from_environment(os.environ))
