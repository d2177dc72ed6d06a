// One linear layer with LoRA and with DoRA, with and without dropout: its output and its gradients
// against values that PyTorch computed in float64.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <map>

#include "check.h"
#include "suites.h"
#include "train/lora.h"

namespace openelm {

using namespace train;

namespace {

constexpr int kRows = 5;
constexpr int kIn = 6;
constexpr int kOut = 4;
constexpr int kRank = 2;
constexpr double kScale = 1.5;
constexpr double kProbability = 0.5;

// Arrays by name: the layer's own, and of each case its results, as "dora-dropout.dx".
using Golden = std::map<std::string, std::vector<double>>;

Golden read_golden() {
  std::ifstream file(TEST_DATA "/adapted-layer.txt");
  Golden golden;
  std::string name;
  for (size_t count = 0; file >> name >> count;) {
    for (std::vector<double>& values = golden[name]; values.size() < count;) {
      file >> values.emplace_back();
    }
  }
  return golden;
}

template <typename T>
std::vector<T> rounded(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

// Of one row: the seed whose draws keep the elements that the golden values were computed with.
template <typename T>
uint64_t seed_of(Workers<T>& workers, Dropout dropout, const double* keep) {
  const std::vector<T> ones(kIn, T(1));
  std::vector<T> kept(kIn);
  const auto is_kept = [](T x, double expected) { return x == T(expected / (1 - kProbability)); };
  for (dropout.seed = 0; dropout.seed < 10'000; ++dropout.seed) {
    drop(workers, dropout, 0, ones.data(), 1, kIn, kept.data());
    if (std::equal(kept.begin(), kept.end(), keep, is_kept)) return dropout.seed;
  }
  throw std::runtime_error("no seed drops what it should");
}

// The results by their names in the file. Rows come one by one, each with the seed that it needs.
template <typename T>
std::map<std::string, std::vector<T>> run(const Golden& golden, bool dora, bool drops) {
  const std::atomic<bool> cancelled = false;
  Workers<T> workers(2, cancelled);
  const auto array = [&](const char* name) { return rounded<T>(golden.at(name)); };
  const std::vector<T> x = array("x"), w = array("W"), a = array("A"), b = array("B");
  const std::vector<T> m = array("m"), dy = array("dy");
  std::vector<T> n(kOut), g(kOut), u(kRank), v(kOut), y(kRows * kOut), dx(kRows * kIn);
  std::vector<T> da(a.size()), db(b.size()), dm(kOut);
  std::vector<T> scratch_x(kIn), scratch_dx(kIn), scratch_dv(kOut), scratch_du(kRank);
  const LoraScratch<T> scratch = {scratch_x.data(), scratch_dx.data(), scratch_dv.data(),
                                  scratch_du.data()};
  LoraTensors<T> lora;
  lora.rank = kRank;
  lora.scale = T(kScale);
  lora.a = a.data();
  lora.b = b.data();
  lora.da = da.data();
  lora.db = db.data();
  lora.u = u.data();
  LinearTensors<T> layer;
  layer.in = kIn;
  layer.out = kOut;
  layer.weight = w.data();
  layer.lora = &lora;
  if (dora) {
    std::vector<double> squares(kOut);
    squared_norms(workers, layer, squares.data());
    dora_norms(workers, layer, squares.data(), n.data());
    for (int o = 0; o < kOut; ++o) g[o] = m[o] / n[o];
    lora.g = g.data();
    lora.n = n.data();
    lora.dm = dm.data();
    lora.v = v.data();
  }
  const Sequences row({1});
  for (int t = 0; t < kRows; ++t) {
    Dropout dropout;
    dropout.sequences = &row;
    if (drops) {
      dropout.probability = kProbability;
      dropout.seed = seed_of(workers, dropout, golden.at("keep").data() + t * kIn);
    }
    adapted_linear(workers, layer, x.data() + t * kIn, 1, dropout, scratch, y.data() + t * kOut);
    adapted_linear_backward(workers, layer, x.data() + t * kIn, dy.data() + t * kOut, row.blocks(),
                            dropout, scratch, dx.data() + t * kIn);
  }
  std::map<std::string, std::vector<T>> results = {{"y", y}, {"dx", dx}, {"dA", da}, {"dB", db}};
  if (dora) results.insert({{"n", n}, {"dm", dm}});
  return results;
}

template <typename T>
void compare(const Golden& golden, bool dora, bool drops, double limit) {
  const std::string name = std::string(dora ? "dora" : "lora") + (drops ? "-dropout." : ".");
  for (const auto& [result, values] : run<T>(golden, dora, drops)) {
    const std::vector<double>& expected = golden.at(name + result);
    check(values.size() == expected.size(), result + " is whole");
    double difference = 0;
    double norm = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      difference += std::pow(double(values[i]) - expected[i], 2);
      norm += expected[i] * expected[i];
    }
    check_at_most(std::sqrt(difference / norm), limit, name + result);
  }
}

}  // namespace

void test_adapted_layer() {
  const Golden golden = read_golden();
  for (bool dora : {false, true}) {
    for (bool drops : {false, true}) {
      const std::string name = std::string(dora ? "DoRA" : "LoRA") + (drops ? ", dropout" : "");
      test("an adapted layer, " + name + ", float64",
           [&] { compare<double>(golden, dora, drops, 1e-13); });
      test("an adapted layer, " + name + ", float32, " + kernels<float>().name,
           [&] { compare<float>(golden, dora, drops, 1e-6); });
    }
  }
}

}  // namespace openelm
