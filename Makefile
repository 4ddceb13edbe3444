# The two commands of the README, and what contributors run. Everything is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
ENGINE ?= reference
# More arguments for pip, e.g. PIP_ARGS="--index-url ..." for a mirror.
PIP_ARGS ?=
BIN := $(VENV)/bin
RUN_EXTRAS := gateway,router,ranker
ALL_EXTRAS := $(RUN_EXTRAS),offline,dev

.PHONY: demo test check measure up help clean
help: ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: $(VENV)/.runtime ## Start the cascade, moderate the bundled clips, print what was decided
	$(BIN)/winnow demo --engine $(ENGINE)

up: $(VENV)/.runtime ## Start the three services and keep them running
	$(BIN)/winnow up

test: $(VENV)/.development ## Run the whole test suite
	$(BIN)/python -m pytest

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
