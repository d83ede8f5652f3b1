# Everything a user or a developer needs. The virtual environment is built on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check coverage fuzz kill clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)  ## encode and decode a photograph and a sound
	$(BIN)/python benchmarks/demo.py --output demo

test: $(READY)  ## the whole test suite
	$(BIN)/python -m pytest

check: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: $(READY)  ## the test suite, and which lines it does not run
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered

fuzz: $(READY)  ## hostile headers, files, metadata and priors by the million; goes on where it was stopped
	PYTHONPATH=tests $(BIN)/python -m support.fuzzing

kill: $(READY)  ## commands that are stopped at fifty moments each
	PYTHONPATH=tests $(BIN)/python -m support.killing

clean:
	rm -rf $(VENV) demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .fuzz.jsonl
