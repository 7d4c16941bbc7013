"""A hundred republications at random, of which all that are kept are read back bit for bit, maintenance in between."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field, replace
from datetime import timedelta

import duckdb
import pytest

from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.feed.files import FeedExtent
from refinery_assets.rows.family import refine_file
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets.warehouse.gate import RunSoFar
from refinery_assets.warehouse.lake_files import write_lake_file
from refinery_assets.warehouse.lake_maintenance import maintain
from refinery_assets.warehouse.lake_snapshots import AS_OF, kept_publications
from refinery_assets.warehouse.month_state import State
from refinery_assets.warehouse.publish import publish
from refinery_assets.warehouse.snapshot import open_published
from refinery_assets.warehouse.storage import open_warehouse
from refinery_assets_tests.lakes import make_lake_in
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, MARCH, GivenPublished, Sandbox

pytestmark = [pytest.mark.lake, pytest.mark.heavy, pytest.mark.slow]

_MONTHS = [JANUARY, FEBRUARY, MARCH]
_PUBLICATIONS = 100
_MAINTAINED_EVERY = 30
_READ_BACK_ANEW_EVERY = 7
_CHANGED = 0.8
"""The share of publications that have something new to publish."""


def _digest(connection: duckdb.DuckDBPyConnection, relation: str) -> str:
    rows = connection.execute(f"SELECT * FROM {relation} ORDER BY resource, host_id, ds").fetchall()
    assert rows
    # Of floats, the shortest text that gives the very same number.
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def _export_again(sandbox: Sandbox, draw: random.Random, family: Family, month: Month) -> None:
    """Change some readings of a file a little, and refine it."""
    lines = sandbox.lines(family, month)
    for number in draw.sample(range(1, len(lines)), 5):
        day, host, value, rest = lines[number].split(",", 3)
        lines[number] = f"{day},{host},{max(float(value) + draw.uniform(-0.2, 0.2), 0.01):.3f},{rest}"
    sandbox.write_lines(family, month, lines)
    _refine(sandbox, family, month)


def _refine(sandbox: Sandbox, family: Family, month: Month) -> None:
    settings = sandbox.settings
    refined = refine_file(sandbox.file(family, month), settings)
    Partition(settings.telemetry, family, month).write(refined, write_lake_file(settings.lake_data, refined, "run"))


@dataclass
class _History:
    """What was published, by run: a digest of the whole table after it."""

    lake: Sandbox
    draw: random.Random
    noted: dict[str, str] = field(default_factory=dict)

    def publish_once(self, number: int) -> None:
        settings, draw = self.lake.settings, self.draw
        months = sorted(draw.sample(_MONTHS, draw.randint(1, 3))) if number else _MONTHS
        # Without anything new, rows are inserted again: their files are known to the catalog.
        for month in months if draw.random() < _CHANGED else []:
            _export_again(self.lake, draw, draw.choice(FAMILIES), month)
        run = RunSoFar(f"run-{number:03d}", FeedExtent(JANUARY, MARCH), settings.today, force=True)
        with open_warehouse(settings.place, read_only=False, wait_seconds=0.0) as connection:
            results = publish(connection, months, settings, run)
            assert {result.state for result in results.values()} == {State.PUBLISHED}, results
            self.noted[run.run_id] = _digest(connection, "processed_data")

    def read_back(self, oldest: str) -> int:
        """Read all from the run `oldest` on, by the macro and some as `--as-of` does; gives how many these are."""
        settings, noted = self.lake.settings, self.noted
        kept = kept_publications(settings)
        assert [each.run_id for each in kept] == [run for run in noted if run >= oldest]
        with open_warehouse(settings.place, read_only=True, wait_seconds=0.0) as connection:
            for each in kept:
                assert _digest(connection, f"{AS_OF}({each.snapshot})") == noted[each.run_id], each
            assert _digest(connection, "processed_data") == noted[max(noted)]
        for each in kept[::_READ_BACK_ANEW_EVERY]:
            with open_published(settings, each.run_id) as connection:
                assert _digest(connection, "processed_data") == noted[each.run_id], each
        return len(kept)

    def maintain_but_keep(self, newest: int) -> str:
        """Maintain when all but the newest are too old; gives the run of the oldest that is kept."""
        settings = self.lake.settings
        oldest = kept_publications(settings)[-newest]
        moment = oldest.published_at + timedelta(days=settings.lake_keep_days)
        done = maintain(settings, grace=timedelta(0), now=moment)
        assert done.expired > 0
        assert done.deleted > 0
        assert (done.proved, done.broken) == (_MONTHS, [])
        return oldest.run_id


def test_each_of_a_hundred_publications_is_read_back_bit_for_bit_as_long_as_it_is_kept(
    sandbox: Sandbox, given_published: GivenPublished
) -> None:
    given_published(JANUARY, MARCH)
    lake = replace(sandbox, settings=make_lake_in(sandbox.settings))
    history = _History(lake, random.Random(20))  # noqa: S311 - months, not secrets
    for month in _MONTHS:
        for family in FAMILIES:
            _refine(lake, family, month)
    looked_at = 0
    oldest = "run-000"
    for number in range(_PUBLICATIONS):
        history.publish_once(number)
        if number % _MAINTAINED_EVERY == _MAINTAINED_EVERY - 1:
            oldest = history.maintain_but_keep(20)
            looked_at += history.read_back(oldest)

    assert len(set(history.noted.values())) > _PUBLICATIONS // 2
    looked_at += history.read_back(oldest)
    for newest in (12, 2):
        looked_at += history.read_back(history.maintain_but_keep(newest))
    assert looked_at == 3 * 20 + 30 + 12 + 2
