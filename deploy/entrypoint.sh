#!/usr/bin/env bash
# The entry point of the image: `docker run IMAGE COMMAND`. The script of COMMAND replaces this
# process, so that it receives the signals.
set -euo pipefail

usage() {
  cat <<'END'
usage: docker run --rm -v "$PWD:/work" -v DATA:/data IMAGE COMMAND [FLAGS]

  train        train.py: trains a model in runs/<model>/<n>
  eval         eval.py: measures the accuracy of a run or of a frozen graph
  freeze       freeze_graph.py: writes trained_models/<model>.pb
  label        label_image.sh: labels images
  info         info.py: shows parameters and operations of models
  cluster      train_cluster.py: runs one task of a cluster
  data         get_data.py: downloads CIFAR-10 to /data/cifar10
  tensorboard  shows the curves of the runs on port 6006

COMMAND --help lists its flags. Paths are relative to /work. /data contains cifar10/
with the six .bin files. Only `data` writes to /data.

exit codes: 0 done, 1 failed, 2 usage, 143 stopped by SIGTERM after saving
END
}

# The scripts report what fails. These notes add what only the container knows.
check_volume() {  # $1: the folder that COMMAND writes to, if it exists
  local folder=$1
  [ -e "$folder" ] || folder=$PWD
  [ -w "$folder" ] || echo "note: user $(id -u) cannot write to $(realpath "$folder") (owner: user" \
    "$(stat -c %u "$folder")). Mount it without :ro, or add --user \"\$(id -u):\$(id -g)\" to" \
    "docker run." >&2
}
check_data() {
  [ -d "$PERMAFROST_DATA/cifar10" ] || echo "note: $PERMAFROST_DATA has no cifar10/. Mount the" \
    "directory that has it with -v DIR:$PERMAFROST_DATA:ro, or download it once with: docker run" \
    "-v DIR:$PERMAFROST_DATA IMAGE data" >&2
}

# label_image installs no signal handlers, and the kernel does not stop process 1 without one.
run_label_image() {
  "$root/label_image.sh" "$@" &
  child=$!
  stop() { kill -TERM "$child" 2>/dev/null || true; wait "$child" || true; exit "$1"; }
  trap 'stop 143' TERM
  trap 'stop 130' INT
  wait "$child"
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${PERMAFROST_DATA:=/data}"
command=${1:-help}
[ $# = 0 ] || shift
python() { exec "$root/.venv/default/bin/python" "$root/$1" "${@:2}"; }
case "$command $* " in
  *' --help '*|*' -h '*) ;;
  train*|eval*|cluster*) check_volume runs; check_data ;;
  freeze*) check_volume trained_models; check_data ;;
  data*) check_volume "$PERMAFROST_DATA" ;;
esac
case $command in
  train) python train.py "$@" ;;
  eval) python eval.py "$@" ;;
  freeze) python freeze_graph.py "$@" ;;
  info) python info.py "$@" ;;
  cluster) python train_cluster.py "$@" ;;
  data) python tools/get_data.py "$@" ;;
  tensorboard) exec "$root/.venv/default/bin/tensorboard" --logdir runs --host 0.0.0.0 "$@" ;;
  label)
    # a graph frozen in /work is preferred to the one of the same name in the image
    if [ $# -gt 0 ] && [ -e "trained_models/$1.pb" ]; then
      set -- "trained_models/$1.pb" "${@:2}"
    fi
    run_label_image "$@" ;;
  help|-h|--help) usage ;;
  *)
    echo "permafrost: unknown command '$command'" >&2
    usage >&2
    exit 2 ;;
esac
