#!/usr/bin/env bash
# The entry point of the image: `docker run IMAGE COMMAND` runs `permafrost COMMAND`. Adds what only
# the container knows. The script of COMMAND replaces this process, so that it receives the signals.
set -euo pipefail
unset CDPATH  # cd would look for directories there, and print them

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${PERMAFROST_DATA:=/data}"
# The command prefix of messages: to paste after `docker run ... IMAGE`, or into the container.
export PERMAFROST_COMMAND=${PERMAFROST_COMMAND:-permafrost}

usage() {
  cat <<'END'
usage: docker run --rm -v "$PWD:/work" -v DATA:/data IMAGE COMMAND [FLAGS]
END
  "$root/bin/permafrost" help | sed 1d
  cat <<'END'

Paths are relative to /work. /data contains cifar10/ with the six .bin files; `data`
writes to it, and so does the first use of another runtime (TFLite, ONNX, OpenVINO).
END
}

# The flags that do not take the next word as their value.
booleans=' allow_public deterministic dry_run evaluator grid lr_range_test overwrite plot resume '
# Sets $output, the directory that a command writes to: named by a flag, or else $1.
find_output() {
  local word name flag='' positional=()
  output=$1
  for word in "${@:2}"; do
    case $word in -[!-]*) word=-$word ;; esac  # -run is --run
    case $word in
      --*=*) flag=${word%%=*} ;;
      -*)
        flag=$word name=${word#--}
        case $booleans in *" $name "*|*" ${name#no} "*) flag='' ;; esac
        continue ;;
    esac
    case $flag in
      --run|--log_dir|--output) output=${word#"$flag="} ;;
      --data_dir) [ "$command" != data ] || output=${word#"$flag="} ;;
      '') positional+=("$word") ;;
    esac
    flag=
  done
  case $command in
    pack) output=${positional[1]-$PWD} ;;
    sweep) output=${positional[0]-$PWD} ;;
  esac
  output=$(realpath -m -- "$output")
}

# Is $output on a volume or another mount, and not on the container's own file system?
outlives_container() {
  local point
  while read -r _ _ _ _ point _; do
    point=$(printf %b "$point")  # a space is \040 there
    case $point in /) ;; *) case $output/ in "$point"/*) return ;; esac ;; esac
  done < /proc/self/mountinfo
  return 1
}
check_volume() {  # $1: the volume to add; the rest: as for find_output
  local volume=$1
  find_output "${@:2}"
  if ! outlives_container; then
    case $output/ in "$volume"/*) ;; *) volume=$output ;; esac
    echo "permafrost: $output is not on a volume, so docker run --rm would delete it with the" \
      "container. Add -v DIR:$volume to docker run. To discard the results, use --tmpfs" \
      "$volume." >&2
    exit 2
  fi
  check_writable "$output"
}
note_if_lost() {
  outlives_container || echo "note: $output is not on a volume: files that this command writes" \
    'there are lost with the container' >&2
}
check_writable() {  # $1: a directory, which may not exist yet
  local folder=$1
  while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
  [ -w "$folder" ] || echo "note: user $(id -u) cannot write to $folder (owner: user" \
    "$(stat -c %u "$folder")). Mount it without :ro, or add --user \"\$(id -u):\$(id -g)\" to" \
    "docker run." >&2
}
check_data() {
  case " $* " in *' --data'*) return ;; esac  # --dataset or --data_dir
  [ -d "$PERMAFROST_DATA/cifar10" ] || echo "note: $PERMAFROST_DATA has no cifar10/. Mount the" \
    "directory that has it with -v DIR:$PERMAFROST_DATA:ro, or download it once with: docker run" \
    "-v DIR:$PERMAFROST_DATA IMAGE data" >&2
}

# label_image installs no signal handlers, and the kernel does not stop process 1 without one.
run_label_image() {
  stop() {  # first, for a signal may come at once
    [ -z "${!-}" ] || { kill -TERM "$!" 2>/dev/null || true; wait "$!" || true; }
    exit "$1"
  }
  trap 'stop 143' TERM
  trap 'stop 130' INT
  "$root/bin/permafrost" label "$@" <&0 &  # bash gives a background job no input
  wait "$!"
}

command=${1:-help}
[ $# = 0 ] || shift
runs=$PWD
[ ! -e runs ] || runs=$PWD/runs
case "$command $* " in
  *' --help '*|*' -h '*) ;;
  train\ *|sweep\ *|local_cluster\ *) check_volume "$PWD" "$runs" "$@"; check_data "$@" ;;
  samples\ *) check_volume "$PWD" "$PWD" "$@"; check_data "$@" ;;
  pack\ *) check_volume "$PWD" "$PWD" "$@" ;;
  data\ *) check_volume "$PERMAFROST_DATA" "$PERMAFROST_DATA" "$@" ;;
  eval\ *) check_writable "$runs" ;;  # the run says which dataset
  freeze\ *) find_output "$runs" "$@"; note_if_lost; check_writable "$runs" ;;
  cluster\ *) find_output "$runs" "$@"; note_if_lost; check_writable "$output"; check_data "$@" ;;
esac
case $command in
  help|-h|--help) usage ;;
  label)
    # a graph frozen in /work is preferred to the one of the same name in the image
    if [ $# -gt 0 ] && [ -e "trained_models/$1.pb" ]; then
      set -- "trained_models/$1.pb" "${@:2}"
    fi
    run_label_image "$@" ;;
  tensorboard)  # --bind_all: for docker run -p
    case " $* " in *' --bind_all '*|*' --host'*) ;; *) set -- --bind_all "$@" ;; esac
    exec "$root/bin/permafrost" tensorboard "$@" ;;
  *) exec "$root/bin/permafrost" "$command" "$@" ;;
esac
