#pragma once

#include <map>
#include <string>
#include <vector>

#include "tensor.h"

namespace openelm {

using Doubles = std::vector<double>;

// The ops for one token, in float64 and as plainly as they can be said.
struct Oracle {
  Config config;
  std::map<std::string, Tensor> tensors;  // by checkpoint name

  Doubles embed(int token) const;
  // q, k and v of all heads [(Hq + 2*Hkv)*h]: normed and turned.
  Doubles norm_qkv(int layer, const Doubles& x, int position) const;
  // The last of `session` over all of it: norm_qkv of each position.
  Doubles attention(int layer, const std::vector<Doubles>& session) const;
  Doubles out_proj_add(int layer, const Doubles& a, const Doubles& x) const;
  Doubles norm_swiglu(int layer, const Doubles& x) const;
  Doubles ffn_down_add(int layer, const Doubles& g, const Doubles& x) const;
  Doubles norm_logits(const Doubles& x) const;

 private:
  const Doubles& weight(const std::string& name) const;
  const Doubles& weight(int layer, const std::string& name) const;
  Doubles rms_norm(const Doubles& x, const Doubles& weight) const;
  Doubles head(const Doubles& x, const std::string& norm, int layer, int position) const;
};

}  // namespace openelm
