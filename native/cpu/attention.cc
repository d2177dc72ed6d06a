#include <algorithm>
#include <cmath>

#include "../model/kv_cache.h"
#include "cpu_backend.h"

namespace openelm::cpu {

namespace {

// How many partitions the tokens of a tile attend to, which is the same for all of them.
int partitions_of(const Run& tile) { return tile.first_position / kPartition + 1; }

size_t sums_size(int rows, int head_dim) { return size_t(rows) * (padded_head_dim(head_dim) + 2); }

AttentionSums sums_at(float* memory, int rows, int head_dim) {
  float* const max = memory + size_t(rows) * padded_head_dim(head_dim);
  return {memory, max, max + rows};
}

// A block is one partition of one KV head; a task is some consecutive blocks. Within a task the
// memory of the next block is prefetched while one is computed, so longer tasks wait less for
// memory; but a task cannot be shared among threads, so shorter ones are spread more evenly.
constexpr int kMaxBlocks = 4;

// The attention of a layer, in pieces: some partitions of one KV head for one tile of tokens.
struct LayerAttention {
  const Kernels& kernels;
  const Layer& layer;
  const Batch& batch;
  const int h;
  const DType cache_dtype;
  const float* q;  // [T, Hq*h], not yet scaled
  float* a;        // [T, Hq*h]

  int group() const { return layer.num_query_heads / layer.num_kv_heads; }
  int rows(const Run& tile) const { return tile.num_tokens * group(); }
  size_t offset(const Run& tile, int token, int kv_head) const {
    return (size_t(tile.first_token + token) * layer.num_query_heads + kv_head * group()) * h;
  }

  void reserve(AttentionScratch& scratch, int rows) const {
    scratch.q.reserve(size_t(rows) * h);
    scratch.scores.reserve(size_t(rows) * kPartition);
    scratch.sums.reserve(sums_size(rows, h));
  }

  // The sums over partitions [begin, end).
  void attend(const Run& tile, int kv_head, int begin, int end, AttentionScratch& scratch,
              float* sums) const {
    const size_t token_size = size_t(group()) * h;
    const float scale = 1.0f / std::sqrt(float(h));
    for (int t = 0; t < tile.num_tokens; ++t) {
      const float* from = q + offset(tile, t, kv_head);
      float* to = scratch.q.get() + t * token_size;
      for (size_t j = 0; j < token_size; ++j) to[j] = from[j] * scale;
    }
    for (int partition = begin; partition < end; ++partition) {
      float* to = partition == begin ? sums : scratch.sums.get();
      attend_to(tile, kv_head, partition, scratch, sums_at(to, rows(tile), h));
      if (partition > begin) merge(tile, to, sums);
    }
  }

  void merge(const Run& tile, float* later, float* sums) const {
    kernels.merge_attention(sums_at(later, rows(tile), h), rows(tile), h,
                            sums_at(sums, rows(tile), h));
  }

  void finish(const Run& tile, int kv_head, float* memory) const {
    const AttentionSums sums = sums_at(memory, rows(tile), h);
    for (int row = 0; row < rows(tile); ++row) {
      const float scale = 1.0f / sums.total[row];
      const float* values = sums.values + size_t(row) * padded_head_dim(h);
      float* to = a + offset(tile, row / group(), kv_head) + size_t(row % group()) * h;
      for (int j = 0; j < h; ++j) to[j] = values[j] * scale;
    }
  }

 private:
  void attend_to(const Run& tile, int kv_head, int partition, AttentionScratch& scratch,
                 const AttentionSums& sums) const {
    const KvCache& cache = *batch.caches[tile.first_token];
    const size_t element = cache_dtype == DType::kFloat16 ? 2 : 4;
    const size_t index = size_t(partition) * layer.num_kv_heads + kv_head;
    AttentionArgs args;
    args.q = scratch.q.get();
    args.k = cache.k(layer.index).as<char>() + index * kPartition * h * element;
    args.v = cache.v(layer.index).as<char>() + index * kPartition * padded_head_dim(h) * element;
    args.tokens = tile.num_tokens;
    args.heads = group();
    args.head_dim = h;
    args.positions = std::min(tile.first_position + 1 - partition * kPartition, kPartition);
    args.scores = scratch.scores.get();
    kernels.attention[int(cache_dtype)](args, sums);
  }
};

}  // namespace

// Tiles end where partitions do, so that all tokens of a tile attend to the same partitions.
void CpuBackend::make_tiles(const Batch& batch) {
  constexpr int kTileTokens = 16;
  tiles_.clear();
  batch.for_each_run([&](Run rest) {
    while (rest.num_tokens > 0) {
      const int left = kPartition - rest.first_position % kPartition;
      const int count = std::min({rest.num_tokens, left, kTileTokens});
      tiles_.push_back({rest.first_token, count, rest.first_position});
      rest = {rest.first_token + count, rest.num_tokens - count, rest.first_position + count};
    }
  });
}

void CpuBackend::attention(const Layer& layer, const Batch& batch, const Buffer& q,
                           const Buffer& a) {
  const int h = weights_->config.head_dim;
  const LayerAttention op{kernels_, layer, batch, h, kv_cache_dtype_, q.as<float>(), a.as<float>()};
  const int kv_heads = layer.num_kv_heads;
  const int pieces = int(tiles_.size()) * kv_heads;
  const int threads = workers_.pool.threads();
  int most_tokens = 0;
  int partitions = 1;
  for (const Run& tile : tiles_) {
    most_tokens = std::max(most_tokens, tile.num_tokens);
    partitions = std::max(partitions, partitions_of(tile));
  }
  // With little else to do, the threads share the partitions of a piece as well.
  if (pieces >= 4 * threads) partitions = 1;
  // Here, for a task must not throw.
  const size_t most_sums = sums_size(most_tokens * op.group(), h);
  float* const all_sums =
      attention_sums_.reserve(most_sums * std::max(pieces * partitions, threads));
  const auto sums = [=](int index) { return all_sums + index * most_sums; };
  for (AttentionScratch& scratch : attention_scratch_) {
    op.reserve(scratch, most_tokens * op.group());
  }

  if (partitions == 1) {
    workers_.run(pieces, [&](int piece, int thread) {
      const Run& tile = tiles_[piece / kv_heads];
      const int kv_head = piece % kv_heads;
      op.attend(tile, kv_head, 0, partitions_of(tile), attention_scratch_[thread], sums(thread));
      op.finish(tile, kv_head, sums(thread));
    });
    return;
  }
  // Of each tile, blocks are counted in the order of the cache's memory.
  const int blocks = pieces * partitions;
  const int run = std::clamp(blocks / (4 * threads), 1, kMaxBlocks);
  workers_.run((blocks + run - 1) / run, [&](int task, int thread) {
    for (int block = task * run; block < std::min((task + 1) * run, blocks); ++block) {
      const int kv_head = block % kv_heads;
      const int partition = block / kv_heads % partitions;
      const int index = block / kv_heads / partitions;
      if (partition >= partitions_of(tiles_[index])) continue;
      op.attend(tiles_[index], kv_head, partition, partition + 1, attention_scratch_[thread],
                sums((index * kv_heads + kv_head) * partitions + partition));
    }
  });
  workers_.run(pieces, [&](int piece, int) {
    const Run& tile = tiles_[piece / kv_heads];
    float* all = sums(piece * partitions);
    for (int i = 1; i < partitions_of(tile); ++i) op.merge(tile, sums(piece * partitions + i), all);
    op.finish(tile, piece % kv_heads, all);
  });
}

}  // namespace openelm::cpu
