# Two commands are enough: `make demo` and `make test`. Each sets the machine up first where that is needed.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test faults bench demo-train lint format docs lock clean distclean

# LOCK=jazzy: the versions of a robot with ROS 2 Jazzy (NumPy 1.26), in a virtual environment of their own.
LOCK ?=
# SYSTEM_PACKAGES=skip: do not look for Debian packages.
SYSTEM_PACKAGES ?=
PYTHON ?= $(shell scripts/find_python.sh)
# TASK=open_drawer: the task of the demo.
TASK ?= place_cube_in_basin
# ARGS="--trials 2": arguments of the command that a target runs.
ARGS ?=

export LOCK

IN_ENVIRONMENT = source setup.bash &&

help:  ## tell what can be made
	@echo "make demo and make test are all that a newcomer needs; both set the machine up first."
	@sed -n 's/^\([a-z-]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target text; do \
		printf '  make %-11s %s\n' "$$target" "$$text"; done

setup:  ## install and build everything; continues where it was interrupted
	@test -n "$(PYTHON)"
	@"$(PYTHON)" -m scripts.setup --lock $(or $(LOCK),default) $(if $(filter skip,$(SYSTEM_PACKAGES)),--skip-system-packages)

demo: setup  ## five trials of a task's policy in the live simulated cell; report in outputs/demo
	@$(IN_ENVIRONMENT) clar demo $(TASK) $(ARGS)

test: setup  ## lint, types and the whole test suite
	@$(IN_ENVIRONMENT) scripts/run_tests.sh $(ARGS)

faults: setup  ## provoke every fault of the safety contract; writes docs/results/faults.md
	@$(IN_ENVIRONMENT) FAULTS_PAGE=docs/results/faults.md python -m pytest tests/faults $(ARGS)

bench: setup  ## measure every claim; B=latency measures one
	@$(IN_ENVIRONMENT) python -m benchmarks $(B) $(ARGS)

demo-train: setup  ## collect demonstrations and train the shipped checkpoint again
	@$(IN_ENVIRONMENT) clar demo-train $(ARGS)

lint: setup  ## style, format and types
	@$(IN_ENVIRONMENT) ruff check . && ruff format --check . && mypy

format: setup  ## bring the code into form
	@$(IN_ENVIRONMENT) ruff check --fix . && ruff format .

docs: setup  ## build the documentation into site/
	@$(IN_ENVIRONMENT) mkdocs build --strict

lock: setup  ## write the lock file of the present environment, after its tests passed
	@$(IN_ENVIRONMENT) python scripts/write_lock.py requirements/lock_$(or $(LOCK),default).txt

clean:  ## remove what was built and produced, keep the virtual environment
	rm -rf build outputs site ros2_ws/build* ros2_ws/install* ros2_ws/log* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name .venv\* -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

distclean: clean  ## remove the virtual environments as well
	rm -rf .venv .venv-*
