// Eight lanes of float64 in plain C++, for checking gradients.

using Scalar = double;

struct F8 {
  double lane[8];
};

template <typename Op>
static inline F8 map(Op op) {
  F8 result;
  for (int i = 0; i < 8; ++i) result.lane[i] = op(i);
  return result;
}

static inline F8 broadcast(double x) {
  return map([&](int) { return x; });
}
static inline F8 load(const double* p) {
  return map([&](int i) { return p[i]; });
}
static inline void store(double* p, F8 x) {
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
static inline F8 fma(F8 a, F8 b, F8 c) {
  return map([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
}
static inline F8 exp(F8 x) {
  return map([&](int i) { return ::exp(x.lane[i]); });
}
static inline double horizontal_sum(F8 x) {
  double sum = 0;
  for (double lane : x.lane) sum += lane;
  return sum;
}
