// Lanes in plain C++, for any processor. Included by kernels_scalar.cc alone. F8 is eight of them,
// for rows; P is sixteen, one for each row of a panel.

struct F8 {
  float lane[8];
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

// A tile is as large as the registers allow.
constexpr int kTilePanels = 1;
constexpr int kTileTokens = 6;
constexpr int kQuantizedTileTokens = 6;
constexpr int kQ8RowPanels = 1;

struct P {
  float lane[16];
};

// For each row of a panel an int32, and the int16 of two columns (lane 2 * row + column).
struct IntP {
  int32_t lane[16];
};
struct Pairs {
  int16_t lane[32];
};

template <typename Op>
static inline P map16(Op op) {
  P result;
  for (int i = 0; i < 16; ++i) result.lane[i] = op(i);
  return result;
}

static inline P broadcast16(float x) {
  return map16([&](int) { return x; });
}
static inline P load16(const float* p) {
  return map16([&](int i) { return p[i]; });
}
static inline void store(float* p, P x) {
  for (int i = 0; i < 16; ++i) p[i] = x.lane[i];
}
static inline P add(P a, P b) {
  return map16([&](int i) { return a.lane[i] + b.lane[i]; });
}
static inline P mul(P a, P b) {
  return map16([&](int i) { return a.lane[i] * b.lane[i]; });
}
static inline P fma(P a, P b, P c) {
  return map16([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
}
static inline P load16_f16(const uint16_t* p) {
  return map16([&](int i) { return f16_to_float(p[i]); });
}
// Column n of a pair of a bfloat16 panel.
template <int n>
static inline P load16_bf16(const uint16_t* p) {
  return map16([&](int i) { return bf16_to_float(p[2 * i + n]); });
}

static inline IntP broadcast_int(int32_t x) {
  IntP result;
  for (int32_t& lane : result.lane) lane = x;
  return result;
}
static inline IntP add(IntP a, IntP b) {
  for (int i = 0; i < 16; ++i) a.lane[i] += b.lane[i];
  return a;
}
static inline P to_float(IntP x) {
  return map16([&](int i) { return float(x.lane[i]); });
}

static inline Pairs load_q8(const uint8_t* p) {
  Pairs result;
  for (int i = 0; i < 32; ++i) result.lane[i] = int8_t(p[i]);
  return result;
}
// Pair n of the four of a q4 panel that lie together, not yet centred on 8.
template <int n>
static inline Pairs load_q4(const uint8_t* p) {
  Pairs result;
  for (int i = 0; i < 32; ++i) {
    result.lane[i] = int16_t((p[2 * i] | p[2 * i + 1] << 8) >> 4 * n & 15);
  }
  return result;
}
// The two inputs at p, for each row.
static inline Pairs broadcast_pair(const int16_t* p) {
  Pairs result;
  for (int i = 0; i < 32; ++i) result.lane[i] = p[i % 2];
  return result;
}
// sum[row] += w[row, 0] * x[row, 0] + w[row, 1] * x[row, 1]
static inline IntP dot2(IntP sum, Pairs w, Pairs x) {
  for (int row = 0; row < 16; ++row) {
    sum.lane[row] += w.lane[2 * row] * x.lane[2 * row] + w.lane[2 * row + 1] * x.lane[2 * row + 1];
  }
  return sum;
}
