# Plumbline's commands. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NET := trainers/nets/digits-64-32-32-10.onnx
DEMO := --data digits --samples 0:10
STUDY := benchmarks/studies/digits.toml
TEST_JOBS ?= 2
PYTEST_OPTIONS ?=
BENCH_NET ?= $(NET)
BENCH ?= --data digits --samples 0:40 --jobs 1
FUZZ_SECONDS ?= 60
FUZZ_SEED ?= $(shell date +%s)000
# make test-thorough says which it drew; naming it repeats the trust tests of that run.
FIRST_SEED := $(or $(FIRST_SEED),$(shell date +%s))

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types tests format test-file bench bench-baseline fuzz test-slow test-all test-thorough serve docs docs-serve docs-links study nets clean

help:  ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/'

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Plumbline needs Python 3.11 or newer; name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into $(VENV), some minutes: torch is large."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[develop,docs,service,cluster]'
	@touch $@

setup: $(READY)  ## make .venv with the plumbline command in it

demo: $(READY)  ## exact distances of ten digits in both norms, with pictures in out/demo
	@mkdir -p out/demo
	@rm -f out/demo/linf.jsonl out/demo/l1.jsonl
	@echo "L-infinity: how much every pixel must be allowed to move before the net can read another digit"
	@$(BIN)/plumbline distance $(NET) $(DEMO) --norm linf --json out/demo/linf.jsonl --out out/demo/linf
	@echo
	@echo "L1: how much all pixels together must move"
	@$(BIN)/plumbline distance $(NET) $(DEMO) --norm l1 --json out/demo/l1.jsonl --out out/demo/l1
	@echo
	@echo "Pictures (original, adversary, difference): out/demo/linf and out/demo/l1"

test: lint types tests docs  ## lint, types, tests and pages

lint: $(READY)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## mypy --strict
	$(BIN)/mypy

tests: $(READY)  ## pytest
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(TEST_JOBS) $(PYTEST_OPTIONS)

format: $(READY)  ## ruff mends what it can, and formats
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-file: $(READY)  ## one test file, or one test: FILE=tests/bounds/propagation/test_neuron_bounds.py
	@test -n "$(FILE)" || { echo "name it: make test-file FILE=tests/bounds/propagation/test_neuron_bounds.py" >&2; exit 1; }
	OMP_NUM_THREADS=1 $(BIN)/pytest --all $(FILE)

bench-baseline: $(READY)  ## exact distances of BENCH_NET (BENCH), kept as what `make bench` compares with
	@mkdir -p out/bench && rm -f out/bench/before.jsonl
	OMP_NUM_THREADS=1 $(BIN)/plumbline distance $(BENCH_NET) $(BENCH) --json out/bench/before.jsonl || [ $$? -eq 1 ]

bench: $(READY)  ## the same again: verdicts, brackets and seconds beside the baseline's
	@test -f out/bench/before.jsonl || { echo "no baseline yet: run make bench-baseline before your change" >&2; exit 1; }
	@rm -f out/bench/after.jsonl
	OMP_NUM_THREADS=1 $(BIN)/plumbline distance $(BENCH_NET) $(BENCH) --json out/bench/after.jsonl || [ $$? -eq 1 ]
	$(BIN)/python -m benchmarks.journals out/bench/before.jsonl out/bench/after.jsonl

fuzz: $(READY)  ## random operator graphs against onnxruntime for FUZZ_SECONDS=60, from seed FUZZ_SEED on
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz_graphs --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)

test-slow: $(READY)  ## tests: those marked slow, too, as continuous integration runs them (ten minutes)
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(TEST_JOBS) --slow $(PYTEST_OPTIONS)

test-all: $(READY)  ## tests: all of them, and all of their cases (half an hour of two cores)
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(TEST_JOBS) --all $(PYTEST_OPTIONS)

test-thorough: $(READY)  ## random tests: ten times the cases, drawn afresh (takes long)
	@echo "FIRST_SEED=$(FIRST_SEED)"
	OMP_NUM_THREADS=1 PLUMBLINE_TRUST_EXAMPLES=1200 PLUMBLINE_TRUST_FIRST=$(FIRST_SEED) \
		$(BIN)/pytest -n $(TEST_JOBS) -m "hypothesis or thorough or exhaustive" --hypothesis-profile thorough

serve: $(READY)  ## the service at localhost:8642, with a digits net and its data loaded
	$(BIN)/plumbline serve --data-dir out/service --example

docs: $(READY)  ## the pages, in out/docs; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -n -q docs out/docs

docs-serve: docs  ## the pages at localhost:8000
	$(BIN)/python -m http.server --bind localhost --directory out/docs 8000

docs-links: $(READY)  ## whether links to other sites still lead somewhere (needs the network)
	$(BIN)/python -m sphinx -q -b linkcheck docs out/docs-links

study: $(READY)  ## train and compare the digits study again, into docs/studies/digits (forty minutes of a core)
	$(BIN)/plumbline train $(STUDY)
	OMP_NUM_THREADS=1 $(BIN)/plumbline compare $(STUDY) --jobs $(TEST_JOBS) || [ $$? -eq 1 ]  # 1: some sample stayed open
	@mkdir -p docs/studies/digits
	cp $(addprefix out/studies/digits/comparison/,comparison.md comparison.csv index.html) docs/studies/digits/

nets: $(READY)  ## train the digits nets again, into out/nets
	$(BIN)/python -m trainers.digits_nets out/nets

clean:  ## remove what make demo and the tools wrote; .venv stays
	rm -rf out .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
