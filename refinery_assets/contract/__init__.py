"""What a feed looks like and what comes out: families, months, columns and settings.

Data and lookups only. Nothing here opens a file or a database, and nothing imports from another room.
"""
