"""The demo's folder: the demo writes only here, and touches nothing else in it.

    data/demo/
        demo.json                what was ordered, and the files that the demo wrote
        demo.env                 the settings that point here, for a shell
        legacy/inputs/           the sample feed
        redelivered/             the whole of the file that is cut off in the feed
        refinery.duckdb          the warehouse with the sample inventory
        telemetry/ reports/ alerts.jsonl dagster/    what runs over the sample leave

Here: making the sample, making another one in its place, and distinguishing a user's files from the demo's. Not
here: the sample itself (`feed.py`) and the run over it (`demo.py`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import duckdb

from refinery_assets.checks.rules import listing
from refinery_assets.contract.columns import TABLES, VIEWS
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import FAMILIES
from refinery_assets.contract.settings import PROJECT_ROOT, VARIABLES, Settings
from refinery_assets.feed.atomic_write import atomic_write
from refinery_assets.feed.files import feed_files
from refinery_assets.operations.home import dagster_yaml
from refinery_assets.reports.monthly_report import report_files
from refinery_assets.sample.feed import REDELIVERED, make_sample, source_file
from refinery_assets.sample.fleet import Fleet
from refinery_assets.sample.stamp import Stamp
from refinery_assets.sample.story import Story
from refinery_assets.warehouse.family_partitions import partitions

SEED = 7
# To be raised when the same order makes another sample than before.
_EDITION = 3
DEMO_FOLDER = PROJECT_ROOT / "data" / "demo"


class DemoError(Exception):
    """The demo will not run; the message says why and what to do."""


@dataclass(frozen=True)
class SampleOrder:
    """What the sample is made from."""

    hosts: int
    first: str
    last: str
    seed: int = SEED

    @property
    def months(self) -> list[Month]:
        """Its months, in order."""
        return list(Month.span(Month.parse(self.first), Month.parse(self.last)))

    def fleet(self) -> Fleet:
        """Its hosts.

        Raises:
            ValueError: There is no such fleet; one sentence says why.
        """
        return Fleet.make(hosts=self.hosts, first=Month.parse(self.first), last=Month.parse(self.last), seed=self.seed)


@dataclass(frozen=True)
class Manifest:
    """What the demo wrote.

    Attributes:
        order: What the sample is made from; None until all of it is made, and for one of an earlier edition.
        files: Its files, relative to the folder. Those of the feed and the settings with their stamps; the others
            are written anew by every run over the sample, and have none.
    """

    order: SampleOrder | None = None
    files: dict[str, Stamp | None] = field(default_factory=dict)


@dataclass(frozen=True)
class CutFile:
    """The file of the feed that is cut off.

    Attributes:
        month: Its month.
        file: Where it lies.
        redelivered: The whole of it, until it is moved there.
    """

    month: Month
    file: Path
    redelivered: Path


@dataclass(frozen=True)
class DemoFolder:
    """A folder for the demo; made when it is needed."""

    root: Path

    @property
    def dagster_home(self) -> Path:
        """Where Dagster keeps the history of the demo's runs."""
        return self.root / "dagster"

    @property
    def _feed(self) -> Path:
        return self.root / "legacy" / "inputs"

    @property
    def settings_file(self) -> Path:
        """What a shell reads to work on the demo."""
        return self.root / "demo.env"

    def settings(self, order: SampleOrder) -> Settings:
        """Settings that point here, with the months of the sample as the window."""
        return Settings(
            feed=self._feed,
            warehouse=self.root / "refinery.duckdb",
            lake_data=self.root / "lake",
            telemetry=self.root / "telemetry",
            first_month=Month.parse(order.first),
            last_month=Month.parse(order.last),
            reports=self.root / "reports",
            alert_log=self.root / "alerts.jsonl",
        )

    def cut_file(self, order: SampleOrder) -> CutFile | None:
        """The file that is cut off; None: a single month has none.

        Raises:
            ValueError: There is no such sample.
        """
        story = Story(order.fleet())
        if story.cut_month is None:
            return None
        (family,) = [family for family in FAMILIES if story.is_cut(family, story.cut_month)]
        path = self._feed / source_file(family, story.cut_month)
        return CutFile(story.cut_month, path, self.root / REDELIVERED / path.name)

    def prepare(self, order: SampleOrder, *, progress: bool = False) -> bool:
        """Make the sample unless it is there. Another sample gives way; a user's files and tables never do.

        Args:
            order: What to make it from.
            progress: Whether to show a progress bar on stderr.

        Returns:
            Whether it was made.

        Raises:
            ValueError: There is no such sample. Nothing was touched.
            DemoError: Files that the demo did not write are in its way, or the warehouse cannot be opened.
                Nothing was touched.
            OSError: The folder cannot be written.
        """
        cut = self.cut_file(order)
        manifest = self._read_manifest()
        settings = self.settings(order)
        feed = [file.path for file in feed_files(settings, order.months)]
        if manifest.order == order and all(path.exists() for path in (settings.warehouse, *feed)):
            return False
        redelivered = [cut.redelivered] if cut else []
        lasting = (settings.warehouse, self.settings_file, self._dagster_file)
        derived = [path for file in partitions(settings, order.months) for path in file.files]
        derived += [path for month in order.months for path in report_files(settings.reports, month)]
        planned = dict.fromkeys(self._name(path) for path in (*feed, *redelivered, *derived, *lasting))
        self._demand_free_way(manifest, planned)
        # The first to fail is a warehouse that another process holds, before anything is touched.
        if settings.warehouse.exists():
            _drop_tables(settings.warehouse)
        # Listed before they are written, so that a sample that is interrupted is known as the demo's.
        self._write_manifest(Manifest(files={**manifest.files, **planned}))
        self._remove(manifest.files.keys() - {self._name(path) for path in lasting})
        make_sample(
            self.root,
            hosts=order.hosts,
            first=order.months[0],
            last=order.months[-1],
            seed=order.seed,
            with_story=True,
            progress=progress,
        )
        atomic_write(self.settings_file, self._shell_settings(settings).encode())
        atomic_write(self._dagster_file, dagster_yaml())
        stamped = (*feed, *redelivered, self.settings_file, self._dagster_file)
        stamps = {self._name(path): Stamp.of(path) for path in stamped}
        self._write_manifest(Manifest(order, {**planned, **stamps}))
        return True

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    @property
    def _dagster_file(self) -> Path:
        return self.dagster_home / "dagster.yaml"

    @property
    def _manifest_file(self) -> Path:
        return self.root / "demo.json"

    def _read_manifest(self) -> Manifest:
        try:
            content = json.loads(self._manifest_file.read_text(encoding="utf-8"))
            is_whole = content["order"] and content.get("edition") == _EDITION
            return Manifest(
                order=SampleOrder(**content["order"]) if is_whole else None,
                files={name: stamp and Stamp(*stamp) for name, stamp in content["files"].items()},
            )
        except FileNotFoundError:
            return Manifest()
        except (ValueError, TypeError, LookupError, AttributeError):
            raise DemoError(
                f"{self._manifest_file} is not the demo's list of its files, which cannot be distinguished from yours "
                "without it; move it away or choose another --folder."
            ) from None

    def _write_manifest(self, manifest: Manifest) -> None:
        order = asdict(manifest.order) if manifest.order else None
        note = json.dumps({"edition": _EDITION, "order": order, "files": manifest.files}, indent=1)
        atomic_write(self._manifest_file, note.encode())

    def _demand_free_way(self, manifest: Manifest, planned: Iterable[str]) -> None:
        """Refuse to replace or remove what the demo did not write, or somebody has changed since."""
        # The file that was delivered again may have been moved into the feed.
        redelivered = {Path(name).name: stamp for name, stamp in manifest.files.items() if name.startswith(REDELIVERED)}
        in_the_way = [name for name in planned if name not in manifest.files and self.root.joinpath(name).exists()] + [
            name
            for name, stamp in manifest.files.items()
            if stamp is not None
            and (path := self.root / name).exists()
            and not any(each is not None and each.fits(path) for each in (stamp, redelivered.get(path.name)))
        ]
        if in_the_way:
            be, it, it_has = ("is", "it", "it has") if len(in_the_way) == 1 else ("are", "them", "they have")
            raise DemoError(
                f"{listing(sorted(in_the_way))} in {self.root} {be} in the demo's way: the demo did not "
                f"write {it}, or {it_has} changed since. Nothing was touched; move {it} away or choose "
                "another --folder."
            )

    def _remove(self, names: Iterable[str]) -> None:
        """Remove files, and the folders that become empty."""
        for name in names:
            path = self.root / name
            path.unlink(missing_ok=True)
            for folder in path.relative_to(self.root).parents[:-1]:
                # Not empty, or gone.
                with suppress(OSError):
                    self.root.joinpath(folder).rmdir()

    def _shell_settings(self, settings: Settings) -> str:
        """For a shell: the settings of the demo, and only these."""
        # A setting of the user's could lead the demo to write elsewhere. One that is empty has its default, whatever
        # the shell or a `.env` says.
        variables = dict.fromkeys(VARIABLES, "") | {
            "DAGSTER_HOME": self.dagster_home,
            "REFINERY_FEED": settings.feed,
            "REFINERY_WAREHOUSE": settings.warehouse,
            "REFINERY_TELEMETRY": settings.telemetry,
            "REFINERY_FIRST_MONTH": settings.first_month,
            "REFINERY_LAST_MONTH": settings.last_month,
            "REFINERY_REPORTS": settings.reports,
            "REFINERY_ALERT_LOG": settings.alert_log,
        }
        return "".join(
            (
                f"# The demo's settings; for a shell: . {shlex.quote(str(self.settings_file))}\n",
                *(f"export {name}={shlex.quote(str(value))}\n" for name, value in variables.items()),
            )
        )


def _drop_tables(warehouse: Path) -> None:
    """Take out what was refined from an earlier sample; other tables stay."""
    try:
        with duckdb.connect(warehouse) as connection:
            for view in reversed(VIEWS):
                connection.execute(f"DROP VIEW IF EXISTS {view.name}")
            for table in TABLES:
                connection.execute(f"DROP TABLE IF EXISTS {table.name}")
    except duckdb.Error as error:
        raise DemoError(
            f"The demo's warehouse {warehouse} cannot be written; close what has it open and run again. "
            f"DuckDB says: {str(error).splitlines()[0]}"
        ) from error
