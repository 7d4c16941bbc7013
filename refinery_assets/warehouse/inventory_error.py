"""What is wrong with an inventory that there is no looking at.

Here: the error. Not here: when it is raised (`inventory_source.py`, `inventory_file.py`).
"""

from __future__ import annotations


class InventoryError(Exception):
    """There is no inventory to look at.

    Attributes:
        problem: Why, as a sentence in the contract's words, without its full stop.
        there: What is there instead, as a sentence that may quote names of others.
    """

    def __init__(self, problem: str, there: str = "") -> None:
        super().__init__(f"{problem}. {there}".rstrip())
        self.problem = problem
        self.there = there
