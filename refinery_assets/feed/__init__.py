"""From files to text: where the files of a month lie, their unpacking, headers and line counts, what changed in them.

Also the stores that files lie in, folders and buckets.

Not here: what the lines say (`rows`).
"""
