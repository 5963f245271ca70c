#!/usr/bin/env bash
# Tries Titrate on a machine with one GPU, in less than eight minutes: see benchmarks/gpu.py, which takes the same words.
#
#   [PYTHON=python3] [WHEELS=folder] benchmarks/gpu.sh [--smallest] [--check NAME] [--check …]
# smallest, slow: --smallest --check speed
#
# It needs no network, no MLflow, and no installation of Titrate. WHEELS is a folder of wheels that the machine lacks
# (hydra-core, omegaconf, antlr4-python3-runtime, packaging); they are installed for this call alone.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
modules=$(mktemp -d)
trap 'rm -rf "$modules"' EXIT
if [ -n "${WHEELS:-}" ]; then
  "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --target "$modules" "$WHEELS"/*.whl
fi
PYTHONPATH=$PWD:$modules${PYTHONPATH:+:$PYTHONPATH} "$python" benchmarks/gpu.py "$@"
