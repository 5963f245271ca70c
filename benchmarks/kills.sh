#!/usr/bin/env bash
# Kills runs at random instants (fifty times unless a number is given) and compares what came of them with a run that
# nobody killed: parameters to the bit, history, and the points in MLflow.
# smallest, slow: 1
set -euo pipefail
cd "$(dirname "$0")/.."
TITRATE_KILLS=${1:-50} exec uv run pytest -n0 -s tests/test_kill.py
