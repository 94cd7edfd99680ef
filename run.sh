#!/usr/bin/env bash
set -euo pipefail

usage() {
  cat <<'END'
usage: [ENGINE=tf1|tf1-mkl|tf2] ./run.sh [MODEL [STEPS]]

Sets up TensorFlow, gets CIFAR-10, trains MODEL (default: tuto) for STEPS steps
(default: what its recipe says, 10,000 for tuto), evaluates it on the 10,000
test images, freezes it into one file and labels two images with that in C++.
What is already there is used.
Stopped with Ctrl-C or SIGTERM in training, it saves first.

exit codes: 0 done, 1 failed, 2 usage, 143 stopped by SIGTERM after saving
END
}

fail() { echo "run.sh: $*" >&2; exit 2; }

case ${1:-} in -h|--help) usage; exit ;; esac
[ $# -le 2 ] || fail "too many arguments: $* (usage: ./run.sh [MODEL [STEPS]])"
model=${1:-tuto}
steps=${2-}
[[ $# -lt 2 || $steps =~ ^[1-9][0-9]{0,8}$ ]] || fail "STEPS must be a positive integer, not '$steps'"
cd "$(dirname "$0")"

# Any Python knows the models' names: a misspelt one is answered before minutes of set-up.
if python3 -c 'import models' 2>/dev/null; then
  python3 - "$model" <<'END' || exit
import difflib
import sys

from models import MODELS

name = sys.argv[1]
likely = ''.join('; did you mean %s?' % near for near in difflib.get_close_matches(name, MODELS, 1))
if name not in MODELS:
    print('run.sh: unknown model %r%s (there are: %s)' % (name, likely, ', '.join(sorted(MODELS))),
          file=sys.stderr)
    sys.exit(2)
END
fi

# Runs a command in a process group of its own, passes SIGTERM and SIGINT on to it, once each,
# waits for what it does about them, and exits with its code unless that is 0.
stage() {
  local code signalled
  set -m  # own group: else Ctrl-C would reach it from the terminal and from here
  "$@" &
  local child=$!
  set +m
  trap 'signalled=1; kill -TERM -- "-$child" 2>/dev/null || true' TERM
  trap 'signalled=1; kill -INT -- "-$child" 2>/dev/null || true' INT
  # a signal ends the wait too: then wait again (bash remembers the code of one that has ended)
  while signalled=; code=0; wait "$child" || code=$?; [ -n "$signalled" ]; do :; done
  trap - TERM INT
  [ "$code" = 0 ] || exit "$code"
}

stage tools/setup.sh ${ENGINE:+"$ENGINE"}
engine=${ENGINE:-$(readlink .venv/default)}
python=.venv/$engine/bin/python
stage "$python" tools/get_data.py

n=1
while [ -e "runs/$model/$n" ]; do n=$((n + 1)); done
run=runs/$model/$n
stage "$python" train.py --model "$model" ${steps:+--steps "$steps"} --run "$run"
stage "$python" eval.py --run "$run"
stage "$python" freeze_graph.py --run "$run" --output "$run/$model.pb"
if why=$(make -s -C label_image 2>&1); then
  stage "$python" tools/sample_images.py --output "$run/samples"
  stage env ENGINE="$engine" ./label_image.sh "$run/$model.pb" "$run"/samples/*.png
else  # training and its result do not depend on a compiler
  echo "run.sh: no image was labelled: $(grep -m 1 label_image: <<< "$why" || echo "$why")" >&2
fi

measured() {
  tail -n 1 "$run/eval/test/metrics.jsonl" | grep -o "\"$1\": [0-9.]*" | grep -o "[0-9.]*\$"
}
steps=$(measured step)
cat <<END

$model, $steps steps on $engine: accuracy $(measured accuracy) on the 10,000 test images
  the run, its checkpoints and results   $run
  the frozen graph                       $run/$model.pb
  curves                                 .venv/$engine/bin/tensorboard --logdir $run
  evaluate again                         $python eval.py --run $run
END
if grep -qs '"schedule": "constant"' "$run/config.json"; then  # others have come to their end
  echo "  train on                               $python train.py --model $model" \
    "--run $run --resume --steps $((steps * 2))"
fi
echo "  the other models                       $python info.py --all"
