#include "backends.h"

#include <map>
#include <stdexcept>

#include "environment.h"
#include "model/load.h"
#include "tensors.h"

namespace openelm {

static std::string only;

void test_only(const std::string& backend_name) { only = backend_name; }

Tolerances tolerances(BackendClass backend_class, DType dtype) {
  static const std::map<BackendClass, std::map<DType, Tolerances>> all = {
      {BackendClass::kCpu,
       {{DType::kFloat32, {1e-5, 1e-5, 1e-5, 1e-5}},
        {DType::kFloat16, {1e-5, 1e-5, 1e-5, 1e-5}},
        {DType::kBFloat16, {1e-5, 1e-5, 1e-5, 1e-5}},
        {DType::kQ8, {1e-4, 1e-4, 1e-4, 5e-4}},
        {DType::kQ4, {1e-4, 1e-4, 1e-4, 5e-4}}}},
      {BackendClass::kCpuFloat16Cache,
       {{DType::kFloat32, {1e-5, 1e-5, 6e-4, 1e-4}},
        {DType::kFloat16, {1e-5, 1e-5, 6e-4, 1e-4}},
        {DType::kBFloat16, {1e-5, 1e-5, 6e-4, 1e-4}},
        {DType::kQ8, {1e-4, 1e-4, 6e-4, 5e-4}},
        {DType::kQ4, {1e-4, 1e-4, 6e-4, 5e-4}}}},
      {BackendClass::kCuda,
       {{DType::kFloat32, {2e-6, 2e-6, 2e-6, 1e-5}},
        {DType::kFloat16, {2e-6, 2e-3, 2e-3, 1e-2}},
        {DType::kBFloat16, {2e-6, 6e-3, 6e-3, 2e-2}},
        {DType::kQ8, {2e-6, 2e-3, 2e-3, 1e-2}},
        {DType::kQ4, {2e-6, 2e-3, 2e-3, 1e-2}}}},
      {BackendClass::kMetal,
       {{DType::kFloat32, {2e-6, 2e-6, 2e-6, 1e-5}},
        {DType::kFloat16, {2e-6, 4e-6, 6e-4, 2e-3}},
        {DType::kBFloat16, {2e-6, 4e-6, 6e-4, 2e-3}},
        {DType::kQ8, {2e-6, 4e-6, 6e-4, 2e-3}},
        {DType::kQ4, {2e-6, 4e-6, 6e-4, 2e-3}}}},
  };
  return all.at(backend_class).at(dtype);
}

DType TestBackend::kv_cache_dtype(DType weights) const {
  if (backend_class == BackendClass::kCpu) return DType::kFloat32;
  if (backend_class == BackendClass::kCpuFloat16Cache) return DType::kFloat16;
  return default_kv_cache_dtype(backend_class == BackendClass::kCuda ? "cuda" : "metal", weights);
}

std::vector<DType> TestBackend::dtypes() const {
  if (backend_class == BackendClass::kCpuFloat16Cache) return {DType::kFloat32};
  return {std::begin(kDTypes), std::end(kDTypes)};
}

std::vector<TestBackend> test_backends() {
  const struct {
    const char* name;
    BackendClass backend_class;
    const char* note;
  } known[] = {{"cpu", BackendClass::kCpu, ""},
               {"cpu", BackendClass::kCpuFloat16Cache, ", float16 cache"},
               {"cuda", BackendClass::kCuda, ""},
               {"metal", BackendClass::kMetal, ""}};
  std::vector<TestBackend> backends;
  for (const BackendInfo& info : list_backends()) {
    if (!info.available || (!only.empty() && info.name != only)) continue;
    for (const auto& [name, backend_class, note] : known) {
      if (info.name != name) continue;
      const auto create = [name](DType cache) { return create_test_backend(name, cache); };
      const std::string device = create(DType::kFloat32)->device();
      backends.push_back({info.name + " (" + device + note + ")", backend_class, create});
    }
  }
  if (backends.empty()) throw std::runtime_error("there is no backend " + only);
  return backends;
}

TestBackend test_backend(const std::string& name) {
  for (TestBackend& backend : test_backends()) {
    if (backend.name.starts_with(name)) return std::move(backend);
  }
  throw std::runtime_error("there is no backend " + name);
}

}  // namespace openelm
