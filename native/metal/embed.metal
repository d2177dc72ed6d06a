// Rows of the embedding: tokens [T] -> x [T, d]. A thread copies one chunk of eight elements.
#include "matrix.h"

kernel void embed(device const uchar* values [[buffer(0)]], device const half* scales [[buffer(1)]],
                  device const int* tokens [[buffer(2)]], device float* x [[buffer(3)]],
                  constant EmbedArgs& args [[buffer(4)]],
                  uint2 position [[thread_position_in_grid]]) {
  const uint first = 8 * position.x;
  const uint token = position.y;
  if (first >= args.model_dim || token >= args.num_tokens) return;
  const ulong row = tokens[token];
  const Chunk chunk = load_weights(values, scales, row * args.groups * 4 + position.x);
  device float* to = x + ulong(token) * args.model_dim;
  for (uint j = 0; j < 4; ++j) {
    if (first + j < args.model_dim) to[first + j] = chunk.lo[j];
    if (first + 4 + j < args.model_dim) to[first + 4 + j] = chunk.hi[j];
  }
}
