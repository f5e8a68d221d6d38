#include "benchmarks/ruler_vt.h"

#include <algorithm>
#include <set>

#include "benchmarks/needles.h"
#include "benchmarks/ruler_source.h"
#include "models/tokenizer/tokenizer.h"

namespace strata {
namespace {

constexpr std::size_t kNameLetters = 5;
constexpr std::size_t kExampleLetters = 3;
constexpr std::int64_t kLowestValue = 10'000, kHighestValue = 99'998;
constexpr std::int64_t kExampleTokens = 500;  // of the worked example's question, at most
constexpr auto kChainLines = static_cast<std::int64_t>(kVtVariables);

using Used = std::set<std::string, std::less<>>;

// Names and values of the split that are not in `used`, which they join.
VtChain draw_chain(Rng& rng, Split split, std::size_t letters, Used& used) {
  VtChain chain;
  while (chain.names.size() < kVtVariables) {
    std::string name;
    for (std::size_t i = 0; i < letters; ++i) name += static_cast<char>('A' + rng.below(26));
    if (split_of(name) == split && used.insert(name).second) chain.names.push_back(std::move(name));
  }
  do {
    chain.value = std::to_string(rng.between(kLowestValue, kHighestValue));
  } while (split_of_value(std::stoull(chain.value)) != split || !used.insert(chain.value).second);
  return chain;
}

class VtDraft final : public RulerDraft {
 public:
  // The first chain is asked for.
  VtDraft(const RulerSetting& setting, std::vector<VtChain> chains, std::int64_t index)
      : setting_(setting),
        chains_(std::move(chains)),
        places_(setting.request.seed, setting.stream(index) + "/places") {
    // lm_eval's lines end in a newline, and are joined by spaces.
    line_tokens_ = tokens_behind(setting.request.tokenizer, ".",
                                 (setting.lm_eval() ? "\n " : "\n") + std::string(kNoiseUnit));
    Rng rng(setting.request.seed, setting.stream(index) + "/example");
    example_ = example_of(rng);
  }
  std::int64_t min_units() const override { return std::ssize(chains_) * kChainLines; }
  std::int64_t tokens(std::int64_t units) override { return units * line_tokens_; }
  Result<RulerText> text(std::int64_t units) override;

 private:
  RulerText haystack(const std::vector<VtChain>& chains, std::int64_t lines, Rng places) const;
  std::string example_of(Rng& rng) const;

  const RulerSetting setting_;
  const std::vector<VtChain> chains_;
  const Rng places_;
  std::int64_t line_tokens_ = 0;
  std::string example_;
};

// Noise with the chains in it, each in its order.
RulerText VtDraft::haystack(const std::vector<VtChain>& chains, std::int64_t lines,
                            Rng places) const {
  const auto count = static_cast<std::size_t>(lines);
  std::vector<std::size_t> before = places.sample(count, chains.size() * kVtVariables);
  std::sort(before.begin(), before.end());
  std::vector<std::vector<std::string>> statements;
  std::vector<std::size_t> turns;  // the chain of each statement
  for (std::size_t c = 0; c < chains.size(); ++c) {
    statements.push_back(vt_statements(chains[c]));
    turns.insert(turns.end(), kVtVariables, c);
  }
  if (chains.size() > 1) places.shuffle(turns);
  const char join = setting_.lm_eval() ? ' ' : '\n';
  RulerText text;
  std::vector<std::size_t> said(chains.size());
  std::size_t next = 0;
  for (std::size_t line = 0; line < count; ++line) {
    if (next < before.size() && before[next] == line) {
      const std::size_t chain = turns[next];
      const std::string& statement = statements[chain][said[chain]++];
      if (!text.context.empty()) text.context += join;
      const std::size_t begin = text.context.size();
      text.context += statement;
      text.evidence.push_back({begin, begin + statement.find_last_not_of(' ') + 1});
      if (chain == 0) text.asked.push_back(next);
      ++next;
    }
    if (!text.context.empty()) text.context += join;
    text.context += kNoiseUnit;
    if (setting_.lm_eval()) text.context += '\n';
  }
  return text;
}

// A question about one chain with its answer: as many lines as kExampleTokens hold.
std::string VtDraft::example_of(Rng& rng) const {
  Used used;
  const VtChain chain = draw_chain(rng, setting_.request.split, kExampleLetters, used);
  const Rng places = rng;
  const auto question = [&](std::int64_t lines) {
    return std::string(kVtHead) + haystack({chain}, lines, places).context +
           vt_question(chain.value) + vt_answer_prefix(setting_.config.variant, chain.value);
  };
  const std::string answer = fmt::format(" {}", fmt::join(chain.names, " "));
  const std::string least = question(kChainLines) + (setting_.lm_eval() ? answer : "");
  const std::int64_t room =
      kExampleTokens - (setting_.lm_eval() ? ruler_generation(RulerTask::kVt) : 0);
  const auto taken = std::ssize(setting_.request.tokenizer.encode_plain(least));
  const std::int64_t more = std::max<std::int64_t>(0, room - taken) / line_tokens_;
  return question(kChainLines + more) + answer + (setting_.lm_eval() ? "\n\n\n\n" : "\n\n");
}

Result<RulerText> VtDraft::text(std::int64_t units) {
  const VtChain& asked = chains_[0];
  RulerText text = haystack(chains_, units, places_);
  text.head = example_ + std::string(kVtHead);
  text.tail = vt_question(asked.value);
  text.answer_prefix =
      ruler_answer_prefix(setting_, vt_answer_prefix(setting_.config.variant, asked.value));
  text.references = asked.names;
  text.answer = fmt::format(" {}", fmt::join(asked.names, " "));
  std::vector<std::string> own;
  for (const VtChain& chain : chains_) {
    own.insert(own.end(), chain.names.begin(), chain.names.end());
    own.push_back(chain.value);
  }
  text.metadata = {{"own_words", std::move(own)},
                   {"value", asked.value},
                   {"fixed_wording", true},
                   {"source", {{"kind", "noise"}}}};
  return text;
}

class VtSource final : public RulerSource {
 public:
  explicit VtSource(const RulerSetting& setting) : setting_(setting) {
    Rng rng(setting.request.seed, setting.stream(-1));
    Used used;  // no two samples share a name or value
    for (std::int64_t i = 0; i < setting.request.count; ++i) {
      std::vector<VtChain>& chains = chains_.emplace_back();
      for (std::int64_t c = 0; c <= setting.config.distractors; ++c)
        chains.push_back(draw_chain(rng, setting.request.split, kNameLetters, used));
    }
  }
  Result<std::unique_ptr<RulerDraft>> draft(std::int64_t index) const override {
    return std::make_unique<VtDraft>(setting_, chains_[static_cast<std::size_t>(index)], index);
  }

 private:
  const RulerSetting setting_;
  std::vector<std::vector<VtChain>> chains_;  // of each sample
};

}  // namespace

std::vector<std::string> vt_statements(const VtChain& chain) {
  std::vector<std::string> statements = {fmt::format("VAR {} = {}", chain.names[0], chain.value)};
  for (std::size_t i = 1; i < chain.names.size(); ++i)
    statements.push_back(fmt::format("VAR {} = VAR {} ", chain.names[i], chain.names[i - 1]));
  return statements;
}

std::string vt_question(std::string_view value) {
  return fmt::format(
      "\nQuestion: Find all variables that are assigned the value {} in the text above.", value);
}

std::string vt_answer_prefix(RulerVariant variant, std::string_view value) {
  return fmt::format(
      " Answer: According to the chain(s) of variable assignment in the text above, {} variables "
      "are {} the value {}, they are: ",
      kVtVariables, variant == RulerVariant::kLmEval ? "assgined" : "assigned", value);
}

Result<std::unique_ptr<RulerSource>> make_vt_source(const RulerSetting& setting) {
  // Half of the values, so that drawing without repetition stays quick.
  const std::int64_t most = (kHighestValue - kLowestValue) / 10 / (1 + setting.config.distractors);
  if (setting.request.count > most)
    return fail(make_error(ErrorKind::kInvalidArgument, "vt has values for {} samples, got {}",
                           most, setting.request.count)
                    .at("benchmark.samples"));
  return std::make_unique<VtSource>(setting);
}

}  // namespace strata
