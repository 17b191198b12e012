# `make` lists what there is. Nothing needs to be installed or activated before but Python 3.11.

T ?= tests
B ?=
N ?= 6000
PYTHON ?=
BIN := .venv/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes
# Starts are twice as fast with the compiled files that some containers forbid.
unexport PYTHONDONTWRITEBYTECODE

# Made with a Python that is gone since, it is of no use.
ifneq ($(wildcard .venv),)
$(shell test -x $(BIN)/python || rm -rf .venv)
endif

.PHONY: help setup run check fix test soak bench
.DEFAULT_GOAL := help

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

setup: .venv/.for-run ## install what the product needs into .venv

run: setup ## start the product; Ctrl+C stops it
	@exec $(BIN)/python manage.py up

check: .venv/.for-tests ## look for mistakes without running anything
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy .
	$(BIN)/python manage.py makemigrations --check --dry-run

fix: .venv/.for-tests ## repair what the checks can repair by themselves
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: .venv/.for-tests ## run all tests, or a part: make test T=tests/events
	$(BIN)/python -m pytest $(if $(filter tests,$(T)),-n 2) $(T)

soak: .venv/.for-tests ## let everything die for long: make soak N=20000; CDP_CRASH_SEED repeats a run
	CDP_CRASH_MESSAGES=$(N) $(BIN)/python -m pytest tests/crash -s

bench: .venv/.for-run ## measure it on this machine: make bench B="--customers 1000000"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	@$(BIN)/python -m bench $(B)

# Installed, not synchronised: either of the two may be in use while the other is brought up to date.
.venv/.for-run: requirements.lock $(BIN)/uv
	@echo "Installing what the product needs ..."
	@$(UV) -r requirements.lock
	@touch $@

.venv/.for-tests: requirements-dev.lock .venv/.for-run
	@echo "Installing what the tests need ..."
	@$(UV) -r requirements-dev.lock
	@touch $@

$(BIN)/uv:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
				echo "$$python cannot create environments. On Debian and Ubuntu: apt install python3-venv" >&2; \
				exit 1; \
			fi; \
			echo "Creating .venv with $$($$python --version) ..."; \
			$$python -m venv --clear .venv && \
			$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"; \
			exit; \
		fi; \
	done; \
	echo "Python 3.11 or newer is needed and was not found. Has it another name? make PYTHON=/path/to/it" >&2; \
	exit 1
