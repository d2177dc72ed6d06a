#!/bin/sh
# Trains models/openelm-nano again, from its books to its weights: scripts/train-nano.sh [WORK] [OPTION...],
# where the options are those of `openelm train`. Needs the built package and what nano-corpus.sh needs.
# A run that was interrupted goes on where it stopped.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
nano=$root/models/openelm-nano
work=${1:-$root/build/openelm-nano}
[ $# -eq 0 ] || shift
openelm() { node "$root/dist/cli/main.js" "$@"; }

"$root/scripts/nano-corpus.sh" "$work"
cd "$work"
openelm train run --config "$nano/shape.json" --recipe "$nano/recipe.json" --resume \
  --data corpus/train/*.txt --validation corpus/held-out/*.txt "$@"
rm -rf averaged openelm-nano
openelm average run/step-* averaged
openelm average averaged openelm-nano --dtype bfloat16
sha256sum openelm-nano/model.safetensors "$nano/model.safetensors"
