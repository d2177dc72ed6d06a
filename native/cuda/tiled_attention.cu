#include "block_loop.cuh"
#include "kernels.h"
#include "primitives.cuh"

namespace openelm::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
constexpr int kRows = kWarps * 16;  // of queries: those of the heads of one KV head, token by token
constexpr int kKeys = 32;           // of a tile
constexpr int kStages = 2;
constexpr float kLog2E = 1.44269504f;
constexpr float kLeastScore = -1e30f;

template <int kHeadDim>
struct Stage {
  uint4 k[kKeys * kHeadDim / 8];
  uint4 v[kKeys * kHeadDim / 8];
};

// Where chunk `chunk` (8 elements) of row `row` stands: permuted so that eight rows of one chunk,
// which ldmatrix reads together, lie in different banks.
template <int kHeadDim>
__device__ inline int unit(int row, int chunk) {
  constexpr int kChunks = kHeadDim / 8;
  return row * kChunks + (kChunks >= 8 ? chunk ^ row % 8 : chunk ^ row / 2 % 4);
}

template <int kHeadDim>
__device__ void start_copy(const __half* k, const __half* v, size_t key_stride, int first_key,
                           int end, Stage<kHeadDim>& stage) {
  constexpr int kChunks = kHeadDim / 8;
  for_each_in_block<kKeys * kChunks, kThreads>([&](int i) {
    const int row = i / kChunks;
    const int chunk = i % kChunks;
    const bool inside = first_key + row < end;
    const size_t from = (inside ? first_key + row : 0) * key_stride + chunk * 8;
    cp_async_16(&stage.k[unit<kHeadDim>(row, chunk)], k + from, inside);
    cp_async_16(&stage.v[unit<kHeadDim>(row, chunk)], v + from, inside);
  });
}

__device__ inline uint32_t pack(float first, float second) {
  const __half2 pair = __floats2half2_rn(first, second);
  uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

// A warp's 16 rows of a softmax in progress; a lane has two of them, g and g + 8.
template <int kHeadDim>
struct Rows {
  uint32_t q[kHeadDim / 16][4];
  float out[kHeadDim / 8][4];
  float largest[2];
  float sum[2];  // over the lane's own keys
  int position[2];

  // S = Q Kᵀ for the keys of a tile.
  __device__ void score(const Stage<kHeadDim>& stage, float (&s)[kKeys / 8][4]) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < kKeys / 8; ++j) {
      s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0;
#pragma unroll
      for (int i = 0; i < kHeadDim / 32; ++i) {
        uint32_t d[4];
        ldmatrix_x4(d, &stage.k[unit<kHeadDim>(8 * j + lane % 8, 4 * i + lane / 8)]);
        mma_m16n8k16<__half>(s[j], q[2 * i], {d[0], d[1]});
        mma_m16n8k16<__half>(s[j], q[2 * i + 1], {d[2], d[3]});
      }
    }
  }

  // Scores to weights 2^(score - largest), zero for the keys that a row must not see.
  __device__ void weigh(int first_key, float (&s)[kKeys / 8][4]) {
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float most = largest[r];
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
        for (int i = 2 * r; i < 2 * r + 2; ++i) {
          if (first_key + 8 * j + 2 * t + i % 2 > position[r]) s[j][i] = 2 * kLeastScore;
          most = fmaxf(most, s[j][i]);
        }
      }
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
      const float factor = exp2f(largest[r] - most);
      largest[r] = most;
      sum[r] *= factor;
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
        for (int i = 2 * r; i < 2 * r + 2; ++i) {
          s[j][i] = exp2f(s[j][i] - most);
          sum[r] += s[j][i];
        }
      }
#pragma unroll
      for (int j = 0; j < kHeadDim / 8; ++j) {
        out[j][2 * r] *= factor;
        out[j][2 * r + 1] *= factor;
      }
    }
  }

  // out += P V. The accumulators of two neighbouring 16x8 products are an operand of the next.
  __device__ void add_values(const Stage<kHeadDim>& stage, const float (&p)[kKeys / 8][4]) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < kKeys / 16; ++i) {
      const uint32_t a[4] = {pack(p[2 * i][0], p[2 * i][1]), pack(p[2 * i][2], p[2 * i][3]),
                             pack(p[2 * i + 1][0], p[2 * i + 1][1]),
                             pack(p[2 * i + 1][2], p[2 * i + 1][3])};
#pragma unroll
      for (int j = 0; j < kHeadDim / 16; ++j) {
        uint32_t d[4];
        ldmatrix_x4_trans(d, &stage.v[unit<kHeadDim>(16 * i + lane % 16, 2 * j + lane / 16)]);
        mma_m16n8k16<__half>(out[2 * j], a, {d[0], d[1]});
        mma_m16n8k16<__half>(out[2 * j + 1], a, {d[2], d[3]});
      }
    }
  }
};

// The queries of a block: rows of a run, (token, head) in order, for one KV head.
struct Queries {
  const AttentionArgs& args;
  Run run;
  int group;
  int kv_head;

  __device__ bool has(int row) const { return row < run.num_tokens * group; }
  __device__ int token(int row) const { return run.first_token + row / group; }
  __device__ size_t offset(int row) const {
    const int head = kv_head * group + row % group;
    return (size_t(token(row)) * args.shape.num_query_heads + head) * args.shape.head_dim;
  }
  __device__ float q(int row, int dim, float scale) const {
    return has(row) && dim < args.shape.head_dim ? args.q[offset(row) + dim] * scale : 0;
  }
};

template <int kHeadDim>
__device__ void load_queries(const BatchView& batch, const Queries& queries, int row,
                             Rows<kHeadDim>& rows) {
  const int t = threadIdx.x % 4;
  const float scale = kLog2E * rsqrtf(float(queries.args.shape.head_dim));
#pragma unroll
  for (int i = 0; i < kHeadDim / 16; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int at = row + j % 2 * 8;
      const int dim = 16 * i + j / 2 * 8 + 2 * t;
      rows.q[i][j] = pack(queries.q(at, dim, scale), queries.q(at, dim + 1, scale));
    }
  }
#pragma unroll
  for (int j = 0; j < kHeadDim / 8; ++j) {
    rows.out[j][0] = rows.out[j][1] = rows.out[j][2] = rows.out[j][3] = 0;
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    rows.largest[r] = kLeastScore;
    rows.sum[r] = 0;
    // Rows that are not there see the first key, as good as any.
    rows.position[r] =
        queries.has(row + 8 * r) ? batch.tokens[queries.token(row + 8 * r)].position : 0;
  }
}

template <int kHeadDim>
__device__ void store_rows(const Queries& queries, int row, const Rows<kHeadDim>& rows) {
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float sum = rows.sum[r];
    sum += __shfl_xor_sync(~0u, sum, 1);
    sum += __shfl_xor_sync(~0u, sum, 2);
    if (!queries.has(row + 8 * r)) continue;
    float* const a = queries.args.a + queries.offset(row + 8 * r);
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int dim = 8 * j + 2 * t + i;
        if (dim < queries.args.shape.head_dim) a[dim] = rows.out[j][2 * r + i] / sum;
      }
    }
  }
}

// One block for kRows rows of queries of one run and one KV head.
template <int kHeadDim>
__global__ void __launch_bounds__(kThreads)
    tiled_attention_kernel(BatchView batch, AttentionArgs args) {
  using BlockStage = Stage<kHeadDim>;
  DYN_SHARED(BlockStage, stages);
  let_next_kernel_start();
  wait_for_previous_kernel();
  const AttentionShape& shape = args.shape;
  const Queries queries = {args, batch.runs[blockIdx.z], shape.num_query_heads / shape.num_kv_heads,
                           int(blockIdx.y)};
  // Late queries see the most keys: they begin first.
  const int first_row = int(gridDim.x - 1 - blockIdx.x) * kRows;
  if (!queries.has(first_row)) return;

  const int row = first_row + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
  Rows<kHeadDim> rows;
  load_queries(batch, queries, row, rows);

  const int last_row = min(first_row + kRows, queries.run.num_tokens * queries.group) - 1;
  const int end = batch.tokens[queries.token(last_row)].position + 1;
  const int tiles = (end + kKeys - 1) / kKeys;
  const CachePointers cache =
      batch.caches[batch.sessions[queries.run.first_token] * batch.num_layers + shape.layer];
  const __half* const k = static_cast<const __half*>(cache.k) + queries.kv_head * kHeadDim;
  const __half* const v = static_cast<const __half*>(cache.v) + queries.kv_head * kHeadDim;
  const size_t key_stride = size_t(shape.num_kv_heads) * kHeadDim;

  start_copy<kHeadDim>(k, v, key_stride, 0, end, stages[0]);
  cp_async_commit();
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) {
      start_copy<kHeadDim>(k, v, key_stride, (tile + 1) * kKeys, end, stages[(tile + 1) % kStages]);
    }
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    const BlockStage& stage = stages[tile % kStages];
    float s[kKeys / 8][4];
    rows.score(stage, s);
    rows.weigh(tile * kKeys, s);
    rows.add_values(stage, s);
    __syncthreads();  // all have done with the stage that is filled next
  }
  store_rows(queries, row, rows);
}

template <int kHeadDim>
void launch_tiles(const Device& device, const BatchView& batch, const AttentionArgs& args) {
  const int group = args.shape.num_query_heads / args.shape.num_kv_heads;
  const dim3 grid((batch.longest_run * group + kRows - 1) / kRows, args.shape.num_kv_heads,
                  batch.num_runs);
  launch(device.stream, tiled_attention_kernel<kHeadDim>, grid, kThreads,
         kStages * sizeof(Stage<kHeadDim>), batch, args);
}

}  // namespace

bool has_tiled_attention(int head_dim, bool float32_cache) {
  return padded_head_dim(head_dim) <= 128 && !float32_cache;
}

void tiled_attention(const Device& device, const BatchView& batch, const AttentionArgs& args) {
  switch (padded_head_dim(args.shape.head_dim)) {
    case 32:
      return launch_tiles<32>(device, batch, args);
    case 64:
      return launch_tiles<64>(device, batch, args);
    default:
      return launch_tiles<128>(device, batch, args);
  }
}

}  // namespace openelm::cuda
