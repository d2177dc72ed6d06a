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
//
// A sum of n products of order 1 that is rounded to float32 after each has passed through partial
// sums of order sqrt(1 .. n), so that its relative error is some 2^-24 * sqrt(n / 6): 0.9e-6 in one
// row of n = 1280, half of that in four partial sums. SwiGLU multiplies two such sums, and the
// error of silu(gate) * up is twice that of each: rows that are as short as 37 have up to 2.8e-6,
// which is why norm_swiglu may have twice the error of a matrix.
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
