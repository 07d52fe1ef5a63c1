# Every target is complete in itself: it sets the workspace up first, which does nothing where
# that has been done.
#
#   SOURCE=...           what `make demo` plays: a folder, a video file, /dev/video0, rtsp://...
#   WITHOUT_TRAINING=1   keep PyTorch off this machine (setup and test)
#   PYTHON=python3.12    the Python to make the workspace with
#   ARGS=...             further arguments of pytest, the demo or the benchmarks

PYTHON ?= python3
WORKSPACE = $(PYTHON) tools/workspace
CHOICE = $(if $(WITHOUT_TRAINING),--without-training)
TESTS ?= tools/workspace/test mnssd_perception/test \
	$(if $(WITHOUT_TRAINING),,mnssd_training/test tools/attack/test)
ARGS ?=

.PHONY: help setup demo test lint bench clean

help:
	@echo 'make setup   ROS 2 and the packages, in .venv where no ROS 2 is sourced'
	@echo 'make demo    detections in real aerial photographs; SOURCE=... for your own'
	@echo 'make test    every test of every package'
	@echo 'make lint    ruff and mypy'
	@echo 'make bench   the measurements'
	@echo 'make clean   remove what setup has made'

setup:
	@$(WORKSPACE) setup $(CHOICE)

# Needs no PyTorch; one that is there stays there.
demo:
	@$(WORKSPACE) setup --without-training
	@$(WORKSPACE) run --foreground python -m mnssd_perception.cli.demo \
		$(if $(SOURCE),--source "$$SOURCE") $(ARGS)

test: setup
	@$(WORKSPACE) run python -m pytest -n 2 --dist loadfile $(TESTS) $(ARGS)

lint:
	@$(WORKSPACE) setup --without-training
	@$(WORKSPACE) run ruff check .
	@$(WORKSPACE) run ruff format --check .
	@$(WORKSPACE) run mypy

bench: setup
	@$(WORKSPACE) run python -m mnssd_training.bench $(ARGS)

clean:
	rm -rf .venv .venv.unfinished build install log
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
