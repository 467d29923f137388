# From a bare Python 3.11: `make demo` installs everything into .venv and runs the main job; `make test` runs the tests.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test check man clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CHECK_STAMP := $(VENV)/.installed-dev
TORCH_PIN := constraints/torch-cpu.txt
# Where pip finds CPU builds of torch, if not where it looks anyway: the address on PyTorch's "Get started" page.
TORCH_CPU_INDEX ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST_ARGS ?=

# demo settings: CLIP=path/ takes your own clip or recording, BUDGET=60s refines longer
CLIP ?=
BUDGET ?= 20s
DEMO := demo

help:
	@echo "make demo   install into .venv, make a world (or take CLIP=...), reconstruct, render, generate, score"
	@echo "make test   install into .venv and run the tests"
	@echo "make check  what a change has to pass: ruff, mypy, man pages in step, tests"
	@echo "make man    rebuild the man pages from the commands"
	@echo "make clean  remove demo/ and caches (.venv stays)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("jwm needs Python 3.11 or newer; try make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# Where there is no NVIDIA GPU, the CPU build of torch goes in first; the package then finds torch already there.
$(STAMP): pyproject.toml $(TORCH_PIN) | $(BIN)/python
	@if nvidia-smi -L >/dev/null 2>&1; then \
	    echo "installing into $(VENV), with CUDA ..."; \
	    $(PIP) install --quiet --editable '.[test]'; \
	else \
	    echo "installing into $(VENV), for the CPU ..."; \
	    $(PIP) install --quiet $(if $(TORCH_CPU_INDEX),--extra-index-url $(TORCH_CPU_INDEX)) -r $(TORCH_PIN); \
	    $(PIP) install --quiet --editable '.[test]' -c $(TORCH_PIN); \
	fi
	@touch $@

$(CHECK_STAMP): $(STAMP)
	$(PIP) install --quiet --editable '.[dev]' $$(nvidia-smi -L >/dev/null 2>&1 || echo -c $(TORCH_PIN))
	@touch $@

demo: $(STAMP)
	@PATH="$(CURDIR)/$(BIN):$$PATH" DEMO="$(DEMO)" CLIP="$(CLIP)" BUDGET="$(BUDGET)" samples/pipeline.sh

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(PYTEST_ARGS)

check: $(CHECK_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m jwmtool.cli.man man/ --check
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(PYTEST_ARGS)

man: $(STAMP)
	$(BIN)/python -m jwmtool.cli.man man/

clean:
	rm -rf $(DEMO) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find jwmtool tests -name __pycache__ -type d -prune -exec rm -rf {} +
