"""A lake's data in an object store, as DuckDB's extension httpfs reaches it.

Endpoint and keys come from the same variables as those of feed and partitions, and are kept in the memory of the
connection alone. Here: handing them on. Not here: what the refinery itself writes there (`lake_files.py`).
"""

from __future__ import annotations

from urllib.parse import urlsplit

import duckdb

from refinery_assets.contract.places import ObjectPrefix
from refinery_assets.warehouse.storage import WarehouseUnusableError

_REGION_WHERE_NONE_IS_SET = "us-east-1"


def hand_keys_on(connection: duckdb.DuckDBPyConnection, place: ObjectPrefix) -> None:
    """Have DuckDB reach the objects below a place.

    Raises:
        WarehouseUnusableError: There are no keys.
        StoreError: The endpoint is no web address.
    """
    # The library for it is an extra.
    from refinery_assets.feed.object_connection import KEYS, aws_variables, endpoint  # noqa: PLC0415

    variables = aws_variables()
    server = endpoint(variables)
    try:
        key, secret = variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
    except KeyError:
        raise WarehouseUnusableError(
            f"The lake's data {place} (REFINERY_LAKE_DATA) cannot be reached: there are no keys for it; set {KEYS}, "
            "then run again."
        ) from None
    options = {
        "KEY_ID": key,
        "SECRET": secret,
        "REGION": variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or _REGION_WHERE_NONE_IS_SET,
        "SCOPE": f"{place}/",
    }
    if token := variables.get("AWS_SESSION_TOKEN"):
        options["SESSION_TOKEN"] = token
    if server is not None:
        parts = urlsplit(server[1])
        options |= {"ENDPOINT": parts.netloc, "URL_STYLE": "path", "USE_SSL": str(parts.scheme == "https").lower()}
    named = ", ".join(f"{name} ${name.lower()}" for name in options)
    connection.execute(
        f"CREATE SECRET refinery (TYPE s3, {named})", {name.lower(): value for name, value in options.items()}
    )
