"""The data dictionary, and that warehouse, partitions and UI say the same as it does."""

from __future__ import annotations

import dagster as dg
import pytest

from refinery_assets.build import build_defs
from refinery_assets.contract.columns import PARTITION_COLUMNS, PROCESSED_DATA, TABLES, VIEWS, Relation, in_the_words_of
from refinery_assets.rows.family import PARTITION_SCHEMA
from refinery_assets_tests.scenario import JANUARY, GivenPublished, Sandbox


@pytest.mark.parametrize("relation", [*TABLES, *VIEWS], ids=lambda relation: relation.name)
def test_the_warehouse_has_the_columns_types_and_comments_of_the_dictionary(
    sandbox: Sandbox, given_published: GivenPublished, relation: Relation
) -> None:
    given_published(JANUARY)

    found = sandbox.query(
        "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index",
        [relation.name],
    )
    columns = in_the_words_of(sandbox.settings.contract, relation.columns)
    assert found == [(column.name, column.type_name, column.description) for column in columns]
    catalog, name = f"duckdb_{relation.kind}s()", f"{relation.kind}_name"
    assert sandbox.query(f"SELECT comment FROM {catalog} WHERE {name} = ?", [relation.name]) == [(relation.meaning,)]


def test_the_asset_pages_show_the_dictionarys_columns(sandbox: Sandbox) -> None:
    graph = build_defs(sandbox.settings).resolve_asset_graph()

    shown = {"processed_data": PROCESSED_DATA.columns, "cpu_utilization": PARTITION_COLUMNS}
    for asset, columns in shown.items():
        schema = graph.get(dg.AssetKey(asset)).metadata["dagster/column_schema"]
        assert isinstance(schema, dg.TableSchema)
        assert [(column.name, column.description) for column in schema.columns] == [
            (column.name, column.description) for column in in_the_words_of(sandbox.settings.contract, columns)
        ]


def test_a_partition_has_the_columns_of_the_dictionary() -> None:
    assert PARTITION_SCHEMA.names() == [column.name for column in PARTITION_COLUMNS]
