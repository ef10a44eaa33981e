#!/usr/bin/env bash
# Sets up .venv with the test tools on first use, then runs pytest with the given
# arguments. Without any: the fast tests; with -m "": all of them.
set -euo pipefail

# shellcheck source=launch/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

set_up_tests
cd "${root:?}"
exec .venv/bin/python -m pytest "$@"
