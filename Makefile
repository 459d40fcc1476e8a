# The two commands of the README, and those of every day. Needs Python 3.11 or 3.12, git and make.

TORCH_VERSION ?= 2.13.0
# Another index for torch alone: PyTorch's own for CPU-only or CUDA builds. Empty: pip's own index.
TORCH_INDEX ?=
VENV ?= .venv
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test test-all lint samples results docs/cli.md clean

demo: $(VENV)/ready
	$(BIN)/songfoundry demo --out demo

test: $(VENV)/ready-for-tests
	$(BIN)/python -m pytest

test-all: $(VENV)/ready-for-tests
	$(BIN)/python -m pytest -m "long or not long"

lint: $(VENV)/ready-for-tests
	$(BIN)/ruff check src tests benchmarks

samples: $(VENV)/ready
	$(BIN)/songfoundry demo --out docs/samples --format opus --bitrate 96

# The tables of docs/results.md, measured anew; needs SONGFOUNDRY_DATA.
results: $(VENV)/ready-for-tests
	$(BIN)/songfoundry evaluate separation recipes/public-test.toml --markdown docs/results.md --title "Public test songs"
	$(BIN)/songfoundry evaluate separation recipes/validation.toml --markdown docs/results.md --title "Validation songs"

docs/cli.md: $(VENV)/ready
	$(BIN)/python -m typer songfoundry.cli utils docs --name songfoundry --title "The command line" > $@

$(VENV)/torch:
	@test -n "$(PYTHON)" || { echo "expected Python 3.11 or 3.12 on the PATH, found none: install one, or say make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==$(TORCH_VERSION) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@touch $@

$(VENV)/ready: $(VENV)/torch pyproject.toml
	$(PIP) --editable .
	@touch $@

$(VENV)/ready-for-tests: $(VENV)/ready
	$(PIP) --editable '.[all]'
	@touch $@

clean:
	rm -rf $(VENV) build demo *.egg-info src/*.egg-info .pytest_cache .ruff_cache .hypothesis
