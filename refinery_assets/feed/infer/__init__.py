"""A contract proposed from somebody's files: what can be seen in them, from which lines, and what cannot.

Here: paths and their placeholders (`infer/paths.py`), a sample of a file's lines (`infer/sample.py`), what its columns
are (`infer/columns.py`), what they are put together to (`infer/findings.py`), and the proposal as TOML
(`infer/proposal.py`). Not here: reading a feed by a contract.
"""
