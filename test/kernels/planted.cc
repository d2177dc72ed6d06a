// The suite of the ops finds what is wrong with a backend, in the op where it is wrong.

#include <algorithm>
#include <cmath>
#include <set>

#include "check.h"
#include "cpu/cpu_backend.h"
#include "fixture.h"
#include "model.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {

namespace {

class ScalesTwice : public cpu::CpuBackend {
 public:
  using CpuBackend::CpuBackend;
  void norm_qkv(const Layer& layer, const Batch& batch, const Buffer& x, const Buffer& q) override {
    CpuBackend::norm_qkv(layer, batch, x, q);
    const int h = weights_->config.head_dim;
    const size_t size = size_t(batch.size()) * layer.num_query_heads * h;
    for (size_t i = 0; i < size; ++i) q.as<float>()[i] /= std::sqrt(float(h));
  }
};

// What float16 makes of a value that nobody clamps.
class DoesNotClamp : public cpu::CpuBackend {
 public:
  using CpuBackend::CpuBackend;
  void norm_qkv(const Layer& layer, const Batch& batch, const Buffer& x, const Buffer& q) override {
    CpuBackend::norm_qkv(layer, batch, x, q);
    for (const KvCache* cache : batch.caches) {
      auto* values = cache->v(layer.index).as<uint16_t>();
      const size_t size =
          v_cache_bytes(weights_->config, layer.index, batch.positions.back() + 1) / 2;
      for (size_t i = 0; i < size; ++i) {
        if ((values[i] & 0x7fff) == 0x7bff) ++values[i];  // the largest number becomes infinite
      }
    }
  }
};

class SwapsGate : public cpu::CpuBackend {
 public:
  using CpuBackend::CpuBackend;
  Matrix load_matrix(const TensorSource& source, DType dtype, MatrixLayout layout,
                     LoadProgress& progress) override {
    if (layout == MatrixLayout::kPlain) {
      return CpuBackend::load_matrix(source, dtype, layout, progress);
    }
    std::vector<float> values = read_floats(source);
    std::rotate(values.begin(), values.begin() + values.size() / 2, values.end());
    return CpuBackend::load_matrix(float_tensor(values, source.rows), dtype, layout, progress);
  }
};

template <typename Faulty>
std::set<std::string> failing_ops(BackendClass backend_class, DType dtype, bool large_values) {
  const Config config = make_config(44, 8, 97, {{4, 2, 75}, {4, 2, 32}});
  std::vector<TensorSource> tensors = make_tensors(config, DType::kFloat32);
  if (large_values) enlarge_values(config, tensors);
  const TestBackend backend{"", backend_class, [](DType kv_cache_dtype) {
                              return std::make_unique<Faulty>(2, kv_cache_dtype);
                            }};
  const Model model(backend, config, dtype, tensors);
  OpErrors errors;
  OpRun run(model, errors);
  run.batch({{0, 1}});
  run.batch({{0, 3}, {1, 2}});
  std::set<std::string> failing;
  for (const auto& [op, error] : errors) {
    if (!(error.of_limit <= 1)) failing.insert(op);
  }
  return failing;
}

}  // namespace

void test_planted() {
  using Ops = std::set<std::string>;
  for (DType dtype : kDTypes) {
    const auto planted = [&](const std::string& fault, const Ops& expected, const Ops& found) {
      test("a planted fault is found, " + fault + ", " + dtype_name(dtype), [&] {
        std::string names;
        for (const std::string& op : found) names += " " + op;
        check(found == expected, "these ops fail:" + names);
      });
    };
    planted("queries scaled by norm_qkv too", {"norm_qkv", "attention"},
            failing_ops<ScalesTwice>(BackendClass::kCpu, dtype, false));
    planted("a missing clamp", {"attention"},
            failing_ops<DoesNotClamp>(BackendClass::kCpuFloat16Cache, dtype, true));
    planted("gate and up exchanged", {"norm_swiglu"},
            failing_ops<SwapsGate>(BackendClass::kCpu, dtype, false));
  }
}

}  // namespace openelm
