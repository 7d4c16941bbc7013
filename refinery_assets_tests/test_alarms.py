"""The alarm for a failed run: its line, its post, and receivers that hang, refuse, or are not there."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from refinery_assets.build import build_defs
from refinery_assets.contract.settings import Settings
from refinery_assets.operations import alerts as alarms
from refinery_assets.operations.alerts import FAILED_RUNS, append_line, describe_failure
from refinery_assets_tests.installation import Installation
from refinery_assets_tests.scenario import DISK, FEBRUARY, JANUARY, GivenPublished, Sandbox, settings_in
from refinery_assets_tests.test_crowds import held_by_another_process

TOKEN = "token-4711"  # noqa: S105 - nobody's
Failed = tuple[Sandbox, str]


@dataclass
class Receiver:
    """A web server on loopback that answers each post with the next of `answers`, the last for ever."""

    answers: list[int]
    received: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}"


@contextmanager
def receiver(*answers: int) -> Iterator[Receiver]:
    state = Receiver(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(state.answers.pop(0) if len(state.answers) > 1 else state.answers[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_port
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield state
        finally:
            server.shutdown()
            serving.join()


@pytest.fixture(scope="module")
def failed(small_fleet: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failed]:
    """A failed run, the only one of its instance; the alarms of it change neither."""
    folder = tmp_path_factory.mktemp("failed")
    shutil.copytree(small_fleet, folder, dirs_exist_ok=True)
    with dg.DagsterInstance.ephemeral() as instance:
        sandbox = Sandbox(settings_in(folder), instance)
        sandbox.file(DISK, FEBRUARY).path.unlink()
        yield sandbox, sandbox.refine(JANUARY, FEBRUARY).run_id


def alarm(sandbox: Sandbox, run_id: str, alert_log: Path, url: str | None = None) -> list[dict[str, Any]]:
    """Let the sensor see the run's failure; give the lines of the alert log."""
    settings = replace(sandbox.settings, alert_log=alert_log, alert_url=url)
    sensor = build_defs(settings).resolve_sensor_def(FAILED_RUNS)
    run = sandbox.instance.get_run_by_id(run_id)
    assert run is not None
    (failure,) = sandbox.instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert failure.dagster_event is not None
    with dg.build_run_status_sensor_context(FAILED_RUNS, failure.dagster_event, sandbox.instance, run) as context:
        sensor(context.for_run_failure())
    return [json.loads(line) for line in alert_log.read_text(encoding="utf-8").splitlines()]


def test_a_failed_run_is_one_line_that_says_what_failed_and_what_to_do(failed: Failed, tmp_path: Path) -> None:
    sandbox, failed_run = failed
    (line,) = alarm(sandbox, failed_run, tmp_path / "new" / "alerts.jsonl")

    assert (line["run_id"], line["job"], line["months"]) == (failed_run, "refine", "2024-01...2024-02")
    (check,) = line["failed_checks"]
    assert (check["asset"], check["check"]) == ("legacy_feed", "source_files_present")
    assert any("storage_usage_202402.csv" in problem for problem in line["problems"])
    assert line["recovery"] == [
        "Have the missing files exported to the places named, or correct REFINERY_FEED, and run the month again."
    ]


@pytest.mark.slow
def test_a_failure_that_no_check_explains_names_its_cause(
    sandbox: Sandbox, given_published: GivenPublished, tmp_path: Path
) -> None:
    given_published(FEBRUARY)
    impatient = Sandbox(replace(sandbox.settings, lock_wait_seconds=0.0, lock_retries=0), sandbox.instance)
    with held_by_another_process(sandbox.settings.warehouse) as holder:
        outcome = impatient.materialize(["processed_data"], FEBRUARY)

    (line,) = alarm(sandbox, outcome.run_id, tmp_path / "alerts.jsonl")

    assert line["months"] == "2024-02"
    assert line["failed_checks"] == []
    assert any(f"still held by process {holder.pid} (" in problem for problem in line["problems"])
    assert outcome.run_id in line["recovery"][0]


def evaluate(sandbox: Sandbox, settings: Settings, cursor: str | None = None) -> tuple[list[str], str | None]:
    """A look of the sensor as the daemon has it; gives the errors that it would show, and the cursor."""
    defs = build_defs(settings)
    sensor = defs.resolve_sensor_def(FAILED_RUNS)
    with dg.build_sensor_context(sandbox.instance, cursor=cursor, repository_def=defs.get_repository_def()) as context:
        data = sensor.evaluate_tick(context)
    errors = [reaction.error for reaction in data.dagster_run_reactions or [] if reaction.error]
    return [(error.cause or error).message for error in errors], data.cursor


def told(sandbox: Sandbox) -> list[dict[str, Any]]:
    log = sandbox.settings.alert_log
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_a_log_on_a_full_disk_is_told_in_the_post(failed: Failed) -> None:
    sandbox, failed_run = failed
    with receiver(200) as there:
        errors, _ = evaluate(sandbox, replace(sandbox.settings, alert_log=Path("/dev/full"), alert_url=there.url))

    (posted,) = there.received
    assert posted["run_id"] == failed_run
    assert posted["not_logged"].startswith("The alert log /dev/full (REFINERY_ALERT_LOG) cannot be written")
    assert "No space left on device" in posted["not_logged"]
    assert errors == []


def test_an_alert_that_reaches_nobody_stands_in_the_tick(failed: Failed) -> None:
    sandbox, failed_run = failed
    with receiver(403) as there:
        settings = replace(sandbox.settings, alert_log=Path("/dev/full"), alert_url=there.url)
        ((error,), _) = evaluate(sandbox, settings)

    assert "No space left on device" in error
    assert "127.0.0.1 answered 403" in error
    assert failed_run in error
    assert TOKEN not in error


def test_without_an_address_a_log_that_cannot_be_written_is_told_by_the_tick(failed: Failed) -> None:
    sandbox, failed_run = failed
    ((error,), _) = evaluate(sandbox, replace(sandbox.settings, alert_log=Path("/dev/full")))

    assert "REFINERY_ALERT_URL is not set" in error
    assert failed_run in error


def test_a_run_that_failed_before_the_first_look_is_told_and_only_once(failed: Failed) -> None:
    sandbox, failed_run = failed
    _, cursor = evaluate(sandbox, sandbox.settings)
    evaluate(sandbox, sandbox.settings, cursor)

    assert [line["run_id"] for line in told(sandbox)] == [failed_run]


@pytest.mark.heavy
@pytest.mark.slow
def test_a_run_from_the_command_line_that_fails_is_told(installation: Installation) -> None:
    with installation.sandbox() as sandbox:
        _, cursor = evaluate(sandbox, sandbox.settings)
        sandbox.file(DISK, FEBRUARY).path.unlink()

        launched = installation.launch("--job", "refine", "--partition", "2024-02")
        launched.communicate()

        assert launched.returncode != 0
        evaluate(sandbox, sandbox.settings, cursor)
        (line,) = told(sandbox)
        assert (line["job"], line["months"]) == ("refine", "2024-02")


def test_a_failed_run_of_another_project_on_the_same_instance_is_not_told(sandbox: Sandbox) -> None:
    @dg.op
    def fail() -> None:
        raise dg.Failure("of no interest here")

    @dg.job
    def somebody_elses() -> None:
        fail()

    assert not somebody_elses.execute_in_process(instance=sandbox.instance, raise_on_error=False).success

    evaluate(sandbox, sandbox.settings)

    assert told(sandbox) == []


def test_a_check_of_the_teams_own_without_a_recovery_is_told_all_the_same(sandbox: Sandbox) -> None:
    @dg.asset_check(asset="processed_data", name="ours")
    def ours() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, description="Not to our liking.")

    checks = dg.AssetSelection.checks_for_assets("processed_data")
    job = dg.Definitions(
        asset_checks=[ours],
        assets=[dg.AssetSpec("processed_data")],
        jobs=[dg.define_asset_job("audit", selection=checks)],
    ).resolve_job_def("audit")
    ran = job.execute_in_process(instance=sandbox.instance, raise_on_error=False)
    run = sandbox.instance.get_run_by_id(ran.run_id)
    assert run is not None

    alert = describe_failure(sandbox.instance, run)

    (check,) = alert["failed_checks"]
    assert (check["check"], check["summary"], check["month"]) == ("ours", "Not to our liking.", "")
    assert run.run_id in alert["recovery"][0]


def test_a_line_goes_behind_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"

    append_line(path, {"number": 1, "text": "two\nlines"})
    append_line(path, {"number": 2})

    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == [1, 2]


def test_the_line_is_posted_where_an_address_is_set(failed: Failed, tmp_path: Path) -> None:
    sandbox, failed_run = failed
    with receiver(204) as there:
        lines = alarm(sandbox, failed_run, tmp_path / "alerts.jsonl", there.url)

    assert there.received == lines


@pytest.mark.slow
def test_a_server_that_is_busy_for_a_while_gets_it_in_the_end(failed: Failed, tmp_path: Path) -> None:
    sandbox, failed_run = failed
    with receiver(503, 200) as there:
        lines = alarm(sandbox, failed_run, tmp_path / "alerts.jsonl", there.url)

    assert there.received == [lines[0], lines[0]]
    assert len(lines) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "tries"), [(500, alarms.POST_TRIES), (403, 1), (302, 1)])
def test_a_server_that_will_not_take_it_is_noted_without_the_token(
    failed: Failed, tmp_path: Path, answer: int, tries: int
) -> None:
    sandbox, failed_run = failed
    with receiver(answer) as there:
        alert, note = alarm(sandbox, failed_run, tmp_path / "alerts.jsonl", there.url)

    assert len(there.received) == tries
    assert note["run_id"] == alert["run_id"]
    assert note["not_delivered"] == f"127.0.0.1 answered {answer}"
    assert TOKEN not in (tmp_path / "alerts.jsonl").read_text()


@pytest.mark.slow
def test_a_server_that_hangs_is_given_up(failed: Failed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox, failed_run = failed
    monkeypatch.setattr(alarms, "POST_SECONDS", 0.2)
    # It takes the connection, and never answers.
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/{TOKEN}"
        _, note = alarm(sandbox, failed_run, tmp_path / "alerts.jsonl", url)

    assert note["not_delivered"] == "127.0.0.1 did not take it (ReadTimeoutError)"


@pytest.mark.slow
def test_a_server_that_is_not_there_is_noted(failed: Failed, tmp_path: Path) -> None:
    sandbox, failed_run = failed
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    _, note = alarm(sandbox, failed_run, tmp_path / "alerts.jsonl", f"http://127.0.0.1:{port}/{TOKEN}")

    assert note["not_delivered"].startswith("127.0.0.1 did not take it")
    assert TOKEN not in json.dumps(note)
