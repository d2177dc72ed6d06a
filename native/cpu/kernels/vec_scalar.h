// Eight lanes in plain C++, for any processor. Included by kernels_scalar.cc alone.

struct F8 {
  float lane[8];
};

struct I8 {
  int32_t lane[8];
};

template <typename Op>
static inline F8 map(Op op) {
  F8 result;
  for (int i = 0; i < 8; ++i) result.lane[i] = op(i);
  return result;
}

static inline F8 broadcast(float x) {
  return map([&](int) { return x; });
}
static inline F8 load(const float* p) {
  return map([&](int i) { return p[i]; });
}
static inline void store(float* p, F8 x) {
  for (int i = 0; i < 8; ++i) p[i] = x.lane[i];
}
static inline F8 add(F8 a, F8 b) {
  return map([&](int i) { return a.lane[i] + b.lane[i]; });
}
static inline F8 sub(F8 a, F8 b) {
  return map([&](int i) { return a.lane[i] - b.lane[i]; });
}
static inline F8 mul(F8 a, F8 b) {
  return map([&](int i) { return a.lane[i] * b.lane[i]; });
}
static inline F8 div(F8 a, F8 b) {
  return map([&](int i) { return a.lane[i] / b.lane[i]; });
}
// a * b + c
static inline F8 fma(F8 a, F8 b, F8 c) {
  return map([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
}
static inline F8 max(F8 a, F8 b) {
  return map([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
static inline F8 min(F8 a, F8 b) {
  return map([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}

// 2^n from n + kRoundingMagic, for integers n in [-126, 127].
static inline F8 pow2_from_magic(F8 x) {
  return map([&](int i) {
    return float_from_bits((bits_of_float(x.lane[i]) - bits_of_float(kRoundingMagic) + 127) << 23);
  });
}

static inline F8 load_f16(const uint16_t* p) {
  return map([&](int i) { return f16_to_float(p[i]); });
}
static inline void store_f16(uint16_t* p, F8 x) {
  for (int i = 0; i < 8; ++i) p[i] = float_to_f16(x.lane[i]);
}
// 16 bfloat16 in the order of a packed panel: lanes 0-7 and lanes 8-15.
static inline void load_bf16_pairs(const uint16_t* p, F8& low, F8& high) {
  low = map([&](int i) { return bf16_to_float(p[2 * i]); });
  high = map([&](int i) { return bf16_to_float(p[2 * i + 1]); });
}

static inline I8 zero_int() { return I8{}; }
static inline F8 to_float(I8 x) {
  return map([&](int i) { return float(x.lane[i]); });
}
static inline I8 sub_broadcast(I8 a, int32_t b) {
  for (int32_t& lane : a.lane) lane -= b;
  return a;
}

// Two columns of 8 rows as 16-bit integers: lane 2r + c.
struct S16 {
  int16_t lane[16];
};
// A slice of q8 weights.
static inline S16 load_q8(const uint8_t* p) {
  S16 result;
  for (int i = 0; i < 16; ++i) result.lane[i] = int8_t(p[i]);
  return result;
}
// Four slices of q4 weights, not yet centred on 8.
static inline void load_q4(const uint8_t* p, S16 slices[4]) {
  for (int i = 0; i < 16; ++i) {
    const int nibbles = p[2 * i] | p[2 * i + 1] << 8;
    for (int slice = 0; slice < 4; ++slice) {
      slices[slice].lane[i] = int16_t(nibbles >> 4 * slice & 15);
    }
  }
}
// sum[row] += w[row, 0] * x[0] + w[row, 1] * x[1]
static inline I8 dot2(I8 sum, S16 w, const int16_t* x) {
  for (int row = 0; row < 8; ++row) {
    sum.lane[row] += w.lane[2 * row] * x[0] + w.lane[2 * row + 1] * x[1];
  }
  return sum;
}

// Rounds 8 floats in [-32767, 32767] to int16 and returns their sum.
static inline int32_t store_int16(int16_t* p, F8 x) {
  int32_t sum = 0;
  for (int i = 0; i < 8; ++i) {
    const float magic = x.lane[i] + kRoundingMagic;
    p[i] = int16_t(int32_t(bits_of_float(magic) - bits_of_float(kRoundingMagic)));
    sum += p[i];
  }
  return sum;
}
