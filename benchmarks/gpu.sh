#!/usr/bin/env bash
# How fast the agents are on this machine's GPU: benchmarks/gpu.sh [--seconds=60] [...]
# Needs no Launchpad. PYTHON names another interpreter than the project's newest.
set -euo pipefail
cd "$(dirname "$0")/.."
for python in "${PYTHON:-}" .venv-latest/bin/python .venv/bin/python python3; do
    if [[ -n $python ]] && command -v "$python" > /dev/null; then
        exec "$python" -m benchmarks.gpu "$@"
    fi
done
echo 'no Python was found: name one by PYTHON=' >&2
exit 2
