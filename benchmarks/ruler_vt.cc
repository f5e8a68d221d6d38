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
constexpr auto kFewestLines = static_cast<std::int64_t>(kVtVariables);

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
  VtDraft(const RulerSetting& setting, VtChain chain, std::int64_t index)
      : setting_(setting),
        chain_(std::move(chain)),
        places_(setting.request.seed, setting.stream(index) + "/places") {
    // lm_eval's lines end in a newline, and are joined by spaces.
    line_tokens_ = tokens_behind(setting.request.tokenizer, ".",
                                 (setting.lm_eval() ? "\n " : "\n") + std::string(kNoiseUnit));
    Rng rng(setting.request.seed, setting.stream(index) + "/example");
    example_ = example_of(rng);
  }
  std::int64_t min_units() const override { return kFewestLines; }
  std::int64_t tokens(std::int64_t units) override { return units * line_tokens_; }
  Result<RulerText> text(std::int64_t units) override;

 private:
  RulerText haystack(const VtChain& chain, std::int64_t lines, Rng places) const;
  std::string example_of(Rng& rng) const;

  const RulerSetting setting_;
  const VtChain chain_;
  const Rng places_;
  std::int64_t line_tokens_ = 0;
  std::string example_;
};

// Noise with the chain in it, in its order.
RulerText VtDraft::haystack(const VtChain& chain, std::int64_t lines, Rng places) const {
  const std::vector<std::string> statements = vt_statements(chain);
  const auto count = static_cast<std::size_t>(lines);
  std::vector<std::size_t> before = places.sample(count, statements.size());
  std::sort(before.begin(), before.end());
  const char join = setting_.lm_eval() ? ' ' : '\n';
  RulerText text;
  std::size_t next = 0;
  for (std::size_t line = 0; line < count; ++line) {
    if (next < before.size() && before[next] == line) {
      if (!text.context.empty()) text.context += join;
      const std::size_t begin = text.context.size();
      text.context += statements[next];
      text.evidence.push_back({begin, begin + statements[next].find_last_not_of(' ') + 1});
      text.asked.push_back(next++);
    }
    if (!text.context.empty()) text.context += join;
    text.context += kNoiseUnit;
    if (setting_.lm_eval()) text.context += '\n';
  }
  return text;
}

// A question of the same kind with its answer: as many lines as kExampleTokens hold.
std::string VtDraft::example_of(Rng& rng) const {
  Used used;
  const VtChain chain = draw_chain(rng, setting_.request.split, kExampleLetters, used);
  const Rng places = rng;
  const auto question = [&](std::int64_t lines) {
    return std::string(kVtHead) + haystack(chain, lines, places).context +
           vt_question(chain.value) + vt_answer_prefix(setting_.config.variant, chain.value);
  };
  const std::string answer = fmt::format(" {}", fmt::join(chain.names, " "));
  const std::string least = question(kFewestLines) + (setting_.lm_eval() ? answer : "");
  const std::int64_t room =
      kExampleTokens - (setting_.lm_eval() ? ruler_generation(RulerTask::kVt) : 0);
  const auto taken = std::ssize(setting_.request.tokenizer.encode_plain(least));
  const std::int64_t more = std::max<std::int64_t>(0, room - taken) / line_tokens_;
  return question(kFewestLines + more) + answer + (setting_.lm_eval() ? "\n\n\n\n" : "\n\n");
}

Result<RulerText> VtDraft::text(std::int64_t units) {
  RulerText text = haystack(chain_, units, places_);
  text.head = example_ + std::string(kVtHead);
  text.tail = vt_question(chain_.value);
  text.answer_prefix =
      ruler_answer_prefix(setting_, vt_answer_prefix(setting_.config.variant, chain_.value));
  text.references = chain_.names;
  text.answer = fmt::format(" {}", fmt::join(chain_.names, " "));
  std::vector<std::string> own = chain_.names;
  own.push_back(chain_.value);
  text.metadata = {{"own_words", std::move(own)},
                   {"value", chain_.value},
                   {"fixed_wording", true},
                   {"source", {{"kind", "noise"}}}};
  return text;
}

class VtSource final : public RulerSource {
 public:
  explicit VtSource(const RulerSetting& setting) : setting_(setting) {
    Rng rng(setting.request.seed, setting.stream(-1));
    Used used;  // no two samples share a name or value
    for (std::int64_t i = 0; i < setting.request.count; ++i)
      chains_.push_back(draw_chain(rng, setting.request.split, kNameLetters, used));
  }
  Result<std::unique_ptr<RulerDraft>> draft(std::int64_t index) const override {
    return std::make_unique<VtDraft>(setting_, chains_[static_cast<std::size_t>(index)], index);
  }

 private:
  const RulerSetting setting_;
  std::vector<VtChain> chains_;
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
  const std::int64_t most = (kHighestValue - kLowestValue) / 10;
  if (setting.request.count > most)
    return fail(make_error(ErrorKind::kInvalidArgument, "vt has values for {} samples, got {}",
                           most, setting.request.count)
                    .at("benchmark.samples"));
  return std::make_unique<VtSource>(setting);
}

}  // namespace strata
