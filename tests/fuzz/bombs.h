// Files of megabytes made to cost a reader far more than their size: in memory, time or stack.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace strata::fuzz {

struct Bomb {
  std::string name;
  std::string content;
  bool accepted = false;  // whether the format allows it all the same
};

std::vector<Bomb> bombs_of(std::string_view format);

}  // namespace strata::fuzz
