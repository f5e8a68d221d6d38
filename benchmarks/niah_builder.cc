#include "benchmarks/niah_builder.h"

#include <algorithm>
#include <optional>
#include <set>

namespace strata {
namespace {

constexpr int kMaxRounds = 24;

struct Unit {
  std::string text;
  Tokens tokens;  // of separator and text
};

struct Placed {
  Needle needle;
  std::size_t before = 0;      // unit
  std::size_t byte_begin = 0;  // in the context, once composed
  std::size_t byte_end = 0;
  std::int64_t token_count = 0;  // estimate, with separator
};

// One attempt at the whole prompt.
struct Attempt {
  EncodedPrompt encoded;
  std::vector<Placed> needles;  // the asked one first
  std::string answer_given;
  std::size_t context_begin = 0;  // bytes of encoded.text
  std::size_t context_end = 0;
  std::int64_t limit = 0;
  std::int64_t length() const { return static_cast<std::int64_t>(encoded.prompt.size()) + limit; }
};

std::int64_t ssize_of(const auto& values) { return static_cast<std::int64_t>(values.size()); }

class Builder {
 public:
  Builder(const NiahSetting& setting, const NiahQuestion& question)
      : setting_(setting),
        question_(question),
        rng_(setting.request.seed, question.stream + "/places"),
        distractor_rng_(setting.request.seed, question.stream + "/distractors"),
        used_{question.needle.key, question.needle.value} {
    text_ = setting.haystack.open({question.index, question.stream, setting.request.seed,
                                   [this] { return setting_.pool.draw(distractor_rng_, used_); }});
  }

  Result<Sample> build();

 private:
  std::int64_t min_distance() const {
    return setting_.config.min_distance >= 0 ? setting_.config.min_distance
                                             : setting_.request.window;
  }
  Error too_close(std::int64_t furthest) const;
  void fill_units(std::int64_t budget);
  Status place(std::int64_t budget, const Attempt& empty);
  std::string compose(std::int64_t budget);
  Result<Attempt> attempt(const std::string& context);
  Result<Attempt> fit(std::int64_t budget);
  std::int64_t distance(const Attempt& attempt) const;
  Result<Sample> finish(Attempt&& attempt) const;

  const NiahSetting& setting_;
  const NiahQuestion& question_;
  Rng rng_;
  Rng distractor_rng_;
  std::set<std::string, std::less<>> used_;
  HaystackText text_;
  std::vector<Unit> units_;
  std::vector<std::int64_t> before_;  // tokens of the units in front of each
  std::vector<Placed> needles_;       // the asked one first
};

Error Builder::too_close(std::int64_t furthest) const {
  return make_error(ErrorKind::kInvalidArgument,
                    "expected room for a needle {} tokens before the question, but at length {} it "
                    "can stand at most "
                    "{} before",
                    min_distance(), setting_.config.length, furthest)
      .at("benchmark.length")
      .with_hint("raise benchmark.length, or lower mixer.window or benchmark.min_distance");
}

void Builder::fill_units(std::int64_t budget) {
  std::int64_t total = units_.empty() ? 0 : before_.back() + ssize_of(units_.back().tokens);
  while (total < budget) {
    Unit unit{text_.next_unit(), {}};
    unit.tokens = setting_.request.tokenizer.encode_plain(setting_.haystack.separator + unit.text);
    before_.push_back(total);
    total += ssize_of(unit.tokens);
    units_.push_back(std::move(unit));
  }
}

// The units and needles in order, the last unit cut so that the units have `budget` tokens
// together.
std::string Builder::compose(std::int64_t budget) {
  fill_units(budget);
  const std::string& separator = setting_.haystack.separator;
  std::string context;
  const auto add = [&](std::string_view text) {
    if (!context.empty()) context += separator;
    context += text;
  };
  const auto add_needles = [&](std::size_t from, std::size_t to) {
    for (std::size_t unit = from; unit < to; ++unit)
      for (Placed& placed : needles_) {
        if (placed.before != unit) continue;
        add(needle_sentence(placed.needle));
        placed.byte_end = context.size();
        placed.byte_begin = context.size() - needle_sentence(placed.needle).size();
      }
  };
  std::size_t i = 0;
  for (; i < units_.size() && before_[i] < budget; ++i) {
    add_needles(i, i + 1);
    const Tokens& tokens = units_[i].tokens;
    const std::int64_t room = budget - before_[i];
    if (room >= ssize_of(tokens)) {
      add(units_[i].text);
      continue;
    }
    const std::string head =
        setting_.request.tokenizer.decode(std::span(tokens).first(static_cast<std::size_t>(room)));
    std::size_t bytes =
        std::min(head.size() - std::min(head.size(), separator.size()), units_[i].text.size());
    while (bytes > 0 && bytes < units_[i].text.size() && (units_[i].text[bytes] & '\xC0') == '\x80')
      --bytes;
    if (bytes > 0) add(std::string_view(units_[i].text).substr(0, bytes));
  }
  std::size_t last = i;
  for (const Placed& placed : needles_) last = std::max(last, placed.before);
  add_needles(
      i,
      last +
          1);  // needles behind every unit, also where the haystack shrank since they were placed
  return context;
}

Result<Attempt> Builder::attempt(const std::string& context) {
  const NiahConfig& config = setting_.config;
  const Needle& asked = question_.needle;
  const std::string head = std::string(kNiahInstruction) + "\n";
  const ChatMessage message{"user", head + context + "\n" + niah_question(asked.key)};
  ASSIGN_OR_RETURN(
      EncodedPrompt encoded,
      encode_prompt(setting_.request.tokenizer, setting_.request.chat, std::span(&message, 1),
                    niah_answer_prefix(asked.key), " " + asked.value));
  Attempt out{std::move(encoded), needles_, {}, 0, 0, 0};
  const auto content = out.encoded.text.find(message.content);
  if (out.encoded.offsets.empty() || content == std::string::npos) {
    return fail(
        make_error(
            ErrorKind::kUnsupported,
            "expected a tokenizer and chat template that keep the text as it is; positions in it "
            "are unknown otherwise")
            .with_hint(
                "use a haystack of plain ASCII (bundled, noise or needle), or chat_template=none"));
  }
  out.context_begin = content + head.size();
  out.context_end = out.context_begin + context.size();
  out.answer_given = move_blank_tokens(setting_.request.tokenizer, out.encoded);
  const std::int64_t answer = ssize_of(out.encoded.answer);
  out.limit = config.generation_limit > 0 ? config.generation_limit : answer + kGenerationSlack;
  if (out.limit < answer) {
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected at least {} (the answer's tokens), got {}", answer, out.limit)
                    .at("benchmark.generation_limit"));
  }
  return out;
}

// Chooses where the needles stand: the asked one uniformly among the places far enough from the
// question.
Status Builder::place(std::int64_t budget, const Attempt& empty) {
  fill_units(budget);
  std::size_t places = 0;  // a needle may stand before each unit that is seen, and behind the last
  while (places < units_.size() && before_[places] < budget) ++places;
  ++places;
  std::set<std::size_t> taken;
  for (std::size_t i = 1; i < needles_.size(); ++i) {
    do {
      needles_[i].before = rng_.below(places);
    } while (places > 2 * needles_.size() && !taken.insert(needles_[i].before).second);
  }
  const std::int64_t behind_context =
      ssize_of(empty.encoded.prompt) - 1 - empty.encoded.token_at(empty.context_end);
  std::vector<std::size_t> valid;
  std::int64_t furthest = 0;
  for (std::size_t place = 0; place < places; ++place) {
    std::int64_t behind = budget -
                          (place < before_.size() ? std::min(before_[place], budget) : budget) +
                          behind_context;
    for (std::size_t i = 1; i < needles_.size(); ++i)
      if (needles_[i].before >= place) behind += needles_[i].token_count;
    furthest = std::max(furthest, behind);
    if (behind >= min_distance() && !taken.contains(place)) valid.push_back(place);
  }
  if (valid.empty()) return fail(too_close(furthest));
  needles_[0].before = valid[rng_.below(valid.size())];
  return {};
}

// Composes, tokenises the whole, and corrects the cut by what is missing: merges across borders
// make the sum of the parts differ from the whole by a token or two.
Result<Attempt> Builder::fit(std::int64_t budget) {
  std::optional<Attempt> best;
  std::set<std::int64_t> tried;
  for (int round = 0; round < kMaxRounds; ++round) {
    tried.insert(budget);
    ASSIGN_OR_RETURN(Attempt now, attempt(compose(budget)));
    const std::int64_t missing = setting_.config.length - now.length();
    if (missing >= 0 && (!best || now.length() > best->length())) best = std::move(now);
    if (missing == 0) break;
    budget += missing;
    while (tried.contains(budget)) --budget;
    if (budget < 0) break;
  }
  if (best && setting_.config.length - best->length() < kMaxShortfall) return *std::move(best);
  return fail(make_error(ErrorKind::kInvalidArgument,
                         "no haystack makes a prompt of {} tokens with this tokenizer",
                         setting_.config.length)
                  .at("benchmark.length"));
}

std::int64_t Builder::distance(const Attempt& attempt) const {
  const std::size_t last = attempt.context_begin + attempt.needles[0].byte_end - 1;
  return ssize_of(attempt.encoded.prompt) - 1 - (attempt.encoded.token_at(last) + 1);
}

Result<Sample> Builder::build() {
  const std::string& separator = setting_.haystack.separator;
  needles_.push_back({question_.needle, 0, 0, 0, 0});
  if (setting_.config.task == NiahTask::kMultikey)
    for (std::int64_t i = 1; i < setting_.config.keys; ++i)
      needles_.push_back({setting_.pool.draw(distractor_rng_, used_), 0, 0, 0, 0});
  std::int64_t needle_tokens = 0;
  for (Placed& placed : needles_) {
    placed.token_count = ssize_of(
        setting_.request.tokenizer.encode_plain(separator + needle_sentence(placed.needle)));
    needle_tokens += placed.token_count;
  }
  ASSIGN_OR_RETURN(const Attempt empty, attempt(""));
  const std::int64_t budget = setting_.config.length - empty.length() - needle_tokens;
  if (budget < 1) {
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected room for a haystack, but template, needles and generation "
                           "take {} of {} tokens",
                           empty.length() + needle_tokens, setting_.config.length)
                    .at("benchmark.length"));
  }
  RETURN_IF_ERROR(place(budget, empty));
  while (true) {
    ASSIGN_OR_RETURN(Attempt fitted, fit(budget));
    const std::int64_t away = distance(fitted);
    if (away >= min_distance()) return finish(std::move(fitted));
    if (needles_[0].before == 0) return fail(too_close(away));
    --needles_[0].before;  // the estimate was off by a token at the border
  }
}

Result<Sample> Builder::finish(Attempt&& attempt) const {
  const EncodedPrompt& encoded = attempt.encoded;
  const auto tokens_of = [&](std::size_t begin, std::size_t end) {
    const std::int64_t first = encoded.token_at(begin);
    return std::array<std::int64_t, 2>{first, end > begin ? encoded.token_at(end - 1) + 1 : first};
  };
  const auto context = tokens_of(attempt.context_begin, attempt.context_end);
  nlohmann::json spans = nlohmann::json::array();
  nlohmann::json keys = nlohmann::json::array();
  for (const Placed& placed : attempt.needles) {
    spans.push_back(tokens_of(attempt.context_begin + placed.byte_begin,
                              attempt.context_begin + placed.byte_end));
    keys.push_back(placed.needle.key);
  }
  const std::int64_t away = distance(attempt);
  const std::int64_t window = setting_.request.window;
  const auto needle_begin = spans[0][0].get<std::int64_t>();
  Sample sample;
  sample.metadata = {
      {"task", config::enum_name(setting_.config.task)},
      {"haystack", config::enum_name(setting_.config.haystack)},
      {"split", to_string(setting_.request.split)},
      {"source", text_.source},
      {"fixed_wording", setting_.haystack.fixed_wording},
      {"haystack_tokens", context},
      {"key", question_.needle.key},
      {"value", question_.needle.value},
      {"keys", std::move(keys)},
      {"needle", spans[0]},
      {"depth", static_cast<double>(needle_begin - context[0]) /
                    static_cast<double>(context[1] - context[0])},
      {"first_informative_query", ssize_of(encoded.prompt) - 1},
      {"distance", away},
      {"first_answer_token", encoded.answer.front()},
      {"length", setting_.config.length},
      {"shortfall", setting_.config.length - attempt.length()},
      {"generation_limit", attempt.limit},
      {"joint_tokenisation", encoded.joint},
  };
  sample.metadata["needles"] = std::move(spans);
  if (window > 0) {
    sample.metadata["window"] = window;
    sample.metadata["beyond_window"] = away >= window;
  }
  sample.prompt_text = encoded.text;
  sample.prompt = std::move(attempt.encoded.prompt);
  sample.answer = std::move(attempt.encoded.answer);
  sample.answers = {" " + question_.needle.value};
  sample.answer_given = std::move(attempt.answer_given);
  set_content_id(sample, "niah");
  sample.cluster = text_.cluster.empty() ? sample.id : text_.cluster;
  return sample;
}

}  // namespace

Result<Sample> build_niah_sample(const NiahSetting& setting, const NiahQuestion& question) {
  return Builder(setting, question).build();
}

}  // namespace strata
