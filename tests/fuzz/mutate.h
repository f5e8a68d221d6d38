// Mutations of valid files, by format where it matters: text with numbers and nesting, a JSON
// header behind its length, the pages of a database. The same Rng gives the same files everywhere.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/rng.h"

namespace strata::fuzz {

enum class Shape {
  kText,
  kLengthAndHeader,  // safetensors: eight bytes of length, that much JSON, then data
  kPages,            // SQLite
};

class Mutator {
 public:
  // `seeds`: valid files, at least one. `tokens`: words of the format, separated by spaces.
  Mutator(Shape shape, std::vector<std::string> seeds, std::string_view tokens);

  // One to four changes of a seed.
  std::string next(Rng& rng) const;
  std::string mutate(std::string content, Rng& rng) const;

 private:
  void change_text(std::string& content, Rng& rng) const;
  void change_header(std::string& content, Rng& rng) const;
  const std::string& any_seed(Rng& rng) const { return seeds_[rng.below(seeds_.size())]; }

  Shape shape_;
  std::vector<std::string> seeds_;
  std::vector<std::string> tokens_;
};

// One change inside the pages of an SQLite database: its header, a page's header, a pointer, a
// cell, a word of the schema, or a whole page.
void change_pages(std::string& content, Rng& rng);

}  // namespace strata::fuzz
