// The KV cache: keys and values [positions, Hkv*h], half or float.
#include "matrix.h"

static inline ulong cache_index(uint position, uint kv_head, constant RunArgs& args) {
  return (ulong(position) * args.num_kv_heads + kv_head) * kHeadDim;
}

// A value beyond float16 must not become infinite: it would turn into NaN in the softmax.
static inline half to_half(float value) {
  return half(value > 65504.0f ? 65504.0f : value < -65504.0f ? -65504.0f : value);
}

static inline void store_cache(device uchar* cache, ulong index, float value) {
  if (kCacheHalf) {
    reinterpret_cast<device half*>(cache)[index] = to_half(value);
  } else {
    reinterpret_cast<device float*>(cache)[index] = value;
  }
}

// Elements `index` and `index` + 1; `index` is even.
static inline float2 load_cache(device const uchar* cache, ulong index) {
  if (kCacheHalf) return float2(reinterpret_cast<device const half2*>(cache)[index / 2]);
  return reinterpret_cast<device const float2*>(cache)[index / 2];
}
