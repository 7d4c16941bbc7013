"""The plausibility checks as rules, in the order in which they speak: the most telling first."""

from __future__ import annotations

from refinery_assets.checks.plausibility.evidence import Evidence
from refinery_assets.checks.plausibility.families import families_distinct
from refinery_assets.checks.plausibility.hosts import hosts_in_place
from refinery_assets.checks.plausibility.levels import levels_plausible
from refinery_assets.checks.plausibility.precision import precision_kept
from refinery_assets.checks.plausibility.repeats import month_is_new
from refinery_assets.checks.plausibility.sensors import sensors_alive
from refinery_assets.checks.plausibility.units import units_plausible
from refinery_assets.checks.rules import Rule

PLAUSIBILITY_RULES: tuple[Rule[Evidence], ...] = (
    Rule(
        "month_is_new",
        "Fails when series of the month read what they read in another published month, or ten days of them what they "
        "read in one of the last months before, or when days of the month repeat across the fleet.",
        "Have the month exported again.",
        month_is_new,
    ),
    Rule(
        "families_distinct",
        "Fails when two resources of the month have the same values, or each other's.",
        "Have both families exported again.",
        families_distinct,
    ),
    Rule(
        "units_plausible",
        "Fails when values or capacities are a fixed factor away from the months before, or from percent; warns when "
        "some are, or when a first month has no reading above 1.",
        "Have the month exported in the units of the months before.",
        units_plausible,
    ),
    Rule(
        "hosts_in_place",
        "Warns when values belong to other hosts, by the months before; fails when the fleet is shuffled.",
        "Have the export put each value beside its own host.",
        hosts_in_place,
    ),
    Rule(
        "precision_kept",
        "Warns when values are rounded where they were not.",
        "Have the month exported with all decimals.",
        precision_kept,
    ),
    Rule(
        "sensors_alive",
        "Warns when series that varied before stand still, or many do at once; fails when most of a resource does.",
        "Look at the collectors of the hosts named.",
        sensors_alive,
    ),
    Rule(
        "levels_plausible",
        "Warns when the fleet's level or spread moved far beyond its usual movement from month to month.",
        "Compare the month with the month before in the report.",
        levels_plausible,
    ),
)
