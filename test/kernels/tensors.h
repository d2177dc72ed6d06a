#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/tensor_source.h"

namespace openelm {

// A stateless generator: the same number for the same arguments, everywhere.
uint64_t random_bits(uint64_t seed, uint64_t index);

// Uniform with mean 0 and standard deviation 1.
float random_float(uint64_t seed, uint64_t index);
std::vector<float> random_floats(uint64_t seed, size_t size, float std = 1);

// Bytes in memory, as a file of a checkpoint.
std::shared_ptr<const File> memory_file(std::vector<uint8_t> bytes);

// float32 [rows, cols] with these values.
TensorSource float_tensor(const std::vector<float>& values, int rows = 1);

std::vector<float> read_floats(const TensorSource& float32_tensor);

// A float32 tensor with its rows from `first_row` on multiplied.
TensorSource scaled_rows(const TensorSource& float32_tensor, int first_row, float factor);

// A tensor of random elements of this standard deviation around `mean`. They are made up as they
// are read, so that the widest layers take no memory. The quantised formats use every value of a
// byte or nibble, under scales of either sign.
TensorSource random_tensor(const std::string& name, DType format, int rows, int cols, uint64_t seed,
                           float std, float mean = 0);

// What a matrix loaded as `dtype` holds in one row, rounded or quantised from what is stored.
std::vector<double> loaded_row(const TensorSource& source, DType dtype, int row);

const char* dtype_name(DType dtype);

inline constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kQ8,
                                    DType::kQ4};

}  // namespace openelm
