# make up      a living fleet: ARGS="--port 8123 --workers 4" are handed to `manage.py up`
# make test    everything a server would run: ARGS="-k budget" are handed to pytest
# make bench   the figures: ONLY=name for one of them, PEERS=folder for others beside us
# make chaos   everything a fleet stands on dies amid 200 runs, and the table of what became of them: ONLY=name for some
# make fmt     write the code the way the checks want it
#
# The environment, .venv, is made from uv.lock when it is missing or older than the lock. It needs Python >= 3.11 and
# the package registry, nothing else; PYTHON=/path/to/python chooses the interpreter.

SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DEFAULT_GOAL := help

UV_VERSION := 0.13.8
PYTHON ?=
BIN := .venv/bin
# As many processes as share the tests; one where they are to use servers of yours. Each keeps what it compiled.
PROCESSES := $(if $(DATABASE_URL)$(REDIS_URL),0,2)
test: export PYTHONDONTWRITEBYTECODE :=
# --inexact: what the tests need stays when only what `up` needs is brought up to date.
SYNC := $(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode --no-python-downloads --python $(BIN)/python

.PHONY: help up test bench chaos fmt
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# exec: Ctrl-C and signals reach the command itself, and its last words are the last ones.
up: .venv/made-to-run
	@exec $(BIN)/python manage.py up $(ARGS)

test: .venv/made-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n $(PROCESSES) $(ARGS)

bench: .venv/made-to-test
	@exec $(BIN)/python -m tests.benchmarks $(ONLY) $(if $(PEERS),--peers $(PEERS))

chaos: .venv/made-to-test
	@exec $(BIN)/python -m tests.chaos $(if $(ONLY),"$(ONLY)") $(ARGS)

fmt: .venv/made-to-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/made-to-run: uv.lock pyproject.toml | $(BIN)/uv
	@echo "Bringing .venv up to date with uv.lock ..."
	@$(SYNC) --no-dev
	@touch $@

.venv/made-to-test: uv.lock pyproject.toml | $(BIN)/uv
	@echo "Bringing .venv and its tools for tests up to date with uv.lock ..."
	@$(SYNC) --all-groups
	@touch .venv/made-to-run $@

$(BIN)/uv:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	    echo "The cockpit needs Python 3.11 or newer; none was found as python3 or python3.11 to 3.14." \
	        "Install one, or name it: make up PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	echo "Making .venv with $$($$found --version) ..."; \
	if ! why=$$($$found -m venv --clear .venv 2>&1); then \
	    rm -rf .venv; \
	    echo "$$found cannot make a virtual environment; install its venv module (Debian, Ubuntu: apt-get install" \
	        "python3-venv). It said: $$(echo "$$why" | tail -n 1)" >&2; exit 1; \
	fi; \
	if ! $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); then \
	    echo "uv $(UV_VERSION) could not be installed from the package registry; the lines above say why." >&2; exit 1; \
	fi
