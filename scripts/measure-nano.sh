#!/bin/sh
# Prints the bits per byte of the novel that openelm-nano has not seen: scripts/measure-nano.sh [WORK].
# Measures the bundled model, and where train-nano.sh has left a run in WORK, the last checkpoint and
# the mean of the last five. Needs the built package, xz, and what nano-corpus.sh needs.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=${1:-$root/build/openelm-nano}
"$root/scripts/nano-corpus.sh" "$work" >&2
cd "$work"
text=corpus/held-out/northanger-abbey.txt

# measure WHAT MODEL DTYPE
measure() {
  node "$root/dist/cli/main.js" perplexity -m "$2" "$text" --dtype "$3" --backend cpu --json |
    node -p "'$1, $3: ' + JSON.parse(fs.readFileSync(0)).bitsPerByte.toFixed(4)"
}

xz -9e --stdout "$text" |
  node -p "'xz -9e: ' + (8 * fs.readFileSync(0).length / fs.statSync('$text').size).toFixed(4)"
if [ -d averaged ]; then
  measure 'the last checkpoint' "$(ls -d run/step-* | tail -n 1)" float32
  measure 'the mean of the last five' averaged float32
fi
for dtype in float32 bfloat16 q8 q4; do measure openelm-nano openelm-nano $dtype; done
