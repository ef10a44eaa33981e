#!/usr/bin/env bash
# Trains on GKE, one pod a host, as a JobSet (jobset.yaml) that starts again by itself when
# its nodes are taken away. Uses the cluster that kubectl is set to.
#
#   launch/gke.sh --name=NAME --image=IMAGE --tpu=TYPE --topology=AxB [more] -- FLAGS
#   launch/gke.sh --name=NAME --image=IMAGE --gpu=TYPE --gpus=N --hosts=N [more] -- FLAGS
#
#   --name      of the JobSet, e.g. run-1
#   --image     e.g. us-docker.pkg.dev/PROJECT/REPO/cdcd_jax:tpu
#   --build     build the image (launch/Dockerfile) and push it first
#   --tpu       e.g. tpu-v5-lite-podslice (v5e), tpu-v6e-slice, tpu-v5p-slice
#   --topology  of the slice, e.g. 4x4
#   --chips     of one host; default 4, or the topology's if it has fewer
#   --gpu       e.g. nvidia-h100-80gb; --gpus: of one host; --hosts: how many
#   --spot      on spot nodes
#   --namespace=default, --service-account=default, --max-restarts=10 (after failures;
#               restarts after preemptions are unlimited), --grace-seconds=300 (to save)
#   --replace   delete the JobSet of that name first; its run saves, the new one resumes
#   --dry-run   print the commands and the manifest, run none
#   FLAGS       of cdcd_jax.main, with --config=... and --workdir=gs://...
set -euo pipefail

# shellcheck source=launch/cloud.sh
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"

name="" image="" tpu="" topology="" chips="" gpu="" gpus="" hosts=""
namespace=default service_account=default max_restarts=10 grace_seconds=300
build=no replace=no spot=no

check_flags() {
  need_flags "--name=$name" "--image=$image"
  check_name "$name"
  case "${tpu:+tpu}${gpu:+gpu}" in
    tpu) need_flags "--topology=$topology" ;;
    gpu)
      need_flags "--gpus=$gpus" "--hosts=$hosts"
      [[ "$gpus$hosts" =~ ^[0-9]+$ ]] ||
        fail "found --gpus=$gpus --hosts=$hosts; expected whole numbers."
      ;;
    *) fail "expected either --tpu=TYPE or --gpu=TYPE. $0 --help explains them." ;;
  esac
  check_program_flags "${program[@]}"
}

# Sets `hosts` and `chips` from the topology.
count_hosts() {
  [[ "$topology" =~ ^[0-9]+(x[0-9]+)+$ ]] ||
    fail "found --topology=$topology; expected numbers joined by x, such as 4x4."
  local all=$((${topology//x/*}))
  chips="${chips:-$((all < 4 ? all : 4))}"
  ((chips > 0 && all % chips == 0)) ||
    fail "$all chips of --topology=$topology are not a multiple of --chips=$chips a host."
  hosts=$((all / chips))
}

# Text as a JSON string, which is YAML too.
json() {
  local text="${1//\\/\\\\}"
  text="${text//\"/\\\"}"
  text="${text//$'\n'/\\n}"
  printf '"%s"' "${text//$'\t'/\\t}"
}

# The words as a JSON list. Kubernetes would replace $(NAME) in them.
json_list() {
  local word list=""
  for word in "$@"; do
    list+=", $(json "${word//\$(/\$\$(}")"
  done
  printf '[%s]' "${list#, }"
}

# Sets what differs between TPU and GPU: `selector`, `limits`, `env`.
describe_hosts() {
  local index="metadata.annotations['batch.kubernetes.io/job-completion-index']"
  if [[ -n "$tpu" ]]; then
    selector="\"cloud.google.com/gke-tpu-accelerator\": $(json "$tpu")"
    selector+=", \"cloud.google.com/gke-tpu-topology\": $(json "$topology")"
    limits="{\"google.com/tpu\": $chips}"
    # GKE tells each pod of the others
    env='{name: CDCD_JAX_HOSTS, value: auto}'
    ((hosts > 1)) || env=""
  else
    selector="\"cloud.google.com/gke-accelerator\": $(json "$gpu")"
    limits="{\"nvidia.com/gpu\": $gpus}"
    env='{name: LD_LIBRARY_PATH, value: /usr/local/nvidia/lib64}' # GKE's driver
    if ((hosts > 1)); then
      env+=", {name: JAX_COORDINATOR_ADDRESS, value: \"$name-hosts-0-0.$name:8482\"}"
      env+=", {name: JAX_NUM_PROCESSES, value: \"$hosts\"}"
      env+=", {name: JAX_PROCESS_ID, valueFrom: {fieldRef: {fieldPath: \"$index\"}}}"
    fi
  fi
  [[ "$spot" == no ]] || selector+=', "cloud.google.com/gke-spot": "true"'
}

# Puts $2 in the place of ${$1} in `text`.
put() {
  text="${text//"\${$1}"/"$2"}"
}

manifest() {
  local text
  text="$(grep -v '^#' "$root/launch/jobset.yaml")"
  put NAME "$name"
  put NAMESPACE "$namespace"
  put SERVICE_ACCOUNT "$service_account"
  put MAX_RESTARTS "$max_restarts"
  put GRACE_SECONDS "$grace_seconds"
  put HOSTS "$hosts"
  put NODE_SELECTOR "{$selector}"
  put LIMITS "$limits"
  put ENV "[$env]"
  put IMAGE "$(json "$image")"
  put ARGS "$(json_list "${program[@]}")" # last: it may hold anything
  printf '%s\n' "$text"
}

build_image() {
  local accelerator="${tpu:+tpu}"
  run docker build -f "$root/launch/Dockerfile" -t "$image" \
    --build-arg "ACCELERATOR=${accelerator:-cuda}" "$root"
  run docker push "$image"
}

apply() {
  if [[ "$dry_run" == yes ]]; then
    printf "kubectl apply -f - <<'MANIFEST'\n%s\nMANIFEST\n" "$(manifest)"
    return
  fi
  kubectl get crd jobsets.jobset.x-k8s.io > /dev/null ||
    fail "found no JobSet in the cluster. Read the lines above; JobSet is installed as" \
      "https://jobset.sigs.k8s.io/docs/installation says."
  manifest | kubectl apply -f - ||
    fail "could not apply the manifest. Read the lines above; a JobSet of that name" \
      "that is there already is replaced with --replace."
  local label="jobset.sigs.k8s.io/jobset-name=$name"
  say "the log: kubectl logs -n $namespace -f -l $label"
  say "to stop: kubectl delete jobset -n $namespace $name"
}

main() {
  local program=() selector limits env
  read_flags "name image tpu topology chips gpu gpus hosts namespace service-account \
max-restarts grace-seconds" "build replace spot" "$@"
  check_flags
  [[ -z "$tpu" ]] || count_hosts
  need_program kubectl "https://cloud.google.com/kubernetes-engine/docs/deploy-app-cluster"
  describe_hosts
  if [[ "$build" == yes ]]; then
    need_program docker "https://docs.docker.com/engine/install"
    build_image
  fi
  if [[ "$replace" == yes ]]; then
    run kubectl delete jobset -n "$namespace" "$name" --ignore-not-found --wait
  fi
  apply
}

main "$@"
