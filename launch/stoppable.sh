#!/usr/bin/env bash
# Runs the given command and hands SIGTERM on to it. A run that was stopped saves and ends
# with 0, like one that is finished; here it ends with 143, so that whoever started it
# knows that there is more to do.
set -uo pipefail

child=""
stopped=no
trap 'stopped=yes; [[ -z "$child" ]] || kill -TERM "$child"' TERM
"$@" &
child=$!
# told while it was started, when there was nobody to hand it on to
[[ "$stopped" == no ]] || kill -TERM "$child"
while kill -0 "$child" 2> /dev/null; do
  wait "$child" # a signal ends it early
done
wait "$child"
code=$?
if [[ "$stopped" == yes && "$code" == 0 ]]; then
  code=143
fi
exit "$code"
