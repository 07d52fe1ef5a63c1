# Every target sets the workspace up first, which does nothing where that has been done.
#
#   SOURCE=...           what `make demo` plays: a folder, a video file, /dev/video0, rtsp://...
#   WITHOUT_TRAINING=1   set up and test without PyTorch
#   COUNT=2000           examples of each fuzz test
#   PYTHON=python3.12    the Python of the workspace
#   ARGS=...             further arguments of pytest, the demo or the benchmarks

PYTHON ?= python3
WORKSPACE = $(PYTHON) tools/workspace
SETUP_OPTIONS = $(if $(WITHOUT_TRAINING),--without-training)
TESTS ?= tools/test tools/workspace/test mnssd_perception/test \
	$(if $(WITHOUT_TRAINING),,mnssd_training/test benchmarks/test)
FUZZ_TESTS = mnssd_perception/test/fuzz mnssd_perception/test/nodes/fuzz \
	$(if $(WITHOUT_TRAINING),,mnssd_training/test/fuzz)
COUNT ?= 2000
ARGS ?=
# Three workers keep two cores busy: tests of nodes mostly wait. Only our own plugins: those of a
# ROS 2 installation are written for its older pytest. No restarts: after one, xdist waits for ever.
PYTEST = PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(WORKSPACE) run python -m pytest --strict-config \
	-p xdist -p timeout -p hypothesispytest -n 3 --dist loadfile --max-worker-restart 0

.PHONY: help setup demo test test-all test-matrix fuzz lint bench lock licenses clean

help:
	@echo 'make setup   install ROS 2 (where none is sourced) and the packages in .venv'
	@echo 'make demo    show detections in aerial images; SOURCE=... for your own'
	@echo 'make test    run the tests of every package, without the slow ones'
	@echo 'make lint    run ruff and mypy'
	@echo 'make bench   run the benchmarks'
	@echo 'make clean   remove what setup has made'
	@echo
	@echo 'make test-all      run every test'
	@echo 'make test-matrix   run the tests without ROS 2 on older and newer NumPy, OpenCV, ONNX Runtime'
	@echo 'make fuzz          test the readers with corrupt inputs; COUNT=... examples each'
	@echo 'make lock          update the hashes of tools/workspace/requirements'
	@echo 'make licenses      write THIRD_PARTY.md; fails where a licence is not permitted'

setup:
	@$(WORKSPACE) setup $(SETUP_OPTIONS)

# Needs no PyTorch, and keeps one that is installed.
demo:
	@$(WORKSPACE) setup --without-training
	@$(WORKSPACE) run --foreground python -m mnssd_perception.cli.demo \
		$(if $(SOURCE),--source "$$SOURCE") $(ARGS)

test: setup
	@$(PYTEST) -m 'not slow' $(TESTS) $(ARGS)

test-all: setup
	@$(PYTEST) $(TESTS) $(ARGS)

test-matrix:
	@$(WORKSPACE) setup --without-training
	@$(WORKSPACE) run python tools/test_matrix.py $(ARGS)

fuzz: setup
	@FUZZ_COUNT=$(COUNT) $(PYTEST) --timeout 7200 $(FUZZ_TESTS) $(ARGS)

# mypy reads the types of the libraries of training, too.
lint: setup
	@$(WORKSPACE) run ruff check .
	@$(WORKSPACE) run ruff format --check .
	@$(WORKSPACE) run mypy

bench: setup
	@$(WORKSPACE) run python -m benchmarks $(ARGS)

# Without a setup, which refuses pins without hashes.
lock:
	@$(WORKSPACE) run uv pip compile --quiet --upgrade --universal --python-version 3.10 --no-deps \
		--generate-hashes --no-annotate --custom-compile-command 'make lock' \
		tools/workspace/requirements/*.txt --output-file tools/workspace/requirements.lock

licenses: setup
	@$(WORKSPACE) run python tools/licenses.py THIRD_PARTY.md

clean:
	rm -rf .venv build install log
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
