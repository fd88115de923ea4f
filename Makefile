# make run, make test, make lint, make bench, make soak. Everything lives in .venv; `rm -rf .venv` starts anew.

# diffusers 0.42, the first release with LTX-2.3, asks for Python 3.11.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& command -v $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run test lint bench soak .venv

run: .venv
	$(BIN)/python app.py $(ARGS)

# One thread: with more, tiny models run ten times slower on a shared machine. Two processes, a
# file of tests at a time.
test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tools/sync_preload.py --check

bench: .venv/dev
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

soak: .venv/dev
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m soak $(ARGS)

.venv: .venv/ready

.venv/python:
	@test -n "$(PYTHON)" || { echo "AIO Studio needs Python 3.11, 3.12 or 3.13: install one, or name it with 'make PYTHON=/path/to/python3.11 …'." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/ready: .venv/python requirements.txt constraints.txt
	@echo "Installing the studio's packages into .venv (about 2 GB, more with CUDA; only once) …"
	$(PIP) -r requirements.txt
	@touch $@

.venv/dev: .venv/ready requirements-dev.txt requirements-modal.txt requirements-ray.txt
	$(PIP) -r requirements-dev.txt
	@touch $@
