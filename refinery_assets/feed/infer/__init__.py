"""A contract proposed from somebody's files: what can be seen in them, from which lines, and what cannot.

Here: paths and their placeholders (`paths.py`), a sample of a file's lines (`sample.py`), what its columns
are (`columns.py`), what they are put together to (`findings.py`), and the proposal as TOML
(`proposal.py`, `hosts.py`, `words.py`). Not here: reading a feed by a contract.
"""
