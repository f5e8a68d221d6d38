// ForwardHooks: what to read from and write into a forward pass, as data. Empty hooks take the fast
// path.
//
// Rows are packed rows of the batch, counted at the site (after unread rows were left out). Row
// lists are ascending.
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
};

}  // namespace strata
