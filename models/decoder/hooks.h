// ForwardHooks: what to read from and write into a forward pass, as data. Empty hooks take the fast
// path.
//
// Rows are packed rows of the batch, counted at the site (after unread rows were left out). Row
// lists are ascending.
//
// In a layer where some sequence has linear heads, kQ, kK and kV mean nothing and are refused
// (checked); a linear head's kHeadOut is what it gives to its columns of o (behind its norm, output
// gate and gain), in the type of the branch.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace strata {

enum class Site { kResidIn, kQ, kK, kV, kHeadOut, kMixerOut, kMlpOut };

struct Capture {
  Site site = Site::kResidIn;
  int layer = 0;
  std::vector<std::int64_t> rows;  // empty = all
  at::Tensor value;  // filled in: [rows, hidden], or [rows, heads, head_dim] for q, k, v, head_out
};

// Replaces what flows at a site. For q, k (after rotary embedding), v and head_out, `head` picks
// one head.
struct Intervention {
  Site site = Site::kResidIn;
  int layer = 0;
  int head = -1;  // −1 = all
  std::vector<std::int64_t> rows;
  at::Tensor value;  // broadcast to [rows, …]
};

struct ForwardHooks {
  std::vector<Capture> captures;
  std::vector<Intervention> interventions;
  bool empty() const { return captures.empty() && interventions.empty(); }
  bool touches(Site site, int layer) const;
};

// Where what flows at a site passes by: changes x as asked and fills captures in. hooks may be
// null.
void pass_hooks(ForwardHooks* hooks, Site site, int layer, at::Tensor& x);

}  // namespace strata
