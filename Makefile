# Everything a fresh machine with Python 3.11 or newer needs; `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help live run test check lint types soak broken simulate load bench bench-queue readme dashboards clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml $(VENV)/runtime.stamp
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) --group dev
	@touch $@

# What the live tests need beside Python packages: AWS's Runtime Interface Emulator and, where npm is, the
# AWS SDK for JavaScript. Both are skipped, with the reason printed, where this machine cannot have them.
RIE := .cache/rie.stamp
NODE_MODULES := $(if $(shell command -v npm),tests/live/node_modules/.package-lock.json)

$(RIE): tests/live/fetch_rie.py | $(VENV)/dev.stamp
	$(BIN)/python tests/live/fetch_rie.py .cache/rie
	@touch $@

tests/live/node_modules/.package-lock.json: tests/live/package.json tests/live/package-lock.json
	npm ci --prefix tests/live --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

live: $(VENV)/dev.stamp $(RIE) $(NODE_MODULES) ## fetch what the live tests need (part of `test`)

run: $(VENV)/runtime.stamp ## start the gateway on its embedded demo backend; ARGS="…" adds flags
	$(BIN)/invoke-gateway serve --backend demo $(ARGS)

test: live ## run the tests
	@# One more than there are cores: many tests wait for processes.
	$(BIN)/python -m pytest --numprocesses $$($(BIN)/python -c 'import os; print((os.cpu_count() or 1) + 1)') --dist loadfile

lint: $(VENV)/dev.stamp ## ruff: style, bugs, import order, format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp ## mypy, strict
	$(BIN)/mypy

check: lint types test ## what CI runs: lint, types, tests

soak: $(VENV)/dev.stamp ## `prove` with 20 seeds: 500 clients at 20 slots, hostile clients, backend faults; then events; ARGS="…" adds flags
	$(BIN)/invoke-gateway prove --seeds 20 --first 100 $(ARGS)
	$(BIN)/invoke-gateway prove --seeds 10 --first 100 --gateways 3 --redis spawn $(ARGS)
	$(BIN)/invoke-gateway prove --seeds 20 --first 100 --events 10000 --kills 5
	$(BIN)/invoke-gateway prove --seeds 20 --first 100 --events 10000 --kills 5 --gateways 3 --redis spawn

broken: $(VENV)/dev.stamp ## break rules of the gateway on purpose, one after the other: `prove` must see each
	$(BIN)/python -m tests.proving.broken $(ARGS)

simulate: $(VENV)/dev.stamp ## gateways and their shared store in virtual time, 5,000 seeds of faults; ARGS="…" adds flags
	$(BIN)/python -m tests.simulation $(ARGS)

$(VENV)/load.stamp: pyproject.toml $(VENV)/runtime.stamp
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) --group load
	@touch $@

load: $(VENV)/load.stamp ## load tests with Locust: one table, a picture and a report each; ARGS="burst ramp" and others
	$(BIN)/python -m loadtests.load $(ARGS)

readme: $(VENV)/dev.stamp ## write the tables of the README anew from the code
	$(BIN)/python -m tests.support.tables

dashboards: $(VENV)/dev.stamp ## write Grafana's dashboards anew from their code
	$(BIN)/python -m grafana.build

$(VENV)/bench.stamp: pyproject.toml $(VENV)/runtime.stamp
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) --group bench
	@touch $@

bench: $(VENV)/bench.stamp ## CPU per request beside nginx, HAProxy, Envoy, Traefik, Caddy; ARGS="profile" and others
	$(BIN)/python -m loadtests.bench $(ARGS)

bench-queue: $(VENV)/bench.stamp ## events accepted a second beside MiniStack, serverless-offline, huey; ARGS=million
	$(BIN)/python -m loadtests.bench queue $(ARGS)

clean: ## remove what the targets above made
	rm -rf $(VENV) .cache tests/live/node_modules build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
