// A plan as a small picture: a column a layer, a row a head (KV or query, as the plan has them).
#pragma once

#include <string>

#include "core/plan.h"

namespace strata {

// An <svg> whose colours the page's style gives, with what it shows in words as its label.
std::string mask_svg(const AttentionPlan& plan);
// "full attention in 3 of 30 layers: 4, 7–8", "in 12 of 270 query heads, of layers 3–8"; a long
// list of layers is cut.
std::string mask_words(const AttentionPlan& plan);

}  // namespace strata
