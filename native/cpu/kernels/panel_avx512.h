// P as one register of AVX-512 with VNNI. The functions are those of vec_scalar.h.

constexpr int kTilePanels = 4;
constexpr int kTileTokens = 6;  // 24 sums, 4 registers of weights and one of inputs: 29 of 32
constexpr int kQuantizedTileTokens = 4;  // 16 sums, 4 of quads and 4 of what is taken from them
constexpr int kQ8RowPanels = 1;

using P = __m512;
using IntP = __m512i;
using Pairs = __m512i;

static inline P broadcast16(float x) { return _mm512_set1_ps(x); }
static inline P load16(const float* p) { return _mm512_loadu_ps(p); }
static inline void store(float* p, P x) { _mm512_storeu_ps(p, x); }
static inline P add(P a, P b) { return _mm512_add_ps(a, b); }
static inline P mul(P a, P b) { return _mm512_mul_ps(a, b); }
static inline P fma(P a, P b, P c) { return _mm512_fmadd_ps(a, b, c); }

static inline __m256i load_bytes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
static inline P load16_f16(const uint16_t* p) { return _mm512_cvtph_ps(load_bytes(p)); }
template <int n>
static inline P load16_bf16(const uint16_t* p) {
  const __m512i pairs = _mm512_loadu_si512(p);
  const __m512i second = _mm512_set1_epi32(int(0xffff0000));
  return _mm512_castsi512_ps(n == 0 ? _mm512_slli_epi32(pairs, 16)
                                    : _mm512_and_si512(pairs, second));
}

static inline IntP broadcast_int(int32_t x) { return _mm512_set1_epi32(x); }
static inline IntP add(IntP a, IntP b) { return _mm512_add_epi32(a, b); }
static inline P to_float(IntP x) { return _mm512_cvtepi32_ps(x); }

static inline Pairs load_q8(const uint8_t* p) { return _mm512_cvtepi8_epi16(load_bytes(p)); }
template <int n>
static inline Pairs load_q4(const uint8_t* p) {
  __m512i quad = _mm512_loadu_si512(p);
  keep_in_register(quad);  // for its four pairs: else it is loaded for each
  const __m512i shifted = _mm512_srli_epi16(quad, 4 * n);
  return n == 3 ? shifted : _mm512_and_si512(shifted, _mm512_set1_epi16(15));
}
static inline Pairs broadcast_pair(const int16_t* p) {
  int32_t pair;
  memcpy(&pair, p, sizeof pair);
  return _mm512_set1_epi32(pair);
}
static inline IntP dot2(IntP sum, Pairs w, Pairs x) {
  sum = _mm512_dpwssd_epi32(sum, w, x);
  keep_in_register(sum);
  return sum;
}
