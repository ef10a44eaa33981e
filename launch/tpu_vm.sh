#!/usr/bin/env bash
# Trains on a Cloud TPU slice: asks for it (queued resources), copies the checkout to all
# workers, runs the same command on each, and asks again when the slice is taken away.
#
#   launch/tpu_vm.sh --name=NAME --zone=ZONE --type=TYPE --version=VERSION \
#     [--project=PROJECT] [--spot] [--delete] [--dry-run] -- FLAGS
#
#   --name     of the slice, e.g. run-1                                (or TPU_NAME)
#   --zone     e.g. us-west4-a                                         (or TPU_ZONE)
#   --type     accelerator type, e.g. v5litepod-16, v6e-64             (or TPU_TYPE)
#   --version  runtime version, e.g. v2-alpha-tpuv5-lite for v5e,
#              v2-alpha-tpuv6e for v6e                                 (or TPU_VERSION)
#   --project  default: that of gcloud's configuration                 (or TPU_PROJECT)
#   --spot     cheaper; may be taken away at any time
#   --delete   delete the slice at the end, whether or not the run succeeded
#   --dry-run  print the commands, run none
#   FLAGS      of cdcd_jax.main, with --config=... and --workdir=gs://...
#
# Ends with 0 when the run is finished, with its exit code when it fails. Interrupted here,
# the run goes on there; the same command stops it, with a save, and resumes it.
set -euo pipefail

# shellcheck source=launch/cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

name="${TPU_NAME:-}" zone="${TPU_ZONE:-}" type="${TPU_TYPE:-}"
version="${TPU_VERSION:-}" project="${TPU_PROJECT:-}"
delete=no spot=no
poll="${TPU_POLL_SECONDS:-30}"

tpus() {
  run gcloud compute tpus "$@" "--zone=$zone" ${project:+"--project=$project"}
}

# Sets `state`; "" if there is no such resource.
look_up() {
  local list format='csv[no-heading](name.basename(),state.state)'
  list="$(tpus queued-resources list "--format=$format")" || return
  [[ "$dry_run" == no ]] || printf '%s\n' "$list"
  state="$(sed -n "s/^$name,//p" <<< "$list")"
}

create() {
  say "asking for $name, $type in $zone"
  local more=()
  [[ "$spot" == no ]] || more+=(--spot)
  tpus queued-resources create "$name" "--node-id=$name" "--accelerator-type=$type" \
    "--runtime-version=$version" "${more[@]}"
}

delete_slice() {
  say "deleting $name"
  tpus queued-resources delete "$name" --force --quiet
}

on_all_workers() {
  tpus tpu-vm ssh "$name" --worker=all "--command=$1"
}

# Copies, sets up and runs; succeeds if the run is finished.
attempt() {
  local archive="${TMPDIR:-/tmp}/cdcd_jax-$name.tar.gz" folder unpack worker
  folder="cdcd_jax/$(date -u +%Y%m%d-%H%M%S)" # in the home of each worker
  unpack="mkdir -p $folder && tar -xzf cdcd_jax.tar.gz -C $folder"
  worker="bash $folder/launch/worker.sh"
  say "copying the checkout"
  run tar -czf "$archive" -C "$root" --exclude=__pycache__ \
    cdcd_jax configs launch requirements.txt &&
    tpus tpu-vm scp "$archive" "$name:cdcd_jax.tar.gz" --worker=all &&
    say "setting up" &&
    on_all_workers "$unpack && $worker set-up" &&
    say "running" &&
    on_all_workers "$worker run $(quoted "${program[@]}")"
}

# After an attempt that ended with code $1: returns 0 if it is to be repeated. A slice
# that is taken away may say so minutes after its workers have failed.
interrupted() {
  local _
  case "$1" in
    2) return 1 ;;         # bad flags
    143 | 255) return 0 ;; # stopped by a signal; connection lost
  esac
  for _ in 1 2 3 4 5 6; do
    look_up || state=UNKNOWN
    [[ "$state" == ACTIVE || "$state" == UNKNOWN ]] || return 0
    sleep "$poll"
  done
  return 1
}

# Before the first attempt an error of gcloud ends the script, later it is waited out.
gcloud_failed() {
  [[ "$attempts" != 0 ]] || fail "gcloud could not $1. Read the lines above; the usual" \
    "remedies are gcloud auth login, --project, another zone or more quota."
  sleep "$poll"
}

# Repeats until the run is finished or fails by itself; returns its code.
watch() {
  local code failed=0 last="" attempts=0
  while true; do
    if ! look_up; then
      gcloud_failed "list the queued resources"
      continue
    fi
    [[ "$state" == "$last" || -z "$state" ]] || say "$name is $state"
    last="$state"
    case "$state" in
      "") create || gcloud_failed "ask for $name" ;;
      ACTIVE)
        failed=0 code=0
        attempts=$((attempts + 1))
        attempt || code=$?
        ((code != 0)) || return 0
        interrupted "$code" || return "$code"
        say "interrupted (exit code $code); going on"
        ;;
      FAILED | SUSPENDED)
        [[ "$state" == SUSPENDED ]] || ((++failed < 3)) ||
          fail "$name failed three times before it was there. The reason: gcloud" \
            "compute tpus queued-resources describe $name --zone=$zone"
        delete_slice || sleep "$poll"
        ;;
      *) sleep "$poll" ;;
    esac
  done
}

main() {
  local code=0 program=()
  read_flags "name zone type version project" "spot delete" "$@"
  need_flags "--name=$name" "--zone=$zone" "--type=$type" "--version=$version"
  check_name "$name"
  check_program_flags "${program[@]}"
  need_program gcloud "https://cloud.google.com/sdk/docs/install"
  if [[ "$dry_run" == yes ]]; then
    look_up
    create
    attempt
  else
    watch || code=$?
  fi
  if [[ "$delete" == yes ]]; then
    delete_slice
  else
    say "$name is not deleted, and costs money until it is"
  fi
  ((code == 0)) || say "the run failed with exit code $code. Read the lines above."
  exit "$code"
}

main "$@"
