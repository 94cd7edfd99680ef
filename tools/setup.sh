#!/usr/bin/env bash
# Builds the Python environment of an engine in the cache and links .venv/ENGINE to it.
#   tools/setup.sh [ENGINE]           tf1, tf1-mkl or tf2. Default: .venv/default, or else tf1-mkl
#                                     on x86-64 Linux with Python 3.7, or else tf2
#   tools/setup.sh lint               the tools of `make lint`
#   tools/setup.sh onnxruntime        or litert, openvino, tflite-micro: to convert and run other formats
#   tools/setup.sh pytorch            for `python -m benchmarks training`
#   tools/setup.sh --find ENGINE      prints the Python that ENGINE would use
#   tools/setup.sh --versions ENGINE  prints the versions of Python that ENGINE supports, best first
# The first engine set up becomes .venv/default. Writes nothing if the environment is up to date.
set -euo pipefail
: "${HOME:=$(cd ~ && pwd)}"  # cron and systemd may not set it
unset CDPATH  # cd would look for directories there, and print them
start_dir=$PWD
cd "$(dirname "$0")/.."
# The environment gets its own packages, whatever is set for another Python or for pip.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX
export PIP_USER=0

say() { echo "setup: $*" >&2; }
die() { say "$@"; exit 1; }

# A name on PATH is not enough: pyenv's shims exist and fail.
works() { "$1" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$2')" 2>/dev/null; }

find_python() {
  local version candidate
  for version in "$@"; do
    while IFS= read -r candidate; do
      if [ -n "$candidate" ] && works "$candidate" "$version"; then
        "$candidate" -c 'import sys; print(sys.executable)'
        return
      fi
    done < <(type -aP "python$version"
             # pyenv's own Pythons: next to its shims, or in the usual place
             while IFS= read -r root; do
               printf '%s\n' "$root/versions/$version".*/bin/python
             done < <(type -aP "python$version" | sed -n 's|/shims/.*||p'
                      echo "${PYENV_ROOT:-$HOME/.pyenv}")
             uv python find --no-python-downloads "$version" 2>/dev/null
             type -aP python3)
  done
  return 1
}

must_find_python() {  # sets $python for $engine
  # shellcheck disable=SC2086  # a list
  if python=$(find_python $versions); then return; fi
  case $engine in
    tf1*) die "$engine needs Python 3.7, the last that TensorFlow 1.15 runs on. Install it with" \
              "'pyenv install 3.7' or 'uv python install 3.7', or use ENGINE=tf2." ;;
    *) die "$engine needs one of Python ${versions// /, }. Install one," \
           "for example with 'apt-get install python3'." ;;
  esac
}

action=build
case ${1:-} in
  --find|--versions) action=$1; shift ;;
  -h|--help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' tools/setup.sh; exit ;;
esac
[ $# -le 1 ] || { say "one engine at a time, not: $*"; exit 2; }

engine=${1:-}
if [ -z "$engine" ]; then
  if [ -L .venv/default ]; then
    engine=$(readlink .venv/default)
  elif [ "$(uname -sm)" != 'Linux x86_64' ]; then
    engine=tf2
    say "engine tf2: tf1-mkl is for Linux x86_64, and this is $(uname -sm)"
  elif python=$(find_python 3.7); then
    engine=tf1-mkl
    say "engine tf1-mkl: $python is Python 3.7, and this is x86-64"
  else
    engine=tf2
    say "engine tf2: TensorFlow 1.15 needs Python 3.7, which was not found"
  fi
fi
case $engine in
  tf1|tf1-mkl) versions='3.7'; megabytes=1000; package=tensorflow ;;
  tf2) versions='3.13 3.12 3.11 3.10'; megabytes=2000; package=tensorflow ;;
  lint) versions='3.13 3.12 3.11 3.10 3.9 3.8 3.7'; megabytes=300; package= ;;
  onnxruntime) versions='3.13 3.12 3.11'; megabytes=2100; package=onnxruntime ;;
  litert) versions='3.13 3.12 3.11'; megabytes=150; package=ai_edge_litert ;;
  openvino) versions='3.13 3.12 3.11'; megabytes=260; package=openvino ;;
  tflite-micro) versions='3.13 3.12 3.11'; megabytes=90; package=tflite_micro ;;
  pytorch) versions='3.11 3.13 3.12'; megabytes=1000; package=torch ;;
  *) say "unknown engine '$engine' (choose from: tf1, tf1-mkl, tf2; or another environment: lint," \
         "litert, onnxruntime, openvino, pytorch, tflite-micro)"; exit 2 ;;
esac
case $action in
  --versions) echo "$versions"; exit ;;
  --find) must_find_python; echo "$python"; exit ;;
esac

requirements=requirements/$engine.txt
hash=$({ sha256sum "$requirements" 2>/dev/null || shasum -a 256 "$requirements"; } | cut -c1-8)
link() {  # links .venv/ENGINE to the environment $1
  mkdir -p .venv
  [ "$(readlink ".venv/$engine" || true)" = "$1" ] || ln -sfn "$1" ".venv/$engine"
  case $engine in tf1*|tf2) [ -L .venv/default ] || ln -s "$engine" .venv/default ;; esac
}
ready() { [ -f "$1/.complete" ] && "$1/bin/python" -c '' 2>/dev/null; }

linked=$(readlink ".venv/$engine" || true)
if [ "${linked##*-}" = "$hash" ] && ready "$linked"; then
  link "$linked"
  exit
fi
folder=$PWD  # of the link, which is made after the download
[ ! -e .venv ] || folder=$PWD/.venv/
[ -w "$folder" ] ||
  die "cannot write to $folder. Make it writable; label_image alone also runs with --library."

must_find_python
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  die "$python has no venv module. On Debian: apt-get install python$version-venv"

# The same rules as cache_dir() in permafrost/files.py.
cache=${PERMAFROST_CACHE:-$HOME/.cache/permafrost}
case $cache in \~|\~/*) cache=$HOME${cache#\~} ;; esac
case $cache in /*) ;; *) cache=$start_dir/$cache ;; esac
root=$cache/venv
venv=$root/$engine-$version-$hash
cannot_write() { die "cannot write to $root. Make it writable, or set PERMAFROST_CACHE."; }
finish() {
  link "$venv"
  say "$engine is ready in .venv/$engine ($("$venv/bin/python" -V))"
  exit
}
if ready "$venv"; then finish; fi  # also where $root is read-only
mkdir -p "$root" 2>/dev/null || cannot_write
exec 9>"$venv.lock" || cannot_write
# pip inherits the lock: if this script is killed, the next one waits until pip has ended too.
lock() {  # as flock does, which macOS lacks
  "$python" -c "import fcntl, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.flock(9, fcntl.LOCK_EX | $1)" 2>/dev/null
}
lock fcntl.LOCK_NB || { say "waiting for another set-up of $engine"; lock 0; } ||
  say "$root has no file locks: do not run two set-ups at the same time"

if ! ready "$venv"; then
  free=$(df -Pk "$root" | awk 'NR == 2 { print int($4 / 1024) }')
  [ "$free" -ge "$megabytes" ] ||
    die "disk full: $engine needs $megabytes MB in $root, which has $free." \
        "Free some space, or set PERMAFROST_CACHE to another disk."
  say "building $venv with $python (a few minutes, $megabytes MB)"
  rm -rf "$venv"  # an interrupted build
  log=$venv.log
  if ! { "$python" -m venv "$venv" &&
         "$venv/bin/python" -m pip install --disable-pip-version-check --retries 2 \
           --progress-bar off -r "$requirements" &&
         { [ -z "$package" ] || "$venv/bin/python" -c "import $package"; }; } 2>&1 |
       tee "$log" | while read -r word package _; do
         [ "$word" != Collecting ] || say "$package"
       done; then
    failed_with() { grep -qiE "$1" "$log"; }
    if failed_with 'no space left'; then
      rm -rf "$venv"
      die "disk full: free $megabytes MB in $root, or set PERMAFROST_CACHE to another disk."
    elif failed_with 'CERTIFICATE_VERIFY_FAILED'; then
      die "pip does not trust the certificate of its package index. If a proxy here replaces it," \
          "set PIP_CERT to a file with the proxy's certificate (PEM) (log: $log)"
    elif failed_with 'NewConnectionError|ConnectTimeout|NameResolution|ProxyError|SSLError|Network is'; then
      die "no network: pip cannot reach its package index (log: $log)"
    elif failed_with 'No matching distribution'; then
      die "$(grep -oE 'No matching distribution.*' "$log" | tail -1) and Python $version on" \
          "$(uname -sm) (log: $log)"
    fi
    die "$(grep -E '^ERROR|Error' "$log" | tail -1 | cut -c1-300 || true) (log: $log)"
  fi
  touch "$venv/.complete"  # written last: without it the next set-up starts again
  rm -f "$log"
fi
finish
