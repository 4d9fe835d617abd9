# `make demo` and `make test` do all the set-up on a fresh machine and use it again afterwards.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# That tests run in; a file's tests stay together.
PROCESSES ?= 2
# With torch and its kin, which the demo does without.
MODELS_STAMP := $(VENV)/.installed-models

.PHONY: demo test chaos lint types layers check bench clean

demo: $(STAMP)
	$(BIN)/wanprep demo

test: $(MODELS_STAMP)
	$(BIN)/pytest -m "not chaos" -n $(PROCESSES) --dist loadfile

chaos: $(MODELS_STAMP)
	$(BIN)/pytest -m chaos

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(MODELS_STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports

check: lint types layers

bench: $(MODELS_STAMP)
	$(BIN)/python -m bench

$(STAMP): pyproject.toml overrides.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed and was not found; name one with make PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --override overrides.txt --editable '.[dev]' \
		'opencv-contrib-python-headless>=4.11,<4.12'
	touch $(STAMP)

$(MODELS_STAMP): $(STAMP)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --override overrides.txt --editable '.[dev,models]' \
		'opencv-contrib-python-headless>=4.11,<4.12'
	touch $(MODELS_STAMP)

clean:
	rm -rf $(VENV) demo
