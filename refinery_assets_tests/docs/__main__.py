"""Renews the generated sections of docs/ from the code: `python -m refinery_assets_tests.docs`."""

from __future__ import annotations

import sys

from refinery_assets_tests.docs.pages import DOCS
from refinery_assets_tests.docs.sections import GENERATED, renewed

for name in GENERATED:
    page = DOCS / name
    old = page.read_text(encoding="utf-8")
    new = renewed(name, old)
    if new != old:
        page.write_text(new, encoding="utf-8")
    sys.stdout.write(f"docs/{name}: {'up to date' if new == old else 'renewed'}\n")
