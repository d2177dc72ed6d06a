#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"

namespace openelm {

// What decides how exact a backend is. CUDA multiplies inputs of 16 bits when there are several
// tokens. GPUs' caches are as default_kv_cache_dtype() says; the CPU is tested with both.
enum class BackendClass { kCpu, kCpuFloat16Cache, kCuda, kMetal };

// Relative errors against exact arithmetic on the rounded or quantised weights.
struct Tolerances {
  double matvec;     // an op that multiplies a row of one token
  double matmul;     // of several tokens
  double attention;  // over keys and values that norm_qkv made
  double logits;     // of a whole model
};

Tolerances tolerances(BackendClass backend_class, DType dtype);

struct TestBackend {
  std::string name;  // "cpu (avx2, 3 threads)"
  BackendClass backend_class;
  std::function<std::unique_ptr<Backend>(DType kv_cache_dtype)> create;  // it serves one model

  bool is_gpu() const {
    return backend_class == BackendClass::kCuda || backend_class == BackendClass::kMetal;
  }
  DType kv_cache_dtype(DType weights) const;
  // Of weights. The CPU's matrices are no others beside a cache of float16.
  std::vector<DType> dtypes() const;
};

// The backends to test: all that this machine has, or those of one name.
std::vector<TestBackend> test_backends();
void test_only(const std::string& backend_name);

// The first of one name.
TestBackend test_backend(const std::string& name);

}  // namespace openelm
