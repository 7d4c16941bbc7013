"""The commands `refinery contract check`, `show` and `infer`.

Here: arguments and what is printed. Not here: how a contract is read, written or inferred (`contract/contract_file.py`,
`contract/contract_text.py`, `feed/infer/proposal.py`), and what becomes of errors (`errors.py`).
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from refinery_assets.checks.rules import counted, shortened
from refinery_assets.cli.errors import EXIT_USAGE, fail
from refinery_assets.cli.options import local_path
from refinery_assets.contract.contract_file import PACKAGED_FILE, Contract
from refinery_assets.contract.contract_text import contract_as_toml, toml_value
from refinery_assets.contract.settings import Settings

contract_app = typer.Typer(
    name="contract",
    help="Check, show or propose the contract: the TOML file that says what a feed looks like.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
File = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]", parser=local_path, help="a contract file; else REFINERY_CONTRACT, or the packaged one"
    ),
]

_LONGEST_POINT = 300


@contract_app.command()
def check(file: File = None) -> None:
    """Say whether a contract file can be used, and if not, why.

    The check fails while a comment is marked CHOOSE, as `refinery contract infer` marks what it leaves open.
    """
    from refinery_assets.warehouse.own_rules import publish_rules

    settings = _settings(file)
    name = _name(settings.contract, file)
    publish_rules(settings.contract)
    _look_for_open_points(settings.contract, name)
    families = [f"{family.name} ({family.resource})" for family in settings.contract.families]
    count = counted(len(families), "family", "families")
    rules = [rule.name for rule in settings.contract.rule]
    own = f"; {'rule' if len(rules) == 1 else 'rules'} {', '.join(rules)}" if rules else ""
    typer.echo(f"{name} is valid: {count}, {', '.join(families)}{own}.")
    _look_at_inventory(settings)


@contract_app.command()
def show(file: File = None) -> None:
    """Print the contract in force, with every default, as TOML.

    Limits that it does not set, or that the environment overrides, stand beside it as comments.
    """
    settings = _settings(file)
    typer.echo(contract_as_toml(settings.contract, asdict(settings)), nl=False)


@contract_app.command()
def infer(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATHS...", parser=local_path, help="the folder of a feed, or some of its files"),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="PATH", parser=local_path, help="write it to this file, which must not be there yet"
        ),
    ] = None,
) -> None:
    """Propose a contract from somebody's files, for you to edit.

    What was guessed stands beside its reasons; what the files do not say is marked CHOOSE.
    """
    from refinery_assets.feed.infer.proposal import propose_contract
    from refinery_assets.feed.infer.words import open_points

    if to is not None and to.exists():
        raise typer.BadParameter(f"{to} is there already; name another file.")
    text = propose_contract(paths, to or Path("contract.toml"))
    if to is None:
        typer.echo(text, nl=False)
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(text, encoding="utf-8")
    points = len(open_points(text))
    are = "point is left open, marked" if points == 1 else "points are left open, each marked"
    left = f"{points:,} {are} CHOOSE" if points else "nothing is left open"
    typer.echo(f"Wrote a contract to {to}: {left}. Then: refinery contract check {to}")


def _look_for_open_points(contract: Contract, name: str) -> None:
    """Fail where somebody has yet to choose; the text has been read as a contract before."""
    from refinery_assets.feed.infer.words import open_points

    points = open_points(contract.file.read_text(encoding="utf-8-sig"))
    if not points:
        return
    said = "".join(f"\n  line {number}: {shortened(point, _LONGEST_POINT)}" for number, point in points)
    it = "it" if len(points) == 1 else "each"
    fail(
        f"{name} leaves {counted(len(points), 'point')} open. Decide {it}, delete the mark CHOOSE or its whole "
        f"comment, and check again:{said}",
        EXIT_USAGE,
    )


def _look_at_inventory(settings: Settings) -> None:
    """Warn of an inventory file with which every month would be refused; the contract is valid all the same."""
    if settings.contract.inventory_file is None:
        return
    import duckdb

    from refinery_assets.checks.rules import judge
    from refinery_assets.contract.families import HOST_INVENTORY
    from refinery_assets.contract.months import Month
    from refinery_assets.warehouse.inventory import inspect_inventory
    from refinery_assets.warehouse.inventory_checks import INVENTORY_RULES

    with duckdb.connect() as connection:
        facts = inspect_inventory(connection, settings)
    if facts.problem:
        problem = " ".join(filter(None, (f"{facts.problem}.", facts.there))).rstrip(".")
        typer.echo(
            f"Warning: {problem}. Until it is corrected, every month is refused; [inventory] source = "
            f"{toml_value(settings.contract.inventory.source)} is looked for from the contract file's folder.",
            err=True,
        )
        return
    for verdict in judge(INVENTORY_RULES, HOST_INVENTORY, Month.of(settings.today), facts):
        if verdict.failed:
            typer.echo(
                f"Warning: the inventory fails {verdict.check}: {verdict.finding.message} Until it is corrected, "
                f"every month is refused. What to do: {verdict.recovery}",
                err=True,
            )


def _settings(file: Path | None) -> Settings:
    chosen = {} if file is None else {"REFINERY_CONTRACT": str(file.absolute())}
    return Settings.from_environment({**os.environ, **chosen})


def _name(contract: Contract, file: Path | None) -> str:
    if file is None and contract.file == PACKAGED_FILE:
        return "The packaged contract"
    return f"The contract {file or contract.file}"
