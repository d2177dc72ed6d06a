#!/bin/sh
# Makes models/openelm-nano again, from its teacher to its weights: scripts/train-nano.sh TEACHER [WORK],
# where TEACHER is the directory of stories260K as a checkpoint. Needs the built package. A run that was
# interrupted goes on where it stopped.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
nano=$root/models/openelm-nano
teacher=$(cd "$1" && pwd)
work=${2:-$root/build/openelm-nano}
openelm() { node "$root/dist/cli/main.js" "$@"; }
mkdir -p "$work"
cd "$work"

# make FILE SCRIPT ARGUMENT...: what a script writes, unless it is there.
make() {
  [ ! -e "$1" ] || return 0
  name=$2
  shift 2
  node "$root/scripts/nano/$name.mjs" "$@"
}

# The stories that the teacher tells.
for first in 0 7000 14000; do
  make told-$first.jsonl tell-stories "$teacher" $first $((first + 5500)) told-$first.jsonl
done
make corpus/tokenizer.json choose-stories told-0.jsonl told-7000.jsonl told-14000.jsonl corpus

# A model that has read them.
openelm train pretrained --config "$nano/shape.json" --recipe "$nano/recipe.json" --resume \
  --data corpus/corpus.jsonl --tokenizer corpus/tokenizer.json
[ -d averaged ] || openelm average pretrained/step-* averaged

# One that tells what it is asked for.
openelm finetune tuned --model averaged --recipe "$nano/tuning.json" --resume \
  --data corpus/instructions.jsonl corpus/stories.jsonl
make pairs.jsonl tell-pairs "$(ls -d tuned/step-* | tail -n 1)" 1000 pairs.jsonl
openelm finetune preferred --model "$(ls -d tuned/step-* | tail -n 1)" --data pairs.jsonl \
  --recipe "$nano/preference.json" --resume

rm -rf openelm-nano
openelm average "$(ls -d preferred/step-* | tail -n 1)" openelm-nano --dtype bfloat16
sha256sum openelm-nano/model.safetensors "$nano/model.safetensors"
