#!/usr/bin/env bash
set -euo pipefail
unset CDPATH  # cd would look for directories there, and print them

usage() {
  cat <<'END'
usage: [ENGINE=tf1|tf1-mkl|tf2] ./run.sh [MODEL [STEPS]]

Sets up TensorFlow, downloads CIFAR-10, trains MODEL (default: tuto) for STEPS
steps (default: from its recipe; 10,000 for tuto), evaluates it on the 10,000
test images, freezes it into one file and labels two images with that file in C++.
Skips a set-up and a download that are already done. Ctrl-C, SIGTERM or a closed terminal stops a training
after it has saved a checkpoint.

exit codes: 0 done, 1 failed, 2 usage; after a signal, 128 plus its number (143 for SIGTERM)
END
}

fail() { echo "run.sh: $*" >&2; exit 2; }

case ${1:-} in -h|--help) usage; exit ;; esac
[ $# -le 2 ] || fail "too many arguments: $* (usage: ./run.sh [MODEL [STEPS]])"
for argument; do  # perhaps an unset variable
  [ -n "$argument" ] || fail 'an argument is empty: leave it out, or give it a value'
done
model=${1:-tuto}
steps=${2-}
[[ $# -lt 2 || $steps =~ ^[1-9][0-9]{0,8}$ ]] || fail "STEPS must be a positive integer, not '$steps'"
start_dir=$PWD
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
unset PYTHONHOME  # of another Python
# For the commands that the scripts print.
export PERMAFROST_COMMAND="${ENGINE:+ENGINE=$ENGINE }bin/permafrost"

# Any Python knows the models' names, so a typo is reported before minutes of set-up.
if python3 -c 'import models' 2>/dev/null; then
  python3 - "$model" <<'END' || exit 2
import sys
from models import ALL, MODELS
from permafrost.errors import unknown_name_error
if sys.argv[1] not in ALL:
    sys.exit(f'run.sh: {unknown_name_error("model", sys.argv[1], MODELS)}')
END
fi

# Runs a command in its own process group, forwards the signals that end it, once each, waits for it
# to end, and exits with its code unless that is 0.
signals='TERM INT HUP QUIT USR1 XCPU'
stage() {
  local code signal signalled='' early='' child=''
  forward() { signalled=1; kill "-$1" -- "-$child" 2>/dev/null || true; }
  for signal in $signals; do
    # shellcheck disable=SC2064  # expands now
    trap "if [ -n \"\$child\" ]; then forward $signal; else early=$signal; fi" "$signal"
  done
  set -m  # own group: otherwise Ctrl-C would reach it from the terminal and from here
  "$@" &
  child=$!
  set +m
  [ -z "$early" ] || forward "$early"  # it came before the child was known
  # A signal ends the wait too: then wait again (bash remembers the code of a child that has ended).
  while signalled=; code=0; wait "$child" || code=$?; [ -n "$signalled" ]; do :; done
  # shellcheck disable=SC2086  # a list
  trap - $signals
  [ "$code" = 0 ] || exit "$code"
}

stage tools/setup.sh ${ENGINE:+"$ENGINE"}
engine=${ENGINE:-$(readlink .venv/default)}
python=.venv/$engine/bin/python
stage "$python" tools/get_data.py

n=1
# Reserves the number, in case another run.sh starts.
until mkdir -p "runs/$model" 2>/dev/null && mkdir "runs/$model/$n" 2>/dev/null; do
  [ -e "runs/$model/$n" ] ||
    { echo "run.sh: cannot write to $PWD/runs/$model: make it writable" >&2; exit 1; }
  n=$((n + 1))
done
run=runs/$model/$n
trap 'rmdir "$run" 2>/dev/null || true' EXIT  # if it is empty
stage "$python" train.py --model "$model" ${steps:+--steps "$steps"} --run "$run"
stage "$python" eval.py --run "$run"
stage "$python" freeze_graph.py --run "$run" --output "$run/$model.pb"
if output=$(flock label_image make -s -C label_image 2>&1); then  # as label_image.sh does
  stage "$python" tools/sample_images.py --output "$run/samples"
  stage env ENGINE="$engine" ./label_image.sh "$run/$model.pb" "$run"/samples/*.png
else  # the training succeeded, even without a compiler
  echo "run.sh: no image was labelled: $(grep -m 1 label_image: <<< "$output" || echo "$output")" >&2
fi

measured() {
  tail -n 1 "$run/eval/test/metrics.jsonl" | grep -o "\"$1\": [0-9.]*" | grep -o "[0-9.]*\$"
}
steps=$(measured step)
[ "$start_dir" = "$PWD" ] || printf '\nThe paths below are relative to %s.\n' "$PWD"
cat <<END

$model, $steps steps on $engine: accuracy $(measured accuracy) on the 10,000 test images
  the run, its checkpoints and results   $run
  the report, to open in a browser       $run/report.html
  the frozen graph                       $run/$model.pb
  curves                                 $PERMAFROST_COMMAND tensorboard --logdir $run
  evaluate again                         $PERMAFROST_COMMAND eval --run $run
END
if grep -qs '"schedule": "constant"' "$run/config.json"; then  # other schedules have ended
  echo "  train longer                           $PERMAFROST_COMMAND train --model $model" \
    "--run $run --resume --steps $((steps * 2))"
fi
echo "  the other models                       $PERMAFROST_COMMAND info --all"
