#!/usr/bin/env bash
# Trains, evaluates or generates on this machine: sets up .venv on first use, then runs
# cdcd_jax.main with the given flags. Without --config the config is configs/digits.py.
set -euo pipefail

# shellcheck source=launch/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

has_config=no
for argument in "$@"; do
  case "$argument" in
    --config | --config=* | -config | -config=*) has_config=yes ;;
  esac
done
if [[ "$has_config" == no ]]; then
  set -- --config=configs/digits.py "$@"
fi

set_up
cd "${root:?}"
exec .venv/bin/python -m cdcd_jax.main "$@"
