// F8 as a register of AVX2, with FMA and F16C. The functions are those of vec_scalar.h.

using F8 = __m256;

// The value as it is, in a register: else GCC regroups the sums of a tile, or moves them about,
// until it runs out of registers, and loads what it has loaded again.
template <typename Register>
static inline void keep_in_register(Register& value) {
#ifdef __GNUC__
  asm("" : "+v"(value));
#endif
}

static inline F8 broadcast(float x) { return _mm256_set1_ps(x); }
static inline F8 load(const float* p) { return _mm256_loadu_ps(p); }
static inline void store(float* p, F8 x) { _mm256_storeu_ps(p, x); }
static inline F8 add(F8 a, F8 b) { return _mm256_add_ps(a, b); }
static inline F8 sub(F8 a, F8 b) { return _mm256_sub_ps(a, b); }
static inline F8 mul(F8 a, F8 b) { return _mm256_mul_ps(a, b); }
static inline F8 div(F8 a, F8 b) { return _mm256_div_ps(a, b); }
static inline F8 fma(F8 a, F8 b, F8 c) { return _mm256_fmadd_ps(a, b, c); }
static inline F8 max(F8 a, F8 b) { return _mm256_max_ps(a, b); }
static inline F8 min(F8 a, F8 b) { return _mm256_min_ps(a, b); }

static inline F8 pow2_from_magic(F8 x) {
  const __m256i magic = _mm256_castps_si256(_mm256_set1_ps(kRoundingMagic));
  const __m256i n = _mm256_sub_epi32(_mm256_castps_si256(x), magic);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

static inline F8 load_f16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static inline void store_f16(uint16_t* p, F8 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
static inline int32_t store_int16(int16_t* p, F8 x) {
  const __m256i ints = _mm256_cvtps_epi32(x);
  const __m128i low = _mm256_castsi256_si128(ints);
  const __m128i high = _mm256_extracti128_si256(ints, 1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi32(low, high));
  const __m128i quads = _mm_add_epi32(low, high);
  const __m128i pairs = _mm_add_epi32(quads, _mm_shuffle_epi32(quads, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 0xb1)));
}
