#include <algorithm>
#include <cmath>

#include "../model/kv_cache.h"
#include "cpu_backend.h"

namespace openelm {

namespace {

size_t sums_size(int rows, int head_dim) { return size_t(rows) * (padded_head_dim(head_dim) + 2); }

AttentionSums sums_at(float* memory, int rows, int head_dim) {
  float* const max = memory + size_t(rows) * padded_head_dim(head_dim);
  return {memory, max, max + rows};
}

// A block is one partition of one KV head. Those that one thread does in sequence ask ahead for
// each other's memory, but nobody helps a thread with them.
constexpr int kMostBlocks = 4;

// The attention of a layer, in pieces: some partitions of one KV head for one tile of tokens.
struct LayerAttention {
  using Tile = CpuBackend::Tile;

  const Kernels& kernels;
  const Layer& layer;
  const Batch& batch;
  const int h;
  const DType cache_dtype;
  const float* q;  // [T, Hq*h], not yet scaled
  float* a;        // [T, Hq*h]

  int group() const { return layer.num_query_heads / layer.num_kv_heads; }
  int rows(const Tile& tile) const { return tile.tokens * group(); }
  size_t offset(const Tile& tile, int token, int kv_head) const {
    return (size_t(tile.first_token + token) * layer.num_query_heads + kv_head * group()) * h;
  }

  void reserve(AttentionScratch& scratch, int rows) const {
    const auto grow = [](std::vector<float>& values, size_t size) {
      if (values.size() < size) values.resize(size);
    };
    grow(scratch.q, size_t(rows) * h);
    grow(scratch.scores, size_t(rows) * kPartition);
    grow(scratch.sums, sums_size(rows, h));
  }

  // The sums over partitions [begin, end).
  void attend(const Tile& tile, int kv_head, int begin, int end, AttentionScratch& scratch,
              float* sums) const {
    const size_t token_size = size_t(group()) * h;
    const float scale = 1.0f / std::sqrt(float(h));
    for (int t = 0; t < tile.tokens; ++t) {
      const float* from = q + offset(tile, t, kv_head);
      float* to = scratch.q.data() + t * token_size;
      for (size_t j = 0; j < token_size; ++j) to[j] = from[j] * scale;
    }
    for (int partition = begin; partition < end; ++partition) {
      float* to = partition == begin ? sums : scratch.sums.data();
      attend_to(tile, kv_head, partition, scratch, sums_at(to, rows(tile), h));
      if (partition > begin) merge(tile, to, sums);
    }
  }

  void merge(const Tile& tile, float* later, float* sums) const {
    kernels.merge_attention(sums_at(later, rows(tile), h), rows(tile), h,
                            sums_at(sums, rows(tile), h));
  }

  void finish(const Tile& tile, int kv_head, float* memory) const {
    const AttentionSums sums = sums_at(memory, rows(tile), h);
    for (int row = 0; row < rows(tile); ++row) {
      const float scale = 1.0f / sums.total[row];
      const float* values = sums.values + size_t(row) * padded_head_dim(h);
      float* to = a + offset(tile, row / group(), kv_head) + size_t(row % group()) * h;
      for (int j = 0; j < h; ++j) to[j] = values[j] * scale;
    }
  }

 private:
  void attend_to(const Tile& tile, int kv_head, int partition, AttentionScratch& scratch,
                 const AttentionSums& sums) const {
    const KvCache& cache = *batch.caches[tile.first_token];
    const size_t element = cache_dtype == DType::kFloat16 ? 2 : 4;
    const size_t index = size_t(partition) * layer.num_kv_heads + kv_head;
    AttentionArgs args;
    args.q = scratch.q.data();
    args.k = cache.k(layer.index).as<char>() + index * kPartition * h * element;
    args.v = cache.v(layer.index).as<char>() + index * kPartition * padded_head_dim(h) * element;
    args.tokens = tile.tokens;
    args.heads = group();
    args.head_dim = h;
    args.positions =
        std::min(batch.positions[tile.first_token] + 1 - partition * kPartition, kPartition);
    args.scores = scratch.scores.data();
    kernels.attention[int(cache_dtype)](args, sums);
  }
};

}  // namespace

// Tiles end where partitions do, so that all tokens of a tile attend to the same partitions.
void CpuBackend::make_tiles(const Batch& batch) {
  tiles_.clear();
  for (int t = 0; t < batch.size(); ++t) {
    const int position = batch.positions[t];
    if (!tiles_.empty()) {
      Tile& last = tiles_.back();
      const bool follows = batch.caches[t] == batch.caches[t - 1] &&
                           position == batch.positions[t - 1] + 1 && position % kPartition != 0;
      if (follows && last.tokens < kTileTokens) {
        ++last.tokens;
        continue;
      }
    }
    tiles_.push_back({t, 1, position / kPartition + 1});
  }
}

void CpuBackend::attention(const Layer& layer, const Batch& batch, const Buffer& q,
                           const Buffer& a) {
  const int h = weights_->config.head_dim;
  const LayerAttention op{kernels_, layer, batch, h, kv_cache_dtype_, q.as<float>(), a.as<float>()};
  const int kv_heads = layer.num_kv_heads;
  const int pieces = int(tiles_.size()) * kv_heads;
  const int most_rows = kTileTokens * op.group();
  const size_t max_size = sums_size(most_rows, h);
  const int threads = pool_.threads();
  int partitions = 1;
  for (const Tile& tile : tiles_) partitions = std::max(partitions, tile.partitions);
  // With little else to do, the threads share the partitions of a piece as well.
  if (pieces >= 4 * threads) partitions = 1;
  attention_sums_.resize(
      std::max(attention_sums_.size(), max_size * std::max(pieces * partitions, threads)));
  // Here, for a task must not throw.
  for (AttentionScratch& scratch : attention_scratch_) op.reserve(scratch, most_rows);
  const auto sums = [&](int index) { return attention_sums_.data() + index * max_size; };

  if (partitions == 1) {
    parallel(pieces, [&](int piece, int thread) {
      const Tile& tile = tiles_[piece / kv_heads];
      const int kv_head = piece % kv_heads;
      op.attend(tile, kv_head, 0, tile.partitions, attention_scratch_[thread], sums(thread));
      op.finish(tile, kv_head, sums(thread));
    });
    return;
  }
  // Of each tile, blocks are counted in the order of the cache's memory.
  const int blocks = pieces * partitions;
  const int run = std::clamp(blocks / (4 * threads), 1, kMostBlocks);
  parallel((blocks + run - 1) / run, [&](int task, int thread) {
    for (int block = task * run; block < std::min((task + 1) * run, blocks); ++block) {
      const int kv_head = block % kv_heads;
      const int partition = block / kv_heads % partitions;
      const int index = block / kv_heads / partitions;
      if (partition >= tiles_[index].partitions) continue;
      op.attend(tiles_[index], kv_head, partition, partition + 1, attention_scratch_[thread],
                sums((index * kv_heads + kv_head) * partitions + partition));
    }
  });
  parallel(pieces, [&](int piece, int) {
    const Tile& tile = tiles_[piece / kv_heads];
    float* all = sums(piece * partitions);
    for (int i = 1; i < tile.partitions; ++i) op.merge(tile, sums(piece * partitions + i), all);
    op.finish(tile, piece % kv_heads, all);
  });
}

}  // namespace openelm
