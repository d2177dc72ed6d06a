#include <algorithm>
#include <cmath>

#include "check.h"
#include "reference.h"
#include "simd/kernels.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {

// The largest error of silu in units of a float32's relative precision, where neither e^-x nor its
// reciprocal leaves the normal range.
static double silu_error(const Kernels& kernels, std::vector<float> x) {
  std::vector<float> y = x;
  kernels.silu(y.data(), int(y.size()));
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = silu(x[i]);
    if (want != 0) worst = std::max(worst, std::fabs(y[i] - want) / std::fabs(want) * 0x1p23);
  }
  return worst;
}

static void test_silu(const Kernels& kernels) {
  std::vector<float> x;
  for (float value = -86.5f; value < 100; value += 0.00037f) x.push_back(value);
  for (int exponent = -126; exponent < 6; ++exponent) {
    for (uint64_t i = 0; i < 64; ++i) {
      x.push_back(std::ldexp(1 + float(random_bits(exponent, i) >> 40) * 0x1p-24f, exponent));
      x.push_back(-x.back());
    }
  }
  x.resize(x.size() / 8 * 8);
  const double error = silu_error(kernels, x);
  check_at_most(error, 4, "the error in units of 2^-23");
  note(short_number(error));

  float extremes[8] = {-INFINITY, -1e30f, -100, -88, 0, 1e30f, INFINITY, NAN};
  kernels.silu(extremes, 8);
  for (int i = 2; i < 4; ++i) check_at_most(std::fabs(extremes[i]), 1e-35, "silu of -88 and less");
  check(extremes[4] == 0 && extremes[5] == 1e30f && extremes[6] == INFINITY, "silu of extremes");
  check(std::isnan(extremes[7]), "silu of NaN");
}

static void test_swiglu(const Kernels& kernels) {
  const int pairs = 3;
  const std::vector<float> gate_up = random_floats(1, pairs * 2 * kPanelRows, 3);
  std::vector<float> y = gate_up;
  kernels.swiglu(y.data(), pairs, y.data());  // in place, as norm_swiglu calls it
  for (int i = 0; i < pairs * kPanelRows; ++i) {
    const float* gate = &gate_up[i / kPanelRows * 2 * kPanelRows + i % kPanelRows];
    const double want = silu(gate[0]) * gate[kPanelRows];
    check_at_most(std::fabs(y[i] - want), 1e-6 * std::fabs(want), "swiglu");
  }
}

static void test_multiply_adds(const Kernels& kernels) {
  const float count = kernels.multiply_adds(0);
  check(count >= kPanelRows && std::fmod(count, kPanelRows) == 0, "whole registers");
  check(kernels.multiply_adds(1000) == count, "each lane stays 1");
}

static void test_rms_norm(const Kernels& kernels) {
  for (int size = 1; size < 140; ++size) {
    for (float std : {1e-4f, 1.0f, 1e4f}) {
      std::vector<float> x = random_floats(size, size, std);
      const std::vector<float> weight = random_floats(~size, size);
      const Row want = rms_norm(Row(x.begin(), x.end()), Row(weight.begin(), weight.end()), 1e-6f);
      kernels.rms_norm(x.data(), weight.data(), 1e-6f, size, x.data());
      check_at_most(relative_error(Row(x.begin(), x.end()), want), 1e-6,
                    "size " + std::to_string(size));
    }
  }
  float zeros[3] = {};
  kernels.rms_norm(zeros, zeros, 1e-6f, 3, zeros);
  check(zeros[0] == 0, "the norm of zeros");
}

static void test_rope(const Kernels& kernels) {
  for (int h : {2, 8, 20, 64, 80, 128, 130}) {
    for (int position : {0, 1, 777, 2047}) {
      std::vector<float> x = random_floats(h, h);
      std::vector<float> cos, sin;
      for (int j = 0; j < h / 2; ++j) {
        const double angle = position * std::pow(10000.0, -2.0 * j / h);
        cos.push_back(float(std::cos(angle)));
        sin.push_back(float(std::sin(angle)));
      }
      const Row want = rope(Row(x.begin(), x.end()), position, 10000);
      kernels.rope(x.data(), cos.data(), sin.data(), h);
      check_at_most(relative_error(Row(x.begin(), x.end()), want), 1e-6,
                    "head_dim " + std::to_string(h));
    }
  }
}

// The same arithmetic in a plain loop gives the same integers.
static void test_quantize_input(const Kernels& kernels) {
  for (int cols : {1, 8, 31, 32, 33, 75, 1280}) {
    for (float std : {1e-30f, 1.0f, 1e30f}) {
      std::vector<float> x = random_floats(cols, cols, std);
      x[cols / 2] *= 3;
      if (cols > 32) std::fill(x.begin(), x.begin() + 32, 0.0f);
      const int groups = (cols + kGroupSize - 1) / kGroupSize;
      std::vector<int16_t> quantized(groups * kGroupSize);
      std::vector<float> scales(groups);
      std::vector<int32_t> offsets(groups);
      kernels.quantize_input(x.data(), cols, quantized.data(), scales.data(), offsets.data());
      x.resize(groups * kGroupSize);
      for (int g = 0; g < groups; ++g) {
        float largest = 0;
        for (int i = 0; i < kGroupSize; ++i) largest = std::max(largest, std::fabs(x[32 * g + i]));
        const float inverse = largest > 0 ? 32767.0f / largest : 0.0f;
        int32_t sum = 0;
        for (int i = 32 * g; i < 32 * g + kGroupSize; ++i) {
          check(quantized[i] == int(std::nearbyint(x[i] * inverse)), "a quantised value");
          sum += quantized[i];
        }
        check(scales[g] == largest / 32767.0f, "a scale");
        check(offsets[g] == -8 * sum, "an offset");
      }
    }
  }
}

void test_elementwise() {
  for (const Kernels* kernels : runnable_kernels()) {
    const std::string name = std::string(", ") + kernels->name;
    test("silu" + name, [&] { test_silu(*kernels); });
    test("swiglu" + name, [&] { test_swiglu(*kernels); });
    test("multiply_adds" + name, [&] { test_multiply_adds(*kernels); });
    test("rms_norm" + name, [&] { test_rms_norm(*kernels); });
    test("rope" + name, [&] { test_rope(*kernels); });
    test("quantize_input" + name, [&] { test_quantize_input(*kernels); });
  }
}

}  // namespace openelm
