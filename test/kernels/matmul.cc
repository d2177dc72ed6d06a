#include <cmath>
#include <cstring>
#include <numeric>

#include "check.h"
#include "cpu/pack.h"
#include "reference.h"
#include "simd/kernels.h"
#include "suites.h"
#include "tensors.h"

namespace openelm {

namespace {

struct PackedMatrix {
  TensorSource source;
  DType dtype;
  int panels;
  std::vector<char> data;

  PackedMatrix(const TensorSource& source, DType dtype)
      : source(source),
        dtype(dtype),
        panels(num_panels(source.rows)),
        data(panels * panel_bytes()) {
    cpu::PanelPacker packer(this->source, dtype, MatrixLayout::kPlain);
    for (int p = 0; p < panels; ++p) packer.pack(p, data.data() + p * panel_bytes());
  }
  size_t panel_bytes() const { return packed_panel_bytes(source.cols, dtype); }
};

// T rows, as they are and quantised.
struct Inputs {
  int tokens;
  int cols;
  int groups;
  std::vector<float> values;
  std::vector<int16_t> quantized;
  std::vector<float> scales;
  std::vector<int32_t> offsets;

  Inputs(const Kernels& kernels, int tokens, int cols)
      : tokens(tokens),
        cols(cols),
        groups((cols + kGroupSize - 1) / kGroupSize),
        values(random_floats(tokens, size_t(tokens) * cols)),
        quantized(size_t(tokens) * groups * kGroupSize),
        scales(size_t(tokens) * groups),
        offsets(scales.size()) {
    for (int t = 0; t < tokens; ++t) {
      kernels.quantize_input(values.data() + t * cols, cols,
                             quantized.data() + t * groups * kGroupSize, scales.data() + t * groups,
                             offsets.data() + t * groups);
    }
  }

  Input from(int t) const {
    return {values.data() + t * cols,
            quantized.data() + t * groups * kGroupSize,
            scales.data() + t * groups,
            offsets.data() + t * groups,
            cols,
            groups};
  }
};

// [tokens, panels * 16]
std::vector<float> multiply(const Kernels& kernels, const PackedMatrix& matrix, int first_panel,
                            int panels, Input input, int tokens) {
  std::vector<float> packed(size_t(tokens) * input.cols, NAN);
  if (tokens > 1) {
    for (int block = 0; block * kColumnBlock < input.cols; ++block) {
      kernels.pack_input(input.values, input.cols, tokens, block, packed.data());
    }
    input.values = packed.data();
  }
  std::vector<float> acc(size_t(tokens) * panels * kPanelRows, NAN);
  kernels.matmul[int(matrix.dtype)](matrix.data.data() + first_panel * matrix.panel_bytes(), panels,
                                    input, tokens, acc.data());
  return acc;
}

constexpr int kRows = 9 * kPanelRows - 3;
constexpr int kTokens = 13;

// A token alone with one panel, against any number of tokens and panels.
void test_bitwise(const Kernels& kernels, DType dtype) {
  for (int cols : {1, 31, 255, 256, 257, 600}) {
    const PackedMatrix matrix(random_tensor("", DType::kFloat32, kRows, cols, cols, 1), dtype);
    const Inputs inputs(kernels, kTokens, cols);
    std::vector<std::vector<float>> alone(kTokens);  // [token][row]
    for (int t = 0; t < kTokens; ++t) {
      for (int p = 0; p < matrix.panels; ++p) {
        const auto acc = multiply(kernels, matrix, p, 1, inputs.from(t), 1);
        alone[t].insert(alone[t].end(), acc.begin(), acc.end());
      }
    }
    for (int tokens = 1; tokens <= kTokens; ++tokens) {
      for (int panels = 1; panels <= matrix.panels; ++panels) {
        const int first = matrix.panels - panels;
        const int size = panels * kPanelRows;
        const auto acc =
            multiply(kernels, matrix, first, panels, inputs.from(kTokens - tokens), tokens);
        for (int t = 0; t < tokens; ++t) {
          const float* want = alone[kTokens - tokens + t].data() + first * kPanelRows;
          check(std::memcmp(&acc[t * size], want, size * sizeof(float)) == 0,
                std::to_string(tokens) + " tokens, " + std::to_string(panels) + " panels, " +
                    std::to_string(cols) + " columns");
        }
      }
    }
  }
}

void test_accuracy(const Kernels& kernels, DType dtype) {
  double worst = 0;
  for (int cols : {1, 31, 32, 257, 3072}) {
    const PackedMatrix matrix(random_tensor("", DType::kFloat32, kRows, cols, cols, 1), dtype);
    const Inputs inputs(kernels, 7, cols);
    const bool quantized = matrix.dtype == DType::kQ8 || matrix.dtype == DType::kQ4;
    const auto acc = multiply(kernels, matrix, 0, matrix.panels, inputs.from(0), inputs.tokens);
    Rows rows;
    for (int row = 0; row < kRows; ++row) rows.push_back(loaded_row(matrix.source, dtype, row));
    for (int t = 0; t < inputs.tokens; ++t) {
      Row x(cols);
      for (int c = 0; c < cols; ++c) {
        const size_t group = size_t(t) * inputs.groups + c / kGroupSize;
        x[c] = quantized ? double(inputs.scales[group]) *
                               inputs.quantized[group * kGroupSize + c % kGroupSize]
                         : inputs.values[t * cols + c];
      }
      Row got, want;
      for (int row = 0; row < kRows; ++row) {
        want.push_back(std::inner_product(x.begin(), x.end(), rows[row].begin(), 0.0));
        got.push_back(acc[size_t(t) * matrix.panels * kPanelRows + row]);
      }
      worst = std::max(worst, relative_error(got, want));
    }
  }
  check_at_most(worst, 2e-6, "the relative error");
  note(short_number(worst));
}

// Under scales of 1 the result is the integer of each group as a float32, summed in order. Weights
// and inputs are at their limits, where a narrow sum would overflow first: q8 files may hold -128.
void test_integers(const Kernels& kernels, DType dtype) {
  const int cols = 5 * kGroupSize;
  const int groups = 5;
  const int row_bytes = dtype == DType::kQ8 ? cols : cols / 2;
  for (int kind = 0; kind < 4; ++kind) {  // random, all low, all high, alternating
    std::vector<uint8_t> codes(size_t(kRows) * row_bytes);
    for (size_t i = 0; i < codes.size(); ++i) {
      const uint8_t low = dtype == DType::kQ8 ? 0x80 : 0x00;
      const uint8_t high = dtype == DType::kQ8 ? 0x7f : 0xff;
      const uint8_t choices[] = {uint8_t(random_bits(kind, i)), low, high, i % 2 ? low : high};
      codes[i] = choices[kind];
    }
    std::vector<uint8_t> ones;
    for (int i = 0; i < kRows * groups; ++i) ones.insert(ones.end(), {0x00, 0x3c});
    TensorSource source;
    source.format = dtype;
    source.file = memory_file(codes);
    source.scales_file = memory_file(ones);
    source.rows = kRows;
    source.cols = cols;
    const PackedMatrix matrix(source, dtype);

    Inputs inputs(kernels, 6, cols);
    for (size_t i = 0; i < inputs.quantized.size(); ++i) {
      const int choices[] = {inputs.quantized[i], 32767, -32767, i % 2 ? 32767 : -32767};
      inputs.quantized[i] = int16_t(choices[i / cols % 4]);
    }
    for (size_t g = 0; g < inputs.offsets.size(); ++g) {
      inputs.scales[g] = 1;
      inputs.offsets[g] = 0;
      for (int i = 0; i < kGroupSize; ++i)
        inputs.offsets[g] -= 8 * inputs.quantized[g * kGroupSize + i];
    }
    const auto acc = multiply(kernels, matrix, 0, matrix.panels, inputs.from(0), inputs.tokens);
    for (int t = 0; t < inputs.tokens; ++t) {
      for (int row = 0; row < kRows; ++row) {
        const uint8_t* bytes = &codes[size_t(row) * row_bytes];
        float want = 0;
        for (int g = 0; g < groups; ++g) {
          int sum = 0;
          for (int i = 0; i < kGroupSize; ++i) {
            const int c = g * kGroupSize + i;
            const int w = dtype == DType::kQ8 ? int8_t(bytes[c]) : q4_code(bytes + 16 * g, i);
            sum += w * inputs.quantized[size_t(t) * cols + c];
          }
          want += float(sum);
        }
        check(acc[size_t(t) * matrix.panels * kPanelRows + row] == want,
              "row " + std::to_string(row) + " of kind " + std::to_string(kind));
      }
    }
  }
}

}  // namespace

void test_matmul() {
  for (const Kernels* kernels : runnable_kernels()) {
    for (DType dtype : kDTypes) {
      const std::string name = std::string(", ") + kernels->name + ", " + dtype_name(dtype);
      test("matmul of any shape is bitwise the same" + name,
           [&] { test_bitwise(*kernels, dtype); });
      test("matmul" + name, [&] { test_accuracy(*kernels, dtype); });
      if (dtype == DType::kQ8 || dtype == DType::kQ4) {
        test("integers of matmul" + name, [&] { test_integers(*kernels, dtype); });
      }
    }
  }
}

}  // namespace openelm
