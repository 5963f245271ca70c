#!/usr/bin/env bash
# Checks Titrate on a machine with one GPU in less than eight minutes. benchmarks/gpu.py describes the checks.
#
#   [PYTHON=python3] [WHEELS=folder] benchmarks/gpu.sh [--smallest] [--check NAME] [--check …]
# smallest: --smallest --check speed
#
# The script needs no network, no MLflow, and no installation of Titrate. WHEELS is a folder with wheels of missing
# packages, for instance hydra-core, omegaconf, antlr4-python3-runtime and packaging. They are installed into a temporary
# folder.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
modules=$(mktemp -d)
trap 'rm -rf "$modules"' EXIT
if [ -n "${WHEELS:-}" ]; then
  "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --target "$modules" "$WHEELS"/*.whl
fi
PYTHONPATH=$PWD:$modules${PYTHONPATH:+:$PYTHONPATH} "$python" benchmarks/gpu.py "$@"
