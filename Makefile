# Everything a fresh machine with Python 3.11 or newer needs; `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Exact versions of all that is installed, the build system's included: pip reads the second name for it since 25.3, and
# the first one before. `make lock` writes the file.
CONSTRAINTS := constraints.txt
LOCKED := PIP_CONSTRAINT=$(CONSTRAINTS) PIP_BUILD_CONSTRAINT=$(CONSTRAINTS)
PIP := $(LOCKED) $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help docs docs-serve live run test test-system test-newest test-oldest check lint types lock soak broken simulate load bench bench-queue reference dashboards dist compiled clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(CONSTRAINTS): ; # never made as a prerequisite: see `lock`, and `test-newest`

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(PIP) --upgrade pip
	$(PIP) --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/runtime.stamp
	$(PIP) --group dev
	@touch $@

# What the live tests need beside Python packages: AWS's Runtime Interface Emulator and, where npm is, the
# AWS SDK for JavaScript. Both are skipped, with the reason printed, where this machine cannot have them.
# Redis 6.2 comes as a package, but only for some machines.
RIE := .cache/rie.stamp
NODE_MODULES := $(if $(shell command -v npm),tests/live/node_modules/.package-lock.json)

$(RIE): tests/live/fetch_rie.py | $(VENV)/dev.stamp
	$(BIN)/python tests/live/fetch_rie.py .cache/rie
	@touch $@

$(VENV)/redis.stamp: tests/support/fetch_redis.py $(VENV)/runtime.stamp
	$(LOCKED) $(BIN)/python tests/support/fetch_redis.py
	@touch $@

tests/live/node_modules/.package-lock.json: tests/live/package.json tests/live/package-lock.json
	npm ci --prefix tests/live --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

live: $(VENV)/dev.stamp $(VENV)/redis.stamp $(RIE) $(NODE_MODULES) ## fetch what the live tests need (part of `test`)

run: $(VENV)/runtime.stamp ## start the gateway on its embedded demo backend; ARGS="…" adds flags
	$(BIN)/invoke-gateway serve --backend demo $(ARGS)

test: live ## run the tests
	@# Six more than there are cores: many tests wait, for processes and for time to pass. These read compiled modules,
	@# whatever is set.
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest --numprocesses $$($(BIN)/python -c 'import os; print((os.cpu_count() or 1) + 6)') --dist loadfile

test-system: ## serve one call, and run the policy tests, on the system's own Python (Debian 12: 3.11.2)
	tests/live/system_python.sh $(ARGS)

lint: $(VENV)/dev.stamp ## ruff: style, bugs, import order, format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp ## mypy, strict
	$(BIN)/mypy

check: lint types docs test ## what CI runs: lint, types, the site, tests

$(VENV)/install.stamp: $(VENV)/runtime.stamp
	$(PIP) --group install
	@touch $@

lock: $(VENV)/install.stamp ## resolve all versions into constraints.txt; ARGS=--no-upgrade adds missing packages and keeps the rest
	$(BIN)/python -m tests.support.lock --output-file constraints.txt --universal $(ARGS)

# Environments of their own, made as the usual one is, but by other constraints.
test-newest: RESOLUTION := highest
# The extra allows an older boto3 than the tests' own tools do.
test-oldest: AFTERWARDS = $(BIN)/python -m uv pip install --quiet --upgrade --python .venv-oldest/bin/python --resolution lowest-direct \
	--editable '.[sqs]' && .venv-oldest/bin/python -m pytest tests/destinations/test_sqs.py
test-oldest: RESOLUTION := lowest-direct
test-newest: ## run the tests with the newest versions that pyproject.toml allows, in .venv-newest
test-oldest: ## run the tests with the lowest versions that pyproject.toml allows, in .venv-oldest
test-newest test-oldest: test-%: $(VENV)/install.stamp
	$(PYTHON) -m venv --clear .venv-$*
	$(BIN)/python -m tests.support.lock --python .venv-$*/bin/python --output-file .venv-$*/constraints.txt --resolution $(RESOLUTION)
	$(MAKE) test VENV=.venv-$* CONSTRAINTS=.venv-$*/constraints.txt
	$(AFTERWARDS)

soak: $(VENV)/dev.stamp $(VENV)/redis.stamp ## `prove` with 20 seeds: 500 clients at 20 slots, hostile clients, backend faults; then events; then tests in real time; ARGS="…" adds flags
	$(BIN)/invoke-gateway prove --seeds 20 --first 100 $(ARGS)
	$(BIN)/invoke-gateway prove --seeds 10 --first 100 --gateways 3 --redis spawn $(ARGS)
	$(BIN)/invoke-gateway prove --seeds 20 --first 100 --events 10000 --fault-count 5
	$(BIN)/invoke-gateway prove --seeds 20 --first 100 --events 10000 --fault-count 5 --gateways 3 --redis spawn
	$(BIN)/python -m pytest -m 'soak or lateness' --timeout 1800

broken: $(VENV)/dev.stamp $(VENV)/redis.stamp ## break rules of the gateway on purpose, one after the other: `prove` must see each
	$(BIN)/python -m tests.chaos.broken $(ARGS)

simulate: $(VENV)/dev.stamp ## gateways and their shared store in virtual time, 5,000 seeds of faults; ARGS="…" adds flags
	$(BIN)/python -m tests.simulation $(ARGS)

$(VENV)/load.stamp: $(VENV)/runtime.stamp
	$(PIP) --group load
	@touch $@

load: $(VENV)/load.stamp ## load tests with Locust: one table, a picture and a report each; ARGS="burst ramp" and others
	$(BIN)/python -m loadtests.load $(ARGS)

reference: $(VENV)/dev.stamp ## write the tables of docs/reference from the code
	$(BIN)/python -m tests.support.tables

$(VENV)/docs.stamp: $(VENV)/runtime.stamp
	$(PIP) --group docs
	@touch $@

# The variable silences the theme's advertisement for its successor.
docs: $(VENV)/docs.stamp ## build the documentation site into build/site; a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

docs-serve: $(VENV)/docs.stamp ## serve the site on http://127.0.0.1:8000, built again when a page changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

dashboards: $(VENV)/dev.stamp ## write Grafana's dashboards from their code
	$(BIN)/python -m grafana.build

$(VENV)/dist.stamp: $(VENV)/runtime.stamp
	$(PIP) --group dist
	@touch $@

dist: $(VENV)/dist.stamp ## build the wheel and the source distribution into dist/, and check both
	rm -rf dist
	@# In this environment, whose versions are locked: an isolated build would take the newest.
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m tests.support.distributions dist

# A wheel of its own, in an environment of its own: the usual ones stay pure Python.
compiled: $(VENV)/dev.stamp $(VENV)/redis.stamp ## build a wheel with compiled modules, and run tests and a `prove` on it, in .venv-compiled
	rm -rf build/compiled
	INVOKE_GATEWAY_COMPILED=1 $(BIN)/python -m build --no-isolation --wheel --outdir build/compiled/dist
	$(PYTHON) -m venv --clear .venv-compiled
	$(LOCKED) .venv-compiled/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(LOCKED) .venv-compiled/bin/python -m pip install --quiet --disable-pip-version-check --group dev build/compiled/dist/*.whl
	$(LOCKED) .venv-compiled/bin/python tests/support/fetch_redis.py
	.venv-compiled/bin/invoke-gateway --version
	.venv-compiled/bin/python -m tests.support.compiled $(ARGS)

$(VENV)/bench.stamp: $(VENV)/runtime.stamp
	$(PIP) --group bench
	@touch $@

bench: $(VENV)/bench.stamp $(VENV)/redis.stamp ## all goals of speed, beside nginx, HAProxy, Envoy, Traefik, Caddy; ARGS=quick, history, connections and others
	$(BIN)/python -m loadtests.bench $(ARGS)

bench-queue: $(VENV)/bench.stamp $(VENV)/redis.stamp ## events accepted a second beside MiniStack, serverless-offline, huey; ARGS=million
	$(BIN)/python -m loadtests.bench queue $(ARGS)

clean: ## remove what the targets above made
	rm -rf $(VENV) .venv-system .venv-compiled .venv-newest .venv-oldest .cache tests/live/node_modules build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
