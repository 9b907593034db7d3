# `make demo` and `make test` do everything on a bare machine with Python 3.11.4 or a later 3.11,
# make and a C compiler; `make help` lists the rest. The pins were tried with 3.11; NeMo and the
# downloads unpack with filters that 3.11.4 brought, and Debian 12 has 3.11.2.
FITS   := import sys; sys.exit(not (3, 11, 4) <= sys.version_info < (3, 12))
# The first that fits of those on the PATH and of pyenv's.
PYTHON ?= $(or $(shell for each in $$(which -a python3.11 python3 2>/dev/null) \
  $$HOME/.pyenv/versions/3.11.*/bin/python3.11; \
  do "$$each" -c '$(FITS)' 2>/dev/null && echo "$$each" && break; done),python3.11)
VENV   ?= .venv
BIN    := $(VENV)/bin
CONFIG ?= config.yaml
CORES  ?= $(shell nproc 2>/dev/null || echo 2)
# Each test process may load NeMo: 1.5 GB of memory.
TEST_WORKERS ?= 2

# One thread a process: two small jobs side by side use two cores better than one job on both.
export OMP_NUM_THREADS := 1

.PHONY: help demo demo-whisper bundle test test-quick show debug lint format docs inits hours cost \
  plan lock clean

help:
	@echo "make demo        create $(VENV), run the demo study, print its headline table"
	@echo "make demo-whisper   Whisper base on minutes of human speech, in demo-whisper/ (an hour;"
	@echo "                 fetches 150 MB of weights)"
	@echo "make bundle LANG=it INIT=ml HOURS=0.32   one run as a bundle for sherpa-onnx;"
	@echo "                 also PRECISION, TIER, SEED"
	@echo "make test        create $(VENV), run the tests"
	@echo "make test-quick  the tests that neither load NeMo nor run Snakemake: about a minute"
	@echo "make lint        ruff, snakefmt, codespell, types, snakemake --lint"
	@echo "make format      what make lint would have otherwise, as far as a program can do it"
	@echo "make docs        what the guides and captions say of tables and figures, from the code"
	@echo "make hours       hours, budgets that fit, disk and licences, before any download"
	@echo "make cost        GPU hours of each run of the full study; CONFIG=demo.yaml plans another"
	@echo "make show JOB=FILE    the command of the job that makes a file; make debug runs it in pdb"
	@echo "make plan        jobs, GPU hours, core hours and disk that a run would take now"
	@echo "make inits       pretrain the demo's two encoders again (some 10 minutes)"
	@echo "make lock        resolve requirements*.in into requirements*.lock"
	@echo "make clean       remove what the demo made; keeps $(VENV)"

# A stamp per lock file: an edited lock installs again, an unchanged one costs nothing.
$(VENV)/.python:
	@$(PYTHON) -c '$(FITS)' 2>/dev/null || { \
	  echo "Python 3.11.4 or a later 3.11 is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	    "Name yours with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS); uv brings one:" \
	    "uv python install 3.11 && make PYTHON=\"\$$(uv python find 3.11)\" $(MAKECMDGOALS)"; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: requirements.lock $(VENV)/.python
	@$(BIN)/python tools/room_for_environment.py --venv $(VENV) --goal "$(MAKECMDGOALS)"
	@echo "Installing the environment into $(VENV): about 6 GB, 3 to 5 minutes."
	$(BIN)/pip install --disable-pip-version-check --progress-bar on --require-hashes \
	  -r requirements.lock
	touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/pip install --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@

demo: $(VENV)/.installed
	$(BIN)/snakemake --configfile demo.yaml --workflow-profile profiles/demo --cores $(CORES)
	@$(BIN)/python workflow/scripts/print_headline.py --tables results/tables \
	  --report results/report.html

# In a folder of its own, beside the results of the demo.
demo-whisper: $(VENV)/.installed
	$(BIN)/snakemake --configfile studies/whisper.yaml --workflow-profile profiles/demo \
	  --cores $(CORES) --directory demo-whisper
	@$(BIN)/python workflow/scripts/print_headline.py --tables demo-whisper/results/tables \
	  --report demo-whisper/results/report.html

# LANG is also the shell's locale: only one given to make itself counts, and programs must not see
# it as a locale.
OF_MAKE = $(if $(findstring command,$(origin $(1))),$($(1)))
# A bundle is of the study that was run here, unless another one is named.
RUN_HERE = $(if $(shell grep -s '"name": "demo"' results/study.json),demo.yaml,$(CONFIG))
bundle: STUDY = $(or $(call OF_MAKE,CONFIG),$(RUN_HERE))

bundle: $(VENV)/.installed
	@target=$$(LANG=C.UTF-8 $(BIN)/python workflow/scripts/find_bundle.py --config $(STUDY) \
	  --training-set "$(or $(TRAINING_SET),$(call OF_MAKE,LANG))" --arm "$(or $(ARM),$(INIT))" \
	  --hours "$(HOURS)" \
	  --precision "$(PRECISION)" --tier "$(TIER)" --seed "$(SEED)") && \
	LANG=C.UTF-8 $(BIN)/snakemake --configfile $(STUDY) --cores $(CORES) \
	  $(SNAKEMAKE_OPTIONS) $$target && echo "$${target%/README.md}"

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile

test-quick: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not slow" --numprocesses $(TEST_WORKERS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/codespell
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --lint --configfile demo.yaml

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow/rules

docs: $(VENV)/.installed
	$(BIN)/python tools/write_docs.py

inits: $(VENV)/.installed
	$(BIN)/snakemake --configfile demo.yaml --workflow-profile profiles/demo --cores $(CORES) \
	  all_pretrained
	cp resources/pretrained/*.nemo demo/inits/
	@echo "demo/inits/ is new; put these digests into demo.yaml:"
	@sha256sum demo/inits/*.nemo

hours: $(VENV)/.installed
	$(BIN)/python workflow/scripts/plan_hours.py --config $(CONFIG)

cost: $(VENV)/.installed
	$(BIN)/python workflow/scripts/plan_cost.py --config $(CONFIG)

# What makes a file: its command, an argument a line; or the same under the debugger.
show: $(VENV)/.installed
	@$(BIN)/python workflow/scripts/show_job.py $(JOB) \
	  --config $(or $(call OF_MAKE,CONFIG),$(RUN_HERE))

debug: $(VENV)/.installed
	@$(BIN)/python workflow/scripts/show_job.py $(JOB) --debug \
	  --config $(or $(call OF_MAKE,CONFIG),$(RUN_HERE))

plan: $(VENV)/.installed
	$(BIN)/python workflow/scripts/plan_study.py --config $(CONFIG) --cores $(CORES)

lock: $(VENV)/.python
	$(BIN)/pip install --disable-pip-version-check --quiet uv
	for each in requirements requirements-dev; do $(BIN)/uv pip compile $$each.in --upgrade \
	  --python-version 3.11.4 --generate-hashes --no-header --no-annotate \
	  --output-file $$each.lock || exit 1; done

# Only the demo's: a study that trained for a week must not go with a habit.
clean:
	@grep -q '"name": "demo"' results/study.json 2>/dev/null || \
	  { echo "results/ is not the demo's (results/study.json); nothing removed"; exit 1; }
	rm -rf results resources logs .snakemake
