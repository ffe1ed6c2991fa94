# Two commands, each of which does all of its own set-up:
#   make demo    install the package, run the main job, say where its report is
#   make test    install the development set, run every check
# Another interpreter: make PYTHON=python3.12 test

PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# Figures are written, never shown; pyright does not look for a newer pyright.
export MPLBACKEND := Agg
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: demo test lint format docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	$(BIN)/initlab compare --out $(DEMO)
	@echo "The report: $(CURDIR)/$(DEMO)/report.html"

# pytest comes last: its closing line is the last line printed. The workers share the processors
# already; more threads inside each, in BLAS and PyTorch, make the whole slower.
test: lint
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -q -n $(WORKERS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The pages of the catalogue, from its entries.
docs: $(VENV)/installed
	$(BIN)/python -m initlab.report.catalogue docs

clean:
	rm -rf $(VENV) $(DEMO)

# The stamps: an environment is made again only when what it is made of has changed.

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/made
	@echo "Installing initlab into $(VENV) (once; a minute or two) ..."
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/made
	@echo "Installing initlab and its development set into $(VENV) (once; a few minutes) ..."
	$(PIP) install -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/installed

# An environment that is there and works is used as it is.
$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "initlab needs Python 3.11 or newer; try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
	  { echo "cannot make $(VENV); on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@
