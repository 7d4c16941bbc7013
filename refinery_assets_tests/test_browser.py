"""The UI as a person sees it: real servers, a real browser, one month from the click to the charts."""

from __future__ import annotations

import base64
from io import BytesIO

import pytest
from PIL import Image
from playwright.sync_api import Response, expect

from refinery_assets.build import build_defs
from refinery_assets.operations.automation import REFINE
from refinery_assets.operations.runs import LOCATION, start_run
from refinery_assets_tests.browser import browser_page, find_browser
from refinery_assets_tests.installation import Installation
from refinery_assets_tests.scenario import JANUARY
from refinery_assets_tests.server import served

# Everything that is waited for; the pages load on two busy cores.
_PATIENCE_MS = 60_000
_LINEAGE = "/asset-groups?expanded=" + ",".join(
    f"global@global:{group}" for group in ("entrance", "telemetry", "inventory", "refined", "reports")
)
_ASSETS = (
    "legacy_feed",
    "cpu_utilization",
    "memory_stats",
    "storage_usage",
    "net_throughput",
    "host_inventory",
    "processed_data",
    "monthly_report",
)


def is_answer_to_a_launch(response: Response) -> bool:
    asked = response.request.post_data or ""
    return "mutation" in asked and "launch" in asked.lower()


@pytest.mark.heavy
@pytest.mark.slow
def test_the_ui_shows_a_month_that_it_materializes_and_its_report_and_lists_runs_from_outside_with_their_job(
    installation: Installation,
) -> None:
    program = find_browser()
    if program is None:
        pytest.skip("no browser on this machine: install chromium, as .ci/run does where it may")
    expect.set_options(timeout=_PATIENCE_MS)
    with served(installation) as server:
        with browser_page(program) as page:
            page.set_default_timeout(_PATIENCE_MS)

            page.goto(f"{server.url}{_LINEAGE}")
            for asset in _ASSETS:
                expect(page.get_by_text(asset, exact=True).first).to_be_visible()

            page.get_by_role("button", name="Materialize all").click()
            months = page.get_by_placeholder(f"ex: {installation.settings.first_month}")
            months.fill("2024-02")
            months.press("Tab")
            with page.expect_response(is_answer_to_a_launch):
                page.get_by_role("button", name="Launch").click()

            page.goto(f"{server.url}/runs")
            expect(page.get_by_text("Success", exact=True).first).to_be_visible()

            page.goto(f"{server.url}/assets/processed_data?view=checks")
            for check in ("row_parity", "behavioral_retention", "fleet_coverage"):
                expect(page.get_by_text(check, exact=True).first).to_be_visible()
            expect(page.get_by_text("Passed").first).to_be_visible()

            page.goto(f"{server.url}/assets/monthly_report")
            expect(page.get_by_text("2024-02", exact=True).first).to_be_visible()
            page.get_by_text("Show Markdown").first.click()
            expect(page.get_by_role("heading", name="2024-02 is published")).to_be_visible()
            chart = page.get_by_role("img", name="behaviors")
            expect(chart).to_be_visible()
            source = chart.get_attribute("src") or ""

        # Without a browser: Playwright's event loop admits no other.
        with installation.sandbox() as sandbox:
            assert sandbox.query("SELECT DISTINCT month(ds) FROM processed_data") == [(2,)]
            (of_the_ui,) = [run.run_id for run in sandbox.instance.get_runs()]
            start_run(sandbox.instance, build_defs(sandbox.settings), REFINE, [JANUARY])
            installation.launch("--job", "refine", "--partition", "2024-03").communicate()
            from_outside = {run.run_id for run in sandbox.instance.get_runs()} - {of_the_ui}
        assert len(from_outside) == 2

        with browser_page(program) as page:
            page.set_default_timeout(_PATIENCE_MS)
            page.goto(f"{server.url}/locations/{LOCATION}/jobs/{REFINE}/runs")
            for run_id in from_outside:
                expect(page.get_by_text(run_id[:8], exact=True).first).to_be_visible()
            page.goto(f"{server.url}/overview/activity/timeline")
            expect(page.get_by_text(REFINE, exact=True).first).to_be_visible()

    shown = base64.b64decode(source.partition("base64,")[2])
    assert shown == (installation.settings.reports / "2024-02" / "behaviors.png").read_bytes()
    assert Image.open(BytesIO(shown)).format == "PNG"
