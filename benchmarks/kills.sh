#!/usr/bin/env bash
# Kills runs, and extensions of finished runs, at random times, resumes them, and compares them with uninterrupted runs:
# parameters bit by bit, the history, the files of the run folder, and the metrics in MLflow.
#
#   benchmarks/kills.sh [kills of each kind, by default 50] [argument of pytest ...]
# smallest: 1
set -euo pipefail
cd "$(dirname "$0")/.."
TITRATE_KILLS=${1:-50} exec uv run pytest -n0 -s -m slow tests/test_kill.py "${@:2}"
