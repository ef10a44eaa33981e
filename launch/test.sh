#!/usr/bin/env bash
# Sets up .venv with the test tools on first use, then runs pytest with the given
# arguments. Without any: the fast tests; with -m "": all of them. A test file is one
# process's, one process a core and four at most; -n 0 runs all in this one.
set -euo pipefail

# shellcheck source=launch/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

set_up_tests
cd "${root:?}"
exec .venv/bin/python -m pytest -n auto --maxprocesses=4 --dist=loadfile "$@"
