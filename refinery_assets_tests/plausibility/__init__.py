"""How well plausible lies are caught, and how seldom honest months are: fleets, lies, and what the checks say of both.

python -m refinery_assets_tests.plausibility              prints the tables and renews docs/plausibility.md
python -m refinery_assets_tests.plausibility --feed DIR   the same, with a fleet read from files of one's own
"""
