#!/usr/bin/env bash
# Kills runs, and then prolonged ones, at random instants (fifty times each unless a number is given), and compares what
# came of them with runs that nobody killed: parameters to the bit, history, the folder and the points in MLflow.
# Further words go to pytest: `benchmarks/kills.sh 50 -k prolonged`.
# smallest, slow: 1
set -euo pipefail
cd "$(dirname "$0")/.."
TITRATE_KILLS=${1:-50} exec uv run pytest -n0 -s -m slow tests/test_kill.py "${@:2}"
