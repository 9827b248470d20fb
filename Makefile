# make reproduce   set up, then run the demo suite and compare it with the committed results (again: resume, or nothing to do)
# make test        set up, then run the tests          make lint     static checks
# make test-fast   the tests of single parts, for the loop of edit and test (about two and a half minutes)
# make ui          MLflow's pages on this machine (PORT=5000), with the addresses of the suites' runs
# make lock        renew requirements.lock from pyproject.toml
# make publish     share networks and data by DVC: make publish REMOTE=/some/folder (or ssh://..., s3://...)
# make leftovers   runs that are in no suite any more  make clean-leftovers   the same; with YES=1 remove them
# make site        the documentation, to site/index.html (its page of parameters is made again)
# make slurm-test  the tests of profiles/slurm, on a SLURM of their own on this machine (as root)
# make clean       remove caches, logs and the built site; results, networks and state stay
# make audit       known vulnerabilities of the locked packages (asks a database on the network)

PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
SUITE ?= demo
BIN := .venv/bin
READY := .venv/.ready

# No telemetry from any tool.
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help clean setup reproduce test test-fast slurm-test lint format site ui lock audit leftovers clean-leftovers publish

help:
	@sed -n 's/^# make/make/p' Makefile

clean:
	rm -rf site build logs .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*

reproduce: $(READY)
	@$(BIN)/psap reproduce $(SUITE) $(ARGS)

test: $(READY)
	@$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term:skip-covered $(ARGS)

test-fast: $(READY)
	@$(BIN)/python -m pytest -n auto --dist worksteal $(addprefix tests/,utils suites planning cli data training pruning test_walls.py) $(ARGS)

slurm-test: $(READY)
	@tests/slurm/cluster.sh install
	@PSAP_SLURM=/tmp/psap-slurm $(BIN)/python -m pytest tests/slurm $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

site: $(READY)
	@$(BIN)/python docs/parameters.py
	@$(BIN)/mkdocs build --strict --quiet

ui: $(READY)
	@$(BIN)/psap ui $(if $(PORT),--port $(PORT))

publish: $(READY)
	@test -n "$(REMOTE)" || { echo "Where to? make publish REMOTE=/some/folder"; exit 2; }
	@$(BIN)/psap publish "$(REMOTE)"

leftovers: $(READY)
	@$(BIN)/psap leftovers

clean-leftovers: $(READY)
	@$(BIN)/psap leftovers --remove $(if $(YES),--yes)

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; say which: make PYTHON=/path/to/python3"; exit 2; }
	@echo "Setting up .venv (torch and its libraries are large: this takes a few minutes, once)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

audit: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	@$(BIN)/pip-audit --requirement requirements.lock --no-deps --disable-pip

lock:
	uv pip compile --universal --python-version 3.11 --all-extras --no-strip-extras --no-header --no-annotate --generate-hashes pyproject.toml -o requirements.lock
