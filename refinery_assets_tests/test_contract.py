"""The contract file: what is refused and with which words, what is taken, and where it can be seen."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from refinery_assets.contract.contract_file import ContractError, load_contract, packaged_contract
from refinery_assets.contract.contract_text import contract_as_toml
from refinery_assets.contract.families import Behavior, Unit
from refinery_assets.contract.plausibility import Mode
from refinery_assets.contract.settings import PROJECT_ROOT, SettingError, Settings
from refinery_assets.warehouse.own_rules import publish_rules

CPU = '[[family]]\nname = "cpu_load"\nresource = "cpu"\nvalue = "p95"\n'
MEMORY = CPU.replace("cpu", "memory").replace("p95", "m95")
A_NAME = "expected a name of lower-case letters, digits and underscores that begins with a letter, and that neither "
A_PATH = "expected a path within the feed with {year} and {month} in it, such as "
A_COLUMN = "expected the name of a column, as the header has it."
A_SHARE = "expected a share between 0 and 1, such as 0.01."
ONE_FAMILY = "[[family]] 1 (cpu_load)"


def test_what_is_no_text_of_toml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "contract.toml"

    def refusal(path: Path = file) -> str:
        with pytest.raises(ContractError) as refused:
            load_contract(path)
        return str(refused.value)

    assert refusal() == f"The contract {file} cannot be read (No such file or directory); expected a TOML file."
    assert refusal(tmp_path) == f"The contract {tmp_path} cannot be read (Is a directory); expected a TOML file."
    file.write_bytes("[feed]".encode("utf-16"))
    assert refusal() == f"The contract {file} is not UTF-8 text; save it as that."
    file.write_text("[feed]\npath = \n")
    assert refusal() == f"The contract {file} is not TOML: Invalid value (at line 2, column 8)."
    with pytest.raises(SettingError, match=r"REFINERY_CONTRACT is 's3://bucket/c.toml'; expected a TOML file on this"):
        Settings.from_environment({"REFINERY_CONTRACT": "s3://bucket/c.toml"})


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        # Keys.
        (f'{CPU}unitt = "percent"', f"{ONE_FAMILY} has no key 'unitt'; did you mean unit?"),
        (
            f'{CPU}[plausibility]\nmonth_is_new = "maybe"',
            "[plausibility] month_is_new is 'maybe'; expected fail, warn or off.",
        ),
        (
            f"{CPU}[plausibility]\nmonth_is_knew = 1",
            "[plausibility] has no key 'month_is_knew'; did you mean month_is_new?",
        ),
        (
            f"{CPU}[plausibility]\nstill_fail_share = 2.0",
            "[plausibility] still_fail_share is 2.0; expected a share above 0, at most 1, such as 0.1.",
        ),
        (
            f'{CPU}[plausibility]\nnot_for = [["levels", "cpu"]]',
            "[plausibility] not_for is [['levels', 'cpu']]; expected a list of pairs of a plausibility check and a ",
        ),
        (
            f'{CPU}[plausibility]\nnot_for = [["levels_plausible", "disk"]]',
            "[plausibility] not_for names the resource 'disk' for levels_plausible; expected cpu.",
        ),
        (f"[feeds]\n{CPU}", "the file has no key 'feeds'; did you mean feed?"),
        (f'[feed]\ndelimeter = ";"\n{CPU}', "[feed] has no key 'delimeter'; did you mean delimiter?"),
        (f"{CPU}[tolerances]\nmax_gap = 3", "[tolerances] has no key 'max_gap'; did you mean max_gap_days?"),
        (f'{CPU}[inventory]\nhosts = "x"', "[inventory] has no key 'hosts'; did you mean host?"),
        (f'{CPU}[behaviors]\nzebra = "x"', "[behaviors] has no key 'zebra'; expected names or count."),
        (
            f"{CPU}tolerances.family_skew = 0.5",
            "[family.tolerances] of family 1 (cpu_load) has no key 'family_skew'; expected max_gap_days, ",
        ),
        # Sections.
        ("", "it declares no family; expected one [[family]] or more."),
        ("family = []", "[[family]] is []; expected one [[family]] or more."),
        ('[family]\nname = "x"', "[[family]] is {'name': 'x'}; expected one [[family]] or more."),
        ('family = ["cpu"]', "[[family]] 1 is 'cpu'; expected one [[family]] or more."),
        (f"feed = 3\n{CPU}", "[feed] is 3; expected a table of keys and values."),
        (f"[[inventory]]\n{CPU}", "[inventory] is [{}]; expected a table of keys and values."),
        (f"{CPU}tolerances = 3", f"{ONE_FAMILY} tolerances is 3; expected a table of keys and values."),
        # Names, which become names of assets, folders and columns.
        (CPU.replace("name", "value2"), "[[family]] 1 lacks name; "),
        (CPU.replace('value = "p95"', ""), f"{ONE_FAMILY} lacks value; {A_COLUMN}"),
        (CPU.replace('"cpu_load"', "3"), f"[[family]] 1 name is 3; {A_NAME}"),
        (CPU.replace("cpu_load", "CPU"), f"[[family]] 1 (CPU) name is 'CPU'; {A_NAME}"),
        (CPU.replace("cpu_load", "../cpu"), f"[[family]] 1 (../cpu) name is '../cpu'; {A_NAME}"),
        (CPU.replace("cpu_load", "x; DROP"), f"[[family]] 1 (x; DROP) name is 'x; DROP'; {A_NAME}"),
        (CPU.replace("cpu_load", "processed_data"), "[[family]] 1 (processed_data) name is "),
        (CPU.replace("cpu_load", "context"), f"[[family]] 1 (context) name is 'context'; {A_NAME}"),
        (CPU.replace("cpu_load", "class"), f"[[family]] 1 (class) name is 'class'; {A_NAME}"),
        (CPU.replace('"cpu"', '"Cpu time"'), f"{ONE_FAMILY} resource is 'Cpu time'; {A_NAME}"),
        (CPU + CPU.replace('"cpu"', '"gpu"'), "two families have the name 'cpu_load'; give each its own."),
        (CPU + CPU.replace("cpu_load", "gpu"), "two families have the resource 'cpu'; give each its own."),
        # Paths.
        (f'[feed]\npath = "/a/{{year}}{{month}}.csv"\n{CPU}', f"[feed] path is '/a/{{year}}{{month}}.csv'; {A_PATH}"),
        (f'[feed]\npath = "../{{year}}{{month}}.csv"\n{CPU}', f"[feed] path is '../{{year}}{{month}}.csv'; {A_PATH}"),
        (f'[feed]\npath = "{{family}}_{{month}}.csv"\n{CPU}', f"[feed] path is '{{family}}_{{month}}.csv'; {A_PATH}"),
        (f'{CPU}path = "{{year}}{{month}}{{host}}.csv"', f"{ONE_FAMILY} path is '{{year}}{{month}}{{host}}.csv'; "),
        (f'{CPU}path = "{{year}}/{{month}}/"', f"{ONE_FAMILY} path is '{{year}}/{{month}}/'; {A_PATH}"),
        (f"{CPU}path = 3", f"{ONE_FAMILY} path is 3; {A_PATH}"),
        # Lines.
        (f'{CPU}unit = "percents"', f"{ONE_FAMILY} unit is 'percents'; expected percent or fraction."),
        (f'{CPU}date_format = "%d.%m"', f"{ONE_FAMILY} date_format is '%d.%m'; expected one of YYYY-MM-DD, "),
        (f'{CPU}delimiter = ";;"', f"{ONE_FAMILY} delimiter is ';;'; expected one of "),
        (f'[feed]\ndecimal = ";"\n{CPU}', '[feed] decimal is \';\'; expected "." or ",".'),
        (f'[feed]\ndecimal = ","\n{CPU}', "[[family]] cpu_load has ',' as delimiter and as decimal; change one."),
        (f'[feed]\nencoding = "ebcdic"\n{CPU}', "[feed] encoding is 'ebcdic'; expected utf-8, utf-16 or latin-1."),
        (f'[feed]\nquote = "x"\n{CPU}', "[feed] quote is 'x'; expected a quotation mark, single or double, or none."),
        (f'[feed]\nabsent = "x"\n{CPU}', "[feed] absent is 'x'; expected a list of the texts that stand for no value."),
        (f"[feed]\nmax_mib = 0\n{CPU}", "[feed] max_mib is 0; expected a whole number of MiB, 1 or more."),
        # Columns.
        (f'{CPU}date = "P95"', "[[family]] cpu_load reads the column 'p95' twice; give each its own."),
        (f'{CPU}capacity = ""', f"{ONE_FAMILY} capacity is ''; {A_COLUMN}"),
        (f'{CPU}host = {{ column = "h" }}', f"{ONE_FAMILY} host is {{'column': 'h'}}; {A_COLUMN}"),
        (f'{CPU}host = "a\\u0000b"', f"{ONE_FAMILY} host is 'a\\x00b'; {A_COLUMN}"),
        (f'{CPU}capacity_unit = "GB"', "[[family]] cpu_load has a capacity_unit and no capacity; name the column, "),
        (
            '[feed]\npath = "{year}-{month}.csv"\n' + CPU + MEMORY.replace("m95", "P95"),
            "the families cpu_load and memory_load read the same column 'p95' of the same file; give ",
        ),
        # Inventory and behaviors.
        (f'{CPU}[inventory]\nbehavior = "scenario"', "[inventory] behavior is 'scenario'; expected a list "),
        (f'{CPU}[inventory]\nsource = ""', "[inventory] source is ''; expected a table or view of "),
        (f"{CPU}[inventory]\nhost = 3", f"[inventory] host is 3; {A_COLUMN}"),
        (f'{CPU}[inventory]\nhost = "a"\nvalid_from = "a"', "[inventory] names the column 'a' twice; "),
        (f"{CPU}[behaviors]\ncount = -1", "[behaviors] count is -1; expected a whole number, 0 or more."),
        (f'{CPU}[behaviors]\nnames = ["A/B"]\ncount = 1', "[behaviors] has names and a count; keep one."),
        (f'{CPU}[behaviors]\nnames = ["A/B", "a/b"]', "[behaviors] names A/B twice; keep one."),
        (f'{CPU}[behaviors]\nnames = "A/B"', "[behaviors] names is 'A/B'; expected a list of texts such as "),
        (f'{CPU}[behaviors]\nnames = ["/B"]', "[behaviors] names is '/B'; expected a list of texts such as "),
        (f"{CPU}[inventory]\nbehavior = []\n[behaviors]\ncount = 2", "[behaviors] expects some, and "),
        # Limits.
        (f"{CPU}[tolerances]\nmin_coverage = 1.5", f"[tolerances] min_coverage is 1.5; {A_SHARE}"),
        (f'{CPU}[tolerances]\nmin_coverage = "0.5"', f"[tolerances] min_coverage is '0.5'; {A_SHARE}"),
        (f"{CPU}[tolerances]\nmax_gap_days = 2.5", "[tolerances] max_gap_days is 2.5; expected a whole "),
        (f"{CPU}[tolerances]\novershoot = nan", "[tolerances] overshoot is nan; expected percentage "),
        (
            f"{CPU}[family.tolerances]\nmin_coverage = 2",
            f"[family.tolerances] of family 1 (cpu_load) min_coverage is 2; {A_SHARE}",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told_by_file_section_key_value_and_what_was_expected(
    tmp_path: Path, text: str, mistake: str
) -> None:
    file = tmp_path / "contract.toml"
    file.write_text(text)

    with pytest.raises(SettingError) as refused:
        Settings.from_environment({"REFINERY_CONTRACT": str(file)})

    assert str(refused.value).startswith(f"The contract {file}: {mistake}")
    assert "\n" not in str(refused.value)


def test_the_environment_overrides_the_contracts_limits(tmp_path: Path) -> None:
    file = tmp_path / "contract.toml"
    file.write_text(
        f"{CPU}[family.tolerances]\nmax_gap_days = 9\n{MEMORY}"
        "[tolerances]\nmax_gap_days = 5\novershoot = 20\nmax_loss = 0.5\n[behaviors]\ncount = 3\n"
        '[plausibility]\nmonth_is_new = "warn"\n'
    )
    contract = {"REFINERY_CONTRACT": str(file)}

    declared = Settings.from_environment(contract)
    assert (declared.max_gap_days, declared.overshoot, declared.max_loss, declared.behaviors) == (5, 20, 0.5, 3)
    assert declared.min_coverage == Settings.min_coverage
    assert declared.plausibility.mode("month_is_new") is Mode.WARN
    cpu, memory = declared.contract.families
    assert (declared.limit("max_gap_days", cpu), declared.limit("max_gap_days", memory)) == (9, 5)

    overridden = Settings.from_environment(
        {**contract, "REFINERY_MAX_GAP_DAYS": "2", "REFINERY_OVERSHOOT": "0", "REFINERY_BEHAVIORS": "0"}
    )
    assert (overridden.max_gap_days, overridden.overshoot, overridden.behaviors) == (2, 0, 0)
    # What is said of one family alone is not what the variable says for all.
    assert overridden.limit("max_gap_days", cpu) == 9


def test_a_contract_written_out_reads_back_to_the_same_contract(tmp_path: Path) -> None:
    file = tmp_path / "contract.toml"
    # With the mark that some editors put before UTF-8.
    text = (
        '[feed]\npath = "{year}-{month}.csv"\nabsent = ["k.A.", "\\u007f", "\\"", "ä\\\\"]\n'
        f'{CPU}unit = "fraction"\ndelimiter = "\\t"\nquote = ""\n[family.tolerances]\nmin_coverage = 1e-7\n{MEMORY}'
        '[inventory]\nsource = "hosts.csv"\nbehavior = []\n[tolerances]\nmax_loss = 0\n'
        '[plausibility]\nsensors_alive = "off"\nnot_for = [["levels_plausible", "cpu"]]\n'
    )
    file.write_text(text, encoding="utf-8-sig")
    contract = load_contract(file)
    assert contract.families[0].unit is Unit.FRACTION
    for each in (contract, packaged_contract()):
        file.write_text(contract_as_toml(each, {"max_gap_days": 3, "behaviors": 2}), encoding="utf-8")
        assert load_contract(file).model_dump() == each.model_dump()
        assert load_contract(file).digest == each.digest
    assert packaged_contract().behaviors.names[0] == Behavior("STEADY_GROWTH", "NORMAL")


def test_the_contract_in_the_docs_can_be_used(tmp_path: Path) -> None:
    page = (PROJECT_ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    contract, rule, query = (
        textwrap.dedent(re.search(rf"(?m)^    {first}(?:.*\n)(?:(?:    .*)?\n)*", page)[0])  # type: ignore[index]
        for first in (r"\[\[family\]\]", r"\[\[rule\]\]", "SELECT month, ds")
    )
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "capacity_known.sql").write_text(query)
    (tmp_path / "contract.toml").write_text(contract + rule)

    found = load_contract(tmp_path / "contract.toml")

    assert [rule.name for rule in publish_rules(found)][-1] == "capacity_known"
    assert (found.tolerances.overshoot, found.families[1].tolerances.quarantine_tolerance) == (20, 0.05)
    # The packaged layout, but for who lists the hosts.
    assert found.families[0] == packaged_contract().families[0]


def test_a_first_run_by_the_docs_writes_into_no_folder_but_the_one_that_they_name() -> None:
    page = (PROJECT_ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    (folder,) = re.findall(r"(?m)^    mkdir (\S+)", page)
    given = [pair.split("=") for line in re.findall(r"(?m)^    export (.*)", page) for pair in line.split()]
    variables: dict[str, str] = dict(given)

    settings = Settings.from_environment({**variables, "REFINERY_CONTRACT": ""})

    written = [settings.warehouse, settings.read_copy, settings.telemetry, settings.reports, settings.alert_log]
    named = [variables["REFINERY_CONTRACT"], variables["DAGSTER_HOME"]]
    assert {str(Path(str(each)).parent) for each in (*written, *named)} == {folder}
