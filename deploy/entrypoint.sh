#!/usr/bin/env bash
# What `docker run IMAGE COMMAND` runs: checks the volumes, then lets the script of COMMAND take the
# place of this process, so that signals reach it.
set -euo pipefail

usage() {
  cat <<'END'
usage: docker run --rm -v "$PWD:/work" -v DATA:/data IMAGE COMMAND [FLAGS]

  train        train.py: makes runs/<model>/<n>
  eval         eval.py: accuracy of a run or of a frozen graph
  freeze       freeze_graph.py: makes trained_models/<model>.pb
  label        label_image.sh: says what is on images
  info         info.py: parameters and operations of models
  cluster      train_cluster.py: one task of a cluster
  data         get_data.py: fetches CIFAR-10 into /data/cifar10
  tensorboard  curves of the runs, on port 6006

COMMAND --help lists its flags. Paths are relative to /work. /data has cifar10/ with
the six .bin files, and can be read-only but for `data`.

exit codes: 0 done, 1 failed, 2 usage, 143 stopped by SIGTERM after saving
END
}

fail() { echo "permafrost: $2" >&2; exit "$1"; }

given() {  # whether flag --$1 is among the arguments after it
  local name=$1 argument
  shift
  for argument in "$@"; do
    case $argument in --"$name"|--"$name"=*|-"$name"|-"$name"=*) return 0 ;; esac
  done
  return 1
}

value_of() {  # the value of flag --$1 among the arguments from the third on; else $2
  local name=$1 value=$2
  shift 2
  while [ $# -gt 0 ]; do
    case $1 in
      --"$name"=*|-"$name"=*) value=${1#*=} ;;
      --"$name"|-"$name") value=${2:-$value} ;;
    esac
    shift
  done
  printf '%s\n' "$value"
}

must_write() {  # $1 is what will be made: the directory for it is what must be there
  local there=$1 owner
  while [ ! -e "$there" ]; do there=$(dirname "$there"); done
  [ ! -w "$there" ] || return 0
  owner=$(stat -c %u "$there")
  there=$(realpath "$there")
  [ "$owner" != "$(id -u)" ] || fail 1 "$there cannot be written by its own user $owner: mount it\
 without :ro, or make it writable"
  fail 1 "$there belongs to user $owner, and user $(id -u) may not write to it: give docker run\
 --user \"\$(id -u):\$(id -g)\" where that is you, or mount a directory that user $(id -u) may write to"
}

must_have_data() {
  ! given data_dir "$@" && ! given data_set "$@" && [ ! -d "$PERMAFROST_DATA/cifar10" ] || return 0
  # a run that exists says in its config.json on what it is trained
  if given resume "$@" && { ! given run "$@" || [ -e "$run/config.json" ]; }; then return; fi
  fail 1 "no CIFAR-10 in $PERMAFROST_DATA: mount the directory in which cifar10/ has the .bin files,\
 -v DIR:$PERMAFROST_DATA:ro, or fetch them into it once: docker run -v DIR:$PERMAFROST_DATA IMAGE data"
}

is_task() {  # $1: a job; whether this task of a cluster is one of them
  local job=$1
  shift
  [ "$(value_of job_name '' "$@")" = "$job" ] ||
    [[ ${TF_CONFIG:-} =~ \"type\":\ *\"$job\" ]]
}

pass_signals_to() {  # a program that has no handlers: as process 1 it would ignore them
  local child code signalled interrupted=
  "$@" &
  child=$!
  trap 'signalled=1; kill -TERM "$child" 2>/dev/null || true' TERM
  trap 'signalled=1; interrupted=1; kill -TERM "$child" 2>/dev/null || true' INT
  # a signal ends the wait too: then wait again (bash remembers the code of one that has ended)
  while signalled=; code=0; wait "$child" || code=$?; [ -n "$signalled" ]; do :; done
  [ -z "$interrupted" ] || code=130
  exit "$code"
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${PERMAFROST_DATA:=/data}"
command=${1:-help}
[ $# = 0 ] || shift

if ! given help "$@"; then
  run=$(value_of run "$(value_of log_dir runs "$@")" "$@")
  case $command in
    train) must_write "$run"; must_have_data "$@" ;;
    cluster)  # servers read no data; the first worker alone writes the run
      is_task ps "$@" || must_have_data "$@"
      if is_task worker "$@" && [ "$(value_of task_index '' "$@")" = 0 ] || is_task chief "$@"; then
        must_write "$run"
      fi ;;
    eval) given graph "$@" || must_write "$run" ;;
    freeze) must_write "$(value_of output trained_models "$@")" ;;
    data) must_write "$(value_of data_dir "$PERMAFROST_DATA" "$@")" ;;
  esac
fi

python() { exec "$root/.venv/default/bin/python" "$root/$1" "${@:2}"; }
case $command in
  train) python train.py "$@" ;;
  eval) python eval.py "$@" ;;
  freeze) python freeze_graph.py "$@" ;;
  info) python info.py "$@" ;;
  cluster) python train_cluster.py "$@" ;;
  data) python tools/get_data.py "$@" ;;
  tensorboard) exec "$root/.venv/default/bin/tensorboard" --logdir runs --host 0.0.0.0 "$@" ;;
  label)
    # one that was frozen here comes before that of the same name in the image
    if [ $# -gt 0 ] && [ -e "trained_models/$1.pb" ]; then
      set -- "trained_models/$1.pb" "${@:2}"
    fi
    pass_signals_to "$root/label_image.sh" "$@" ;;
  help|-h|--help) usage ;;
  *)
    echo "permafrost: no command '$command'" >&2
    usage >&2
    exit 2 ;;
esac
