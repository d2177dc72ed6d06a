#!/bin/sh
# Tunes the pretrained openelm-nano with LoRA and DoRA on what train-nano.sh has tuned all its weights
# on, and prints how well each answers: scripts/compare-nano-adapters.sh TEACHER [WORK], after
# train-nano.sh with the same.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
nano=$root/models/openelm-nano
teacher=$(cd "$1" && pwd)
cd "${2:-$root/build/openelm-nano}"

answers() { node "$root/scripts/nano/measure-answers.mjs" "$teacher" "$@"; }
newest() { ls -d "$1"/step-* | tail -n 1; }

echo "all weights: $(answers "$(newest tuned)")"
for method in lora dora; do
  node "$root/dist/cli/main.js" finetune "$method" --model averaged --recipe "$nano/tuning.json" \
    --method "$method" --rank 16 --max-learning-rate 5e-3 \
    --data corpus/instructions.jsonl corpus/stories.jsonl --resume >&2
  echo "$method, rank 16: $(answers averaged "$(newest "$method")")"
done
