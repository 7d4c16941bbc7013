"""The generated sections of docs/, and the command that renews them.

    python -m refinery_assets_tests.docs

Here: what is taken from the code. Not here: the prose around it, which stands in the pages themselves.
"""
