"""`python -m refinery_assets.cli` is `refinery`."""

from refinery_assets.cli import main

main()
