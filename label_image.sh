#!/usr/bin/env bash
# Runs label_image, after building it if its sources have changed.
set -euo pipefail
unset CDPATH  # cd would look for directories there, and print them

# How the user started this.
name=${PERMAFROST_COMMAND:+$PERMAFROST_COMMAND label}
: "${name:=./label_image.sh}"

usage() {
  cat <<END
usage: [ENGINE=tf1|tf1-mkl|tf2] $name [GRAPH] [IMAGE...] [-- FLAGS...]

Classifies images (PNG, JPEG or BMP), using TensorFlow from .venv/ENGINE. GRAPH is a
model in trained_models/, a run that freeze_graph.py has frozen, any frozen graph (.pb
or .pbtxt), or a SavedModel directory; or a .tflite or .onnx file, which LiteRT or ONNX
Runtime runs (their environments are built when they are first needed).
If the first argument is an image, GRAPH is tuto. Builds label_image/ first if its sources have changed. Flags after -- go to the
program:

  $name tuto photo.jpg
  $name runs/tuto/1 photo.jpg
  $name some.pb photo.jpg -- --input_mean 128 --input_std 128
  $name squeeze1 -- --batch_file test_batch.bin
  $name squeeze1 -- --benchmark --batch_size 32
  $name squeeze1 -- --runtime openvino --precision bfloat16 --benchmark
  $name squeeze1.pb squeeze1.int8.tflite squeeze1.onnx -- --compare
  $name tuto -- --help

exit codes: 0 done, 1 failed, 2 usage
END
}

fail() { echo "label_image.sh: $2" >&2; exit "$1"; }

[ $# -gt 0 ] || { usage; exit 2; }
case $1 in -h|--help) usage; exit ;; esac
for argument; do  # of a variable that is not set
  [ "$argument" != -- ] || break
  [ -n "$argument" ] || fail 2 'an argument is empty: leave it out, or give it a value'
done
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Prints the frozen graph of the run $1, or fails.
graph_of_run() {
  local graphs=() file command="python ${0%label_image.sh}freeze_graph.py"
  for file in "$1"/*.pb; do  # a teacher is what the run learnt from
    case $file in */teacher.pb) ;; *) graphs+=("$file") ;; esac
  done
  if [ ${#graphs[@]} -gt 1 ]; then fail 2 "$1 has several frozen graphs: name one: ${graphs[*]}"; fi
  [ -z "${PERMAFROST_COMMAND-}" ] || command="$PERMAFROST_COMMAND freeze"
  command="$command --run $(printf %q "$1")"
  [ -e "${graphs[0]-}" ] || fail 1 "$1 is not frozen: freeze it first: $command"
  if [ "$1/train/checkpoint" -nt "${graphs[0]}" ]; then
    echo "note: $1 has been trained on since it was frozen; to freeze it again: $command" >&2
  fi
  echo "${graphs[0]}"
}

is_image() {
  case $(head -c 3 -- "$1" 2>/dev/null | od -An -tx1 | tr -d ' \n') in
    89504e|ffd8ff|424d*) return ;;  # PNG, JPEG, BMP
  esac
  return 1
}

# The program says of a file that is no graph what it is.
graph=$root/trained_models/tuto.pb
case $1 in
  --) ;;
  -*) fail 2 "flags go after --: $name GRAPH IMAGE -- $1" ;;
  *)
    if [ -e "$root/trained_models/$1.pb" ]; then
      graph=$root/trained_models/$1.pb
    elif [ -e "$1/config.json" ] && [ -d "$1/train" ]; then
      graph=$(graph_of_run "${1%/}")
    elif [ -e "$1" ] || [[ $1 == *.pb ]]; then
      graph=$1
    else
      models=$(cd "$root/trained_models" 2>/dev/null && ls ./*.pb 2>/dev/null |
               sed 's/^..//; s/.pb$//' | paste -sd ' ' -) || true
      fail 2 "no graph, run, model or image '$1' (models: ${models:-none, trained_models is empty})"
    fi
    if [[ $graph == "$1" && $1 != *.pb ]] && is_image "$1"; then
      graph=$root/trained_models/tuto.pb
    else
      shift
    fi ;;
esac
[ -e "$graph" ] || fail 1 "$graph: No such file or directory"

# What the program cannot read becomes a frozen graph first.
named=()
if [ -e "$graph/saved_model.pb" ] || [ -e "$graph/saved_model.pbtxt" ] || [[ $graph == *.pbtxt ]]; then
  python=$root/.venv/${ENGINE:-default}/bin/python
  [ -x "$python" ] || fail 1 "no TensorFlow in .venv/${ENGINE:-default}: run make setup"
  folder=$(mktemp -d)
  "$python" "$root/tools/write_graph.py" "$graph" "$folder/graph.pb" >/dev/null ||
    { code=$?; rm -r "$folder"; exit $code; }
  named=("--graph_name=$graph")
  exec {descriptor}< "$folder/graph.pb"  # stays readable
  rm -r "$folder"
  graph=/dev/fd/$descriptor
fi

images=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  case $1 in -*) fail 2 "flags go after --: $name GRAPH IMAGE -- $1" ;; esac
  images+=("$1")
  shift
done
[ $# = 0 ] || shift

# Adds the environment that has the library of the runtime $1; builds it if there is none.
library=()
need() {
  local environment=$1
  if [ "$1" = tensorflow ]; then
    environment=${ENGINE:-default}
    [ -e "$root/.venv/$environment" ] ||
      fail 1 "no TensorFlow in .venv/$environment: run make setup${ENGINE:+ ENGINE=$ENGINE}"
  elif [ ! -e "$root/.venv/$environment" ]; then
    "$root/tools/setup.sh" "$environment" >&2 || exit 1
  fi
  library+=("--library=$root/.venv/$environment")
}

# A model's runtime is the one before its "=", else that of --runtime, else of its suffix.
runtime='' previous='' models=("$graph") own_library=1
for flag in "$@"; do
  case $flag in
    --library|--library=*|-h|--help) own_library= ;;
    --runtime=*) runtime=${flag#*=} ;;
    --compare) models+=(${images[@]+"${images[@]}"}) ;;
  esac
  [ "$previous" != --runtime ] || runtime=$flag
  previous=$flag
done
for model in "${models[@]}"; do
  [ -n "$own_library" ] || break
  case $model in
    tensorflow[=/]*|litert[=/]*|onnxruntime[=/]*|openvino[=/]*) model=${model%%[=/]*} ;;
    *) model=${runtime:-$model} ;;
  esac
  case $model in
    litert|*.tflite) need litert ;;
    onnxruntime|*.onnx) need onnxruntime ;;
    openvino|*.xml) need openvino ;;
    *) need tensorflow ;;
  esac
done

# Container images contain the program, but no make.
command -v make >/dev/null || [ -x "$root/label_image/build/label_image" ] ||
  fail 1 'no make on this machine: apt-get install make'
# The lock allows two of these scripts to start at the same time.
if command -v make >/dev/null && ! make -q -C "$root/label_image" >/dev/null 2>&1; then
  echo 'building label_image' >&2
  log=$(flock "$root/label_image" make -j2 -s -C "$root/label_image" 2>&1) || {
    grep -m 1 '^label_image: ' <<< "$log" >&2 && exit 1  # the Makefile says what is missing
    echo "$log" >&2
    fail 1 'building label_image failed: see above'
  }
fi
exec "$root/label_image/build/label_image" "--graph=$graph" ${named[@]+"${named[@]}"} \
  ${library[@]+"${library[@]}"} "$@" ${images[@]+-- "${images[@]}"}
