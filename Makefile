# Each target does everything it needs on a fresh machine, the virtual environment included.
PYTHON ?= python3
VENV ?= .venv
# Test processes at once: two cores are what the time limits are meant for.
JOBS ?= 2

BIN := $(VENV)/bin
PACKAGING := setup.cfg pyproject.toml requirements.txt

.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-browser docs test-interop test-slow check format lint types imports clean

help:
	@echo "make install       the package in an environment of its own, .venv"
	@echo "make quickstart    train on photographs that come with the installed packages (minutes, CPU)"
	@echo "make test          the tests"
	@echo "make test-browser  the tests of the pages, in Chromium (which has to be installed)"
	@echo "make docs          the documents as a site, in build/site"
	@echo "make test-interop  the tests against PyTorch and its kin (installs gigabytes)"
	@echo "make test-slow     the tests that take long; they write their result files"
	@echo "make check         format, lint, types, import contract, tests"
	@echo "make format        put the code in order"

install: $(VENV)/.installed

quickstart: $(VENV)/.installed
	$(BIN)/python -m dino_jax.main --config=configs/quickstart.py --workdir=runs/quickstart

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow and not gpu and not interop and not browser"

test-browser: $(VENV)/.installed-browser
	$(BIN)/python -m pytest -n $(JOBS) -m "browser and not slow"

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site

test-interop: $(VENV)/.installed-interop
	$(BIN)/python -m pytest -n $(JOBS) -m "interop and not slow"

test-slow: $(VENV)/.installed-interop
	$(BIN)/python -m pytest -m slow

check: lint types imports test

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

imports: $(VENV)/.installed-dev
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist dino_jax.egg-info

# The stamps remember an install: the next call is instant until the packaging files change.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "dino_jax needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." \
	            "Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created $(PACKAGING)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.created $(PACKAGING)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-interop: $(VENV)/.created $(PACKAGING)
	$(BIN)/python -m pip install --quiet --editable '.[test,torch]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(VENV)/.installed-browser: $(VENV)/.created $(PACKAGING)
	$(BIN)/python -m pip install --quiet --editable '.[test,browser]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(VENV)/.installed-docs: $(VENV)/.created $(PACKAGING)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(VENV)/.created $(PACKAGING)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test
