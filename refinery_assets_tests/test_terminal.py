"""What commands print: sentences that fit their counts and states, and rows in columns."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from refinery_assets.checks.rules import Finding, Outcome, Row, Verdict
from refinery_assets.contract.months import Month
from refinery_assets.reports.month_results import CheckResult, MonthOutcome, Outcomes
from refinery_assets.reports.terminal import console_for, print_outcomes
from refinery_assets.reports.terminal_explain import print_explanation
from refinery_assets.reports.terminal_status import print_status
from refinery_assets.warehouse.explain import Explanation
from refinery_assets.warehouse.month_state import MonthResult, State
from refinery_assets.warehouse.month_status import Inputs, LastAudit, MonthStatus, Status
from refinery_assets.warehouse.receipts import Receipt
from refinery_assets.warehouse.waivers import Waiver
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


def status_text(month: MonthStatus) -> str:
    """All that is printed of one month, its row included."""
    stream = io.StringIO()
    print_status(Status([month]), None, NOW, console_for(stream))
    return " ".join(line for line in stream.getvalue().splitlines() if not line.startswith("Acceptance "))


def waiver_of(digest: str) -> Waiver:
    return Waiver(MARCH, "month_is_new", "it is", "ops", NOW, digest)


def receipt_of(month: Month) -> Receipt:
    return Receipt(month, "run", NOW, "", "digest", 1, 40, 0, 0, 40, 0, 0, "1")


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


def test_a_refused_month_whose_table_fails_an_audit_is_told_as_both() -> None:
    audit = LastAudit("audit", NOW, published=False, failed=["processed_data keys_unique"], of_table=True)
    month = replace(refused(MARCH), attempt=refused(MARCH).audit, audit=audit)
    stream = io.StringIO()

    print_status(Status([month]), None, NOW, console_for(stream))

    said = " ".join(stream.getvalue().split())
    assert "refused by legacy_feed source_files_present; what is published fails processed_data keys_unique" in said
    assert "Refused by the last run: 2024-03 (1 month)" in said


def test_an_acceptance_that_holds_no_longer_is_named() -> None:
    status = Status([MonthStatus(MARCH, Inputs.CHANGED, lapsed=["month_is_new"])])

    lapsed, to_be_run = status_lines(status)

    assert lapsed.startswith("Acceptance no longer holds: month_is_new of 2024-03 was accepted for other files")
    assert to_be_run == "To be run: 2024-03 (1 month), by refinery run changed."


def test_an_acceptance_of_a_delivery_that_another_has_replaced_calls_for_nothing() -> None:
    # What stands was published by a run that judged it without.
    replaced = MonthStatus(MARCH, Inputs.AS_PUBLISHED, waivers=[waiver_of("another")], lapsed=["month_is_new"])

    assert status_lines(Status([replaced])) == []
    assert "month_is_new" not in status_text(replaced)
    # As long as the month is not published, it is said.
    assert "month_is_new (no longer holds)" in status_text(replace(replaced, inputs=Inputs.CHANGED))


def test_several_acceptances_that_no_longer_hold_are_told_in_the_plural() -> None:
    both = MonthStatus(MARCH, Inputs.CHANGED, lapsed=["month_is_new", "units_plausible"])

    assert "month_is_new, units_plausible of 2024-03 were accepted for other files" in status_lines(Status([both]))[0]


def test_a_month_that_rests_on_a_withdrawn_acceptance_is_named_and_to_be_run() -> None:
    status = Status([MonthStatus(MARCH, Inputs.WITHDRAWN, withdrawn=["month_is_new"])])

    assert status_lines(status) == [
        "Acceptance withdrawn: 2024-03 was published with month_is_new accepted; the next run judges it without.",
        "To be run: 2024-03 (1 month), by refinery run changed.",
    ]


def published(month: Month, **last: Any) -> MonthStatus:
    """A month that was published, and of which `last` says what the last run made of it since."""
    receipt = receipt_of(month)
    audit = LastAudit("later", NOW, published=False, **last)
    return MonthStatus(month, Inputs.AS_PUBLISHED, receipt, audit)


def test_a_month_whose_published_files_are_back_is_to_be_run_until_a_run_has_seen_them() -> None:
    cut = published(MARCH, failed=["legacy_feed fragmentation_complete"])
    other_files = published(FEBRUARY, failed=["processed_data published_rows_kept"], input_digest="another")

    assert status_lines(Status([other_files, cut])) == [
        (
            "Refused by the last run, but their inputs are again those of the publication: 2024-02, 2024-03 "
            "(2 months); another run clears that."
        ),
        "To be run: 2024-02, 2024-03 (2 months), by refinery run changed.",
    ]


def test_a_published_month_that_was_refused_as_it_is_is_not_run_again_and_again() -> None:
    judged = published(MARCH, failed=["processed_data month_is_new"], input_digest="digest")
    withdrawn = replace(judged, inputs=Inputs.WITHDRAWN, withdrawn=["month_is_new"])
    explain = "Refused by the last run: 2024-03 (1 month); refinery explain MONTH says why, and what to do."

    assert status_lines(Status([judged])) == [explain]
    assert status_lines(Status([withdrawn])) == [
        (
            "Acceptance withdrawn: 2024-03 was published with month_is_new accepted, and has been judged without and "
            "refused since; the rows published by the acceptance still stand. Deliver the right files, or accept it "
            "again: refinery accept 2024-03 month_is_new --why TEXT."
        ),
        explain,
    ]


def test_a_month_that_was_accepted_since_it_was_refused_is_to_be_run_again() -> None:
    judged = published(MARCH, failed=["processed_data month_is_new"], input_digest="digest")
    again = replace(judged, waivers=[waiver_of("digest")])
    never_published = replace(again, inputs=Inputs.NOT_PUBLISHED, receipt=None)
    lines = [
        "Refused by the last run, but accepted since: 2024-03 (1 month); run it again.",
        "To be run: 2024-03 (1 month), by refinery run changed.",
    ]

    assert status_lines(Status([again])) == lines
    assert status_lines(Status([never_published])) == lines
    # Another check refuses it all the same; and an acceptance for other files changes nothing.
    failed = ["processed_data month_is_new", "processed_data units_plausible"]
    other_check = replace(again, audit=LastAudit("later", NOW, published=False, failed=failed, input_digest="digest"))
    other_files = replace(never_published, waivers=[waiver_of("another")])
    for each in (other_check, other_files):
        assert status_lines(Status([each]))[0].startswith(
            "Refused by the last run: 2024-03 (1 month); refinery explain"
        )


def test_a_month_that_was_run_before_its_export_is_awaited_and_not_refused() -> None:
    asked = replace(refused(MARCH), inputs=Inputs.NO_FILES)

    assert status_lines(Status([MonthStatus(FEBRUARY, Inputs.AS_PUBLISHED), asked])) == [
        "Not exported yet: 2024-03 (1 month), for which a run was started."
    ]
    # A hole in the feed is none that fills itself.
    assert status_lines(Status([asked, MonthStatus(MARCH.next, Inputs.AS_PUBLISHED)])) == [
        "Refused by the last run: 2024-03 (1 month); refinery explain MONTH says why, and what to do."
    ]


def test_a_hole_in_the_feed_that_was_refused_is_one_that_a_run_would_only_refuse_again() -> None:
    hole = replace(refused(FEBRUARY), inputs=Inputs.NO_FILES)
    around = [MonthStatus(month, Inputs.AS_PUBLISHED) for month in (JANUARY, MARCH)]

    assert Status([around[0], hole, around[1]]).refused_again == [FEBRUARY]
    # What the feed held once and holds no more, at its beginning or for its end, is not a hole.
    assert Status([hole, around[1]]).refused_again == []
    assert Status([around[0], hole]).refused_again == []
    # No run can be over what the window lacks.
    assert Status([around[0], replace(hole, is_outside=True), around[1]]).refused_again == []
    as_it_is = published(MARCH, failed=["processed_data month_is_new"], input_digest="digest")
    assert Status([as_it_is]).refused_again == [MARCH]
    assert Status([replace(as_it_is, is_outside=True)]).refused_again == []


def test_a_feed_that_has_lost_every_month_is_named_by_its_setting() -> None:
    gone = [MonthStatus(month, Inputs.NO_FILES) for month in (JANUARY, FEBRUARY)]

    assert status_lines(Status(gone)) == [
        "The feed holds no file of these months; check whether REFINERY_FEED is right. What is published stays."
    ]
    assert status_lines(Status(gone[:1]))[0].startswith("The feed holds no file of this month; check whether ")


def test_a_changed_month_outside_the_window_is_named_and_not_to_be_run() -> None:
    before = MonthStatus(JANUARY, Inputs.CHANGED, is_outside=True)
    status = Status([before, MonthStatus(FEBRUARY, Inputs.CHANGED)])

    assert status.changed == [FEBRUARY]
    assert status_lines(status) == [
        "To be run: 2024-02 (1 month), by refinery run changed.",
        (
            "Changed, but outside the window, so that it is not run: 2024-01 (1 month); see REFINERY_FIRST_MONTH "
            "and REFINERY_LAST_MONTH."
        ),
    ]
    # A window that begins after the feed's last month cannot end with it.
    late = [MARCH, MARCH.next, MARCH.next.next]
    assert status_lines(Status([before], late))[-1].endswith("(3 months due and not published).")


def test_nobody_is_told_to_run_a_month_outside_the_window() -> None:
    no_run = "no run can be over it, because it is outside the window"
    judged = published(MARCH, failed=["processed_data month_is_new"], input_digest="digest")
    withdrawn = MonthStatus(MARCH, Inputs.WITHDRAWN, withdrawn=["month_is_new"], is_outside=True)
    outside = [
        withdrawn,
        replace(judged, inputs=Inputs.WITHDRAWN, withdrawn=["month_is_new"], is_outside=True),
        MonthStatus(MARCH, Inputs.CHANGED, lapsed=["month_is_new"], is_outside=True),
    ]

    for each in outside:
        line = status_lines(Status([each]))[0]
        assert line.startswith("Acceptance ")
        assert line.endswith(f"{no_run}.")
        assert "next run" not in line
        assert "refinery accept" not in line
    refused_before = replace(published(MARCH, failed=["legacy_feed fragmentation_complete"]), is_outside=True)
    assert status_lines(Status([refused_before])) == [
        "Refused by the last run, and outside the window since: 2024-03 (1 month); refinery explain MONTH says why.",
        (
            "Changed, but outside the window, so that it is not run: 2024-03 (1 month); see REFINERY_FIRST_MONTH and "
            "REFINERY_LAST_MONTH."
        ),
    ]


def test_where_many_months_are_late_status_says_how_to_end_a_feed() -> None:
    late = [MARCH, MARCH.next, MARCH.next.next]
    ended = "If the feed has ended, set REFINERY_LAST_MONTH=2024-02."

    (line,) = status_lines(Status([MonthStatus(FEBRUARY, Inputs.AS_PUBLISHED)], late))
    (other,) = status_lines(Status([MonthStatus(FEBRUARY, Inputs.AS_PUBLISHED)], late[:2]))

    assert line == f"Late: 2024-03, 2024-04, 2024-05 (3 months due and not published). {ended}"
    assert other == "Late: 2024-03, 2024-04 (2 months due and not published)."


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


def test_what_is_the_same_of_several_months_is_printed_once() -> None:
    stream = io.StringIO()
    inventory = CheckResult("host_inventory", "inventory_initialized", "There is none.", "Load it.")
    own = CheckResult("legacy_feed", "source_files_present", "0 of 4 found.", "Export them.")
    months = [MonthOutcome(f"2024-0{number}", "refused", failed=[inventory]) for number in (1, 2)]

    outcomes = Outcomes([*months, MonthOutcome("2024-03", "refused", failed=[own, inventory])])
    print_outcomes(outcomes, console_for(stream))

    assert stream.getvalue().splitlines()[3:-1] == [
        "2024-01, 2024-02, 2024-03: host_inventory inventory_initialized failed: There is none.",
        "  what to do: Load it.",
        "2024-03: legacy_feed source_files_present failed: 0 of 4 found.",
        "  what to do: Export them.",
    ]


def test_a_refusal_with_a_sample_says_how_to_see_it() -> None:
    stream = io.StringIO()
    check = CheckResult("processed_data", "sensors_alive", "20 series stand still.", "Look.", sample=[{"host_id": "a"}])

    print_outcomes(Outcomes([MonthOutcome("2024-01", "refused", failed=[check])]), console_for(stream))

    assert "With samples of what is wrong: refinery explain 2024-01\n" in stream.getvalue()


@pytest.mark.parametrize(("width", "is_table"), [(60, False), (120, True)])
def test_a_table_that_would_cut_its_words_is_printed_as_lines(width: int, *, is_table: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=width, color_system=None)

    print_status(Status([refused(FEBRUARY)]), None, NOW, console)

    assert ("┃ month" in stream.getvalue()) is is_table
    assert "2024-02" in stream.getvalue()
    assert "…" not in stream.getvalue()


def test_what_was_corrected_since_it_was_refused_is_told_as_such_and_not_to_be_done_again() -> None:
    finding = Finding(Outcome.FAILED, "cpu.csv ends mid-line.", {})
    refused_by = Verdict("legacy_feed", "fragmentation_complete", MARCH, finding, "Have it exported again.")
    found = Explanation(MARCH, None, [refused_by], "run-7", MonthResult(MARCH, State.UNCHANGED, []))

    assert explained(found)[1:] == [
        "Run now, with the files as they are, it is as published.",
        (
            "The last run that looked at it, run-7, refused it for what has been corrected since; refinery run 2024-03 "
            "clears that:"
        ),
        "- failed: legacy_feed fragmentation_complete: cpu.csv ends mid-line.",
    ]


def test_an_acceptance_of_another_delivery_is_told_as_no_longer_holding() -> None:
    accepted = waiver_of("another")
    lines = [
        f"No longer accepted: {accepted.sentence}",
        "  That was for other files, settings or inventory, or by another version.",
    ]
    now = MonthResult(MARCH, State.UNCHANGED, [], input_digest="digest")

    assert explained(Explanation(MARCH, receipt_of(MARCH), now=now, waivers=[accepted]))[-2:] == lines
    # The files are gone, so that only what was published since can tell.
    before = replace(accepted, accepted_at=NOW - timedelta(days=1))
    assert Explanation(MARCH, receipt_of(MARCH), waivers=[before]).lapsed == ["month_is_new"]
    assert Explanation(MARCH, receipt_of(MARCH), waivers=[accepted]).lapsed == []
    holds = explained(Explanation(MARCH, receipt_of(MARCH), now=now, waivers=[waiver_of("digest")]))
    assert holds[-1] == f"Accepted: {accepted.sentence}"


def test_a_month_outside_the_window_is_explained_by_what_is_known_of_it() -> None:
    assert explained(Explanation(MARCH, receipt_of(MARCH), is_outside=True))[1:] == [
        "It is outside the window, so that no run can be over it; see REFINERY_FIRST_MONTH and REFINERY_LAST_MONTH."
    ]
    assert Explanation(MARCH, receipt_of(MARCH), is_outside=True).is_known
    assert not Explanation(MARCH, is_outside=True).is_known


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


@pytest.mark.parametrize("now", [State.REFUSED, State.PUBLISHED, None])
def test_quarantined_lines_of_an_earlier_delivery_are_said_to_be_of_that(now: State | None) -> None:
    line: Row = {"source_file": "cpu.csv", "source_line": 2, "fault": "malformed_row", "raw": "the line of old"}
    of_now: Row = {"file": "cpu.csv", "source_line": 2, "fault": "bad_timestamp", "raw": "the line of now"}
    finding = Finding(Outcome.FAILED, "Too many.", {}, offenders=[of_now])
    verdict = Verdict("cpu", "quarantine_within_tolerance", MARCH, finding, "Have it exported again.")
    result = MonthResult(MARCH, now, [verdict]) if now else None

    lines = explained(
        Explanation(MARCH, receipt_of(MARCH), now=result, quarantined={"cpu malformed_row": 1}, sample=[line])
    )

    assert lines[-3:] == [
        (
            "In quarantine, from the delivery published at 2024-05-20 00:00 UTC (the files may have changed since): "
            "cpu malformed_row 1, for example:"
        ),
        "    file     line  fault          raw",
        "    cpu.csv     2  malformed_row  'the line of old'",
    ]


def test_quarantined_lines_of_the_files_as_they_are_are_shown_without_a_word_about_it() -> None:
    now = MonthResult(MARCH, State.UNCHANGED, [])

    lines = explained(Explanation(MARCH, receipt_of(MARCH), now=now, quarantined={"cpu malformed_row": 1}))

    assert lines[-1] == "In quarantine: cpu malformed_row 1."


def test_a_withdrawn_acceptance_makes_no_other_delivery_of_the_same_files() -> None:
    line: Row = {"source_file": "cpu.csv", "source_line": 2, "fault": "malformed_row", "raw": "the line"}
    finding = Finding(Outcome.WARNING, "One row.", {}, offenders=[{**line, "file": "cpu.csv"}])
    verdict = Verdict("cpu", "quarantine_within_tolerance", MARCH, finding, "Have it exported again.")
    now = MonthResult(MARCH, State.REFUSED, [verdict], input_digest="digest")

    lines = explained(
        Explanation(MARCH, receipt_of(MARCH), now=now, quarantined={"cpu malformed_row": 1}, sample=[line])
    )

    # The line is not shown twice.
    assert lines[-1] == "In quarantine: cpu malformed_row 1."
    assert sum("the line" in each for each in lines) == 1
