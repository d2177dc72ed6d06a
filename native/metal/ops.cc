#include <algorithm>

#include "../error.h"
#include "../model/kv_cache.h"
#include "metal_backend.h"
#include "pack.h"

// How each op calls its kernels. Their arguments, in order, are those of the .metal file that has
// the op's name.

namespace openelm::metal {

static_assert(unsigned(DType::kFloat32) == kMatrixFloat32 &&
              unsigned(DType::kFloat16) == kMatrixFloat16 &&
              unsigned(DType::kBFloat16) == kMatrixBFloat16 && unsigned(DType::kQ8) == kMatrixQ8 &&
              unsigned(DType::kQ4) == kMatrixQ4);

namespace {

// The shapes of matvec.h, matmul.h, norm_qkv.metal, attention.metal and sample.metal.
constexpr unsigned kSimdWidth = 32;
constexpr unsigned kMatvecRows = 16;
constexpr mtl::Size kMatvecThreads{128, 1, 1};
constexpr unsigned kTileRows = 64;
constexpr unsigned kTileTokens = 32;
constexpr mtl::Size kMatmulThreads{128, 1, 1};
constexpr mtl::Size kHeadThreads{512, 1, 1};
constexpr unsigned kMaxQueries = 4;
constexpr mtl::Size kAttentionThreads{512, 1, 1};
constexpr unsigned kSplitPositions = 128;  // what is worth a threadgroup
constexpr int kMaxTileDim = 128;
constexpr int kMinTileTokens = 8;  // below, a tile would be mostly empty
constexpr unsigned kAttentionRows = 32;
constexpr mtl::Size kAttentionTileThreads{128, 1, 1};
constexpr mtl::Size kSampleThreads{1024, 1, 1};

unsigned divide_up(unsigned a, unsigned b) { return (a + b - 1) / b; }

mtl::Size matvec_grid(const Matrix& matrix) { return {divide_up(matrix.rows, kMatvecRows), 1, 1}; }

mtl::Size matmul_grid(const Matrix& matrix, int num_tokens) {
  return {divide_up(matrix.rows, kTileRows), divide_up(num_tokens, kTileTokens), 1};
}

}  // namespace

// One dispatch: its arguments in order, then run().
class MetalBackend::Call {
 public:
  Call(MetalBackend& backend, const char* kernel, const Matrix* matrix = nullptr,
       unsigned group_queries = 1)
      : pipeline_(backend.pipeline(kernel, matrix ? MatrixType(matrix->dtype) : kMatrixFloat32,
                                   group_queries)),
        encoder_(backend.encoder()) {
    encoder_.set_pipeline(pipeline_);
    if (!matrix) return;
    const bool quantized = is_quantized(matrix->dtype);
    buffer(matrix->data);
    buffer(matrix->data,
           quantized ? values_bytes(matrix->rows, matrix->cols, matrix->dtype) : 0);  // scales
  }

  Call& buffer(const Buffer& buffer, size_t offset = 0) {
    encoder_.set_buffer(buffer.handle, buffer.offset + offset, next_++);
    return *this;
  }

  // A buffer that the kernel does not read when there is none; one must stand there all the same.
  Call& optional(const Buffer& buffer, const Buffer& instead) {
    return this->buffer(buffer.memory ? buffer : instead);
  }

  template <typename T>
  Call& constants(const T& args) {
    encoder_.set_bytes(&args, sizeof args, next_++);
    return *this;
  }

  // Metal would end the process over a threadgroup larger than the pipeline can run.
  void run(mtl::Size threadgroups, mtl::Size threads) {
    if (threads.width > pipeline_.max_total_threads_per_threadgroup()) {
      throw Error(ErrorCode::kInternal, "Metal runs too few threads of a kernel at a time");
    }
    encoder_.dispatch(threadgroups, threads);
  }

 private:
  const objc::AutoreleasePool pool_;
  const mtl::Pipeline& pipeline_;
  mtl::ComputeEncoder& encoder_;
  mtl::Integer next_ = 0;
};

static MatrixArgs matrix_args(const Config& config, const Matrix& matrix, int num_tokens) {
  return {unsigned(num_tokens), unsigned(matrix.rows), unsigned(matrix.cols),
          divide_up(matrix.cols, kGroupSize), config.rms_norm_eps};
}

RunArgs MetalBackend::run_args(const Layer& layer, const Run& run) const {
  return {unsigned(run.first_token),    unsigned(run.num_tokens),
          unsigned(run.first_position), unsigned(layer.num_query_heads),
          unsigned(layer.num_kv_heads), weights_->config.rms_norm_eps};
}

void MetalBackend::embed(const Batch& batch, const Buffer& x) {
  constexpr unsigned kThreads = 64;
  const Matrix& matrix = weights_->token_embeddings;
  const unsigned chunks = divide_up(matrix.cols, 8);
  Call(*this, "embed", &matrix)
      .buffer(tokens_)
      .buffer(x)
      .constants(EmbedArgs{unsigned(batch.size()), unsigned(matrix.cols),
                           divide_up(matrix.cols, kGroupSize)})
      .run({divide_up(chunks, kThreads), mtl::Integer(batch.size()), 1}, {kThreads, 1, 1});
}

void MetalBackend::norm_qkv(const Layer& layer, const Batch& batch, const Buffer& x,
                            const Buffer& q) {
  const Matrix& matrix = layer.qkv_proj;
  const MatrixArgs args = matrix_args(weights_->config, matrix, batch.size());
  const unsigned num_heads = layer.num_query_heads + 2 * layer.num_kv_heads;
  if (batch.size() == 1) {
    Call(*this, "norm_qkv", &matrix)
        .buffer(layer.attn_norm)
        .buffer(x)
        .optional(layer.q_norm, layer.attn_norm)
        .optional(layer.k_norm, layer.attn_norm)
        .buffer(rope_)
        .buffer(q)
        .buffer(batch.caches[0]->k(layer.index))
        .buffer(batch.caches[0]->v(layer.index))
        .constants(args)
        .constants(run_args(layer, {0, 1, batch.positions[0]}))
        .run({num_heads, 1, 1}, kHeadThreads);
    return;
  }
  Call(*this, "norm_qkv_prefill", &matrix)
      .buffer(layer.attn_norm)
      .buffer(x)
      .buffer(qkv_)
      .constants(args)
      .run(matmul_grid(matrix, batch.size()), kMatmulThreads);
  // Caches of different sessions are different buffers: what uses them is called once a run.
  batch.for_each_run([&](const Run& run) {
    const KvCache& cache = *batch.caches[run.first_token];
    Call(*this, "norm_qkv_heads")
        .buffer(qkv_)
        .optional(layer.q_norm, layer.attn_norm)
        .optional(layer.k_norm, layer.attn_norm)
        .buffer(rope_)
        .buffer(q)
        .buffer(cache.k(layer.index))
        .buffer(cache.v(layer.index))
        .constants(run_args(layer, run))
        .run({num_heads, mtl::Integer(run.num_tokens), 1}, {kSimdWidth, 1, 1});
  });
}

void MetalBackend::attention(const Layer& layer, const Batch& batch, const Buffer& q,
                             const Buffer& a) {
  const int head_dim = weights_->config.head_dim;
  const bool tileable = head_dim % 8 == 0 && head_dim <= kMaxTileDim;
  batch.for_each_run([&](const Run& run) {
    const KvCache& cache = *batch.caches[run.first_token];
    if (tileable && run.num_tokens >= kMinTileTokens) {
      tiled_attention(layer, run, cache, q, a);
    } else {
      split_attention(layer, run, cache, q, a);
    }
  });
}

void MetalBackend::split_attention(const Layer& layer, const Run& run, const KvCache& cache,
                                   const Buffer& q, const Buffer& a) {
  const unsigned group_queries = layer.num_query_heads / layer.num_kv_heads;
  const unsigned positions = run.first_position + run.num_tokens;
  const unsigned splits = unsigned(run.num_tokens) > kMaxSplitTokens
                              ? 1
                              : std::clamp(positions / kSplitPositions, 1u, kMaxSplits);
  const RunArgs args = run_args(layer, run);
  Call(*this, "split_attention", nullptr, group_queries)
      .buffer(q)
      .buffer(cache.k(layer.index))
      .buffer(cache.v(layer.index))
      .buffer(a)
      .buffer(partials_)
      .constants(args)
      .constants(splits)
      .run({layer.num_kv_heads * divide_up(group_queries, kMaxQueries),
            mtl::Integer(run.num_tokens), splits},
           kAttentionThreads);
  if (splits == 1) return;
  Call(*this, "attention_reduce")
      .buffer(partials_)
      .buffer(a)
      .constants(args)
      .constants(splits)
      .run({mtl::Integer(layer.num_query_heads), mtl::Integer(run.num_tokens), 1},
           {mtl::Integer(weights_->config.head_dim), 1, 1});
}

void MetalBackend::tiled_attention(const Layer& layer, const Run& run, const KvCache& cache,
                                   const Buffer& q, const Buffer& a) {
  const unsigned group_queries = layer.num_query_heads / layer.num_kv_heads;
  Call(*this, "tiled_attention", nullptr, group_queries)
      .buffer(q)
      .buffer(cache.k(layer.index))
      .buffer(cache.v(layer.index))
      .buffer(a)
      .constants(run_args(layer, run))
      .run({mtl::Integer(layer.num_kv_heads),
            divide_up(run.num_tokens * group_queries, kAttentionRows), 1},
           kAttentionTileThreads);
}

// to += matrix * from
void MetalBackend::product_add(const char* decode, const char* prefill, const Matrix& matrix,
                               int num_tokens, const Buffer& from, const Buffer& to) {
  const bool one = num_tokens == 1;
  Call(*this, one ? decode : prefill, &matrix)
      .buffer(from)
      .buffer(to)
      .constants(matrix_args(weights_->config, matrix, num_tokens))
      .run(one ? matvec_grid(matrix) : matmul_grid(matrix, num_tokens),
           one ? kMatvecThreads : kMatmulThreads);
}

void MetalBackend::out_proj_add(const Layer& layer, const Batch& batch, const Buffer& a,
                                const Buffer& x) {
  product_add("out_proj_add", "out_proj_add_prefill", layer.out_proj, batch.size(), a, x);
}

void MetalBackend::norm_swiglu(const Layer& layer, const Batch& batch, const Buffer& x,
                               const Buffer& g) {
  const Matrix& matrix = layer.proj_1;
  const bool one = batch.size() == 1;
  Call(*this, one ? "norm_swiglu" : "norm_swiglu_prefill", &matrix)
      .buffer(layer.ffn_norm)
      .buffer(x)
      .buffer(g)
      .constants(matrix_args(weights_->config, matrix, batch.size()))
      .run(one ? matvec_grid(matrix) : matmul_grid(matrix, batch.size()),
           one ? kMatvecThreads : kMatmulThreads);
}

void MetalBackend::ffn_down_add(const Layer& layer, const Batch& batch, const Buffer& g,
                                const Buffer& x) {
  product_add("ffn_down_add", "ffn_down_add_prefill", layer.proj_2, batch.size(), g, x);
}

void MetalBackend::norm_logits(const Batch& batch, const Buffer& x, const Buffer& logits) {
  const Matrix& matrix = weights_->lm_head;
  const int num_rows = int(batch.logit_rows.size());
  const bool one = num_rows == 1;
  Call(*this, one ? "norm_logits" : "norm_logits_prefill", &matrix)
      .buffer(weights_->norm)
      .buffer(x)
      .buffer(logit_rows_)
      .buffer(logits)
      .constants(matrix_args(weights_->config, matrix, num_rows))
      .run(one ? matvec_grid(matrix) : matmul_grid(matrix, num_rows),
           one ? kMatvecThreads : kMatmulThreads);
}

void MetalBackend::sample(const Batch& batch, const Buffer& logits) {
  Call(*this, "sample")
      .buffer(logits)
      .buffer(draws_)
      .buffer(sampled_)
      .constants(unsigned(weights_->config.vocab_size))
      .run({mtl::Integer(batch.draws.size()), 1, 1}, kSampleThreads);
}

}  // namespace openelm::metal
