#include "dtype.h"

#include <cmath>
#include <limits>

#include "check.h"
#include "reference.h"
#include "simd/kernels.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {

static bool same(double a, double b) {
  if (std::isnan(a)) return std::isnan(b);
  return a == b && std::signbit(a) == std::signbit(b);
}

static std::string hex(uint32_t bits) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%x", bits);
  return text;
}

// Where the rounding to a 16-bit type could go wrong: its values, the points halfway between two of
// them and the floats beside those; then floats of every magnitude.
static std::vector<float> rounding_cases(float (*value_of)(uint16_t)) {
  std::vector<float> cases;
  for (uint32_t bits = 0; bits < 0x7fff; ++bits) {
    const float low = value_of(uint16_t(bits));
    const float high = value_of(uint16_t(bits + 1));
    if (std::isnan(low)) break;
    // Beyond the largest, as if the values went on.
    const float step = std::isinf(high) ? low - value_of(uint16_t(bits - 1)) : high - low;
    for (float x : {low, low + step / 2}) {
      for (float near : {std::nextafter(x, 0.0f), x, std::nextafter(x, INFINITY)}) {
        cases.push_back(near);
        cases.push_back(-near);
      }
    }
  }
  for (uint64_t i = 0; i < 500000; ++i)
    cases.push_back(float_from_bits(uint32_t(random_bits(1, i))));
  while (cases.size() % 8) cases.push_back(std::numeric_limits<float>::infinity());
  return cases;
}

void test_half() {
  test("half, every float16 to float32", [] {
    for (uint32_t bits = 0; bits < 65536; ++bits) {
      check(same(f16_to_float(uint16_t(bits)), f16_value(uint16_t(bits))), hex(bits));
    }
  });
  test("half, every bfloat16 to float32", [] {
    for (uint32_t bits = 0; bits < 65536; ++bits) {
      check(same(bf16_to_float(uint16_t(bits)), bf16_value(uint16_t(bits))), hex(bits));
    }
  });
  const std::vector<float> f16_cases = rounding_cases(f16_to_float);
  test("half, float32 to float16", [&] {
    for (float x : f16_cases) {
      check(same(f16_value(float_to_f16(x)), round_to_f16(x)), hex(bits_of_float(x)));
    }
  });
  test("half, float32 to bfloat16", [] {
    for (float x : rounding_cases(bf16_to_float)) {
      check(same(bf16_value(float_to_bf16(x)), round_to_bf16(x)), hex(bits_of_float(x)));
    }
  });
  for (const Kernels* kernels : runnable_kernels()) {
    test(std::string("half, from_f16, ") + kernels->name, [&] {
      std::vector<uint16_t> halves(65536 + 13);
      for (size_t i = 0; i < halves.size(); ++i) halves[i] = uint16_t(i);
      std::vector<float> floats(halves.size());
      kernels->from_f16(halves.data(), int(halves.size()), floats.data());
      for (size_t i = 0; i < halves.size(); ++i) {
        check(same(floats[i], f16_value(halves[i])), hex(halves[i]));
      }
    });
    test(std::string("half, to_f16, ") + kernels->name, [&] {
      std::vector<uint16_t> halves(f16_cases.size());
      kernels->to_f16(f16_cases.data(), int(halves.size()), halves.data());
      for (size_t i = 0; i < halves.size(); ++i) {
        check(same(f16_value(halves[i]), round_to_f16(f16_cases[i])),
              hex(bits_of_float(f16_cases[i])));
      }
    });
  }
}

}  // namespace openelm
