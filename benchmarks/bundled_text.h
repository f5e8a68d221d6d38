// Generated English for haystacks: our own vocabulary and sentence forms, so that no data file is
// needed.
//
// Topics (documents) and people's names belong to one split each, by the order of their hash, and
// no stretch of text is long without one of their words: texts of different splits share no
// 13-token span. Endless: each sample has a text of its own.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/benchmark.h"
#include "core/rng.h"

namespace strata {

// 40 % / 20 % / 40 % by hash: where a word, number or id belongs, whatever else there is.
Split split_of(std::string_view name);
// The same shares of a known set of weights (file sizes): names in the order of their hash, cut at
// 40 % and 60 %.
std::vector<Split> split_by_weight(const std::vector<std::string>& names,
                                   const std::vector<std::size_t>& weights);

class BundledLibrary {
 public:
  struct Topic {
    std::string name;
    std::map<std::string, std::vector<std::string>, std::less<>>
        words;  // by slot: agent, thing, place, mass, verb
  };

  explicit BundledLibrary(Split split);
  const std::vector<Topic>& topics() const { return topics_; }  // of the split
  const std::vector<std::string>& people() const {
    return common_.find("name")->second;
  }  // of the split

  // SHA-256 of vocabulary, forms and generator version.
  static std::string content_id();

 private:
  friend class BundledText;
  std::vector<Topic> topics_;
  std::map<std::string, std::vector<std::string>, std::less<>> common_;
  std::vector<std::string> forms_;
};

// An endless stream of sentences, a topic for some 12 sentences at a time. The library must outlive
// it.
class BundledText {
 public:
  BundledText(const BundledLibrary& library, Rng rng);
  std::string next_sentence();

 private:
  std::string_view fill(std::string_view slot, std::string& plural);

  const BundledLibrary& library_;
  Rng rng_;
  const BundledLibrary::Topic* topic_ = nullptr;
  int left_in_topic_ = 0;
};

}  // namespace strata
