// Every op of every backend that this machine has, against float64. Nothing here knows a backend:
// all goes through backend.h.

#include <list>
#include <map>

#include "check.h"
#include "model.h"
#include "op_run.h"
#include "suites.h"
#include "tensors.h"
#include "uniform_weights.h"

namespace openelm {

namespace {

// Relative to exact arithmetic on the rounded or quantised weights: what remains is float32 sums
// and, with q8 and q4 weights, the quantisation of the inputs.
const std::map<DType, double> kTolerances = {{DType::kFloat32, 1e-5},
                                             {DType::kFloat16, 1e-5},
                                             {DType::kBFloat16, 1e-5},
                                             {DType::kQ8, 1e-4},
                                             {DType::kQ4, 1e-4}};

struct Phase {
  const char* name;
  void (*run)(OpRun& run);
};

const Phase kPhases[] = {
    {"one token at a time",
     [](OpRun& run) {
       for (int i = 0; i < 18; ++i) run.batch({{0, 1}});
     }},
    {"2 to 13 tokens",
     [](OpRun& run) {
       for (int tokens = 2; tokens <= 13; ++tokens) run.batch({{tokens, tokens}});
     }},
    {"sessions mixed",
     [](OpRun& run) {
       run.batch({{0, 5}});
       run.batch({{0, 1}, {1, 7}, {2, 1}});
       run.batch({{1, 1}, {0, 1}, {2, 1}});
       run.batch({{2, 9}, {0, 3}});
     }},
    {"chunked",
     [](OpRun& run) {
       for (int tokens : {8, 5, 1, 17, 40}) run.batch({{0, tokens}});
     }},
    {"forked and rewound",
     [](OpRun& run) {
       run.batch({{0, 11}});
       run.fork(0, 1);
       run.batch({{1, 3}, {0, 2}});
       run.rewind(0, 6);
       run.batch({{0, 4}, {1, 1}});
     }},
};

const char* const kOps[] = {"embed",       "norm_qkv",     "attention",  "out_proj_add",
                            "norm_swiglu", "ffn_down_add", "norm_logits"};

using Errors = std::map<std::string, double>;

std::vector<BackendInfo> available_backends() {
  std::vector<BackendInfo> backends = list_backends();
  std::erase_if(backends, [](const BackendInfo& info) { return !info.available; });
  return backends;
}

// Three threads are more than some ops have tasks, and more than some machines have cores.
std::shared_ptr<Backend> make_backend(const BackendInfo& info, DType dtype) {
  const bool cpu = info.name == "cpu";
  return create_backend(info.name, 0, 3,
                        cpu ? DType::kFloat32 : default_kv_cache_dtype(info.name, dtype));
}

// "cpu (avx2, 3 threads)"
std::string label(const BackendInfo& info) {
  return info.name + " (" + make_backend(info, DType::kFloat32)->device() + ")";
}

// A backend serves one model.
struct Model {
  const std::shared_ptr<Backend> backend;
  const std::vector<TensorSource> tensors;
  const Weights weights;
  const ReferenceModel reference;

  Model(const BackendInfo& info, const Config& config, TensorSource::Format format, DType dtype,
        int max_reference_rows)
      : backend(make_backend(info, dtype)),
        tensors(make_tensors(config, format)),
        weights(load(config, dtype)),
        reference(config, tensors, dtype, max_reference_rows) {}
  Model(const Model&) = delete;

 private:
  Weights load(const Config& config, DType dtype) const {
    LoadProgress progress(0, nullptr);
    return load_uniform_weights(*backend, config, tensors, dtype, progress);
  }
};

// One case for each op.
void report(const std::string& name, DType dtype, const std::function<Errors()>& run) {
  Errors errors;
  std::exception_ptr error;
  try {
    errors = run();
  } catch (...) {
    error = std::current_exception();
  }
  for (const char* op : kOps) {
    test(std::string(op) + ", " + name, [&] {
      if (error) std::rethrow_exception(error);
      // The embedding computes nothing: its rows are exact.
      const double tolerance = op == kOps[0] ? 0 : kTolerances.at(dtype);
      check_at_most(errors.at(op), tolerance, "the relative error");
      note(short_number(errors.at(op)));
    });
  }
}

void merge(Errors& worst, const Errors& errors) {
  for (const auto& [op, error] : errors) {
    if (!(error <= worst[op])) worst[op] = error;
  }
}

// Widths that fill no panel or group, and every variation of the model.
std::vector<Config> make_shapes() {
  std::vector<Config> shapes = {
      make_config(44, 8, 97, {{3, 3, 75}, {5, 5, 32}}),
      make_config(72, 20, 301, {{4, 2, 75}, {6, 3, 768}}),
      make_config(1280, 64, 301, {{4, 1, 75}}),
      make_config(72, 80, 97, {{8, 2, 768}}),
      make_config(44, 128, 97, {{4, 2, 75}, {8, 4, 33}}),
  };
  shapes[3].ffn_with_glu = false;
  shapes[3].share_input_output_layers = false;
  shapes[4].normalize_qk_projections = false;
  shapes[4].rope_freq_constant = 500;
  return shapes;
}

}  // namespace

void test_ops() {
  const std::vector<Config> shapes = make_shapes();
  for (const BackendInfo& info : available_backends()) {
    for (DType dtype : kDTypes) {
      std::list<Model> models;
      for (const Config& config : shapes) {
        models.emplace_back(info, config, TensorSource::Format::kF32, dtype, 200);
      }
      for (const Phase& phase : kPhases) {
        const std::string name = std::string(dtype_name(dtype)) + ", " + phase.name;
        report(label(info) + ", " + name, dtype, [&] {
          Errors worst;
          for (const Model& model : models) {
            OpRun run(model.backend, model.weights, model.reference);
            phase.run(run);
            merge(worst, run.errors);
          }
          return worst;
        });
      }
    }
  }
}

void test_presets() {
  const struct {
    const char* name;
    int model_dim, head_dim;
    LayerShape first, last;
  } presets[] = {
      {"270M", 1280, 64, {12, 3, 768}, {20, 5, 5120}},
      {"450M", 1536, 64, {12, 3, 768}, {24, 6, 6144}},
      {"1.1B", 2048, 64, {16, 4, 1024}, {32, 8, 8192}},
      {"3B", 3072, 128, {12, 3, 1536}, {24, 6, 12288}},
  };
  for (const BackendInfo& info : available_backends()) {
    for (const auto& preset : presets) {
      for (DType dtype : kDTypes) {
        const std::string name = std::string(preset.name) + ", " + dtype_name(dtype);
        report(label(info) + ", " + name, dtype, [&] {
          Errors worst;
          for (const LayerShape& layer : {preset.first, preset.last}) {
            const Config config = make_config(preset.model_dim, preset.head_dim, 3001, {layer});
            const Model model(info, config, format_of(dtype), dtype, 97);
            OpRun run(model.backend, model.weights, model.reference);
            run.batch({{0, 1}});
            run.batch({{0, 2}, {1, 3}});
            merge(worst, run.errors);
          }
          return worst;
        });
      }
    }
  }
}

// The embedding is where the elements of a matrix can be seen as they were loaded.
void test_load() {
  const int rows = 37;
  const Config config = make_config(75, 8, rows, {});
  for (const BackendInfo& info : available_backends()) {
    for (DType stored : kDTypes) {
      for (DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kQ8}) {
        test("load, " + label(info) + ", " + dtype_name(stored) + " as " + dtype_name(dtype), [&] {
          const auto source = random_tensor("", format_of(stored), rows, 75, 1, 1);
          LoadProgress progress(0, nullptr);
          const auto backend = make_backend(info, dtype);
          Weights weights;
          weights.config = config;
          weights.token_embeddings =
              backend->load_matrix(source, dtype, MatrixLayout::kPlain, progress);
          backend->use(weights);
          Batch batch;
          for (int row = rows - 1; row >= 0; --row) {
            batch.tokens.push_back(row);
            batch.positions.push_back(0);
            batch.caches.push_back(nullptr);
          }
          const Buffer x = backend->allocate(sizeof(float) * rows * 75);
          const std::atomic<bool> not_cancelled{false};
          backend->begin(batch, not_cancelled);
          backend->embed(batch, x);
          std::vector<float> got(size_t(rows) * 75);
          backend->download(x, got.size() * sizeof(float), got.data());
          for (int t = 0; t < rows; ++t) {
            const Row want = loaded_row(source, dtype, batch.tokens[t]);
            check(Row(&got[t * 75], &got[t * 75] + 75) == want,
                  "row " + std::to_string(batch.tokens[t]) + " differs");
          }
        });
      }
    }
  }
}

}  // namespace openelm
