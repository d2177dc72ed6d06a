#include "gradients.h"

#include "suites.h"
#include "train/ops.h"

namespace openelm {

using namespace train;

template <typename T>
using Op = DifferentiableOp<T>;

using Lengths = std::vector<int32_t>;  // of sequences

constexpr int kTokens[] = {3, 0, 4, 3, 3, 1};
constexpr int kRows = 6;
constexpr int kVocabSize = 7;

// Embedding and head in one: each token's logits straight from its embedding. Tied, both have one
// matrix and add to one gradient.
template <typename T>
static Op<T> embed_and_head(int d, bool tied) {
  Op<T> op;
  op.inputs.assign(tied ? 1 : 2, {size_t(kVocabSize) * d});
  op.forward = [=](Workers<T>& workers, const Arrays<T>& in) {
    std::vector<T> x(kRows * d), y(kRows * kVocabSize);
    embed(workers, kTokens, in.front().data(), kRows, d, x.data());
    linear(workers, x.data(), in.back().data(), kRows, d, kVocabSize, y.data());
    return y;
  };
  op.backward = [=](Workers<T>& workers, const Arrays<T>& in, const std::vector<T>& dy,
                    Arrays<T>& din) {
    std::vector<T> x(kRows * d), dx(kRows * d);
    embed(workers, kTokens, in.front().data(), kRows, d, x.data());
    linear_dx(workers, in.back().data(), dy.data(), kRows, d, kVocabSize, dx.data());
    linear_dweight(workers, x.data(), dy.data(), RowBlocks({0, kRows}), d, kVocabSize,
                   din.back().data());
    embed_backward(workers, kTokens, dx.data(), kRows, d, din.front().data());
  };
  return op;
}

// With `residual` as y += x * weight^T, as what an adapter adds: the gradient by y passes through.
template <typename T>
static Op<T> linear_op(int rows, int in_dim, int out_dim, bool residual) {
  Op<T> op;
  op.inputs = {{size_t(rows) * in_dim, Gradient::kOverwrites}, {size_t(out_dim) * in_dim}};
  if (residual) op.inputs.push_back({size_t(rows) * out_dim});
  op.forward = [=](Workers<T>& workers, const Arrays<T>& in) {
    std::vector<T> y = residual ? in[2] : std::vector<T>(rows * out_dim);
    (residual ? linear_add<T> : linear<T>)(workers, in[0].data(), in[1].data(), rows, in_dim,
                                           out_dim, y.data());
    return y;
  };
  op.backward = [=](Workers<T>& workers, const Arrays<T>& in, const std::vector<T>& dy,
                    Arrays<T>& din) {
    linear_dx(workers, in[1].data(), dy.data(), rows, in_dim, out_dim, din[0].data());
    linear_dweight(workers, in[0].data(), dy.data(), RowBlocks({0, rows / 2, rows}), in_dim,
                   out_dim, din[1].data());
    for (size_t i = 0; residual && i < dy.size(); ++i) din[2][i] += dy[i];
  };
  return op;
}

constexpr double kEps = 1e-6;

template <typename T>
static Op<T> rms_norm_op(int rows, int cols) {
  Op<T> op;
  op.inputs = {{size_t(rows) * cols}, {size_t(cols)}};
  op.forward = [=](Workers<T>& workers, const Arrays<T>& in) {
    std::vector<T> y(rows * cols);
    rms_norm(workers, in[0].data(), in[1].data(), T(kEps), rows, cols, y.data());
    return y;
  };
  op.backward = [=](Workers<T>& workers, const Arrays<T>& in, const std::vector<T>& dy,
                    Arrays<T>& din) {
    rms_norm_backward(workers, in[0].data(), in[1].data(), T(kEps), dy.data(),
                      RowBlocks({0, rows / 3, rows}), cols, din[0].data(), din[1].data());
  };
  return op;
}

// Of the query and key heads of qkv; its value heads are not this op's.
template <typename T>
static Op<T> qk_norm_rope_op(HeadShape shape, Lengths lengths, bool normalize) {
  const Sequences sequences(lengths);
  const int rows = sequences.rows();
  const auto norm = [=](auto& arrays, int i) { return normalize ? arrays[i].data() : nullptr; };
  const RopeTable<T> rope(sequences.longest(), shape.head_dim, 10000);
  Op<T> op;
  op.inputs = {{size_t(rows) * shape.qk_dim(), Gradient::kOverwrites}};
  if (normalize) op.inputs.insert(op.inputs.end(), 2, {size_t(shape.head_dim)});
  const auto with_values = [=](const std::vector<T>& qk) {
    std::vector<T> qkv(rows * shape.qkv_dim());
    for (int t = 0; t < rows; ++t) {
      std::copy_n(&qk[t * shape.qk_dim()], shape.qk_dim(), &qkv[t * shape.qkv_dim()]);
    }
    return qkv;
  };
  op.forward = [=](Workers<T>& workers, const Arrays<T>& in) {
    std::vector<T> y(rows * shape.qk_dim());
    qk_norm_rope<T>(workers, shape, rope, with_values(in[0]).data(), norm(in, 1), norm(in, 2),
                    T(kEps), sequences, y.data());
    return y;
  };
  op.backward = [=](Workers<T>& workers, const Arrays<T>& in, std::vector<T> dy, Arrays<T>& din) {
    std::vector<T> dqkv(rows * shape.qkv_dim());
    qk_norm_rope_backward<T>(workers, shape, rope, with_values(in[0]).data(), norm(in, 1),
                             norm(in, 2), T(kEps), dy.data(), sequences, dqkv.data(), norm(din, 1),
                             norm(din, 2));
    for (int t = 0; t < rows; ++t) {
      std::copy_n(&dqkv[t * shape.qkv_dim()], shape.qk_dim(), &din[0][t * shape.qk_dim()]);
    }
  };
  return op;
}

// Inputs are qk and qkv, of which only the value heads count.
template <typename T>
static Op<T> attention_op(HeadShape shape, Lengths lengths) {
  const Sequences sequences(lengths);
  const int rows = sequences.rows();
  Op<T> op;
  op.inputs = {{size_t(rows) * shape.qk_dim(), Gradient::kOverwrites},
               {size_t(rows) * shape.qkv_dim()}};
  const auto forward = [=](Workers<T>& workers, const Arrays<T>& in, std::vector<T>& lse) {
    std::vector<T> a(rows * shape.q_dim());
    lse.resize(rows * shape.num_query_heads);
    attention(workers, shape, in[0].data(), in[1].data(), sequences, a.data(), lse.data());
    return a;
  };
  op.forward = [=](Workers<T>& workers, const Arrays<T>& in) {
    std::vector<T> lse;
    return forward(workers, in, lse);
  };
  op.backward = [=](Workers<T>& workers, const Arrays<T>& in, const std::vector<T>& da,
                    Arrays<T>& din) {
    std::vector<T> lse, dqkv(rows * shape.qkv_dim(), T(0));
    const std::vector<T> a = forward(workers, in, lse);
    attention_backward(workers, shape, in[0].data(), in[1].data(), a.data(), lse.data(), da.data(),
                       sequences, din[0].data(), dqkv.data());
    for (size_t i = 0; i < dqkv.size(); ++i) din[1][i] += dqkv[i];
  };
  return op;
}

template <typename T>
static Op<T> swiglu_op(bool with_glu, int rows, int ffn_dim) {
  Op<T> op;
  op.inputs = {{size_t(rows) * ffn_dim * (with_glu ? 2 : 1), Gradient::kOverwrites}};
  op.forward = [=](Workers<T>& workers, const Arrays<T>& in) {
    std::vector<T> y(rows * ffn_dim);
    swiglu(workers, with_glu, in[0].data(), rows, ffn_dim, y.data());
    return y;
  };
  op.backward = [=](Workers<T>& workers, const Arrays<T>& in, const std::vector<T>& dy,
                    Arrays<T>& din) {
    swiglu_backward(workers, with_glu, in[0].data(), dy.data(), rows, ffn_dim, din[0].data());
  };
  return op;
}

// The loss of logits, of which each row has a scale of its own, some of them negative.
template <typename T>
static Op<T> cross_entropy_op(int rows, int vocab_size, double z_loss) {
  std::vector<int32_t> targets(rows);
  std::vector<double> scales(rows);
  for (int t = 0; t < rows; ++t) {
    targets[t] = (5 * t + 1) % vocab_size;
    scales[t] = t % 3 - 0.5;
  }
  Op<T> op;
  op.inputs = {{size_t(rows) * vocab_size, Gradient::kOverwrites}};
  op.forward = [=](Workers<T>& workers, Arrays<T> in) -> std::vector<T> {
    std::vector<TokenLoss> losses(rows);
    cross_entropy(workers, in[0].data(), targets.data(), rows, vocab_size, losses.data());
    double sum = 0;
    for (int t = 0; t < rows; ++t) {
      sum += scales[t] * (losses[t].cross_entropy + z_loss * losses[t].lse * losses[t].lse);
    }
    return {T(sum)};
  };
  op.backward = [=](Workers<T>& workers, const Arrays<T>& in, const std::vector<T>& dy,
                    Arrays<T>& din) {
    std::vector<TokenLoss> losses(rows);
    std::vector<double> scaled;
    for (double scale : scales) scaled.push_back(scale * double(dy[0]));
    din = in;
    cross_entropy_backward(workers, din[0].data(), targets.data(), scaled.data(), rows, vocab_size,
                           z_loss, losses.data());
  };
  return op;
}

static std::string describe(const HeadShape& shape) {
  return std::to_string(shape.num_query_heads) + " query heads, " +
         std::to_string(shape.num_kv_heads) + " KV heads of " + std::to_string(shape.head_dim);
}

#define IN_BOTH_TYPES(op, ...) op<double>(__VA_ARGS__), op<float>(__VA_ARGS__)

// visit(name, op in float64, the same in float32)
template <typename Visit>
static void for_each_op(const Visit& visit) {
  visit("embedding and head, tied", IN_BOTH_TYPES(embed_and_head, 20, true));
  visit("embedding and head, untied", IN_BOTH_TYPES(embed_and_head, 20, false));
  // Whole tiles and parts of them, and an inner dimension in one part and in two.
  visit("a linear layer of one by one", IN_BOTH_TYPES(linear_op, 1, 1, 1, false));
  visit("a linear layer of whole tiles", IN_BOTH_TYPES(linear_op, 12, 16, 64, false));
  visit("a linear layer of odd widths", IN_BOTH_TYPES(linear_op, 13, 270, 35, false));
  visit("a linear layer and its residual", IN_BOTH_TYPES(linear_op, 7, 19, 18, true));
  visit("RMSNorm", IN_BOTH_TYPES(rms_norm_op, 70, 24));
  visit("RMSNorm of odd width", IN_BOTH_TYPES(rms_norm_op, 5, 13));
  // Layers of one model differ in their heads; multi-query and multi-head are the extremes.
  for (HeadShape shape : {HeadShape{2, 1, 8}, {8, 2, 16}, {4, 1, 6}, {3, 3, 10}}) {
    const std::string heads = describe(shape);
    visit("q/k norm and RoPE, " + heads,
          IN_BOTH_TYPES(qk_norm_rope_op, shape, Lengths{5, 1, 4}, true));
    visit("RoPE alone, " + heads, IN_BOTH_TYPES(qk_norm_rope_op, shape, Lengths{5, 1, 4}, false));
    visit("attention, " + heads, IN_BOTH_TYPES(attention_op, shape, Lengths{9, 1, 6}));
  }
  visit("attention in two blocks of queries",
        IN_BOTH_TYPES(attention_op, HeadShape{2, 1, 8}, Lengths{140}));
  visit("SwiGLU", IN_BOTH_TYPES(swiglu_op, true, 6, 21));
  visit("SiLU", IN_BOTH_TYPES(swiglu_op, false, 6, 24));
  visit("cross-entropy", IN_BOTH_TYPES(cross_entropy_op, 8, 37, 0));
  visit("cross-entropy and z-loss", IN_BOTH_TYPES(cross_entropy_op, 8, 37, 0.01));
}

void test_differences() {
  for_each_op([](const std::string& name, const Op<double>& exact, const Op<float>&) {
    test_differences_of(name, exact);
  });
}

void test_gradients() { for_each_op(test_gradients_of); }

}  // namespace openelm
