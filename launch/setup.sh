# shellcheck shell=bash
# Makes .venv with the pinned requirements. Sourced by local.sh and test.sh; sets `root`
# to the repository's folder. PYTHON=/path/to/python chooses the interpreter.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

fail() {
  printf 'launch: %s\n' "$*" >&2
  exit 1
}

# Succeeds if $1 is a Python that we test with and that can make environments.
usable_python() {
  "$1" -c '
import sys, venv, ensurepip
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' > /dev/null 2>&1
}

find_python() {
  local candidate
  if [[ -n "${PYTHON:-}" ]]; then
    usable_python "$PYTHON" || fail "found PYTHON=$PYTHON; expected a Python 3.11," \
      "3.12 or 3.13 with venv and ensurepip. Name another one, or unset PYTHON."
    printf '%s\n' "$PYTHON"
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11; do
    if usable_python "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  fail "found no usable Python; expected 3.11, 3.12 or 3.13 with venv and ensurepip." \
    "Install one (Debian: apt-get install python3 python3-venv), or set PYTHON to it."
}

# Makes .venv unless there is a working one; `.incomplete` marks one in the making.
make_venv() {
  local python
  if [[ -e "$root/.venv/.incomplete" ]]; then
    rm -rf "$root/.venv"
  elif "$root/.venv/bin/python" -c '' > /dev/null 2>&1; then
    return
  fi
  python="$(find_python)"
  mkdir -p "$root/.venv"
  touch "$root/.venv/.incomplete"
  "$python" -m venv "$root/.venv" ||
    fail "could not make $root/.venv with $python. Read the lines above, or set PYTHON."
}

# Installs the requirements file $1 unless the stamp $2 says that it is installed.
install_once() {
  local stamp="$root/.venv/$2" sum start=$SECONDS
  sum="$(cksum < "$1")"
  if [[ -f "$stamp" && "$(< "$stamp")" == "$sum" ]]; then
    return
  fi
  rm -f "$stamp"
  printf 'launch: installing %s into .venv ... ' "${1#"$root"/}" >&2
  "$root/.venv/bin/python" -m pip install -qq --disable-pip-version-check \
    -r "$1" || fail "pip failed. Read the lines above; the same command tries again."
  printf 'done in %d s\n' "$((SECONDS - start))" >&2
  printf '%s\n' "$sum" > "$stamp"
}

set_up() {
  make_venv
  install_once "$root/requirements.txt" .installed
  rm -f "$root/.venv/.incomplete"
}

set_up_tests() {
  set_up
  install_once "$root/launch/requirements-test.txt" .installed-test
}
