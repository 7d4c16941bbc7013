"""The sample fleet, its feed, and the demo that refines them.

Nothing in the other rooms imports from here.
"""
