// Every op of every backend against the oracle. Nothing here knows a backend: all goes through
// fixture.h.

#include <list>
#include <span>

#include "check.h"
#include "fixture.h"
#include "model.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {

namespace {

struct Phase {
  const char* name;
  void (*run)(OpRun& run);
  bool every_dtype = true;  // else float32 alone: it shows nothing of matrices that others do not
};

// All that can follow on each other, in few tokens.
const Phase kShortPhases[] = {
    {"sessions mixed, forked and rewound",
     [](OpRun& run) {
       run.batch({{0, 1}});
       run.batch({{0, 57}, {1, 9}});  // more than 64, from where CUDA has other tiles
       run.batch({{0, 1}});
       run.batch({{0, 1}, {1, 1}});
       run.fork(0, 2);
       run.rewind(0, 17);
       run.batch({{1, 9}, {0, 1}, {2, 1}});
     }},
};

// Kernels of the CPU go by the number of tokens, too.
const Phase kLongPhases[] = {
    // Tiles of up to 6 tokens, alone and two or three together: the suite of matmul has all counts.
    {"1 to 13 tokens",
     [](OpRun& run) {
       for (int tokens : {1, 2, 3, 4, 5, 6, 7, 13}) run.batch({{tokens, tokens}});
     }},
    {"one token at a time",
     [](OpRun& run) {
       for (int i = 0; i < 18; ++i) run.batch({{0, 1}});
     },
     false},
    {"sessions mixed",
     [](OpRun& run) {
       run.batch({{0, 5}});
       run.batch({{0, 1}, {1, 7}, {2, 1}});
       run.batch({{1, 1}, {0, 1}, {2, 1}});
       run.batch({{2, 9}, {0, 3}});
     },
     false},
    {"chunked",
     [](OpRun& run) {
       for (int tokens : {8, 5, 1, 17, 40}) run.batch({{0, tokens}});
     },
     false},
    {"forked and rewound",
     [](OpRun& run) {
       run.batch({{0, 11}});
       run.fork(0, 1);
       run.batch({{1, 3}, {0, 2}});
       run.rewind(0, 6);
       run.batch({{0, 4}, {1, 1}});
     },
     false},
};

std::span<const Phase> phases_of(const TestBackend& backend) {
  if (backend.backend_class == BackendClass::kCpu) return kLongPhases;
  return kShortPhases;
}

const char* const kOps[] = {"embed",       "norm_qkv",     "attention",  "out_proj_add",
                            "norm_swiglu", "ffn_down_add", "norm_logits"};

// One case for each op.
void report(const std::string& name, const std::function<void(OpErrors&)>& run) {
  OpErrors errors;
  std::exception_ptr error;
  try {
    run(errors);
  } catch (...) {
    error = std::current_exception();
  }
  for (const char* op : kOps) {
    test(std::string(op) + ", " + name, [&] {
      if (error) std::rethrow_exception(error);
      const OpError& worst = errors.at(op);
      check_at_most(worst.of_limit, 1,
                    "the relative error " + short_number(worst.error) + ", in parts of its limit");
      note(short_number(worst.error));
    });
  }
}

// Widths that fill no panel, tile or group, group sizes from 1 to 5, a head width for each kernel,
// and every variation of the model.
std::vector<Config> make_shapes() {
  std::vector<Config> shapes = {
      make_config(44, 18, 97, {{3, 3, 75}, {5, 5, 32}}),
      make_config(72, 64, 301, {{4, 1, 75}, {6, 3, 768}}),
      make_config(1280, 20, 97, {{4, 2, 37}}),
      make_config(72, 80, 97, {{8, 2, 268}, {5, 1, 71}}),
      make_config(328, 128, 97, {{6, 2, 90}}),
      make_config(44, 140, 97, {{2, 2, 90}}),
  };
  shapes[3].ffn_with_glu = false;
  shapes[3].share_input_output_layers = false;
  shapes[4].normalize_qk_projections = false;
  shapes[4].rope_freq_constant = 500;
  return shapes;
}

std::string name_of(const TestBackend& backend, const std::string& what, DType dtype) {
  return backend.name + ", " + what + ", " + dtype_name(dtype);
}

}  // namespace

void test_ops() {
  const std::vector<Config> shapes = make_shapes();
  for (const TestBackend& backend : test_backends()) {
    for (DType dtype : backend.dtypes()) {
      std::list<Model> models;
      for (const Config& config : shapes) {
        const auto tensors = make_tensors(config, dtype, DType::kFloat32);
        models.emplace_back(backend, config, dtype, tensors, 200);
      }
      for (const Phase& phase : phases_of(backend)) {
        if (!phase.every_dtype && dtype != DType::kFloat32) continue;
        report(name_of(backend, phase.name, dtype), [&](OpErrors& errors) {
          for (const Model& model : models) {
            OpRun run(model, errors);
            phase.run(run);
          }
        });
      }
      report(name_of(backend, "values beyond float16", dtype), [&](OpErrors& errors) {
        std::vector<TensorSource> tensors = make_tensors(shapes[1], DType::kFloat32);
        enlarge_values(shapes[1], tensors);
        const Model model(backend, shapes[1], dtype, tensors, 200);
        OpRun run(model, errors);
        run.batch({{0, 1}});
        run.batch({{0, 3}, {1, 2}});
      });
    }
  }
}

// The widths of the first and of the last layer of each preset. An emulator multiplies several
// tokens by such matrices for minutes: there they are those of the smallest preset. How a matrix is
// shared out goes by its widths for one token alone.
void test_presets() {
  for (const TestBackend& backend : test_backends()) {
    if (backend.backend_class == BackendClass::kCpuFloat16Cache) continue;  // has the same widths
    const bool emulated = backend.name.find("emulated") != std::string::npos;
    for (const Preset& preset : kPresets) {
      Config config = config_of(preset);
      for (auto* all : {&config.num_query_heads, &config.num_kv_heads, &config.ffn_dims}) {
        *all = {all->front(), all->back()};
      }
      config.num_layers = 2;
      config.vocab_size = 320;
      for (DType dtype : kDTypes) {
        report(name_of(backend, preset.name, dtype), [&](OpErrors& errors) {
          const Model model(backend, config, dtype, make_tensors(config, dtype), 97);
          OpRun run(model, errors);
          run.batch({{0, 1}});
          if (!emulated || &preset == kPresets) run.batch({{0, 2}, {1, 3}});
        });
      }
    }
  }
}

// The embedding is where the elements of a matrix can be seen as they were loaded. There is no more
// to the model.
void test_load() {
  const Config config = make_config(75, 8, 37, {});
  for (const TestBackend& backend : test_backends()) {
    for (DType stored : kDTypes) {
      for (DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kQ8}) {
        test(name_of(backend, std::string("load ") + dtype_name(stored) + " as", dtype), [&] {
          std::vector<TensorSource> tensors = make_tensors(config, DType::kFloat32);
          tensors[0] = random_tensor(tensors[0].name, stored, 37, 75, 1, 1);
          const Model model(backend, config, dtype, tensors);
          OpErrors errors;
          OpRun run(model, errors);
          run.batch({{0, 80}});
          check(errors.at("embed").error == 0, "a row differs");
        });
      }
    }
  }
}

}  // namespace openelm
