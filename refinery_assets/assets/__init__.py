"""The asset graph. Thin: every asset calls a plain function of `refinery_assets.refining`."""
