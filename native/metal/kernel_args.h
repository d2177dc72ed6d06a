#pragma once

// Arguments of kernels, shared by ops.cc and the shaders: plain structs of four-byte fields. Names
// and shapes are those of model/model.h and backend.h.

// How a matrix is stored: openelm::DType under names that every kernel language understands.
enum MatrixType : unsigned {
  kMatrixFloat32,
  kMatrixFloat16,
  kMatrixBFloat16,
  kMatrixQ8,
  kMatrixQ4,
};

struct EmbedArgs {
  unsigned num_tokens;
  unsigned model_dim;
  unsigned groups;  // of 32 elements in a row
};

// Y [num_tokens, rows] = X Wᵀ, the rows of X [num_tokens, cols] RMS-normalised if the op says so.
struct MatrixArgs {
  unsigned num_tokens;
  unsigned rows;
  unsigned cols;
  unsigned groups;  // of 32 elements in a row of W, the last padded with zeros
  float rms_norm_eps;
};

// Consecutive tokens of one session, in one layer.
struct RunArgs {
  unsigned first_token;  // in the batch
  unsigned num_tokens;
  unsigned first_position;  // in the session
  unsigned num_query_heads;
  unsigned num_kv_heads;
  float rms_norm_eps;
};
