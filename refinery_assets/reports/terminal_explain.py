"""What `refinery explain` prints, samples of raw lines included.

Here: the words and the columns. Not here: what is known of the month (`warehouse/explain.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape

from refinery_assets.checks.rules import Row, counted, shortened
from refinery_assets.reports.terminal import print_check

if TYPE_CHECKING:
    from refinery_assets.reports.month_results import CheckResult
    from refinery_assets.warehouse.explain import Explanation
    from refinery_assets.warehouse.receipts import Receipt

_LONGEST_CELL = 200


def print_explanation(found: Explanation, console: Console) -> None:
    """Print in words what is known about a month."""
    from refinery_assets.reports.month_results import checks_of  # noqa: PLC0415 - it loads Polars

    receipt = found.receipt
    if receipt is None:
        console.print(f"{found.month} is not published.")
    else:
        console.print(
            f"{found.month} was published by run {receipt.run_id} at {_moment(receipt)}: "
            f"{counted(receipt.rows, 'row')}, {receipt.imputed:,} of them imputed, {receipt.quarantined:,} quarantined."
        )
    failed, warnings = checks_of(found.now.verdicts) if found.now else ([], [])
    _print_now(found, failed, warnings, console)
    shown = {(row.get("file"), row.get("source_line")) for check in (*failed, *warnings) for row in check.sample}
    if found.run_id is not None:
        _print_last_run(found, {(check.asset, check.check, check.message) for check in (*failed, *warnings)}, console)
    _print_waivers(found, console)
    if found.quarantined:
        faults = ", ".join(f"{name} {count:,}" for name, count in found.quarantined.items())
        delivery = ""
        if receipt is not None and not found.has_published_inputs:
            # A line of these files may have the number of another line of those.
            shown = set()
            delivery = f", from the delivery published at {_moment(receipt)} (the files may have changed since)"
        others = [row for row in found.sample if (row["source_file"], row["source_line"]) not in shown]
        console.print(f"In quarantine{delivery}: {escape(faults)}{', for example:' if others else '.'}")
        _print_sample(others, console)


def _print_now(
    found: Explanation, failed: Sequence[CheckResult], warnings: Sequence[CheckResult], console: Console
) -> None:
    """Print what would become of it, and what its checks find."""
    if found.is_outside:
        console.print(
            "It is outside the window, so that no run can be over it; see REFINERY_FIRST_MONTH and REFINERY_LAST_MONTH."
        )
    elif found.now is None:
        console.print("The feed holds no file of it.")
    else:
        words = {"published": "would be published", "unchanged": "is as published", "refused": "would be refused"}
        console.print(f"Run now, with the files as they are, it {words[str(found.now.state)]}.")
        for outcome, checks in (("failed", failed), ("warning", warnings)):
            for check in checks:
                print_check(f"- {outcome}: {check.asset} {check.check}:", check, console)
                if sample := [row for row in check.sample if not _is_in(row, check.message)]:
                    console.print("  for example:")
                    _print_sample(sample, console)


def _print_waivers(found: Explanation, console: Console) -> None:
    """Print what somebody has accepted, and whether that still holds."""
    for waiver in found.waivers:
        lapsed = waiver.check_name in found.lapsed
        console.print(f"{'No longer accepted' if lapsed else 'Accepted'}: {waiver.sentence}", markup=False)
        if lapsed:
            console.print("  That was for other files, settings or inventory, or by another version.")


def _moment(receipt: Receipt) -> str:
    return f"{receipt.published_at:%Y-%m-%d %H:%M} UTC"


def _print_last_run(found: Explanation, found_now: set[tuple[str, str, str]], console: Console) -> None:
    """Print what the last run found, as far as it differs from what the present files give."""
    run = f"The last run that looked at it, {found.run_id},"
    if not found.last_found:
        console.print(f"{run} found nothing wrong.")
        return
    failed = [each for each in found.last_found if each.failed]
    if failed and found.is_as_published:
        # What to do about it is done.
        console.print(f"{run} refused it for what has been corrected since; refinery run {found.month} clears that:")
        for verdict in failed:
            console.print(f"- {verdict.outcome}: {escape(verdict.sentence)}")
        return
    others = [each for each in found.last_found if (each.asset, each.check, each.finding.message) not in found_now]
    console.print(f"{run} found:" if others else f"{run} found the same.")
    for verdict in others:
        console.print(f"- {verdict.outcome}: {escape(verdict.sentence)}")
        console.print(f"  what to do: {escape(verdict.recovery)}")


def _print_sample(rows: Sequence[Row], console: Console) -> None:
    """Print rows below one another, aligned, each column under its name."""
    if not rows:
        return
    names = [
        name for name in dict.fromkeys(name for row in rows for name in row) if any(_cell(name, row) for row in rows)
    ]
    lines = [[name.removeprefix("source_") for name in names], *([_cell(name, row) for name in names] for row in rows)]
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    are_numbers = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in names]
    for line in lines:
        cells = [
            " " * (width - cell_len(cell)) + cell if is_number else cell + " " * (width - cell_len(cell))
            for cell, width, is_number in zip(line, widths, are_numbers, strict=True)
        ]
        console.print(f"    {'  '.join(cells)}".rstrip(), markup=False)


def _cell(name: str, row: Row) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if name == "raw":
        # As it stood, with blanks and control characters to be seen.
        return shortened(repr(value), _LONGEST_CELL)
    if isinstance(value, str):
        return shortened(" ".join(value.split()), _LONGEST_CELL)
    if isinstance(value, float):
        return f"{value:.6g}"
    # Nobody writes a line's number with a comma.
    return str(value) if isinstance(value, bool) or name.endswith("line") else f"{value:,}"


def _is_in(row: Row, message: str) -> bool:
    """Whether a row says nothing that its check's message does not."""
    problem = row.get("problem")
    return isinstance(problem, str) and problem in message
