// Functions of eight lanes, the same for every instruction set.

static inline float horizontal_sum(F8 x) {
  float lane[8];
  store(lane, x);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static inline float horizontal_max(F8 x) {
  float lane[8];
  store(lane, x);
  float result = lane[0];
  for (int i = 1; i < 8; ++i) result = lane[i] > result ? lane[i] : result;
  return result;
}

// e^x to within 2 units in the last place for x in [-87, 88], clamped to it outside; NaN of NaN,
// which min and max hand on when it is their second argument.
static inline F8 exp(F8 x) {
  x = min(broadcast(88.0f), max(broadcast(-87.0f), x));
  // x = n ln 2 + r with |r| <= ln(2) / 2; ln 2 in two parts, the first exact in few bits.
  const F8 magic = broadcast(kRoundingMagic);
  const F8 n_magic = fma(x, broadcast(1.44269504f), magic);
  const F8 n = sub(n_magic, magic);
  F8 r = fma(n, broadcast(-0.693359375f), x);
  r = fma(n, broadcast(2.12194440e-4f), r);
  // The Taylor series to r^7: the first term left out is below 2^-27 of the whole.
  F8 sum = broadcast(1.0f / 5040);
  sum = fma(sum, r, broadcast(1.0f / 720));
  sum = fma(sum, r, broadcast(1.0f / 120));
  sum = fma(sum, r, broadcast(1.0f / 24));
  sum = fma(sum, r, broadcast(1.0f / 6));
  sum = fma(sum, r, broadcast(0.5f));
  sum = fma(sum, r, broadcast(1.0f));
  sum = fma(sum, r, broadcast(1.0f));
  return mul(sum, pow2_from_magic(n_magic));
}

// x / (1 + e^-x)
static inline F8 silu(F8 x) {
  const F8 one = broadcast(1.0f);
  return div(x, add(one, exp(sub(broadcast(0.0f), x))));
}
