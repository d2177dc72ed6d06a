// Kernels over rows of any length. Lanes beyond the end of a row read as zero and are not written.

static inline F8 load_at(const Scalar* x, int i, int n) {
  if (i + 8 <= n) return load(x + i);
  Scalar lane[8] = {};
  memcpy(lane, x + i, size_t(n - i) * sizeof(Scalar));
  return load(lane);
}

static inline void store_at(Scalar* x, int i, int n, F8 value) {
  if (i + 8 <= n) return store(x + i, value);
  Scalar lane[8];
  store(lane, value);
  memcpy(x + i, lane, size_t(n - i) * sizeof(Scalar));
}

static inline F8 sigmoid(F8 x) {
  const F8 one = broadcast(1);
  return div(one, add(one, exp(sub(broadcast(0), x))));
}

static Scalar dot(const Scalar* x, const Scalar* y, int n) {
  F8 sum = broadcast(0);
  for (int i = 0; i < n; i += 8) sum = fma(load_at(x, i, n), load_at(y, i, n), sum);
  return horizontal_sum(sum);
}

static inline Scalar inverse_rms(const Scalar* x, Scalar eps, int n) {
  return Scalar(1) / sqrt(dot(x, x, n) / Scalar(n) + eps);
}

static void rms_norm(const Scalar* x, const Scalar* weight, Scalar eps, int n, Scalar* y) {
  const F8 r = broadcast(inverse_rms(x, eps, n));
  for (int i = 0; i < n; i += 8) {
    store_at(y, i, n, mul(mul(load_at(x, i, n), r), load_at(weight, i, n)));
  }
}

static void rms_norm_backward(const Scalar* x, const Scalar* weight, Scalar eps, const Scalar* dy,
                              int n, Scalar* dx, Scalar* dweight) {
  const Scalar r = inverse_rms(x, eps, n);
  F8 sum = broadcast(0);
  for (int i = 0; i < n; i += 8) {
    const F8 dnormed = mul(load_at(weight, i, n), load_at(dy, i, n));
    sum = fma(dnormed, load_at(x, i, n), sum);
  }
  const F8 scale = broadcast(r);
  const F8 along_x = broadcast(-r * r * r * horizontal_sum(sum) / Scalar(n));
  for (int i = 0; i < n; i += 8) {
    const F8 value = load_at(x, i, n);
    const F8 gradient = mul(load_at(dy, i, n), scale);
    const F8 change = fma(gradient, load_at(weight, i, n), mul(value, along_x));
    store_at(dx, i, n, add(load_at(dx, i, n), change));
    store_at(dweight, i, n, fma(gradient, value, load_at(dweight, i, n)));
  }
}

static void swiglu(const Scalar* gate, const Scalar* up, int n, Scalar* y) {
  for (int i = 0; i < n; i += 8) {
    const F8 x = load_at(gate, i, n);
    store_at(y, i, n, mul(mul(x, sigmoid(x)), load_at(up, i, n)));
  }
}

// With s = sigmoid(x): silu(x) = x * s and silu'(x) = s * (1 + x * (1 - s)).
static inline F8 silu_slope(F8 x, F8 s) {
  const F8 one = broadcast(1);
  return mul(s, fma(x, sub(one, s), one));
}

static void swiglu_backward(const Scalar* gate, const Scalar* up, const Scalar* dy, int n,
                            Scalar* dgate, Scalar* dup) {
  for (int i = 0; i < n; i += 8) {
    const F8 x = load_at(gate, i, n);
    const F8 s = sigmoid(x);
    const F8 gradient = load_at(dy, i, n);
    const F8 dsilu = mul(gradient, load_at(up, i, n));
    store_at(dgate, i, n, mul(dsilu, silu_slope(x, s)));
    store_at(dup, i, n, mul(gradient, mul(x, s)));
  }
}

static void silu_row(const Scalar* x, int n, Scalar* y) {
  for (int i = 0; i < n; i += 8) {
    const F8 value = load_at(x, i, n);
    store_at(y, i, n, mul(value, sigmoid(value)));
  }
}

static void silu_backward(const Scalar* x, const Scalar* dy, int n, Scalar* dx) {
  for (int i = 0; i < n; i += 8) {
    const F8 value = load_at(x, i, n);
    store_at(dx, i, n, mul(load_at(dy, i, n), silu_slope(value, sigmoid(value))));
  }
}

static Scalar softmax(Scalar* x, Scalar scale, int n) {
  Scalar largest = scale * x[0];
  for (int i = 1; i < n; ++i) largest = scale * x[i] > largest ? scale * x[i] : largest;
  const F8 factor = broadcast(scale);
  const F8 offset = broadcast(-largest);
  F8 sum = broadcast(0);
  int i = 0;
  for (; i + 8 <= n; i += 8) {
    const F8 value = exp(fma(load(x + i), factor, offset));
    store(x + i, value);
    sum = add(sum, value);
  }
  if (i < n) {
    store_at(x, i, n, exp(fma(load_at(x, i, n), factor, offset)));
    sum = add(sum, load_at(x, i, n));
  }
  const Scalar total = horizontal_sum(sum);
  const F8 inverse = broadcast(Scalar(1) / total);
  for (i = 0; i < n; i += 8) store_at(x, i, n, mul(load_at(x, i, n), inverse));
  return largest + log(total);
}

static void softmax_again(Scalar* x, Scalar scale, Scalar lse, int n) {
  const F8 factor = broadcast(scale);
  const F8 offset = broadcast(-lse);
  for (int i = 0; i < n; i += 8) store_at(x, i, n, exp(fma(load_at(x, i, n), factor, offset)));
}

static void softmax_backward(const Scalar* y, Scalar total, Scalar scale, int n, Scalar* dy) {
  const F8 offset = broadcast(total);
  const F8 factor = broadcast(scale);
  for (int i = 0; i < n; i += 8) {
    const F8 centred = sub(load_at(dy, i, n), offset);
    store_at(dy, i, n, mul(mul(load_at(y, i, n), centred), factor));
  }
}
