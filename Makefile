# The two commands of the README, and what contributors run. Everything is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
ENGINE ?= reference
# More arguments for pip, e.g. PIP_ARGS="--index-url ..." for a mirror.
PIP_ARGS ?=
BIN := $(VENV)/bin
RUN_EXTRAS := gateway,router,ranker
ALL_EXTRAS := $(RUN_EXTRAS),offline,dev

.PHONY: demo test packaging fuzz contract bench check measure up help clean
help: ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: $(VENV)/.runtime ## Start the cascade, moderate the bundled clips, print what was decided
	$(BIN)/winnow demo --engine $(ENGINE)

up: $(VENV)/.runtime ## Start the three services and keep them running
	$(BIN)/winnow up

test: $(VENV)/.development ## Run the whole test suite
	$(BIN)/python -m pytest

packaging: $(VENV)/.development ## Build the environment of each image, start it, ask it (minutes; fetches packages)
	$(BIN)/python -m pytest -m packaging

fuzz: $(VENV)/.development ## Route 2,000 damaged videos through a router; the counts go to build/fuzz.json
	$(BIN)/python -m tests.fuzz.run

contract: $(VENV)/.development ## Ask the three services what schemathesis makes up from their OpenAPI documents, in depth
	SCHEMATHESIS_EXAMPLES=$(or $(EXAMPLES),300) $(BIN)/python -m pytest -q tests/integration/openapi

bench: $(VENV)/.development ## Benchmarks of speed and memory: tables, and build/bench.json; ONLY=router runs one
	$(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) -e '.[bench]'
	$(BIN)/python -m pytest -m bench -q -s $(if $(ONLY),tests/bench/test_$(ONLY).py,tests/bench --ignore tests/bench/test_context_attack.py)

check: $(VENV)/.development ## Formatting, lint, types, import law
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

measure: $(VENV)/.development ## Measure the bundled models on a sample of the demo world (needs npm for the art)
	$(BIN)/winnow measure

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Winnow needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Creating the environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml | $(BIN)/python
	@echo "Installing the three services (about 1.6 GB the first time, one to three minutes)"
	$(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS) -e '.[$(RUN_EXTRAS)]'
	@touch $@

$(VENV)/.development: pyproject.toml | $(BIN)/python
	@echo "Installing the services, the lab and the tools of developers"
	$(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS) -e '.[$(ALL_EXTRAS)]'
	@touch $@ $(VENV)/.runtime

clean: ## Remove the environment and everything built
	rm -rf $(VENV) build
