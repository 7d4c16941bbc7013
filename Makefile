# Needs Python 3.11 or newer and make; everything else goes into .venv and data/ of this folder.

PYTHON ?= python3
HOSTS ?= 2000
FIRST ?= 2023-01
LAST ?= 2025-12

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Dagster keeps its history here; the folder's dagster.yaml is part of the project.
export DAGSTER_HOME := $(CURDIR)/data/dagster
# Nothing is left outside this folder: no caches, no telemetry of the tools.
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export XDG_CACHE_HOME := $(CURDIR)/.cache
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo forecast test bench ui lock clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	# The lock names every package down to the last, so nothing is left to resolve.
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)  ## make the sample fleet, refine its whole history in one run, print the audit
	$(BIN)/python -m refinery_assets.demo --hosts $(HOSTS) --first $(FIRST) --last $(LAST)

forecast: $(READY)  ## one host of each behaviour through Prophet, drawn to data/reports/forecasts.png
	$(BIN)/python -m refinery_assets.walkthrough

test: $(READY)  ## format check, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@mkdir -p .cache
	$(BIN)/pytest -n 2 --basetemp=.cache/pytest

bench: $(READY)  ## measure against the limit, the plain script, dbt and SQLMesh; writes data/bench/benchmarks.md
	$(BIN)/python -m refinery_assets_tests.benchmarks.compare --hosts $(HOSTS) --first $(FIRST) --last $(LAST)

ui: $(READY)  ## webserver and daemon at http://127.0.0.1:3000
	$(BIN)/dg dev --host 127.0.0.1 --port 3000

lock: $(READY)  ## renew requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --extra forecast --generate-hashes \
		--no-annotate --upgrade --custom-compile-command 'make lock' pyproject.toml -o requirements.lock

clean:  ## remove what was installed and cached; data/ stays
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
