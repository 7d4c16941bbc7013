"""The real webserver, daemon and code server over an installation, and what a test asks of them.

Here: starting all three as `make ui` does, on a free port of loopback, and ending them. Not here: the
browser (`test_browser.py`).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import urllib3

from refinery_assets.contract.months import Month
from refinery_assets.operations.automation import REFINE
from refinery_assets_tests.installation import BIN, Installation

_SECONDS_TO_START = 90.0
_LAUNCH = """
mutation Launch($job: String!, $tags: [ExecutionTag!]!, $checks: [AssetCheckHandleInput!]) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "refinery", repositoryName: "__repository__", jobName: $job,
               assetCheckSelection: $checks},
    runConfigData: {}, executionMetadata: {tags: $tags}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
_LOCATIONS = "query { workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"
_STATUSES = "query { runsOrError { ... on Runs { results { runId status } } } }"


@dataclass(frozen=True)
class Server:
    """A running webserver."""

    url: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """A GraphQL request; gives its data."""
        body = {"query": query, "variables": variables}
        with urllib3.PoolManager() as http:
            answer = http.request("POST", f"{self.url}/graphql", json=body, retries=False, timeout=30).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def launch(self, month: Month, job: str = REFINE) -> str:
        """Put a run for one month in the queue, as the launchpad does; gives its id."""
        tags = [{"key": "dagster/partition", "value": str(month)}]
        launched = self.ask(_LAUNCH, job=job, tags=tags)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id: str = launched["run"]["runId"]
        return run_id

    def wait_for(self, run_ids: Sequence[str], seconds: float) -> dict[str, str]:
        """Wait until the runs have ended; gives their statuses."""
        deadline = time.monotonic() + seconds
        while True:
            found = {run["runId"]: run["status"] for run in self.ask(_STATUSES)["runsOrError"]["results"]}
            statuses = {run_id: found[run_id] for run_id in run_ids}
            if all(status in {"SUCCESS", "FAILURE", "CANCELED"} for status in statuses.values()):
                return statuses
            assert time.monotonic() < deadline, statuses
            # Dagster tells of the end of a run over a web socket only; asking now and then does here.
            time.sleep(0.5)


@contextmanager
def served(installation: Installation) -> Iterator[Server]:
    """Run webserver, daemon and code server until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # A file, because nobody reads a pipe while the servers run.
    with tempfile.TemporaryFile("w+") as log:
        process = installation.start_into(log, str(BIN / "dg"), "dev", "--host", "127.0.0.1", "--port", str(port))
        server = Server(f"http://127.0.0.1:{port}")
        try:
            wait_until_it_answers(server, process)
            yield server
        finally:
            # As a person ends it: the servers end each other.
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def wait_until_it_answers(server: Server, process: subprocess.Popen[Any]) -> None:
    """Wait until the webserver has loaded the code location; the process is what was started."""
    deadline = time.monotonic() + _SECONDS_TO_START
    while not _answers(server):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _answers(server: Server) -> bool:
    try:
        located = server.ask(_LOCATIONS)
    except urllib3.exceptions.HTTPError:
        return False
    entries = located["workspaceOrError"].get("locationEntries", [])
    return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)
