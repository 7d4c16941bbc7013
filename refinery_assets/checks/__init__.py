"""What a rule and a verdict are, whatever they judge.

Here too: the plausibility checks, plain functions on summed-up series. Not here: any other rule, which stands in the
room of what it judges: `rows` (source files) or `warehouse`.
"""
