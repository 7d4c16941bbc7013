"""The monthly report: what it says of months good and bad, its figures, its charts, and where they go."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from statistics import mean, median

import dagster as dg
import duckdb
import pytest
from PIL import Image, ImageChops

from refinery_assets.checks.rules import counted
from refinery_assets.contract.contract_file import packaged_contract
from refinery_assets.contract.months import Month
from refinery_assets.contract.packaged import RESOURCES
from refinery_assets.contract.settings import Settings
from refinery_assets.reports.charts import CHARTS
from refinery_assets.reports.figures import rounded, shown
from refinery_assets.reports.monthly_report import ReportFigures, monthly_reports
from refinery_assets.reports.report_history import CHART_MONTHS, BehaviorMonth, History
from refinery_assets_tests.receipts import audited, host_name, inventory, level, published
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, MARCH, Sandbox

_APRIL = MARCH.next
_HOSTS = [host_name(number) for number in range(20)]


@pytest.fixture(scope="module")
def three_months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 hosts; January to March 2024 are published, and there are no daily rows at all."""
    path = tmp_path_factory.mktemp("published") / "refinery.duckdb"
    inventory(path)
    for month in (JANUARY, FEBRUARY, MARCH):
        published(path, month)
    return path


@pytest.fixture
def warehouse(three_months: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may change."""
    return Path(shutil.copy(three_months, tmp_path))


@pytest.fixture
def reporting(warehouse: Path, tmp_path: Path) -> Iterator[Sandbox]:
    """The graph over that warehouse."""
    settings = Settings(
        feed=tmp_path / "feed",
        warehouse=warehouse,
        telemetry=tmp_path / "telemetry",
        reports=tmp_path / "reports",
        alert_log=tmp_path / "alerts.jsonl",
        first_month=JANUARY,
        last_month=Month(2024, 12),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield Sandbox(settings, instance)


def report_of(path: Path, month: Month) -> ReportFigures:
    with duckdb.connect(path, read_only=True) as connection:
        return monthly_reports(connection, [month], packaged_contract())[month]


def execute(path: Path, sql: str) -> None:
    with duckdb.connect(path) as connection:
        connection.execute(sql)


def rows_of(markdown: str, first_cell: str) -> list[str]:
    """The cells of the table row that begins like this."""
    (row,) = [line for line in markdown.splitlines() if line.startswith(f"| {first_cell} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def opened(png: bytes) -> Image.Image:
    image = Image.open(BytesIO(png))
    image.load()
    return image.convert("RGB")


def test_a_warehouse_without_any_table_of_ours_is_reported_and_fails_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.duckdb"
    execute(path, "CREATE TABLE something_else (x INTEGER)")

    report = report_of(path, JANUARY)

    for table in ("series_months", "publications", "audits"):
        assert f"The warehouse has no table `{table}`" in report.markdown
    assert "The warehouse has no table hosts, so there are neither figures nor charts here." in report.markdown
    assert (report.charts, report.figures) == ({}, {})


def test_a_table_that_an_earlier_version_made_counts_as_missing(warehouse: Path) -> None:
    execute(warehouse, "ALTER TABLE audits DROP COLUMN recovery")

    report = report_of(warehouse, JANUARY)

    assert "no table `audits` with today's columns" in report.markdown
    assert set(report.charts) == set(CHARTS)


@pytest.mark.slow
def test_a_refused_month_says_what_to_do_first_and_what_stands(warehouse: Path) -> None:
    audited(
        warehouse,
        MARCH,
        ("fragmentation_complete", "failed", "memory_stats_202403.csv ends mid-line.", "Export it again."),
        ("headers_match_contract", "warning", "One column too many.", "Nothing to do yet."),
        ("source_files_present", "passed", "4 files of 4.", "Nothing to do."),
        ("row_parity", "not_judged", "", ""),
    )

    report = report_of(warehouse, MARCH)
    text = report.markdown

    assert report.recovery == "fragmentation_complete: Export it again."
    assert text.startswith(
        "# 2024-03 was refused; what was published on 2024-04-01 06:00 UTC stays.\n\n## 1 failed check\n"
    )
    assert (
        "- `fragmentation_complete` of `legacy_feed`: **Export it again.** memory_stats_202403.csv ends mid-line.\n"
    ) in text
    assert "## 1 warning\n" in text
    assert "1 check passed; 1 could not be judged after what failed; audited on " in text
    assert rows_of(text, "cpu")[1] == "20"
    # Whoever reads the figures alone must not take them for those of the refused files.
    assert "## Figures\n\nOf the publication of 2024-" in text
    assert "which stays, and not of what was refused: 20 hosts, " in text
    assert "Of the publication of" not in report_of(warehouse, JANUARY).markdown
    assert "2024-03" in rows_of(report_of(warehouse, JANUARY).markdown, "2024-03")[0]
    assert "fragmentation_complete" in rows_of(report_of(warehouse, JANUARY).markdown, "2024-03")[3]


def test_a_refused_month_that_was_never_published_says_so_and_is_marked_in_the_charts(
    warehouse: Path,
) -> None:
    audited(warehouse, _APRIL, ("source_files_present", "failed", "3 files of 4.", "Export the fourth."))

    report = report_of(warehouse, _APRIL)

    assert report.markdown.startswith("# 2024-04 was refused; nothing of it has been published.")
    assert "## Figures" not in report.markdown
    assert report.figures == {"warnings": 0, "failed_checks": 1}
    assert set(report.charts) == set(CHARTS)


def test_a_month_that_nobody_has_run_says_how_to_run_it(warehouse: Path) -> None:
    report = report_of(warehouse, Month(2024, 9))

    assert report.markdown.startswith("# 2024-09 has been neither published nor refused.")
    assert "run the job `refine` for 2024-09" in report.markdown
    assert (report.charts, report.figures) == ({}, {})


def test_only_the_last_run_counts_and_a_repaired_month_is_no_longer_refused(warehouse: Path) -> None:
    audited(warehouse, MARCH, ("row_parity", "failed", "2 rows too many.", "Run it again."))
    audited(
        warehouse,
        MARCH,
        ("row_parity", "passed", "As many rows as there should be.", "Nothing to do."),
        at="2024-06-02 06:00",
        is_published=True,
        run_id="run-3",
    )

    text = report_of(warehouse, MARCH).markdown

    assert text.startswith("# 2024-03 is published")
    assert "2 rows too many" not in text
    assert "## Other months that are refused" not in report_of(warehouse, JANUARY).markdown


def test_what_files_and_inventory_say_is_shown_as_text(warehouse: Path) -> None:
    execute(warehouse, "UPDATE hosts SET scenario = 'a|b <i>x</i>' WHERE scenario = 'burst'")
    audited(warehouse, MARCH, ("row_parity", "failed", "![x](http://x)\n# <script>`", "**Do** | it."))

    text = report_of(warehouse, MARCH).markdown

    assert "<" not in text.replace("\\<", "")
    assert r"**\*\*Do\*\* \| it.** \!\[x\](http\://x) \# \<script\>\`" in text
    assert r"a\|b \<i\>x\</i\>" in text.replace(" / ", "/")


def test_hosts_without_a_behavior_and_hosts_unknown_by_now_are_shown(warehouse: Path) -> None:
    execute(warehouse, "UPDATE hosts SET variant = NULL WHERE node_name = 'host-003'")
    execute(warehouse, "DELETE FROM hosts WHERE node_name IN ('host-004', 'host-014')")

    text = report_of(warehouse, MARCH).markdown

    assert rows_of(text, "without a behavior")[1:4] == ["1", "4", "96.77"]
    assert rows_of(text, "not in the inventory")[1:4] == ["0", "8", "-"]
    assert rows_of(text, "cpu")[1] == "20"


def test_the_figures_are_those_of_the_months_series(warehouse: Path) -> None:
    report = report_of(warehouse, FEBRUARY)

    levels = [level(FEBRUARY, "cpu", number) for number in range(20)]
    assert report.figures == {
        "hosts": 20,
        "readings": 4 * 20 * 28,
        "imputed": 80,
        "rows_per_day": 80,
        **{f"mean_{resource}_percent": rounded(mean(levels) + at) for at, resource in enumerate(RESOURCES)},
        "quarantined": 2,
        "rows_added": 0,
        "rows_removed": 0,
        "rows_changed": 0,
    }
    cells = rows_of(report.markdown, "cpu")
    assert cells[1:] == [
        "20", "560", "20", shown(mean(levels)), shown(min(levels) - 5), shown(max(levels) + 5), "0",
    ]  # fmt: skip
    of_behavior = [
        level(FEBRUARY, resource, number) for resource in RESOURCES for number in (0, 10)
    ]  # the hosts of STEADY_GROWTH/NORMAL
    assert rows_of(report.markdown, "steady_growth / normal")[1:5] == [
        "2", "8", shown(100 * 28 / 29), shown(median(of_behavior)),
    ]  # fmt: skip


def test_a_month_stands_beside_those_before_it_marked(warehouse: Path) -> None:
    text = report_of(warehouse, FEBRUARY).markdown

    assert "| resource | 2024-01 | **2024-02** |" in text
    for name in ("level %", "spread, points", "standing still, % of series", "capacity"):
        before, now = rows_of(text, f"cpu: {name}")[1:]
        assert (before.startswith("**"), now.startswith("**")) == (False, True)
    levels = [median(level(month, "cpu", number) for number in range(20)) for month in (JANUARY, FEBRUARY)]
    assert rows_of(text, "cpu: level %")[1:] == [shown(levels[0]), f"**{shown(levels[1])}**"]
    assert "Beside the months before" not in report_of(warehouse, JANUARY).markdown


def test_a_month_published_again_says_what_changed(warehouse: Path) -> None:
    assert "The first publication, on 2024-04-01 06:00 UTC." in report_of(warehouse, MARCH).markdown

    published(warehouse, MARCH, _HOSTS[:19], at="2024-06-01 06:00", difference=(1, 124, 2))

    report = report_of(warehouse, MARCH)
    assert (
        "Against the publication before, of 2024-04-01 06:00 UTC: 1 row added, 124 removed, 2 changed."
    ) in report.markdown
    assert rows_of(report.markdown, "2024-06-01 06:00 UTC")[1] == "2,356"
    assert rows_of(report.markdown, "2024-04-01 06:00 UTC")[1] == "2,480"
    assert report.figures["rows_removed"] == 124


def history_of(months: int, names: list[str], share: float = 1.0) -> History:
    first = Month(2020, 1)
    span: list[Month] = []
    for _ in range(months):
        span.append(span[-1].next if span else first)
    return History(
        span,
        dict.fromkeys(names, 100),
        {
            (name, month): BehaviorMonth(400, int(share * 400 * month.last_day.day), 40.0, 50.0, 60.0)
            for name in names
            for month in span
        },
        {month: month.last_day.day for month in span},
        dict.fromkeys(span, 4),
        {(name, month): (100, 100 * month.last_day.day) for name in names for month in span},
    )


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize(
    "history",
    [
        history_of(0, []),
        history_of(0, ["A/B"]),
        history_of(1, ["A/B"]),
        history_of(2, ["$\\frac/<b>", "M" * 500 + "/X", "\0\n\u00c4\u6f22/\u202e"], share=0.1),
        history_of(CHART_MONTHS, [f"CLASS/{number}" for number in range(300)], share=0.97),
    ],
    ids=["nothing", "no month", "one month", "two months, strange names", "many months and classes"],
)
def test_every_history_gives_a_chart_that_fits_the_page(name: str, history: History) -> None:
    month = history.months[-1] if history.months else JANUARY
    png = CHARTS[name](history, history.months).marked(month)

    width, height = opened(png).size
    assert width == 900
    assert height < 2000
    assert len(png) < 100_000


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("months", [1, 2, 36])
def test_a_charts_mark_moves_with_the_month_and_changes_nothing_else(name: str, months: int) -> None:
    history = history_of(months, ["A/B", "C/D"], share=0.9)
    chart = CHARTS[name](history, history.months)
    plain = opened(chart.marked(JANUARY.previous.previous))

    boxes = []
    for month in history.months:
        changed = ImageChops.difference(plain, opened(chart.marked(month))).getbbox()
        assert changed is not None
        boxes.append(changed)
    assert boxes == sorted(boxes)
    assert len(set(boxes)) == months


def test_a_single_month_and_a_lone_one_are_drawn() -> None:
    alone = history_of(1, ["A/B"])
    empty = replace(alone, cells={})
    assert CHARTS["behaviors"](alone, alone.months).image != CHARTS["behaviors"](empty, alone.months).image


def test_a_month_with_less_than_all_readings_is_distinguished_from_a_whole_one() -> None:
    whole, lacking = history_of(12, ["A/B"]), history_of(12, ["A/B"], share=0.999)
    draw = CHARTS["coverage"]
    assert draw(whole, whole.months).image != draw(lacking, lacking.months).image


def test_a_long_history_has_charts_of_so_many_months_counted_from_the_newest() -> None:
    history = history_of(2 * CHART_MONTHS + 5, ["A/B"])
    first, last = history.months[0], history.months[-1]

    assert history.page_of(last) == history.months[-CHART_MONTHS:]
    assert history.page_of(history.months[-CHART_MONTHS - 1])[-1] == history.months[-CHART_MONTHS - 1]
    assert history.page_of(first) == history.months[:5]
    assert history.page_of(last.next) == ()


@pytest.mark.slow
def test_the_charts_of_an_old_month_read_no_more_than_their_own_months(warehouse: Path) -> None:
    far = Month(2031, 3)
    published(warehouse, far)

    with duckdb.connect(warehouse, read_only=True) as connection:
        reports = monthly_reports(connection, [JANUARY, far], packaged_contract())

    assert reports[JANUARY].charts["behaviors"] == report_of(warehouse, JANUARY).charts["behaviors"]
    assert reports[JANUARY].charts["behaviors"] != reports[far].charts["behaviors"]


def test_a_missing_warehouse_fails_with_a_sentence(reporting: Sandbox) -> None:
    reporting.settings.warehouse.unlink()

    outcome = reporting.materialize(["monthly_report"], JANUARY)

    assert "set REFINERY_WAREHOUSE" in outcome.failures["monthly_report"]


def test_a_reports_folder_that_cannot_be_written_is_reported_and_fails_nothing(reporting: Sandbox) -> None:
    reporting.settings.reports.write_text("a file where the folder should be")

    outcome = reporting.materialize(["monthly_report"], JANUARY)

    assert outcome.success
    messages = [entry.user_message for entry in reporting.instance.all_logs(outcome.run_id)]
    assert any("REFINERY_REPORTS" in message for message in messages)
    assert metadata(reporting, JANUARY)["report"]


def test_each_month_of_a_run_has_its_report_on_its_page_and_in_its_folder(reporting: Sandbox) -> None:
    audited(reporting.settings.warehouse, _APRIL, ("row_parity", "failed", "2 rows too many.", "Run it again."))

    assert "2024-04" in reporting.materialize(["monthly_report"], JANUARY, _APRIL).failures["monthly_report"]

    for month in (JANUARY, FEBRUARY, MARCH, _APRIL):
        folder = reporting.settings.reports / str(month)
        assert {path.name for path in folder.iterdir()} == {"report.md", "behaviors.png", "coverage.png"}
        text = (folder / "report.md").read_text(encoding="utf-8")
        page = str(metadata(reporting, month)["report"])
        assert text.startswith(f"# {month} ")
        assert text.splitlines()[0] == page.splitlines()[0]
        shown_there = dict(re.findall(r"!\[(\w+)\]\(data:image/png;base64,([^)]+)\)", page))
        assert set(shown_there) == set(CHARTS)
        for name, encoded in shown_there.items():
            assert f"![{name}]({name}.png)" in text
            assert base64.b64decode(encoded) == (folder / f"{name}.png").read_bytes()
    assert metadata(reporting, FEBRUARY)["rows_per_day"] == 80
    assert "rows_per_day" not in metadata(reporting, _APRIL)
    assert metadata(reporting, _APRIL)["recovery"] == "row_parity: Run it again."
    assert "recovery" not in metadata(reporting, MARCH)


def metadata(sandbox: Sandbox, month: Month) -> dict[str, object]:
    """What the asset's page shows of the month; a refused one has an observation, as nothing was made of it."""
    of_month = dg.AssetRecordsFilter(asset_key=dg.AssetKey("monthly_report"), asset_partitions=[str(month)])
    made = [each.asset_materialization for each in sandbox.instance.fetch_materializations(of_month, limit=1).records]
    seen = [each.asset_observation for each in sandbox.instance.fetch_observations(of_month, limit=1).records]
    (shown,) = made or seen
    assert shown is not None
    return {name: value.value for name, value in shown.metadata.items()}


def test_measurements_are_rounded_and_counts_are_not() -> None:
    assert [rounded(value) for value in (47.98311264, 0.000123456, 8_528_000.4)] == [
        47.98,
        0.0001235,
        8528000,
    ]
    assert (rounded(8_528_123), rounded("text")) == (8_528_123, "text")
    assert [shown(value) for value in (None, 59_520, 1.0, 99.996, 123_456.7)] == [
        "-", "59,520", "1", "100", "123,500",
    ]  # fmt: skip
    assert (counted(1, "host"), counted(2000, "host"), counted(0, "row")) == (
        "1 host",
        "2,000 hosts",
        "0 rows",
    )
