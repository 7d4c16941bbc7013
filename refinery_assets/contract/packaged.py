"""The packaged contract's parts: what the sample fleet is made by.

Whatever works on a team's own feed asks the contract of the settings (`Settings.contract`), not this.
"""

from __future__ import annotations

from refinery_assets.contract.contract_file import packaged_contract

FAMILIES = packaged_contract().families
RESOURCES = packaged_contract().resources
BEHAVIORS = packaged_contract().behaviors.names
