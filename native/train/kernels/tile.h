// The heart of every matrix product: 6 rows by 16 columns of the result in 12 registers of 8 lanes,
// two more for the columns and one for a row.

static Scalar multiply_add(int rounds) {
  F8 x[kBusyRegisters];
  for (F8& value : x) value = broadcast(1);
  const F8 half = broadcast(Scalar(0.5));
  for (int i = 0; i < rounds; ++i) {
    for (F8& value : x) value = fma(value, half, half);
  }
  F8 sum = x[0];
  for (const F8& value : x) sum = add(sum, value);
  return horizontal_sum(sum);
}

static void tile(const Scalar* a, const Scalar* b, int k, int, Scalar* c, size_t c_stride,
                 bool adds) {
  F8 sum[kTileRows][2];
  for (int i = 0; i < kTileRows; ++i) sum[i][0] = sum[i][1] = broadcast(0);
  for (int l = 0; l < k; ++l, a += kTileRows, b += kTileCols) {
    const F8 left = load(b);
    const F8 right = load(b + 8);
    for (int i = 0; i < kTileRows; ++i) {
      const F8 x = broadcast(a[i]);
      sum[i][0] = fma(x, left, sum[i][0]);
      sum[i][1] = fma(x, right, sum[i][1]);
    }
  }
  for (int i = 0; i < kTileRows; ++i, c += c_stride) {
    store(c, adds ? add(load(c), sum[i][0]) : sum[i][0]);
    store(c + 8, adds ? add(load(c + 8), sum[i][1]) : sum[i][1]);
  }
}
