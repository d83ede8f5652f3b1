# Everything a user or a developer needs. The virtual environment is built on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

PYTEST := $(BIN)/python -m pytest -n logical --dist loadgroup

.PHONY: demo test test-slow check coverage fuzz kill clean

$(READY): pyproject.toml setup.py constraints.txt $(wildcard combiner_cli/*/_*.c)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)  ## encode and decode a photograph and a sound
	$(BIN)/python benchmarks/demo.py --output demo

test: $(READY)  ## the test suite but for its slow part, on all cores
	$(PYTEST) -m "not slow"

test-slow: $(READY)  ## its slow part: much fuzzing, learning, stopped commands
	$(PYTEST) -m slow

check: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: $(READY)  ## the whole test suite, and which lines it does not run
	$(PYTEST) --cov --cov-report=term-missing:skip-covered

fuzz: $(READY)  ## hostile headers, files, metadata and priors by the million; goes on where it was stopped
	PYTHONPATH=tests $(BIN)/python -m support.fuzzing

kill: $(READY)  ## commands that are stopped at fifty moments each
	PYTHONPATH=tests $(BIN)/python -m support.killing

clean:
	rm -rf $(VENV) demo dist build *.egg-info combiner_cli/*/_*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .fuzz.jsonl
