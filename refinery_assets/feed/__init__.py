"""From files to bytes: where the files of a month lie, their headers and line counts, what changed in them.

Not here: what the lines say (`rows`).
"""
