# Two commands to know: `make run` segments, `make test` checks. `make help` lists the others.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INPUT ?=
OUTPUT ?= out/$(if $(INPUT),results,phantom)
DATASET ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-slow lint format train bench shape clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# The environment has every extra; it is made anew when the locked versions or the package's settings change.
$(VENV)/.installed: requirements.txt setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

run: $(VENV)/.installed  ## segment INPUT=... (a file or folder; a phantom by default) into OUTPUT=...
ifeq ($(INPUT),)
	@test -f out/phantom_ct/dataset.json || $(BIN)/liverseg phantom out/phantom_ct --cases 1 --seed 7
	$(BIN)/liverseg segment out/phantom_ct/imagesTr --output "$(OUTPUT)" $(ARGS)
else
	$(BIN)/liverseg segment "$(INPUT)" --output "$(OUTPUT)" $(ARGS)
endif

test: $(VENV)/.installed  ## fast tests and workflow tests
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/.installed  ## all tests, those that take minutes included
	$(BIN)/python -m pytest

lint: $(VENV)/.installed  ## black, isort, flake8, mypy
	$(BIN)/black --line-length 120 --check --quiet custom_networks tests
	$(BIN)/isort --check --quiet custom_networks tests
	$(BIN)/flake8 custom_networks tests
	$(BIN)/mypy custom_networks

format: $(VENV)/.installed  ## let black and isort format the code
	$(BIN)/black --line-length 120 --quiet custom_networks tests
	$(BIN)/isort --quiet custom_networks tests

train: $(VENV)/.installed  ## train on DATASET=... (MSD layout) with the bundle's train.json; more ids in ARGS=
	$(BIN)/python -m monai.bundle run --config_file bundle/configs/train.json --bundle_root bundle \
		--dataset_dir "$(DATASET)" --ckpt_dir out/train/models --output_dir out/train/log --resume True $(ARGS)

bench: $(VENV)/.installed  ## parameters, GFLOP and times of the network against its peers (quiet machine, please)
	$(BIN)/python tests/benchmarks/network_cost.py --time

shape: $(VENV)/.installed  ## sizes of functions and modules, annotations, docstrings
	$(BIN)/python tests/benchmarks/code_shape.py custom_networks

clean:  ## remove what was made, the environment included
	rm -rf $(VENV) out build dist *.egg-info .pytest_cache .mypy_cache
