# `make` alone lists what there is to make.
PYTHON ?= python3
# one test process more than processors, because some tests wait for processes of their own
JOBS ?= $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) + 1)' 2>/dev/null || echo auto)
# another environment beside the usual one: make unit VENV=.venv-3.13 PYTHON=python3.13
VENV ?= .venv
# other pinned packages: make unit VENV=.venv-oldest LOCK=requirements/oldest.txt
LOCK ?= requirements/lock.txt
UV ?= uv

RUN := $(VENV)/bin/python
# An environment that belongs to another folder is used as it is: to set it up would empty it, or point it to this folder.
NOT_A_LINK := test ! -L $(patsubst %/,%,$(VENV)) || { \
    echo "$(VENV) is a link to $$(readlink -f $(VENV)), which setting up would empty or change. Remove the link (rm $(VENV))," \
    "or name an environment of your own: make setup VENV=.venv-own" >&2; exit 1; };
PIP := $(NOT_A_LINK) $(RUN) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation
LOCKED := $(PIP) --require-hashes --requirement
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
# Several test processes share one accelerator, where there is one, what they compile, and the processors: each takes one
# thread for its matrices, as more would wait for each other.
PYTEST := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 XLA_PYTHON_CLIENT_PREALLOCATE=false JAX_COMPILATION_CACHE_DIR=$(CURDIR)/.cache/jax \
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 $(RUN) -m pytest -n $(JOBS) --dist worksteal
# Half of the tests' time is compilation: here it optimises less, takes XLA's older code generator for fused operations,
# splits no program among threads, and notes no line of Python at its operations. make test-all runs what users run.
QUICK := JAX_DISABLE_MOST_OPTIMIZATIONS=1 JAX_TRACEBACK_IN_LOCATIONS_LIMIT=0 \
    XLA_FLAGS="$(XLA_FLAGS) --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"

# Debian packages beside Python's.
TOOLS := clang libclang-rt-dev gcc libc6-dev gcc-arm-none-eabi qemu-system-arm valgrind chromium

.DEFAULT_GOAL := help
.PHONY: help setup setup-sweeps setup-models setup-torch setup-docs setup-tools gmm test tests test-all unit coverage wheel docs lint types format lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.project  ## create .venv with everything pinned and hashed (once; one minute)
	@:

setup-sweeps: setup $(VENV)/.sweeps  ## add Hydra's launchers and the Optuna sweeper
	@:

setup-models: setup $(VENV)/.models  ## add the frameworks whose models hntk.from_model reads, but for PyTorch
	@:

setup-torch: setup $(VENV)/.torch  ## add PyTorch, whose models hntk.from_model reads too (gigabytes, with its CUDA libraries)
	@:

setup-docs: setup $(VENV)/.docs  ## add what builds the documentation site
	@:

setup-tools:  ## install the compilers, emulator and browser that some tests skip without (Debian, as root)
	@apt-get install -y -qq --no-install-recommends $(TOOLS)

gmm: setup  ## run the Gaussian-mixture experiment (more settings: make gmm ARGS="seed=1")
	@$(RUN) -m experiments.run +exp=gmm $(ARGS)

test: setup setup-sweeps setup-models lint types tests  ## run all checks: lint, types, every test and every documented example

# the tests alone, which `make -j2 test` runs beside the types
tests: setup setup-sweeps setup-models
	@$(QUICK) $(PYTEST)

unit: setup  ## run the tests but the slow ones (a few only: make unit ARGS="-k erf")
	@$(QUICK) $(PYTEST) -m "not slow and not nightly" $(ARGS)

test-all: setup setup-sweeps setup-models lint types wheel  ## run all checks and, an hour more, the tests that repeat at scale
	@$(PYTEST) -m "nightly or not nightly" $(ARGS)

coverage: setup setup-sweeps setup-models  ## run the tests and measure which lines of hntk they run; below 95 % is an error
	@$(QUICK) $(PYTEST) --cov=hntk --cov-report=term-missing:skip-covered --cov-fail-under=95 $(ARGS)

wheel: setup  ## build sdist and wheel, check both, and use the wheel in an empty environment (to keep them: DIST=dist)
	@$(RUN) tests/wheel/check_wheel.py $(DIST)

docs: setup-docs  ## build the documentation site in build/docs, tutorials included, without a warning or a dead link
	@rm -rf build/docs build/doctrees docs/reference/generated
	@$(RUN) -m sphinx -q -W --keep-going -n -b html -d build/doctrees docs build/docs
	@$(RUN) tests/docs/check_site.py build/docs

lint: setup  ## check style, layout, docstrings, and which package imports which
	@$(RUN) -m ruff check --quiet .
	@$(RUN) -m ruff format --check --quiet . || { echo "The files above are not laid out as agreed: make format" >&2; exit 1; }
	@$(RUN) -m numpydoc lint $$(find hntk experiments -name '*.py')
	@$(VENV)/bin/lint-imports --no-logo > $(VENV)/.imports || { cat $(VENV)/.imports >&2; exit 1; }

types: setup  ## check types
	@$(RUN) -m pyright

format: setup  ## lay out the code and mend what can be mended
	@$(RUN) -m ruff check --quiet --fix .
	@$(RUN) -m ruff format --quiet .

lock:  ## pin the newest versions pyproject.toml allows, and the oldest for one check (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: python3 -m pip install uv" >&2; exit 1; }
	@$(COMPILE) --upgrade requirements/build.in -o requirements/build.txt
	@$(COMPILE) --upgrade pyproject.toml --extra dev \
	    -c requirements/build.txt -c requirements/constraints.txt -o requirements/lock.txt
	@$(COMPILE) --upgrade --resolution lowest-direct pyproject.toml --extra dev \
	    -c requirements/build.txt -c requirements/constraints.txt -c requirements/oldest-constraints.txt \
	    -o requirements/oldest.txt
	@$(COMPILE) --upgrade pyproject.toml --extra sweeps -c requirements/lock.txt -o requirements/sweeps.txt
	@$(COMPILE) --upgrade pyproject.toml --extra models -c requirements/lock.txt -o requirements/models.txt
	@$(COMPILE) --upgrade pyproject.toml --extra torch -c requirements/lock.txt -o requirements/torch.txt
	@$(COMPILE) --upgrade pyproject.toml --extra docs -c requirements/lock.txt -o requirements/docs.txt

clean:  ## remove .venv, caches and build files (never what experiments wrote)
	@rm -rf .venv .cache build dist *.egg-info .pytest_cache .ruff_cache .hypothesis docs/auto_tutorials docs/reference/generated
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What is made by set-up. Each file here is written last, so that an interrupted set-up starts again from nothing.
$(VENV)/.lock: requirements/build.txt $(LOCK)
	@$(NOT_A_LINK)
	@command -v $(PYTHON) >/dev/null || { echo "There is no '$(PYTHON)' here. Name one: make setup PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "hntk needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "$(PYTHON) has no venv module (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "Setting up $(VENV): about 380 MB to download, 1.7 GB on disk, about a minute ..."
	@$(NOT_A_LINK) $(PYTHON) -m venv --clear $(VENV)
	@$(LOCKED) requirements/build.txt
	@$(LOCKED) $(LOCK)
	@touch $@

$(VENV)/.project: $(VENV)/.lock pyproject.toml
	@$(PIP) --editable .
	@touch $@

$(VENV)/.sweeps: $(VENV)/.lock requirements/sweeps.txt | $(VENV)/.project
	@echo "Adding Hydra's launchers and sweepers: 120 MB to download ..."
	@$(LOCKED) requirements/sweeps.txt
	@touch $@

$(VENV)/.models: $(VENV)/.lock requirements/models.txt | $(VENV)/.project
	@echo "Adding frameworks whose models are read: 36 MB to download ..."
	@$(LOCKED) requirements/models.txt
	@touch $@

$(VENV)/.torch: $(VENV)/.lock requirements/torch.txt | $(VENV)/.project
	@echo "Adding PyTorch: up to 3 GB to download on Linux, minutes ..."
	@$(LOCKED) requirements/torch.txt
	@touch $@

$(VENV)/.docs: $(VENV)/.lock requirements/docs.txt | $(VENV)/.project
	@echo "Adding what builds the documentation: 10 MB to download ..."
	@$(LOCKED) requirements/docs.txt
	@touch $@
