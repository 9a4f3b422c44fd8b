# Everything a developer runs; `make` alone lists it. ARGS is passed on: make test ARGS="-k window".
PYTHON ?= python3
VENV ?= .venv
SYSTEM ?= /usr/bin/python3
# The versions that are installed: a file of pip's constraints, or empty for the newest releases.
CONSTRAINTS ?= constraints.txt
# What pytest does about warnings: "error" is pyproject's setting. With "default", only a thread or
# a finaliser of ours that fails is an error; warnings of other packages are printed.
WARNINGS ?= error
IN ?=
OUT ?= demo.mp4
DIR ?=
CLIPS ?= ../shared/clips/dev
DIST ?= dist
JOBS ?= 2

BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
FAILURES := PytestUnhandledThreadExceptionWarning PytestUnraisableExceptionWarning
PYTEST = $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(if $(filter-out error,$(WARNINGS)),\
	-W $(WARNINGS) $(FAILURES:%=-W error::pytest.%))
# The inner loop: tests of single parts, without pipes, processes and encoders.
QUICK := tests/windows tests/motion tests/engines/test_contract.py tests/engines/test_model_files.py \
	tests/cli/test_parse.py tests/pipeline/test_window_runner.py tests/pipeline/test_threads.py \
	$(filter-out %/test_conftest.py %/test_fuzz.py %/test_examples.py %/test_first_run.py,$(wildcard tests/test_*.py)) \
	--ignore=tests/motion/test_flow_cuda.py --ignore=tests/motion/cuda
# What runs, or runs differently, where torch and the LTX packages are installed.
LTX := tests/engines/ltx tests/engines/test_auto.py tests/engines/test_flow_device.py \
	tests/motion/test_flow_cuda.py tests/motion/cuda tests/motion/test_renderer.py tests/test_api.py tests/test_api_kinds.py \
	tests/adapters tests/test_color.py
# A checkout of github.com/Lightricks/LTX-2, whose packages are newer than those of PyPI.
CORE ?=
PIPELINE := bench-memory bench-overlap bench-sleep bench-overhead
ALONE := bench-encoder-memory bench-soak bench-stops

.DEFAULT_GOAL := help
.PHONY: help install dev demo quick format lint type test test-all test-ltx test-ltx-core check sanitize valgrind smoke docs \
	wheel sdist outdated fuzz $(PIPELINE) \
	$(ALONE) bench-mainjob bench-quality bench-fusion bench-peers bench-speed bench-auto bench-motion bench-latency bench-gpu gpu-first-run corpus clean

help: ## list the targets
	@grep -hE '^[a-zA-Z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

# One stamp per kind of environment, so that nothing is installed twice.
$(VENV)/.user: pyproject.toml $(CONSTRAINTS) setup.py $(wildcard ltxfilter/motion/kernels/native/*.? ltxfilter/motion/kernels/native/*/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"ltxfilter needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.user
	$(PIP) -e ".[dev]"
	@touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(PIP) -e ".[docs]"
	@touch $@

# Without their dependency torchaudio, of which there is no CPU build: it is never used.
$(VENV)/.ltx: $(VENV)/.dev
	$(PIP) torch safetensors einops scipy tqdm pillow transformers
	$(PIP) --no-deps ltx-core ltx-pipelines
	@touch $@

# What ltx-pipelines 1.2 imports beyond 1.0; the packages themselves come from the checkout.
$(VENV)/.ltx-core: $(VENV)/.ltx
	$(PIP) openimageio cloudpickle
	@touch $@

install: $(VENV)/.user ## create .venv and install ltxfilter into it

dev: $(VENV)/.dev ## the same with what tests and checks need

demo: $(VENV)/.dev ## make demo.mp4 at twice the frame rate: of a rendered sample, or IN=their.mp4
	$(BIN)/python examples/demo.py $(if $(IN),-i "$(IN)") "$(OUT)"

quick: $(VENV)/.dev ## the inner loop, under 20 s: lint, types and the fast tests
	@$(MAKE) --no-print-directory lint type
	$(PYTEST) -q --hypothesis-profile=quick $(QUICK) $(ARGS)

format: $(VENV)/.dev ## let ruff put the code into shape
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: $(VENV)/.dev ## run ruff: mistakes and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

type: $(VENV)/.dev ## run mypy
	$(BIN)/mypy

test: $(VENV)/.dev ## run the tests
	$(PYTEST) $(ARGS)

test-all: $(VENV)/.dev ## run the tests, the slow ones and the sanitizer too
	$(PYTEST) -m "not gpu" $(ARGS)
	@$(MAKE) --no-print-directory sanitize

test-ltx: $(VENV)/.ltx ## run the tests that need torch and the LTX packages, which it installs
	$(PYTEST) $(LTX) $(ARGS)

test-ltx-core: $(VENV)/.ltx-core ## run the tests of LTX with the packages in CORE, a checkout of github.com/Lightricks/LTX-2
	@test -d "$(CORE)/packages/ltx-core/src" || { echo "name a checkout: \
	git clone https://github.com/Lightricks/LTX-2 ../LTX-2 && make test-ltx-core CORE=../LTX-2"; exit 2; }
	PYTHONPATH="$(abspath $(CORE))/packages/ltx-core/src:$(abspath $(CORE))/packages/ltx-pipelines/src" \
		$(PYTEST) tests/engines/ltx $(ARGS)

check: lint type test ## lint, types and tests: run it before each commit

# A build of its own, in a folder that goes again; whatever the sanitizers find ends the process.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -g
sanitize: $(VENV)/.dev ## run the tests of the C kernels under AddressSanitizer and UBSan
	build=$$(mktemp -d) && trap 'rm -rf "$$build"' EXIT && \
	mkdir "$$build/source" && cp -r ltxfilter setup.py pyproject.toml README.md LICENSE "$$build/source" && \
	CC=gcc CFLAGS="$(SANITIZE)" LDFLAGS="$(SANITIZE)" $(BIN)/python -m pip install --quiet \
		--no-deps --target "$$build/lib" "$$build/source" && \
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 \
		PYTHONPATH="$$build/lib" LTXFILTER_SANITIZED="$$build/lib" \
		$(BIN)/pytest -q -s --noconftest -o pythonpath=tests -p no:cacheprovider \
		tests/motion/test_kernel_buffers.py tests/motion/test_kernels.py \
		tests/motion/test_fusion_kernels.py $(ARGS)

# With the system's Python: valgrind does not know all instructions of PyPI's OpenCV.
# Debian: apt install valgrind python3-opencv python3-pytest python3-hypothesis
valgrind: $(VENV)/.dev ## run the tests of the C kernels under valgrind
	PYTHONMALLOC=malloc OPENBLAS_NUM_THREADS=1 PYTHONPATH=.:tests \
		valgrind --quiet --leak-check=no --error-exitcode=9 $(SYSTEM) -m pytest -q --noconftest \
		-o addopts= -o filterwarnings= -p no:cacheprovider -p support.no_deadline \
		tests/motion/test_kernels.py tests/motion/test_kernel_buffers.py \
		tests/motion/test_fusion_kernels.py $(ARGS)

smoke: $(VENV)/.dev ## try an installed ltxfilter, of another Python if INSTALLED names one
	LTXFILTER_INSTALLED=$(INSTALLED) $(PYTEST) -n 0 tests/smoke $(ARGS)

docs: $(VENV)/.docs ## build the API reference and the pages of docs/ into build/docs; warnings are errors
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --fresh-env --quiet docs build/docs
	@echo "open build/docs/index.html"

wheel: $(VENV)/.dev ## build the wheel, with the compiled kernels, into dist/
	rm -rf build/lib* build/temp* build/bdist*
	LTXFILTER_REQUIRE_KERNELS=1 $(BIN)/python -m build --wheel --no-isolation --outdir $(DIST) .

sdist: $(VENV)/.dev ## build the source distribution, from which the tests run too, into dist/
	$(BIN)/python -m build --sdist --no-isolation --outdir $(DIST) .

outdated: $(VENV)/.dev ## list releases that are newer than constraints.txt, or outside pyproject's ranges
	$(BIN)/python .ci/outdated.py

fuzz: $(VENV)/.dev ## throw 10,000 broken inputs and options at it
	$(BIN)/python -m benchmarks.fuzz $(ARGS)

$(PIPELINE): bench-%: $(VENV)/.dev
	$(BIN)/python -m benchmarks.pipeline $* $(ARGS)

bench-encoder-memory: $(VENV)/.dev
	$(BIN)/python -m benchmarks.encoder_memory $(ARGS)

bench-soak: $(VENV)/.dev
	$(BIN)/python -m benchmarks.soak $(ARGS)

bench-mainjob: $(VENV)/.dev
	$(BIN)/python -m benchmarks.mainjob $(ARGS) $(filter-out %.md,$(wildcard $(CLIPS)/*))

bench-quality bench-fusion bench-peers bench-speed bench-auto bench-motion: bench-%: $(VENV)/.dev
	$(BIN)/python -m benchmarks.$* --clips $(CLIPS) $(ARGS)

bench-stops: $(VENV)/.dev
	$(BIN)/python -m benchmarks.stops $(ARGS)

bench-latency: $(VENV)/.dev
	$(BIN)/python -m benchmarks.latency --clip $(CLIPS)/seek480.mp4 $(ARGS)

bench-gpu: $(VENV)/.dev
	$(BIN)/python -m benchmarks.gpu $(ARGS)
	$(BIN)/python -m benchmarks.gpu_flow $(ARGS)

gpu-first-run: $(VENV)/.ltx ## the first run on a GPU: every check once, in ten minutes; ARGS=--rehearse on a CPU
	$(BIN)/python -m benchmarks.first_run $(ARGS)

corpus: $(VENV)/.dev ## convert every file of DIR (one folder or more) and let ffmpeg judge the outcome
	@test -n "$(DIR)" || { echo "name a folder of media files: make corpus DIR=../shared/clips/formats"; exit 2; }
	$(BIN)/python -m benchmarks.corpus $(DIR) $(ARGS)

bench-NAME: ## measure: memory, encoder-memory, soak, stops, overlap, sleep, overhead, mainjob, quality, peers, speed, auto, motion, latency, gpu; CLIPS is a folder

clean: ## remove what was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis $(OUT)
	find . -name __pycache__ -prune -exec rm -rf {} +
