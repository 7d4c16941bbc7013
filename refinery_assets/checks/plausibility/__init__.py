"""Is a well-formed month true? Rules that hold a month against its own families and the months before it.

Here: the evidence, the rules as plain functions on it, and their list. Not here: where the evidence comes from
(`warehouse/plausibility.py`), and the settings (`contract/plausibility.py`).
"""
