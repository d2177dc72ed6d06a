#include "quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check.h"
#include "dtype.h"
#include "error.h"
#include "reference.h"
#include "simd/kernels.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {

namespace {

struct Quantized {
  std::vector<uint8_t> codes;
  std::vector<uint16_t> scales;
  std::vector<float> values;  // dequantised
};

Quantized quantize(DType dtype, const std::vector<float>& x) {
  const int cols = int(x.size());
  const int groups = (cols + kGroupSize - 1) / kGroupSize;
  Quantized result;
  result.codes.resize(groups * (dtype == DType::kQ8 ? 32 : 16));
  result.scales.resize(groups);
  result.values.resize(x.size());
  auto* int8 = reinterpret_cast<int8_t*>(result.codes.data());
  if (dtype == DType::kQ8) {
    quantize_q8_row(x.data(), cols, int8, result.scales.data());
    dequantize_q8_row(int8, result.scales.data(), cols, result.values.data());
  } else {
    quantize_q4_row(x.data(), cols, result.codes.data(), result.scales.data());
    dequantize_q4_row(result.codes.data(), result.scales.data(), cols, result.values.data());
  }
  return result;
}

double squared_error(const std::vector<float>& x, const std::vector<float>& y) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += (double(x[i]) - y[i]) * (double(x[i]) - y[i]);
  return sum;
}

// Groups that use their whole range: the largest value has the largest code. Few values may also
// suit another scale of q4, which float16 need not hold; 32 of them do not.
void test_round_trip(DType dtype) {
  const int low = dtype == DType::kQ8 ? -127 : -8;
  const int high = -low - (dtype == DType::kQ4);
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const int cols = dtype == DType::kQ8 ? 1 + int(random_bits(seed, 0) % 100) : 3 * kGroupSize;
    std::vector<float> x(cols);
    for (int c = 0; c < cols; ++c) {
      // A normal float16 of either sign.
      const uint64_t bits = random_bits(seed, 1 + c / kGroupSize);
      const float scale = f16_to_float(uint16_t((bits & 0x83ff) | (1 + (bits >> 16) % 27) << 10));
      int code = low + int(random_bits(~seed, c) % (high - low + 1));
      if (c % kGroupSize == 0) code = dtype == DType::kQ4 && seed % 2 ? high : low;
      if (dtype == DType::kQ4 && seed % 2) code = std::max(code, -high);
      x[c] = float(code) * scale;
    }
    check(quantize(dtype, x).values == x, "row " + std::to_string(seed));
  }
}

// Half a step at most, but for the rounding of the scale itself.
void test_q8_error() {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const std::vector<float> x = random_floats(seed, kGroupSize);
    const Quantized result = quantize(DType::kQ8, x);
    const double step = f16_value(result.scales[0]);
    for (int i = 0; i < kGroupSize; ++i) {
      check_at_most(std::fabs(x[i] - result.values[i]), step * (0.5 + 127 * 0x1p-11), "an error");
    }
  }
}

// Against codes x / s for the one scale that maps the extreme to -8. The search starts from there
// and moves only to a smaller error; rounding the scale to float16 costs at most 2^-22 of the
// whole.
void test_q4_search() {
  double plain_total = 0;
  double total = 0;
  for (uint64_t seed = 0; seed < 20000; ++seed) {
    std::vector<float> x(kGroupSize);
    for (int i = 0; i < kGroupSize; ++i) {  // of different shapes: near uniform to heavy tails
      const float uniform = random_float(seed, i);
      x[i] = seed % 3 == 0   ? uniform
             : seed % 3 == 1 ? uniform * uniform * uniform
                             : uniform + random_float(~seed, i);
    }
    float extreme = 0;
    double squares = 0;
    for (float value : x) {
      if (std::fabs(value) > std::fabs(extreme)) extreme = value;
      squares += double(value) * value;
    }
    const double scale = round_to_f16(extreme / -8);
    std::vector<float> plain(kGroupSize);
    for (int i = 0; i < kGroupSize; ++i) {
      plain[i] = float(scale * std::clamp(std::nearbyint(x[i] / scale), -8.0, 7.0));
    }
    const double plain_error = squared_error(x, plain);
    const double error = squared_error(x, quantize(DType::kQ4, x).values);
    check_at_most(error, plain_error + squares * 0x1p-21,
                  "the error of group " + std::to_string(seed));
    plain_total += plain_error;
    total += error;
  }
  note(short_number(total / plain_total) + " of the plain error");
}

// Whatever a file holds, the codes are within their range and the scales finite.
void test_extremes(DType dtype) {
  const float max = std::numeric_limits<float>::max();
  const float values[] = {max,   -max,   1e38f,  1e5f,   1,       -1,    0,
                          -0.0f, 1e-20f, 1e-38f, 1e-45f, -1e-45f, 6e-8f, 65504};
  const size_t count = std::size(values);
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    std::vector<float> x(33);
    for (size_t i = 0; i < x.size(); ++i) {
      const uint64_t bits = random_bits(seed, i);
      x[i] = seed < count ? values[seed]
             : bits % 3   ? values[bits / 3 % count]
                          : random_float(seed, i);
    }
    const Quantized result = quantize(dtype, x);
    for (uint16_t scale : result.scales)
      check(std::isfinite(f16_value(scale)), "an infinite scale");
    for (uint8_t code : result.codes) {
      check(dtype == DType::kQ4 || code != 0x80, "a code of -128");
    }
  }
}

// A float16 cannot hold the scale of such small values, so they become zeros or small multiples.
void test_zeros(DType dtype) {
  for (float value : {0.0f, -0.0f, 1e-45f, 1e-30f}) {
    for (float got : quantize(dtype, std::vector<float>(70, value)).values) {
      check(got == 0, "zeros came back as " + short_number(got));
    }
  }
}

void test_q4_products() {
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    const std::vector<float> group = random_floats(seed, kGroupSize);
    float inverses[kQ4Candidates];
    for (int c = 0; c < kQ4Candidates; ++c) inverses[c] = 5.2f * random_float(~seed, c);
    float expected[2][kQ4Candidates];
    scalar_kernels()->q4_products(group.data(), inverses, expected[0], expected[1]);
    for (const Kernels* kernels : runnable_kernels()) {
      float got[2][kQ4Candidates];
      kernels->q4_products(group.data(), inverses, got[0], got[1]);
      check(std::memcmp(got, expected, sizeof got) == 0, kernels->name);
    }
  }
}

void test_not_finite(DType dtype) {
  for (float value : {NAN, -NAN, INFINITY, -INFINITY}) {
    std::vector<float> values = random_floats(1, 3 * 40);
    values[2 * 40 + 39] = value;
    TensorSource source = float_tensor(values, 3);
    source.name = "proj";
    RowReader reader(source);
    std::vector<uint8_t> codes(3 * 64);
    std::vector<uint16_t> scales(3 * 2);
    reader.read_quantized(dtype, 0, 2, codes.data(), scales.data());
    std::string message;
    try {
      reader.read_quantized(dtype, 0, 3, codes.data(), scales.data());
    } catch (const Error& error) {
      check(error.code == ErrorCode::kInvalidCheckpoint, "another code");
      message = error.what();
    }
    check(message == "tensor proj has a value that is not finite in row 2", "got: " + message);
  }
}

}  // namespace

void test_quantize() {
  test("quantize, q4 products", test_q4_products);
  test("quantize, q8 error", test_q8_error);
  test("quantize, q4 search", test_q4_search);
  for (DType dtype : {DType::kQ8, DType::kQ4}) {
    const std::string name = std::string(", ") + dtype_name(dtype);
    test("quantize, round trip" + name, [&] { test_round_trip(dtype); });
    test("quantize, extremes" + name, [&] { test_extremes(dtype); });
    test("quantize, not finite" + name, [&] { test_not_finite(dtype); });
    test("quantize, zeros" + name, [&] { test_zeros(dtype); });
  }
}

}  // namespace openelm
