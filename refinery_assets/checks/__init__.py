"""What a rule and a verdict are, whatever they judge.

Not here: any rule. A rule stands in the room of what it judges: `rows` (source files) or `warehouse`.
"""
