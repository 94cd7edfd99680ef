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
If the first argument is an image, GRAPH is tuto. With --compare, all files are models:
GRAPH, RUNTIME=GRAPH or RUNTIME/PRECISION=GRAPH, but no .pbtxt and no SavedModel. Builds
label_image/ first if its sources have changed. Flags after -- go to the program:

  $name tuto photo.jpg
  $name runs/tuto/1 photo.jpg
  $name some.pb photo.jpg -- --input_mean 128 --input_std 128
  $name squeeze1 -- --batch_file test_batch.bin
  $name squeeze1 -- --benchmark --batch_size 32
  $name squeeze1 -- --runtime openvino --precision bfloat16 --benchmark
  $name squeeze1 openvino=squeeze1 squeeze1.int8.tflite -- --compare

exit codes: 0 done, 1 failed, 2 usage

$name tuto -- --help lists the flags.
END
}

fail() { echo "label_image.sh: $2" >&2; exit "$1"; }

[ $# -gt 0 ] || { usage; exit 2; }
case $1 in -h|--help) usage; exit ;; esac
for argument; do  # perhaps an unset variable
  [ "$argument" != -- ] || break
  [ -n "$argument" ] || fail 2 'an argument is empty: leave it out, or give it a value'
done
file=${BASH_SOURCE[0]}
[ ! -L "$file" ] || file=$(readlink -f "$file")  # a link to it, for example in ~/bin
root=$(cd "$(dirname "$file")" && pwd)

# Prints the frozen graph of the run $1, or fails.
graph_of_run() {
  local graphs=() file command
  for file in "$1"/*.pb; do  # a teacher is what the run learnt from
    case $file in */teacher.pb) ;; *) graphs+=("$file") ;; esac
  done
  if [ ${#graphs[@]} -gt 1 ]; then fail 2 "$1 has several frozen graphs: name one: ${graphs[*]}"; fi
  command=${PERMAFROST_COMMAND-$(printf %q "$root/bin/permafrost")}
  command="$command freeze --run $(printf %q "$1")"
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

# Sets $graph to the file of the model $1: a run, a file, or a name in trained_models/. The program
# says of a file that is no graph what it is.
find_graph() {
  local models
  if [ -e "$1/config.json" ] && [ -d "$1/train" ]; then
    graph=$(graph_of_run "${1%/}")
  elif [ -d "$1" ] && [ ! -e "$1/saved_model.pb" ] && [ ! -e "$1/saved_model.pbtxt" ]; then
    fail 2 "$1 is not a run, a graph or a SavedModel"
  elif [ -e "$1" ]; then
    graph=$1
  elif [[ $1 != */* && -e $root/trained_models/$1.pb ]]; then
    graph=$root/trained_models/$1.pb
  elif [[ $1 != */* && -e $root/trained_models/$1.int8.tflite ]]; then
    graph=$root/trained_models/$1.int8.tflite
  elif [[ $1 == *.pb ]]; then
    graph=$1
  else
    models=$(cd "$root/trained_models" 2>/dev/null && ls ./*.pb ./*.int8.tflite 2>/dev/null |
             sed 's/^..//; s/.int8.tflite$//; s/.pb$//' | sort | paste -sd ' ' -) || true
    fail 2 "no graph, run, model or image '$1' (models: ${models:-none, trained_models is empty})"
  fi
  [ -e "$graph" ] || fail 1 "$graph: No such file or directory"
}

# Whether the program cannot read the graph $1: a SavedModel, or a graph as text.
needs_conversion() {
  [ -e "$1/saved_model.pb" ] || [ -e "$1/saved_model.pbtxt" ] || [[ $1 == *.pbtxt ]]
}

# Whether the model $1 is RUNTIME=FILE or RUNTIME/PRECISION=FILE.
names_runtime() {
  case $1 in
    tensorflow=*|litert=*|onnxruntime=*|openvino=*) ;;
    tensorflow/*=*|litert/*=*|onnxruntime/*=*|openvino/*=*) ;;
    *) return 1 ;;
  esac
}

files=()  # the images or, with --compare, the models
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  case $1 in -*) fail 2 "flags go after --: $name GRAPH IMAGE -- $1" ;; esac
  files+=("$1")
  shift
done
first=${files[0]-}
[ $# = 0 ] || shift

flags=() compare='' runtime='' stated='' own_library=1 valued='' only_files=''
for flag in "$@"; do
  if [[ -z $valued$only_files && $flag == -[!-]?* ]]; then flag=-$flag; fi  # -graph is --graph
  case $valued$flag in
    --runtime=*) runtime=${flag#--runtime=} ;;
    --graph=*) stated=${flag#--graph=} ;;
  esac
  if [ -z "$valued" ] && { [ -n "$only_files" ] || [[ $flag != -?* ]]; }; then
    files+=("$flag")
    continue
  fi
  if [ "$valued$flag" = -- ]; then
    only_files=1
    continue
  fi
  flags+=("$flag")
  case $valued$flag in
    ?*=*) valued='' ;;  # of the flag before it, or its own
    --compare) compare=1 ;;
    -h|--help) own_library='' ;;
    --benchmark|--profile|--json|--allow_any_op) ;;
    --*) valued=$flag= ;;
  esac
  case $flag in --library|--library=*) own_library='' ;; esac
done

graph='' models=()
if [ -n "$compare" ]; then
  for model in ${files[@]+"${files[@]}"}; do
    prefix=''
    if names_runtime "$model"; then prefix=${model%%=*}=; fi
    find_graph "${model#"$prefix"}"
    ! needs_conversion "$graph" || fail 2 "$graph: --compare needs a frozen graph; write one first:\
 $(printf %q "$root/tools/write_graph.py") $(printf %q "$graph") FILE.pb"
    models+=("$prefix$graph")
  done
  files=(${models[@]+"${models[@]}"})
  graph=''
  if [ -z "$stated" ] && [ ${#files[@]} -gt 0 ]; then
    graph=${files[0]}
    unset 'files[0]'
  fi
elif [ -n "$first" ]; then
  find_graph "$first"
  if [[ $graph == "$first" && $first != *.pb ]]; then
    [ ! -p "$first" ] || fail 2 "$first is a pipe: name the graph first: $name GRAPH $first"
    if [ -f "$first" ] && is_image "$first"; then graph=''; fi
  fi
  [ -z "$graph" ] || unset 'files[0]'
fi
[ -z "$graph" ] || [ -z "$stated" ] || [ -n "$compare" ] ||
  fail 2 "$graph and --graph=$stated: name one graph"
if [ -z "$graph$stated$compare" ]; then find_graph tuto; fi

# What the program cannot read becomes a frozen graph first.
named=()
if needs_conversion "$graph"; then
  python=$root/.venv/${ENGINE:-default}/bin/python
  [ -x "$python" ] || fail 1 \
    "no environment .venv/${ENGINE:-default}: run make setup${ENGINE:+ ENGINE=$ENGINE} in $root"
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT  # after a signal, too
  "$python" "$root/tools/write_graph.py" "$graph" "$folder/graph.pb" >/dev/null || exit
  named=("--graph_name=$graph")
  exec {descriptor}< "$folder/graph.pb"  # stays readable
  rm -r "$folder"
  trap - EXIT
  graph=/dev/fd/$descriptor
fi

# Adds the environment that has the library of the runtime $1; builds it if there is none.
library=()
need() {
  local environment=$1
  if [ "$1" = tensorflow ]; then
    environment=${ENGINE:-default}
    [ -e "$root/.venv/$environment" ] ||
      fail 1 "no environment .venv/$environment: run make setup${ENGINE:+ ENGINE=$ENGINE} in $root"
  elif [ ! -e "$root/.venv/$environment" ]; then
    "$root/tools/setup.sh" "$environment" >&2 || exit 1
  fi
  library+=("--library=$root/.venv/$environment")
}

# A model's runtime is the one before its "=", else that of --runtime, else of its suffix.
[ -n "$compare" ] || models=(${graph:+"$graph"})
for model in ${models[@]+"${models[@]}"} ${stated:+"$stated"}; do
  [ -n "$own_library" ] || break
  if names_runtime "$model"; then model=${model%%[=/]*}; else model=${runtime:-$model}; fi
  case $model in
    litert|*.tflite) need litert ;;
    onnxruntime|*.onnx) need onnxruntime ;;
    openvino|*.xml) need openvino ;;
    *) need tensorflow ;;
  esac
done

# Container images contain the program, but neither its sources nor make.
command -v make >/dev/null || [ -x "$root/label_image/build/label_image" ] ||
  fail 1 'no make on this machine: apt-get install make'
# The lock allows two of these scripts to start at the same time.
if [ -e "$root/label_image/Makefile" ] && command -v make >/dev/null &&
   ! make -q -C "$root/label_image" >/dev/null 2>&1; then
  echo 'building label_image' >&2
  log=$(flock "$root/label_image" make -s -C "$root/label_image" 2>&1) || {
    grep -m 1 '^label_image: ' <<< "$log" >&2 && exit 1  # the Makefile says what is missing
    echo "$log" >&2
    fail 1 'building label_image failed: see above'
  }
fi
[ -z "$valued" ] || files=()  # the program says which flag has no value
export LABEL_IMAGE_HELP="$name tuto -- --help"
exec "$root/label_image/build/label_image" ${graph:+"--graph=$graph"} ${named[@]+"${named[@]}"} \
  ${library[@]+"${library[@]}"} ${flags[@]+"${flags[@]}"} ${files[@]+-- "${files[@]}"}
