#!/usr/bin/env bash
set -euo pipefail
unset CDPATH  # cd would look for directories there, and print them

usage() {
  cat <<'END'
usage: [DOCKER=docker|podman] tools/dev/check_image.sh IMAGE [DATA]

Does with IMAGE what a user does, on CIFAR-10 in DATA/cifar10 (default: where
make data puts it): trains tuto for 200 steps, evaluates, freezes and labels;
packs images and trains on them; stops a training as `docker stop` does and resumes it; makes some mistakes. No
container has a network, a writable file system other than its volume, a
capability, or root. Fails at the first unexpected result.
END
}

case ${1:-} in -h|--help) usage; exit ;; '') usage >&2; exit 2 ;; esac
image=$1
data=${2:-${PERMAFROST_DATA:-${PERMAFROST_CACHE:-$HOME/.cache/permafrost}/data}}
docker=${DOCKER:-docker}
data=$(realpath "$data")
[ -f "$data/cifar10/test_batch.bin" ] || { echo "check_image: no cifar10/ in $data: make data" >&2; exit 1; }

work=$(mktemp -d)
name=permafrost-check-$$
trap '"$docker" rm -f "$name" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
chmod 1777 "$work"
sandbox=(--network none --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges
         -v "$data:/data:ro" -v "$work:/work")

die() { echo "check_image: FAILED: $*" >&2; exit 1; }
say() { echo "== $*"; }
run() { "$docker" run --rm "${sandbox[@]}" "$image" "$@"; }

# expect CODE PATTERN COMMAND...: the exit code, and a line of the output
expect() {
  local code=0 expected=$1 pattern=$2 output
  shift 2
  output=$("$@" 2>&1) || code=$?
  printf '   %s\n' "${output//$'\n'/$'\n   '}"
  [ "$code" = "$expected" ] || die "exit code $code, not $expected: $*"
  grep -qE -- "$pattern" <<< "$output" || die "no line matches '$pattern': $*"
}

say 'mistakes'
expect 2 "unknown command 'trian'" run trian
expect 2 'did you mean tuto' run train --model=tutoo
chmod 0555 "$work"
expect 1 'owner: user .* --user' run train --steps=1
chmod 1777 "$work"
expect 1 '/data has no cifar10/' "$docker" run --rm --network none --tmpfs /work "$image" train --steps=1
expect 2 '/work/runs is not on a volume' "$docker" run --rm --network none "$image" train --steps=1
expect 2 'usage: .* permafrost label \[GRAPH\]' run label

say 'not root'
expect 0 '^1000$' "$docker" run --rm --network none --entrypoint id "$image" -u

say 'train, eval, freeze, label'
expect 0 'done at step 200' run train --model=tuto --steps=200
expect 0 'step 200: .* of 10000 test images correct' run eval
correct=$(grep -oE '"correct": [0-9]+' "$work/runs/tuto/1/eval/test/metrics.jsonl" | grep -oE '[0-9]+')
expect 0 'tuto.pb' run freeze
expect 0 "[^0-9]${correct}[^0-9]" run label runs/tuto/1 -- --batch_file /data/cifar10/test_batch.bin
expect 0 '^cat$' "$docker" run --rm "${sandbox[@]}" --workdir /opt/permafrost --entrypoint \
  .venv/default/bin/python "$image" -c 'import PIL.Image
from permafrost.datasets import loading
dataset = loading.open_dataset("cifar10")
images, labels = loading.load(dataset, "test")
PIL.Image.fromarray(images[0]).save("/work/cat.png")
print(dataset.classes[labels[0]])'
expect 0 'cat' run label tuto cat.png
expect 0 'threads: intra 1, .*CPU quota: 0.5' \
  "$docker" run --rm "${sandbox[@]}" --cpus 0.5 "$image" eval

say 'own images'
expect 0 'samples/9-' run samples --count 60
for image_file in "$work"/samples/*.png; do
  class=${image_file##*-}
  mkdir -p "$work/photos/${class%.png}"
  cp "$image_file" "$work/photos/${class%.png}"
done
chmod -R a+rX "$work/photos"
expect 0 'photos|flowers' run pack photos flowers
expect 0 '^next: permafrost eval --run runs/lenet5/1$' \
  run train --model=lenet5 --dataset=flowers --steps=20 --set batch_size=16
expect 0 'step 20: ' run eval --run runs/lenet5/1

say 'stop, and resume'
"$docker" run -d --name "$name" "${sandbox[@]}" "$image" train --model=tuto --steps=100000 >/dev/null
for _ in $(seq 240); do
  if "$docker" logs "$name" 2>&1 | grep -E 'step [0-9]*[1-9]' >/dev/null; then break; fi
  sleep 0.5
done
"$docker" stop -t 60 "$name" >/dev/null
code=$("$docker" wait "$name")
"$docker" logs "$name" 2>&1 | sed 's/^/   /'
[ "$code" = 143 ] || die "a stopped training exits $code, not 143"
step=$("$docker" logs "$name" 2>&1 | sed -n 's/^stopped at step \([0-9]*\).*/\1/p')
[ -n "$step" ] || die 'a stopped training did not save'
expect 0 "resuming at step $step" run train --resume --run=runs/tuto/2 --steps=$((step + 20))

say 'all checks passed'
