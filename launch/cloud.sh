# shellcheck shell=bash
# What tpu_vm.sh and gke.sh share. Sets `root` to the repository's folder.

# shellcheck disable=SC2034
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
dry_run=no

fail() {
  printf 'launch: %s\n' "$*" >&2
  exit 1
}

say() {
  printf 'launch: %s\n' "$*" >&2
}

# Prints the comment that opens the calling script.
usage() {
  sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0"
}

# The words of a command, as a shell would read them.
quoted() {
  local word line=""
  for word in "$@"; do
    [[ "$word" =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word="${word@Q}"
    line+=" $word"
  done
  printf '%s\n' "${line# }"
}

# Runs a command, or prints it in a dry run.
run() {
  if [[ "$dry_run" == yes ]]; then
    quoted "$@"
  else
    "$@"
  fi
}

# Reads a script's flags into variables of their names (--dry-run: dry_run), and what
# follows -- into `program`. $1: names of the flags with a value; $2: of those without,
# whose variables become yes, beside --dry-run.
read_flags() {
  local name_of_flag with_value=" $1 " alone=" $2 dry-run "
  shift 2
  while (($# > 0)); do
    case "$1" in
      --help | -h)
        usage
        exit 0
        ;;
      --)
        # shellcheck disable=SC2034
        program=("${@:2}")
        return
        ;;
    esac
    name_of_flag="${1%%=*}"
    name_of_flag="${name_of_flag#--}"
    if [[ "$1" == --+([a-z-])=* && "$with_value" == *" $name_of_flag "* ]]; then
      printf -v "${name_of_flag//-/_}" %s "${1#*=}"
    elif [[ "$1" == --+([a-z-]) && "$alone" == *" $name_of_flag "* ]]; then
      printf -v "${name_of_flag//-/_}" yes
    else
      fail "unknown flag $1. $0 --help lists ours; those of the program follow --."
    fi
    shift
  done
}

# Fails unless every one of the flags (--flag=value ...) has a value.
need_flags() {
  local flag missing=()
  for flag in "$@"; do
    [[ -n "${flag#*=}" ]] || missing+=("${flag%%=*}")
  done
  ((${#missing[@]} == 0)) ||
    fail "missing: ${missing[*]}. Give each as --flag=value; $0 --help explains them."
}

check_name() {
  [[ "$1" =~ ^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$ ]] ||
    fail "found --name=$1; expected up to 40 small letters, digits and hyphens, with a" \
      "letter first."
}

need_program() {
  [[ "$dry_run" == yes ]] || command -v "$1" > /dev/null ||
    fail "found no $1 on PATH. Install it ($2), or look at the commands with --dry-run."
}

# The flags of cdcd_jax.main must name a config, and a work directory that outlives
# the machines.
check_program_flags() {
  local flag config="" workdir=""
  for flag in "$@"; do
    case "$flag" in
      --config=?*) config=yes ;;
      --workdir=gs://?*) workdir=yes ;;
    esac
  done
  [[ "$config$workdir" == yesyes ]] ||
    fail "after -- expected the flags of cdcd_jax.main, among them --config=... and" \
      "--workdir=gs://... (the machines' disks go with them); found: $(quoted "$@")"
}
