// Eight lanes as two NEON registers of four. The functions are those of vec_scalar.h.

struct F8 {
  float32x4_t low, high;
};

struct I8 {
  int32x4_t low, high;
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
static inline void load_bf16_pairs(const uint16_t* p, F8& low, F8& high) {
  const uint32x4_t first = vreinterpretq_u32_u16(vld1q_u16(p));
  const uint32x4_t second = vreinterpretq_u32_u16(vld1q_u16(p + 8));
  const uint32x4_t mask = vdupq_n_u32(0xffff0000);
  low = {vreinterpretq_f32_u32(vshlq_n_u32(first, 16)),
         vreinterpretq_f32_u32(vshlq_n_u32(second, 16))};
  high = {vreinterpretq_f32_u32(vandq_u32(first, mask)),
          vreinterpretq_f32_u32(vandq_u32(second, mask))};
}

static inline I8 zero_int() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
static inline F8 to_float(I8 x) { return {vcvtq_f32_s32(x.low), vcvtq_f32_s32(x.high)}; }
static inline I8 sub_broadcast(I8 a, int32_t b) {
  return {vsubq_s32(a.low, vdupq_n_s32(b)), vsubq_s32(a.high, vdupq_n_s32(b))};
}

struct S16 {
  int16x8_t low, high;
};
static inline S16 load_q8(const uint8_t* p) {
  const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(p));
  return {vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)};
}
static inline void load_q4(const uint8_t* p, S16 slices[4]) {
  const uint16x8_t low = vreinterpretq_u16_u8(vld1q_u8(p));
  const uint16x8_t high = vreinterpretq_u16_u8(vld1q_u8(p + 16));
  const uint16x8_t mask = vdupq_n_u16(15);
  const auto slice = [](uint16x8_t a, uint16x8_t b) {
    return S16{vreinterpretq_s16_u16(a), vreinterpretq_s16_u16(b)};
  };
  slices[0] = slice(vandq_u16(low, mask), vandq_u16(high, mask));
  slices[1] = slice(vandq_u16(vshrq_n_u16(low, 4), mask), vandq_u16(vshrq_n_u16(high, 4), mask));
  slices[2] = slice(vandq_u16(vshrq_n_u16(low, 8), mask), vandq_u16(vshrq_n_u16(high, 8), mask));
  slices[3] = slice(vshrq_n_u16(low, 12), vshrq_n_u16(high, 12));
}
static inline int32x4_t dot2(int32x4_t sum, int16x8_t w, int16x8_t x) {
  const int32x4_t first = vmull_s16(vget_low_s16(w), vget_low_s16(x));
  const int32x4_t second = vmull_high_s16(w, x);
  return vaddq_s32(sum, vpaddq_s32(first, second));
}
static inline I8 dot2(I8 sum, S16 w, const int16_t* x) {
  int32_t pair;
  memcpy(&pair, x, sizeof pair);
  const int16x8_t input = vreinterpretq_s16_s32(vdupq_n_s32(pair));
  return {dot2(sum.low, w.low, input), dot2(sum.high, w.high, input)};
}

static inline int32_t store_int16(int16_t* p, F8 x) {
  const int32x4_t low = vcvtnq_s32_f32(x.low);
  const int32x4_t high = vcvtnq_s32_f32(x.high);
  vst1q_s16(p, vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)));
  return vaddvq_s32(vaddq_s32(low, high));
}
