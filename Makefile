# Everything a developer runs; `make` alone lists it. ARGS is passed on: make test ARGS="-k window".
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST = $(BIN)/python -m pytest -n $(JOBS) --dist loadfile
IN ?=
OUT ?= demo.mp4
CLIPS ?= ../shared/clips/dev
JOBS ?= 2

.DEFAULT_GOAL := help
PIPELINE := bench-memory bench-overlap bench-sleep bench-overhead
.PHONY: help install dev demo format lint type test test-ltx test-all check fuzz $(PIPELINE) \
	bench-mainjob bench-quality bench-speed bench-auto bench-motion bench-latency bench-gpu clean

help: ## list the targets
	@grep -hE '^[a-zA-Z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

# One stamp per kind of environment, so that nothing is installed twice.
$(VENV)/.user: pyproject.toml constraints.txt setup.py $(wildcard ltxfilter/motion/kernels/native/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"ltxfilter needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.user
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

# Without their dependency torchaudio, of which there is no CPU build: it is never used.
$(VENV)/.ltx: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -c constraints.txt \
		torch safetensors einops scipy tqdm pillow transformers
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt ltx-core ltx-pipelines
	@touch $@

install: $(VENV)/.user ## create .venv and install ltxfilter into it

dev: $(VENV)/.dev ## the same with what tests and checks need

demo: $(VENV)/.dev ## make demo.mp4 at twice the frame rate: of a rendered sample, or IN=their.mp4
	$(BIN)/python examples/demo.py $(if $(IN),-i "$(IN)") "$(OUT)"

format: $(VENV)/.dev ## let ruff put the code into shape
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: $(VENV)/.dev ## what ruff objects to
	$(BIN)/ruff check
	$(BIN)/ruff format --check

type: $(VENV)/.dev ## what mypy objects to
	$(BIN)/mypy

test: $(VENV)/.dev ## run the tests
	$(PYTEST) $(ARGS)

test-all: $(VENV)/.dev ## run the tests, the slow ones too
	$(PYTEST) -m "not gpu" $(ARGS)

test-ltx: $(VENV)/.ltx ## run the tests that need torch and the LTX packages, which it installs
	$(PYTEST) tests/test_flow_cuda.py tests/test_flow_device.py tests/test_ltx_*.py \
		tests/test_color.py tests/test_interpolator.py tests/test_examples.py $(ARGS)

check: lint type test ## lint, types and tests: run it before each commit

fuzz: $(VENV)/.dev ## throw 10,000 broken inputs and options at it
	$(BIN)/python -m benchmarks.fuzz $(ARGS)

$(PIPELINE): bench-%: $(VENV)/.dev
	$(BIN)/python -m benchmarks.pipeline $* $(ARGS)

bench-mainjob: $(VENV)/.dev
	$(BIN)/python -m benchmarks.mainjob $(ARGS) $(filter-out %.md,$(wildcard $(CLIPS)/*))

bench-quality bench-speed bench-auto bench-motion: bench-%: $(VENV)/.dev
	$(BIN)/python -m benchmarks.$* --clips $(CLIPS) $(ARGS)

bench-latency: $(VENV)/.dev
	$(BIN)/python -m benchmarks.latency --clip $(CLIPS)/seek480.mp4 $(ARGS)

bench-gpu: $(VENV)/.dev
	$(BIN)/python -m benchmarks.gpu $(ARGS)
	$(BIN)/python -m benchmarks.gpu_flow $(ARGS)

bench-NAME: ## measure: memory, overlap, sleep, overhead, mainjob, quality, speed, auto, motion, latency, gpu; CLIPS is a folder

clean: ## remove what was built
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis $(OUT)
	find . -name __pycache__ -prune -exec rm -rf {} +
