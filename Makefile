# Needs Python 3.11 or newer and make; everything else goes into .venv, .venv-dev and data/ of this folder.

PYTHON ?= python3
HOSTS ?= 2000
FIRST ?= 2023-01
LAST ?= 2025-12
PORT ?= 3000

# What runs the refinery, and apart from it what tests it and forecasts with its table: a run loads what it finds
# installed, and a third of a second of it was for libraries that only forecasts need.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV_VENV := .venv-dev
DEV_BIN := $(DEV_VENV)/bin
DEV_READY := $(DEV_VENV)/.ready
# The lake wants the DuckDB that its extensions are packaged for.
LAKE_VENV := .venv-lake
LAKE_READY := $(LAKE_VENV)/.ready

# Dagster keeps its history here; the folder's dagster.yaml is part of the project.
export DAGSTER_HOME := $(CURDIR)/data/dagster
# Nothing is left outside this folder: no caches, no telemetry of the tools.
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export XDG_CACHE_HOME := $(CURDIR)/.cache
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Containers often set it; then each of the processes that tests start compiles the whole project anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo forecast test test-fast test-heavy test-engines bench ui lock clean

setup: $(READY)

# A lock names every package down to the last, so nothing is left to resolve. uv fetches and unpacks many at a time,
# where pip takes one after the other. Compiled here, on all cores, the first run need not do it.
$(READY): requirements.lock
$(DEV_READY): requirements-dev.lock
$(LAKE_READY): requirements-lake.lock
$(READY) $(DEV_READY) $(LAKE_READY): requirements-uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Making $(@D) ..."
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements-uv.lock
	@echo "Installing $$(grep -c '^[a-z]' $(filter-out %-uv.lock,$(filter %.lock,$^))) packages into $(@D) ..."
	@$(@D)/bin/uv pip install --quiet --python $(@D) --no-deps --compile-bytecode --require-hashes -r $(filter-out %-uv.lock,$(filter %.lock,$^))
	@$(@D)/bin/uv pip install --quiet --python $(@D) --no-deps --no-build-isolation -e .
	@touch $@

# `make ui DEMO=1` and `make forecast DEMO=1` work on the demo's data, which is made if it is not there.
DEMO_SETTINGS := data/demo/demo.env
ifdef DEMO
DEMO_IS_MADE := $(DEMO_SETTINGS)
ON_THE_DEMO := . ./$(DEMO_SETTINGS) && exec
endif

$(DEMO_SETTINGS):
	$(MAKE) demo

demo: $(READY)  ## make the sample fleet, refine its whole history in one run, say what came of it
	@$(BIN)/refinery demo --hosts $(HOSTS) --first $(FIRST) --last $(LAST)

forecast: $(DEV_READY) $(DEMO_IS_MADE)  ## one host of each behavior through Prophet, drawn to forecasts.png
	$(ON_THE_DEMO) $(DEV_BIN)/python -m refinery_assets.sample.walkthrough

# A module's tests in one process: what they share is made once.
ON_BOTH_CORES := -n 2 --dist loadfile --basetemp=.cache/pytest

test: $(DEV_READY)  ## format check, lint, types, tests
	$(DEV_BIN)/ruff format --check .
	$(DEV_BIN)/ruff check .
	$(DEV_BIN)/mypy
	@mkdir -p .cache
	$(DEV_BIN)/pytest $(ON_BOTH_CORES) -m "not heavy and not lake"

# The lake wants another DuckDB; where its packages cannot be had, its tests are left out.
test-heavy: $(DEV_READY)  ## the tests that take minutes: in a browser, over PostgreSQL, an object store and the lake, and at random
	@mkdir -p .cache
	$(DEV_BIN)/pytest -n 2 --basetemp=.cache/pytest -m "heavy and not engine"
	@if $(MAKE) --no-print-directory $(LAKE_READY); then \
		$(LAKE_VENV)/bin/pytest -n 2 --basetemp=.cache/pytest -m lake refinery_assets_tests/test_lake*.py; \
	else echo "No environment for the lake could be made; its tests were skipped."; fi

test-engines: $(DEV_READY)  ## workers of Celery and Ray run a backfill while some are killed; one after the other, for they fill both cores
	$(DEV_BIN)/pytest -m engine

test-fast: $(DEV_READY)  ## the tests without the slow ones
	@mkdir -p .cache
	$(DEV_BIN)/pytest $(ON_BOTH_CORES) -m "not slow"

bench: $(READY)  ## measure against the limit, the plain script, dbt and SQLMesh; writes data/bench/benchmarks.md
	$(BIN)/python -m refinery_assets_tests.benchmarks.compare --hosts $(HOSTS) --first $(FIRST) --last $(LAST)

ui: $(READY) $(DEMO_IS_MADE)  ## webserver and daemon at http://127.0.0.1:3000, or another PORT
	@test -n "$(DEMO)$$REFINERY_WAREHOUSE" -o -e data/refinery.duckdb \
		|| echo "There is no warehouse data/refinery.duckdb yet; to look at the demo's data: make ui DEMO=1"
	@$(ON_THE_DEMO) $(BIN)/refinery ui --port $(PORT)

UV_COMPILE := $(DEV_BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' --upgrade

# What workers on many machines need beside the rest; deploy/Dockerfile installs it.
ENGINES := --extra postgres --extra celery --extra ray --extra kubernetes

lock: $(DEV_READY)  ## renew the lock files from pyproject.toml, with the same versions in all of them
	$(UV_COMPILE) pyproject.toml --extra dev --extra forecast --extra s3 $(ENGINES) -o requirements-dev.lock
	$(UV_COMPILE) pyproject.toml --constraint requirements-dev.lock -o requirements.lock
	$(UV_COMPILE) pyproject.toml $(ENGINES) --constraint requirements-dev.lock -o requirements-engines.lock
	grep -E '^[a-z].*==' requirements-dev.lock | grep -v '^duckdb==' | sed 's/ \\$$//' > .cache/lake-constraints.txt
	printf 'pytest\npytest-xdist\nseaweedfs-bin; sys_platform == "linux" and platform_machine == "x86_64"\n' | $(UV_COMPILE) pyproject.toml - --extra lake --extra s3 --constraint .cache/lake-constraints.txt \
		-o requirements-lake.lock
	echo uv | $(UV_COMPILE) - --constraint requirements-dev.lock -o requirements-uv.lock

clean:  ## remove what was installed and cached; data/ stays
	rm -rf $(VENV) $(DEV_VENV) $(LAKE_VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
