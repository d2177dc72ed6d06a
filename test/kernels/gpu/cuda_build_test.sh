#!/bin/sh
# Compiles the CUDA kernels for every architecture that ships and looks at what the compiler made of
# them: no registers spilled, and matrix instructions in the prefill kernels.
set -eu
cd "$(dirname "$0")/../../.."
build=${1:-build/cuda-check}
nvcc=${NVCC:-nvcc}
mkdir -p "$build"

failures=0
for source in native/cuda/*.cu; do
  name=$(basename "$source" .cu)
  "$nvcc" --options-file native/cuda/nvcc_flags.txt --options-file native/cuda/all_architectures.txt \
    -Xptxas -v -c "$source" -o "$build/$name.o" \
    > "$build/$name.log" 2>&1 || { cat "$build/$name.log"; exit 1; }
  spills=$(grep -c 'bytes spill' "$build/$name.log" || true)
  spilling=$(grep 'bytes spill' "$build/$name.log" | grep -vc ' 0 bytes spill stores' || true)
  registers=$(sed -n 's/.*Used \([0-9]*\) registers.*/\1/p' "$build/$name.log" | sort -n | tail -1)
  echo "$name: $spills kernels, $spilling with spills, at most $registers registers"
  [ "$spilling" -eq 0 ] || failures=$((failures + 1))
done

for name in matmul tiled_attention; do
  "$nvcc" --options-file native/cuda/nvcc_flags.txt -arch=compute_90 -ptx "native/cuda/$name.cu" -o "$build/$name.ptx"
  count=$(grep -c 'mma.sync' "$build/$name.ptx" || true)
  echo "$name: $count mma.sync"
  [ "$count" -gt 0 ] || failures=$((failures + 1))
done
echo "$failures failures"
[ "$failures" -eq 0 ]
