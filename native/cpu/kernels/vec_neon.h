// F8 as two and P as four NEON registers of four lanes. The functions are those of vec_scalar.h.

struct F8 {
  float32x4_t low, high;
};

static inline F8 broadcast(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
static inline F8 load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
static inline void store(float* p, F8 x) {
  vst1q_f32(p, x.low);
  vst1q_f32(p + 4, x.high);
}
static inline F8 add(F8 a, F8 b) { return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
static inline F8 sub(F8 a, F8 b) { return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)}; }
static inline F8 mul(F8 a, F8 b) { return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
static inline F8 div(F8 a, F8 b) { return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)}; }
static inline F8 fma(F8 a, F8 b, F8 c) {
  return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}
static inline F8 max(F8 a, F8 b) { return {vmaxq_f32(a.low, b.low), vmaxq_f32(a.high, b.high)}; }
static inline F8 min(F8 a, F8 b) { return {vminq_f32(a.low, b.low), vminq_f32(a.high, b.high)}; }

static inline float32x4_t pow2_from_magic(float32x4_t x) {
  const int32x4_t magic = vreinterpretq_s32_f32(vdupq_n_f32(kRoundingMagic));
  const int32x4_t n = vsubq_s32(vreinterpretq_s32_f32(x), magic);
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}
static inline F8 pow2_from_magic(F8 x) { return {pow2_from_magic(x.low), pow2_from_magic(x.high)}; }

static inline F8 load_f16(const uint16_t* p) {
  const float16x8_t halves = vreinterpretq_f16_u16(vld1q_u16(p));
  return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
}
static inline void store_f16(uint16_t* p, F8 x) {
  vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x.low)));
  vst1_u16(p + 4, vreinterpret_u16_f16(vcvt_f16_f32(x.high)));
}

static inline int32_t store_int16(int16_t* p, F8 x) {
  const int32x4_t low = vcvtnq_s32_f32(x.low);
  const int32x4_t high = vcvtnq_s32_f32(x.high);
  vst1q_s16(p, vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)));
  return vaddvq_s32(vaddq_s32(low, high));
}

constexpr int kTilePanels = 1;
constexpr int kTileTokens = 6;
constexpr int kQuantizedTileTokens = 6;
constexpr int kQ8RowPanels = 1;

struct P {
  float32x4_t quarter[4];
};

struct IntP {
  int32x4_t quarter[4];
};

struct Pairs {
  int16x8_t quarter[4];
};

static inline P broadcast16(float x) {
  const float32x4_t all = vdupq_n_f32(x);
  return {{all, all, all, all}};
}
static inline P load16(const float* p) {
  return {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}
static inline void store(float* p, P x) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.quarter[i]);
}
static inline P add(P a, P b) {
  for (int i = 0; i < 4; ++i) a.quarter[i] = vaddq_f32(a.quarter[i], b.quarter[i]);
  return a;
}
static inline P mul(P a, P b) {
  for (int i = 0; i < 4; ++i) a.quarter[i] = vmulq_f32(a.quarter[i], b.quarter[i]);
  return a;
}
static inline P fma(P a, P b, P c) {
  for (int i = 0; i < 4; ++i) c.quarter[i] = vfmaq_f32(c.quarter[i], a.quarter[i], b.quarter[i]);
  return c;
}
static inline P load16_f16(const uint16_t* p) {
  const F8 low = load_f16(p);
  const F8 high = load_f16(p + 8);
  return {{low.low, low.high, high.low, high.high}};
}
template <int n>
static inline P load16_bf16(const uint16_t* p) {
  P result;
  for (int i = 0; i < 4; ++i) {
    const uint32x4_t pairs = vreinterpretq_u32_u16(vld1q_u16(p + 8 * i));
    const uint32x4_t bits =
        n == 0 ? vshlq_n_u32(pairs, 16) : vandq_u32(pairs, vdupq_n_u32(0xffff0000));
    result.quarter[i] = vreinterpretq_f32_u32(bits);
  }
  return result;
}

static inline IntP broadcast_int(int32_t x) {
  const int32x4_t all = vdupq_n_s32(x);
  return {{all, all, all, all}};
}
static inline IntP add(IntP a, IntP b) {
  for (int i = 0; i < 4; ++i) a.quarter[i] = vaddq_s32(a.quarter[i], b.quarter[i]);
  return a;
}
static inline P to_float(IntP x) {
  P result;
  for (int i = 0; i < 4; ++i) result.quarter[i] = vcvtq_f32_s32(x.quarter[i]);
  return result;
}

static inline Pairs load_q8(const uint8_t* p) {
  Pairs result;
  for (int i = 0; i < 4; ++i) {
    result.quarter[i] = vmovl_s8(vreinterpret_s8_u8(vld1_u8(p + 8 * i)));
  }
  return result;
}
template <int n>
static inline Pairs load_q4(const uint8_t* p) {
  Pairs result;
  for (int i = 0; i < 4; ++i) {
    uint16x8_t nibbles = vreinterpretq_u16_u8(vld1q_u8(p + 16 * i));
    if constexpr (n > 0) nibbles = vshrq_n_u16(nibbles, 4 * n);
    result.quarter[i] = vreinterpretq_s16_u16(vandq_u16(nibbles, vdupq_n_u16(15)));
  }
  return result;
}
static inline Pairs broadcast_pair(const int16_t* p) {
  int32_t pair;
  memcpy(&pair, p, sizeof pair);
  const int16x8_t pairs = vreinterpretq_s16_s32(vdupq_n_s32(pair));
  return {{pairs, pairs, pairs, pairs}};
}
static inline IntP dot2(IntP sum, Pairs w, Pairs x) {
  for (int i = 0; i < 4; ++i) {
    const int32x4_t first = vmull_s16(vget_low_s16(w.quarter[i]), vget_low_s16(x.quarter[i]));
    const int32x4_t second = vmull_high_s16(w.quarter[i], x.quarter[i]);
    sum.quarter[i] = vaddq_s32(sum.quarter[i], vpaddq_s32(first, second));
  }
  return sum;
}
