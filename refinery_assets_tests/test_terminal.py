"""What commands print: sentences that fit their counts and states, and rows in columns."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from refinery_assets.checks.rules import Row
from refinery_assets.contract.months import Month
from refinery_assets.reports.month_results import MonthOutcome, Outcomes
from refinery_assets.reports.terminal import console_for, print_outcomes
from refinery_assets.reports.terminal_explain import print_explanation
from refinery_assets.reports.terminal_status import print_status
from refinery_assets.warehouse.explain import Explanation
from refinery_assets.warehouse.status import Inputs, LastAudit, MonthStatus, Status
from refinery_assets_tests.scenario import FEBRUARY, JANUARY, MARCH

NOW = datetime(2024, 5, 20, tzinfo=UTC)


def status_lines(status: Status) -> list[str]:
    """The sentences below the table."""
    stream = io.StringIO()
    print_status(status, None, NOW, console_for(stream))
    return stream.getvalue().splitlines()[len(status.months) : -1]


def explained(found: Explanation) -> list[str]:
    stream = io.StringIO()
    print_explanation(found, console_for(stream))
    return stream.getvalue().splitlines()


def refused(month: Month) -> MonthStatus:
    audit = LastAudit("run", NOW, published=False, failed=["legacy_feed source_files_present"])
    return MonthStatus(month, Inputs.NOT_PUBLISHED, audit=audit)


def test_a_late_month_that_was_refused_is_distinguished_from_one_that_nobody_has_run() -> None:
    never_run = MonthStatus(MARCH, Inputs.NOT_PUBLISHED)
    status = Status([MonthStatus(JANUARY, Inputs.AS_PUBLISHED), refused(FEBRUARY), never_run], [FEBRUARY, MARCH])

    assert status_lines(status) == [
        "Refused by the last run: 2024-02 (1 month); refinery explain MONTH says why, and what to do.",
        "To be run: 2024-02, 2024-03 (2 months), by refinery run changed.",
        "Late: 2024-02, 2024-03 (2 months due and not published; refused: 2024-02).",
    ]


def test_a_month_that_rests_on_a_withdrawn_acceptance_is_named_and_to_be_run() -> None:
    status = Status([MonthStatus(MARCH, Inputs.WITHDRAWN, withdrawn=["month_is_new"])])

    assert status_lines(status) == [
        "Acceptance withdrawn: 2024-03 was published with month_is_new accepted; the next run judges it without.",
        "To be run: 2024-03 (1 month), by refinery run changed.",
    ]


def test_months_that_are_as_published_call_for_nothing() -> None:
    assert status_lines(Status([MonthStatus(MARCH, Inputs.AS_PUBLISHED)])) == []


@pytest.mark.parametrize(
    ("states", "planned", "sentence"),
    [
        (["published"], False, "1 month: 1 published."),
        (["refused"], True, "1 month: 1 would be refused."),
        (["published", "refused", "published"], False, "3 months: 2 published, 1 refused."),
        (["unchanged", "not exported yet"], True, "2 months: 1 unchanged, 1 not exported yet."),
    ],
)
def test_the_last_line_counts_the_months_by_state(states: list[str], *, planned: bool, sentence: str) -> None:
    stream = io.StringIO()
    outcomes = Outcomes([MonthOutcome(f"2024-0{number}", state) for number, state in enumerate(states, 1)])

    print_outcomes(outcomes, console_for(stream), planned=planned)

    assert stream.getvalue().splitlines()[-1] == sentence


@pytest.mark.parametrize(("width", "is_table"), [(60, False), (120, True)])
def test_a_table_that_would_cut_its_words_is_printed_as_lines(width: int, *, is_table: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=width, color_system=None)

    print_status(Status([refused(FEBRUARY)]), None, NOW, console)

    assert ("┃ month" in stream.getvalue()) is is_table
    assert "2024-02" in stream.getvalue()
    assert "…" not in stream.getvalue()


def test_raw_lines_stand_in_columns_and_a_cut_is_marked() -> None:
    sample: list[Row] = [
        {"source_file": "cpu.csv", "source_line": 5, "fault": "not_a_number", "raw": "[bold]a,n o"},
        {"source_file": "memory.csv", "source_line": 12345, "fault": "malformed_row", "raw": "x" * 300},
    ]

    lines = explained(Explanation(MARCH, quarantined={"cpu not_a_number": 1234}, sample=sample))

    assert lines[:4] == [
        "2024-03 is not published.",
        "The feed holds no file of it.",
        "In quarantine: cpu not_a_number 1,234, for example:",
        "    file         line  fault          raw",
    ]
    assert lines[4] == "    cpu.csv         5  not_a_number   '[bold]a,n o'"
    assert lines[5].startswith("    memory.csv  12345  malformed_row  'xxx")
    assert lines[5].endswith("x…")
