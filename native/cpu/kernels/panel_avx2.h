// P as two registers of AVX2. The functions are those of vec_scalar.h. With OPENELM_AVX_VNNI one
// instruction multiplies pairs and adds them up.

constexpr int kTilePanels = 1;
constexpr int kTileTokens = 6;  // 12 sums, two registers of weights and one of inputs: 15 of 16
constexpr int kQuantizedTileTokens = 6;
// At once for one token: a core reads four runs of memory faster than one.
constexpr int kQ8RowPanels = 4;

struct P {
  __m256 low, high;
};

struct IntP {
  __m256i low, high;
};
using Pairs = IntP;

static inline P broadcast16(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline P load16(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void store(float* p, P x) {
  _mm256_storeu_ps(p, x.low);
  _mm256_storeu_ps(p + 8, x.high);
}
static inline P add(P a, P b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
static inline P mul(P a, P b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
static inline P fma(P a, P b, P c) {
  c = {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  keep_in_register(c.low);
  keep_in_register(c.high);
  return c;
}
static inline P load16_f16(const uint16_t* p) { return {load_f16(p), load_f16(p + 8)}; }

static inline __m256i load_bytes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
template <int n>
static inline __m256 widen_bf16(const uint16_t* p) {
  const __m256i pairs = load_bytes(p);
  const __m256i second = _mm256_set1_epi32(int(0xffff0000));
  return _mm256_castsi256_ps(n == 0 ? _mm256_slli_epi32(pairs, 16)
                                    : _mm256_and_si256(pairs, second));
}
template <int n>
static inline P load16_bf16(const uint16_t* p) {
  return {widen_bf16<n>(p), widen_bf16<n>(p + 16)};
}

static inline IntP broadcast_int(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
static inline IntP add(IntP a, IntP b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
static inline P to_float(IntP x) { return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }

static inline __m256i widen(const uint8_t* p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static inline Pairs load_q8(const uint8_t* p) { return {widen(p), widen(p + 16)}; }

template <int n>
static inline __m256i nibbles(const uint8_t* p) {
  const __m256i shifted = _mm256_srli_epi16(load_bytes(p), 4 * n);
  return n == 3 ? shifted : _mm256_and_si256(shifted, _mm256_set1_epi16(15));
}
template <int n>
static inline Pairs load_q4(const uint8_t* p) {
  return {nibbles<n>(p), nibbles<n>(p + 32)};
}

static inline Pairs broadcast_pair(const int16_t* p) {
  int32_t pair;
  memcpy(&pair, p, sizeof pair);
  return {_mm256_set1_epi32(pair), _mm256_set1_epi32(pair)};
}

static inline __m256i dot2(__m256i sum, __m256i w, __m256i x) {
#ifdef OPENELM_AVX_VNNI
  return _mm256_dpwssd_avx_epi32(sum, w, x);
#else
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(w, x));
  keep_in_register(sum);
  return sum;
#endif
}
static inline IntP dot2(IntP sum, Pairs w, Pairs x) {
  return {dot2(sum.low, w.low, x.low), dot2(sum.high, w.high, x.high)};
}
