// The inner loop of quantize_q4_row, in plain C++ whose loops over candidates compilers make
// vectors of. The order of the sums is the same for every instruction set, and so are the bytes
// written.

static void q4_products(const float* group, const float* inverses, float* dots, float* norms) {
  float xq[4][kQ4Candidates] = {};
  float qq[4][kQ4Candidates] = {};
  for (int i = 0; i < kGroupSize; ++i) {
    const float x = group[i];
    float* xq_lane = xq[i % 4];
    float* qq_lane = qq[i % 4];
    for (int c = 0; c < kQ4Candidates; ++c) {
      const float code = q4_code(x, inverses[c]);
      xq_lane[c] += x * code;
      qq_lane[c] += code * code;
    }
  }
  for (int c = 0; c < kQ4Candidates; ++c) {
    dots[c] = (xq[0][c] + xq[1][c]) + (xq[2][c] + xq[3][c]);
    norms[c] = (qq[0][c] + qq[1][c]) + (qq[2][c] + qq[3][c]);
  }
}
