#!/bin/sh
# Prints how well openelm-nano tells stories, beside its teacher: scripts/measure-nano.sh TEACHER [WORK].
# Measures the bundled model, and the steps before it that train-nano.sh has left in WORK. Needs the
# built package.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
nano=$root/models/openelm-nano
teacher=$(cd "$1" && pwd)
work=${2:-$root/build/openelm-nano}
mkdir -p "$work"
cd "$work"

measure() {
  name=$1
  shift
  node "$root/scripts/nano/measure-$name.mjs" "$@"
}
newest() { ls -d "$1"/step-* | tail -n 1; }

[ -e held-out.jsonl ] ||
  node "$root/scripts/nano/tell-stories.mjs" "$teacher" 1000000 1000750 held-out.jsonl

echo 'Bits per byte of 500 stories that the teacher told, and that the model has not read'
echo "the teacher, float32: $(measure stories held-out.jsonl "$teacher" float32)"
if [ -d averaged ]; then
  echo "pretrained, the last checkpoint: $(measure stories held-out.jsonl "$(newest pretrained)" float32)"
  echo "pretrained, the mean of the last five: $(measure stories held-out.jsonl averaged float32)"
fi
for dtype in float32 bfloat16 q8 q4; do
  echo "openelm-nano, $dtype: $(measure stories held-out.jsonl "$nano" $dtype)"
done

echo 'Answers to 200 wishes for three things that no story was told about together'
if [ -d averaged ]; then
  echo "pretrained: $(measure answers "$teacher" averaged)"
  echo "tuned: $(measure answers "$teacher" "$(newest tuned)")"
fi
echo "openelm-nano: $(measure answers "$teacher" "$nano")"
