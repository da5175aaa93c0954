# Two commands do everything: `make run` and `make test`. Both make the environment first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Every test that starts a core starts three processes: none of them should compile the program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test coverage lint types setup lock bench bench-peers docs clean
.DEFAULT_GOAL := run

setup: $(STAMP)

# The stamp is written last, so a broken install is never mistaken for a finished one.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

run: setup
	$(BIN)/python supervisor.py $(ARGS)

# Four workers on two cores: the longest tests mostly wait for real processes. A file stays with one
# worker, and the files are taken in the order that tests/conftest.py puts them in.
test: setup
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

# Every branch of the trading code is taken by its own tests, or this fails.
coverage: setup
	$(BIN)/coverage run -m pytest -q --hypothesis-seed=0 tests/trading tests/books tests/routing $(ARGS)
	$(BIN)/coverage report

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m bench $(ARGS)

# Other libraries on the same recorded frames, in an environment of their own. Never fails for one of them.
bench-peers: setup
	$(BIN)/python -m bench.peers $(ARGS)

# Rewrites the reference pages that are made from the code.
docs: setup
	$(BIN)/python docs/generate.py

# Rewrites the lock from pyproject.toml for every supported Python. Needs `uv` on the PATH.
lock:
	printf 'setuptools>=77\nwheel\n' | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --extra dev pyproject.toml - -o requirements.lock

clean:
	rm -rf $(VENV) .venv-peers .coverage .pytest_cache .mypy_cache .ruff_cache build *.egg-info
