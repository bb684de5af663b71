# Two commands to know: `make run` segments, `make test` checks. `make help` lists the others.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FOREIGN := .venv-bundle
LABEL := .venv-monailabel
ZIP ?= out/liver_tumor_ct_25d.zip
INPUT ?=
OUTPUT ?= out/$(if $(INPUT),results,phantom)
DATA ?=
RUN ?= out/train
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-bundle monailabel test-monailabel test-dicom test-page niivue test-node test-hostile bundle ir lint format train weights bench coverage shape clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# The environment has all extras; it is recreated when the locked versions or the package's settings change.
$(VENV)/.installed: requirements.txt setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -r requirements.txt
	@# setuptools warns that the folder custom_networks comes first in imports, which is intended
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

run: $(VENV)/.installed  ## segment INPUT=... (a file or folder; a phantom by default) into OUTPUT=...
ifeq ($(INPUT),)
	@test -f out/phantom_ct/dataset.json || $(BIN)/liverseg phantom out/phantom_ct --cases 1 --seed 7
	$(BIN)/liverseg segment out/phantom_ct/imagesTr --output "$(OUTPUT)" --force $(ARGS)
else
	$(BIN)/liverseg segment "$(INPUT)" --output "$(OUTPUT)" $(ARGS)
endif

test: $(VENV)/.installed  ## fast tests and workflow tests
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/.installed  ## all tests, including those that take minutes
	$(BIN)/python -m pytest

# An environment without this project, as a user of the packed bundle has. Its folder "more" has the packages that two of
# MONAI's commands also need: onnx_export (onnx, onnxscript) and download_large_files (PyYAML).
$(FOREIGN)/.installed: requirements.txt tests/zoo/requirements.txt
	$(PYTHON) -m venv $(FOREIGN)
	$(FOREIGN)/bin/pip install --quiet --constraint requirements.txt --requirement tests/zoo/requirements.txt
	$(FOREIGN)/bin/pip install --quiet --constraint requirements.txt --no-deps --upgrade --target $(FOREIGN)/more \
		onnx onnx-ir onnxscript ml_dtypes PyYAML
	@touch $@

test-bundle: $(VENV)/.installed $(FOREIGN)/.installed  ## pack the bundle, use it without this project, and check it as the zoo does
	LIVERSEG_BUNDLE_PYTHON="$(CURDIR)/$(FOREIGN)/bin/python" $(BIN)/python -m pytest tests/packing tests/zoo

# MONAI Label needs different versions from everything else here (see tests/monailabel/requirements.txt).
$(LABEL)/.installed: tests/monailabel/requirements.txt tests/monailabel/torchvision_operators.py
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))" \
		|| { echo "MONAI Label 0.8.5 needs Python 3.10 or 3.11: make PYTHON=python3.11 $@"; exit 1; }
	$(PYTHON) -m venv $(LABEL)
	$(LABEL)/bin/pip install --quiet --requirement tests/monailabel/requirements.txt
	$(LABEL)/bin/pip install --quiet --no-deps monailabel==0.8.5
	@$(LABEL)/bin/python -c "import torchvision" 2>/dev/null || { \
		site=$$($(LABEL)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))"); \
		cp tests/monailabel/torchvision_operators.py "$$site"; \
		echo "import torchvision_operators" > "$$site/torchvision_operators.pth"; \
		$(LABEL)/bin/python -c "import torchvision"; }
	@touch $@

monailabel: $(LABEL)/.installed  ## make the environment .venv-monailabel, with MONAI Label's server

test-monailabel: $(VENV)/.installed $(LABEL)/.installed  ## test the packed bundle in MONAI Label's own server, over HTTP
	LIVERSEG_MONAILABEL_PYTHON="$(CURDIR)/$(LABEL)/bin/python" $(BIN)/python -m pytest --durations=8 tests/monailabel

bundle: $(VENV)/.installed  ## pack the bundle with its code into ZIP=... for others
	$(BIN)/liverseg pack "$(ZIP)" $(ARGS)

ir: $(VENV)/.installed  ## rebuild the OpenVINO graphs that ship with the package, after any change in custom_networks/networks
	$(BIN)/python -m custom_networks.packing.graphs

# dicom3tools (dciodvfy) and dcmtk (storescp) are Debian packages; if they cannot be installed, their tests are skipped
# with a message.
test-dicom: $(VENV)/.installed  ## validate and send DICOM results with dciodvfy, dcmtk (apt) and dcmqi (pip)
	@command -v dciodvfy storescp >/dev/null || apt-get install --yes dicom3tools dcmtk \
		|| sudo -n apt-get install --yes dicom3tools dcmtk || echo "not installed: apt-get install dicom3tools dcmtk"
	$(BIN)/pip install --quiet "dcmqi>=1.5"
	$(BIN)/python -m pytest tests/dicom_out/test_dicom_validators.py

# Chromium and its driver are Debian packages; if they cannot be installed, the tests are skipped with a message.
test-page: $(VENV)/.installed  ## test the pages in a real browser: chromium and chromium-driver (apt), selenium (pip)
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null \
		|| apt-get install --yes chromium chromium-driver || sudo -n apt-get install --yes chromium chromium-driver \
		|| echo "not installed: apt-get install chromium chromium-driver"
	$(BIN)/pip install --quiet "selenium>=4.20"
	$(BIN)/python -m pytest --durations=5 tests/report/test_page_in_browser.py

NIIVUE := custom_networks/report/page/niivue
niivue:  ## fetch the page's viewer from npm again, with the version and hash in niivue.json
	@version=$$(sed -n 's/.*"version": "\(.*\)".*/\1/p' $(NIIVUE)/niivue.json); \
	hash=$$(sed -n 's/.*"sha256": "\(.*\)".*/\1/p' $(NIIVUE)/niivue.json); \
	folder=$$(mktemp -d) && (cd "$$folder" && npm pack --silent "@niivue/niivue@$$version" && tar xzf ./*.tgz) \
		&& echo "$$hash  $$folder/package/dist/niivue.umd.js" | sha256sum --check \
		&& cp "$$folder/package/dist/niivue.umd.js" $(NIIVUE)/; \
	code=$$?; rm -rf "$$folder"; exit $$code

# Orthanc acts as the PACS and dcmtk's storescu as the scanner; the Orthanc service that Debian starts is not needed.
test-node: $(VENV)/.installed  ## test the DICOM node with Orthanc and dcmtk (apt): faults, kill -9, garbage, round trip
	@command -v Orthanc storescu >/dev/null || apt-get install --yes orthanc dcmtk \
		|| sudo -n apt-get install --yes orthanc dcmtk || echo "not installed: apt-get install orthanc dcmtk"
	$(BIN)/pip install --quiet "dcmqi>=1.5"
	$(BIN)/python -m pytest tests/node

test-hostile: $(VENV)/.installed  ## test damaged, huge and misleading inputs: each must be read correctly or refused clearly
	$(BIN)/python -m pytest tests/hostile

lint: $(VENV)/.installed  ## black, isort, flake8, mypy
	$(BIN)/black --check --quiet custom_networks tests
	$(BIN)/isort --check --quiet custom_networks tests
	$(BIN)/flake8 custom_networks tests
	$(BIN)/mypy custom_networks

format: $(VENV)/.installed  ## let black and isort format the code
	$(BIN)/black --quiet custom_networks tests
	$(BIN)/isort --quiet custom_networks tests

TRAIN := bundle/configs/train.json
# With several GPUs, one process runs on each. Running the target again resumes training.
train: $(VENV)/.installed  ## train on DATA=... (MSD Task03_Liver, LiTS or your own) into RUN=...; overrides in ARGS=...
	$(if $(DATA),,$(error DATA is empty: make train DATA=/path/Task03_Liver))
	@gpus=$$($(BIN)/python -c "import torch; print(torch.cuda.device_count())") || exit 1; \
	start=; config=$(TRAIN); \
	if [ "$$gpus" -gt 1 ]; then \
		start="-m torch.distributed.run --standalone --nproc_per_node=$$gpus"; \
		config="['$(TRAIN)','$(dir $(TRAIN))multi_gpu_train.json']"; \
	fi; \
	set -x; exec $(BIN)/python $$start -m monai.bundle run --config_file "$$config" --bundle_root bundle \
		--dataset_dir "$(DATA)" --ckpt_dir "$(RUN)/models" --output_dir "$(RUN)/log" --resume True $(ARGS)

# Not renewed: runtimes (`make bench`), the tables of README and model card, what README and quickstart print, the
# pictures of pages, decision 0016, and GFLOP in the table of --fast.
weights: $(VENV)/.installed  ## release WEIGHTS=...: scores on the dev list of DATA=..., hash, test values, table of --fast
	$(if $(and $(DATA),$(WEIGHTS)),,$(error usage: make weights WEIGHTS=model_final.pt DATA=/path/to/data))
	$(BIN)/python -m custom_networks.tuning.release "$(WEIGHTS)" --dataset_dir "$(DATA)" --output_dir out/release
	$(BIN)/python tests/test_shipped_weights.py
	$(BIN)/python tests/benchmarks/fast_effect.py "$(DATA)"

# h5py reads the weights of one of the other programs; without it, the program's row is skipped.
bench: $(VENV)/.installed  ## compare time and memory with other programs, for docs/performance.md (needs an idle machine)
	$(BIN)/pip install --quiet --no-deps h5py || true
	$(BIN)/python tests/benchmarks/bench.py $(ARGS)

coverage: $(VENV)/.installed  ## fast tests with coverage of lines and branches; fails if it is below the limit
	$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term

shape: $(VENV)/.installed  ## sizes of functions and modules, annotations, docstrings; fails if a limit is not met
	$(BIN)/python tests/benchmarks/code_shape.py custom_networks

clean:  ## remove environments and builds, but keep results and training runs in out/
	rm -rf $(VENV) $(FOREIGN) $(LABEL) build dist *.egg-info .pytest_cache .mypy_cache
