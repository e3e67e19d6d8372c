# make demo    index the documentation of this Python and search it
# make test    all tests            make quick   the fast ones, some minutes
# make lint    ruff and mypy        make format  rewrite the code in the house style
# make torture attack the promises for about an hour and record what came of it (JOBS=2: two attacks at a time)
# make parity  the embedded encoder by our tasks and by the package mteb, side by side
# make probes  every probe of the embedded encoder
# make notebooks / reproduce / compare / benchmarks   execute the notebooks, regenerate the tables of results
#
# PYTHON=python3.12   another interpreter (3.11, 3.12 or 3.13)
# CPU=1               take torch's CPU build from PyTorch's own index; without it, pip's index decides, and on Linux
#                     PyPI's build brings several gigabytes of CUDA
# PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_CACHE_DIR, …   are pip's own and are passed on
# DATA=…              folder with test collections (default: ../shared/data)
# TASKS="SciFact …"   tasks that `make compare` runs (default: all, which takes hours), and `make reproduce` (default:
#                     retrieval sets whose documents are short; QMSum's transcripts take hours more)
# STUDIES="pooling …" studies that `make experiments` runs
# ONLY="growth …"     parts of the benchmarks to measure anew (default: all, which takes hours)
# DOCUMENTS=…         folder of documents for the benchmarks, such as /usr/share/doc

PYTHON ?= python3
VENV ?= .venv
DATA ?= ../shared/data
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
ifdef CPU
TORCH_INDEX := --extra-index-url https://download.pytorch.org/whl/cpu
endif
SOURCES := retrieval indexes eval tests
# Without restarts: after the crash of a worker, pytest-xdist can wait for ever for files that it had begun.
TEST := RETRIEVAL_TEST_DATA=$(abspath $(DATA)) $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart=0
REPRODUCED := $(or $(TASKS),SciFact NFCorpus Vaswani Cranfield CACM LISA ADI XQuADRetrieval.en)

export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo install test quick lint format torture notebooks reproduce compare parity probes benchmarks experiments clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	$(BIN)/retrieval demo

install: $(VENV)/.installed

test: $(VENV)/.installed-test
	$(TEST) --durations=15

quick: $(VENV)/.installed-test
	$(TEST) -m "not slow"

lint: $(VENV)/.installed-test
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

torture: $(VENV)/.installed-test
	$(BIN)/python -m tests.torture --profile long --record --jobs $(or $(JOBS),1)

notebooks: $(VENV)/.installed-test
	$(BIN)/python -m nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

reproduce: $(VENV)/.installed-test
	$(BIN)/retrieval compare $(DATA) --systems eval/systems.toml $(REPRODUCED:%=--task %) --latency 200 --out reproduction --format markdown
	$(BIN)/retrieval report reproduction --format markdown --out eval/RESULTS.md

compare: $(VENV)/.installed-test
	$(BIN)/retrieval compare $(DATA) $(TASKS:%=--task %) --latency 20 --out comparison --format markdown
	$(BIN)/retrieval report comparison --format markdown --out eval/tasks/RESULTS.md

probes: $(VENV)/.installed-test
	$(BIN)/python -m eval.probes --data $(DATA)

parity: $(VENV)/.installed-test
	$(BIN)/python -m eval.mteb_parity --data $(DATA) $(TASKS:%=--tasks %) --output eval/mteb_parity

benchmarks: $(VENV)/.installed-peers
	$(BIN)/python -m eval.benchmarks --data $(DATA) $(if $(DOCUMENTS),--documents $(DOCUMENTS)) $(ONLY:%=--only %)

experiments: $(VENV)/.installed-test
	$(BIN)/python -m eval.experiments $(or $(STUDIES),$(error name STUDIES, as in eval/experiments/studies)) --data $(DATA)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

# torch first and alone, so that nothing else can pull another build of it.
$(VENV)/.torch: $(VENV)/bin/python constraints.txt
	@echo "Installing the pinned dependencies into $(VENV): about two minutes"
	$(PIP) $(TORCH_INDEX) torch
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.torch pyproject.toml
	$(PIP) --editable '.[test,lint]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-peers: $(VENV)/.installed-test
	$(PIP) --editable '.[peers]'
	@touch $@
