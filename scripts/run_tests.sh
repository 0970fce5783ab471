#!/bin/bash
# Lint, format, types, tests: everything that must hold before a change is merged. Arguments go to pytest.
#   make test                            all of it
#   make test ARGS="tests/core -k poses" lint, and these tests alone
# Tests marked `realtime` drive processes at the robot's pace and run alone; the others share the cores.
set -euo pipefail
cd "$(dirname "$0")/.."

# One thread for each worker: several test processes on few cores otherwise spend their time waiting for each other.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

echo "== ruff"
ruff check .
ruff format --check .
echo "== mypy"
mypy
echo "== pytest"
if [ $# -gt 0 ]; then
    exec python -m pytest "$@"
fi
status=0
python -m pytest -m "not realtime" -n "$(nproc)" --dist loadscope || status=$?
python -m pytest -m realtime || status=$?
exit "$status"
