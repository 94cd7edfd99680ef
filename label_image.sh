#!/usr/bin/env bash
# Runs label_image, after building it if its sources have changed.
set -euo pipefail

usage() {
  cat <<'END'
usage: [ENGINE=tf1|tf1-mkl|tf2] ./label_image.sh [MODEL|FILE.pb] [IMAGE...] [-- FLAGS...]

Classifies images (PNG, JPEG or BMP) with trained_models/MODEL.pb (default: tuto)
or any frozen graph, using TensorFlow from .venv/ENGINE. Builds label_image/ first
if its sources have changed. Flags after -- go to the program:

  ./label_image.sh tuto photo.jpg
  ./label_image.sh squeeze1 -- --batch_file test_batch.bin
  ./label_image.sh squeeze1 -- --benchmark --batch_size 32
  ./label_image.sh tuto -- --help

exit codes: 0 done, 1 failed, 2 usage
END
}

fail() { echo "label_image.sh: $2" >&2; exit "$1"; }

case ${1:-} in -h|--help|'') usage; [ $# -gt 0 ] && exit 0 || exit 2 ;; esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

graph=$root/trained_models/tuto.pb
if [[ $1 == *.pb ]]; then
  graph=$1
  shift
elif [ -e "$root/trained_models/$1.pb" ]; then
  graph=$root/trained_models/$1.pb
  shift
elif [ "$1" != -- ] && [ ! -e "$1" ] && [[ $1 != *.* ]]; then
  models=$(cd "$root/trained_models" 2>/dev/null && ls ./*.pb 2>/dev/null |
           sed 's/^..//; s/.pb$//' | paste -sd ' ') || true
  fail 2 "no model or image '$1' (models: ${models:-none, trained_models is empty})"
fi
[ -e "$graph" ] || fail 1 "$graph: No such file or directory"

images=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  case $1 in -*) fail 2 "flags go after --: ./label_image.sh MODEL IMAGE -- $1" ;; esac
  images+=("$1")
  shift
done
[ $# = 0 ] || shift

library=("--library=$root/.venv/${ENGINE:-default}")
for flag in "$@"; do
  case $flag in --library|--library=*|-h|--help) library=() ;; esac
done
if [ ${#library[@]} -gt 0 ] && [ ! -e "$root/.venv/${ENGINE:-default}" ]; then
  fail 1 "no TensorFlow in .venv/${ENGINE:-default}: run make setup${ENGINE:+ ENGINE=$ENGINE}"
fi

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
exec "$root/label_image/build/label_image" "--graph=$graph" ${library[@]+"${library[@]}"} "$@" \
  ${images[@]+-- "${images[@]}"}
