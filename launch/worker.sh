#!/usr/bin/env bash
# What tpu_vm.sh has every worker of a TPU slice do, in the copy of the checkout that it
# sent there:
#   worker.sh set-up        stop what ran before, install Python and the requirements
#   worker.sh run [flags]   start cdcd_jax.main, or join it if it runs; end with its code
# The run does not hang on the connection: gcloud repeats a command whose connection broke.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
base="$(dirname "$here")"

alive() { # the run whose folder is $1
  [[ -e "$1/pid" ]] && grep -qs stoppable.sh "/proc/$(< "$1/pid")/cmdline"
}

stop_earlier() {
  local folder pid
  for folder in "$base"/*/; do
    if [[ "$folder" -ef "$here" || ! -e "$folder/launch/worker.sh" ]]; then
      continue
    fi
    if alive "$folder"; then
      pid="$(< "$folder/pid")"
      printf 'launch: the run in %s saves and stops\n' "$folder" >&2
      kill -TERM "$pid"
      for _ in {1..600}; do
        alive "$folder" || break
        sleep 1
      done
      ! alive "$folder" || kill -KILL -- "-$(ps -o pgid= -p "$pid" | tr -d ' ')"
    fi
    rm -rf "$folder"
  done
}

# The VM's own Python is 3.10 on many images: uv brings another.
set_up() {
  stop_earlier
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --user --quiet --upgrade uv
  [[ -x "$base/venv/bin/python" ]] ||
    python3 -m uv venv --quiet --python 3.12 "$base/venv"
  python3 -m uv pip install --quiet --python "$base/venv/bin/python" \
    -r "$here/requirements.txt" 'jax[tpu]' gcsfs
}

start() {
  cd "$here"
  export CDCD_JAX_HOSTS=auto
  # shellcheck disable=SC2016
  setsid nohup bash -c '(echo $BASHPID > pid; exec launch/stoppable.sh "$@") &
    wait $!; echo $? > code.new; mv code.new code' \
    worker "$base/venv/bin/python" -m cdcd_jax.main "$@" > log 2>&1 < /dev/null &
  while [[ ! -s pid ]]; do
    [[ -e "$here" ]] || exit 143 # a later run removed it
    sleep 0.1
  done
}

join() {
  tail -n "$1" -f --pid="$(< "$here/pid")" "$here/log"
  for _ in {1..50}; do
    [[ ! -e "$here/code" ]] || exit "$(< "$here/code")"
    [[ -e "$here" ]] || break # a later run removed it
    sleep 0.1
  done
  exit 143 # the machine went down and took the run with it
}

case "${1:-}" in
  set-up) set_up ;;
  run)
    if [[ -e "$here/pid" ]]; then
      join 20
    fi
    : > "$here/log"
    start "${@:2}"
    join +1
    ;;
  *)
    sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 2
    ;;
esac
