"""Random changes to a small feed, its inventory, and what was made of it.

Here: the changes. Not here: anything that asserts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from refinery_assets.contract.families import Family
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.warehouse.family_partitions import Partition
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, MARCH, Sandbox

ALL = [JANUARY, FEBRUARY, MARCH]


@dataclass
class Changes:
    """Random changes to a small feed, its inventory, and what was made of it."""

    sandbox: Sandbox
    chance: random.Random

    def kinds(self) -> Sequence[Callable[[], str]]:
        return (
            *(self.edit_values, self.delete_lines, self.add_lines, self.drop_host, self.drop_day, self.add_dirt) * 2,
            self.repeat_lines,
            self.add_host,
            self.drop_file,
            self.cut_file,
            self.scale_capacity,
            self.spoil_header,
            self.add_to_inventory,
            self.take_from_inventory,
            self.change_behavior,
            self.respell_host,
            self.drop_partition,
            self.tamper_with_table,
            self.touch_nothing,
            *(self.mend_month,) * 6,
        )

    def __post_init__(self) -> None:
        self.originals = {(family, month): self.sandbox.lines(family, month) for family in FAMILIES for month in ALL}
        self.hosts = [name for (name,) in self.sandbox.query("SELECT node_name FROM hosts ORDER BY 1")]

    def _lines(self) -> tuple[Family, Month, list[str]]:
        family, month = self.chance.choice(FAMILIES), self.chance.choice(ALL)
        file = self.sandbox.file(family, month)
        if not file.path.exists() or file.path.stat().st_size == 0:
            return family, month, list(self.originals[family, month])
        return family, month, self.sandbox.lines(family, month)

    def _some(self, lines: Sequence[str], most: int = 12) -> list[int]:
        count = min(self.chance.randint(1, most), len(lines) - 1)
        return self.chance.sample(range(1, len(lines)), count)

    def _host(self) -> str:
        return str(self.chance.choice(self.hosts))

    def edit_values(self) -> str:
        family, month, lines = self._lines()
        for at in self._some(lines):
            parts = lines[at].split(",")
            if len(parts) > 2:
                parts[2] = f"{self.chance.uniform(0, 100):.2f}"
            lines[at] = ",".join(parts)
        self.sandbox.write_lines(family, month, lines)
        return f"edit {family.name} {month}"

    def delete_lines(self) -> str:
        family, month, lines = self._lines()
        gone = set(self._some(lines, 6))
        self.sandbox.write_lines(family, month, [line for at, line in enumerate(lines) if at not in gone])
        return f"delete from {family.name} {month}"

    def add_lines(self) -> str:
        family, month, lines = self._lines()
        for _ in range(self.chance.randint(1, 3)):
            day = self.chance.choice(month.days)
            lines.append(f"{day},{self._host()},{self.chance.uniform(0, 100):.2f},8")
        self.sandbox.write_lines(family, month, lines)
        return f"add to {family.name} {month}"

    def repeat_lines(self) -> str:
        family, month, lines = self._lines()
        self.sandbox.write_lines(family, month, [*lines, *(lines[at] for at in self._some(lines, 4))])
        return f"repeat in {family.name} {month}"

    def drop_host(self) -> str:
        _, month, _ = self._lines()
        host = self._host()
        for family in FAMILIES:
            if self.sandbox.file(family, month).path.exists():
                lines = self.sandbox.lines(family, month)
                self.sandbox.write_lines(family, month, [line for line in lines if f",{host}," not in line])
        return f"drop {host} from {month}"

    def drop_day(self) -> str:
        _, month, _ = self._lines()
        day = self.chance.choice(month.days)
        for family in FAMILIES:
            if self.sandbox.file(family, month).path.exists():
                lines = self.sandbox.lines(family, month)
                self.sandbox.write_lines(family, month, [line for line in lines if not line.startswith(f"{day},")])
        return f"drop {day}"

    def add_dirt(self) -> str:
        family, month, lines = self._lines()
        for at in self._some(lines, 5):
            day = self.chance.choice(month.days)
            lines[at] = self.chance.choice(
                (
                    f"{day},{self._host()},not a number,8",
                    f"{day},,12.5,8",
                    f"31/31/2024,{self._host()},12.5,8",
                    f"{day},{self._host()},112.5,8",
                    f"{month.next.first_day},{self._host()},12.5,8",
                    f"{day},{self._host()}",
                )
            )
        self.sandbox.write_lines(family, month, lines)
        return f"dirt in {family.name} {month}"

    def add_host(self) -> str:
        name, month = f"new-{self.chance.randrange(50)}", self.chance.choice(ALL)
        for family in FAMILIES:
            if self.sandbox.file(family, month).path.exists():
                lines = self.sandbox.lines(family, month)
                self.sandbox.write_lines(family, month, [*lines, *(f"{day},{name},12.5,8" for day in month.days)])
        if self.chance.random() < 0.7:
            self._to_inventory(name)
        return f"add {name} to {month}"

    def _to_inventory(self, name: str) -> None:
        self.sandbox.execute(
            "INSERT INTO hosts SELECT * REPLACE ($new AS node_name) FROM hosts WHERE node_name = $like "
            "AND $new NOT IN (SELECT node_name FROM hosts)",
            {"new": name, "like": self.hosts[0]},
        )

    def drop_file(self) -> str:
        family, month, _ = self._lines()
        self.sandbox.file(family, month).path.unlink(missing_ok=True)
        return f"drop {family.name} {month}"

    def cut_file(self) -> str:
        family, month, lines = self._lines()
        data = "\n".join(lines).encode()
        self.sandbox.write_bytes(family, month, data[: self.chance.randrange(len(data))])
        return f"cut {family.name} {month}"

    def scale_capacity(self) -> str:
        family, month, lines = self._lines()
        parts = [line.split(",") for line in lines[1:]]
        scaled = [",".join([*fields[:3], "16"]) if len(fields) > 3 else ",".join(fields) for fields in parts]
        self.sandbox.write_lines(family, month, [lines[0], *scaled])
        return f"capacity of {family.name} {month}"

    def spoil_header(self) -> str:
        family, month, lines = self._lines()
        self.sandbox.write_lines(family, month, [lines[0].replace("host_id", "hostname"), *lines[1:]])
        return f"header of {family.name} {month}"

    def add_to_inventory(self) -> str:
        name = f"new-{self.chance.randrange(50)}"
        self._to_inventory(name)
        return f"inventory plus {name}"

    def take_from_inventory(self) -> str:
        host = self.chance.choice([*self.hosts[1:], *(f"new-{number}" for number in range(50))])
        self.sandbox.execute("DELETE FROM hosts WHERE node_name = ?", [host])
        return f"inventory minus {host}"

    def change_behavior(self) -> str:
        host = self._host()
        self.sandbox.execute(
            "UPDATE hosts SET variant = 'NORMAL', scenario = 'STEADY_GROWTH' WHERE node_name = ?", [host]
        )
        return f"behavior of {host}"

    def respell_host(self) -> str:
        family, month, lines = self._lines()
        host = self._host()
        spelled = host.upper() if host != host.upper() else host.lower()
        self.sandbox.write_lines(family, month, [line.replace(f",{host},", f",{spelled},") for line in lines])
        return f"{spelled} in {family.name} {month}"

    def drop_partition(self) -> str:
        family, month, _ = self._lines()
        Partition(self.sandbox.settings.telemetry, family, month).path.unlink(missing_ok=True)
        return f"partition of {family.name} {month}"

    def tamper_with_table(self) -> str:
        if self.sandbox.published_rows():
            self.sandbox.execute("DELETE FROM processed_data WHERE host_id = ?", [self._host()])
        return "table"

    def touch_nothing(self) -> str:
        return "nothing"

    def mend_month(self) -> str:
        month = self.chance.choice(ALL)
        for family in FAMILIES:
            self.sandbox.write_lines(family, month, self.originals[family, month])
        return f"mend {month}"
