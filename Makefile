# `make run` and `make test` set up what they need first; `make help` lists everything.

VENV := .venv
VENV_LATEST := .venv-latest
PYTHON := $(VENV)/bin/python
PYTHON_LATEST := $(VENV_LATEST)/bin/python
ARGS ?=
# Two at a time; who runs out of tests takes some of the other's.
WORKERS := -n 2 --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all test-latest test-package lint format clean

help:  ## list the targets
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready  ## make .venv: Python 3.10, Launchpad, Reverb, the constrained set
	@:

# Any other variable of the command line is a flag: make run game=pong seed=2
OURS := VENV VENV_LATEST PYTHON PYTHON_LATEST ARGS WORKERS
GIVEN = $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(name)))
FLAGS = $(foreach name,$(filter-out $(OURS) GIVEN FLAGS,$(GIVEN)),'--$(name)=$($(name))')

run: setup  ## train STACX on James Bond; game=pong or ARGS="--game=pong …" sets flags
	@exec $(PYTHON) -m launch.atari --agent=stacx --game=james_bond $(ARGS) $(FLAGS)

test: setup  ## the tests, without those marked slow; ARGS="tests/… -k …" selects
	@exec $(PYTHON) -m pytest $(WORKERS) $(ARGS)

test-all: setup  ## all tests, the slow ones too
	@exec $(PYTHON) -m pytest $(WORKERS) -m "" $(ARGS)

test-latest: $(VENV_LATEST)/.ready  ## the tests on Python 3.12 and the newest JAX
	@exec $(PYTHON_LATEST) -m pytest $(WORKERS) $(ARGS)

test-package:  ## the wheel, in fresh environments of Python 3.11 and 3.13
	@exec scripts/check_package 3.11 3.13

lint: setup  ## formatting, lint and types
	@status=0; \
	$(PYTHON) -m ruff format --quiet --check . || status=1; \
	$(PYTHON) -m ruff check --quiet . || status=1; \
	$(PYTHON) -m mypy || status=1; \
	exit $$status

format: setup  ## put the sources into shape
	@$(PYTHON) -m ruff format --quiet .
	@$(PYTHON) -m ruff check --quiet --fix .

clean:  ## remove the environments and caches; runs/ stays
	@rm -rf .venv .venv-latest .venv-tools .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.ready: pyproject.toml constraints/python310.txt scripts/venv
	@scripts/venv 3.10 $(VENV) constraints/python310.txt dev,launchpad
	@touch $@

$(VENV_LATEST)/.ready: pyproject.toml constraints/latest.txt scripts/venv
	@scripts/venv 3.12 $(VENV_LATEST) constraints/latest.txt dev
	@touch $@
